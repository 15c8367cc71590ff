"""What a person asks about a study: hold, release, correct, take a correction back.

The command that asks may run in another process than the coordinator: every request is one transaction. Who asked and
why stands in the events table; what was written instead of what, in the attributes of the revisions.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import date

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.errors import Misconfigured
from wetread.records.numbers import number_of
from wetread.records.study import Correction
from wetread.store.patients import PatientSeen, patients_in, what_differs
from wetread.store.revisions import Revisions

CORRECTABLE = tuple(f.name for f in dataclasses.fields(Correction) if f.name != "serial")
"""Names of the attributes a person may put right."""

_LIMITS = {"patient_id": 64, "issuer": 64, "accession_number": 16}
"""Characters of VR LO and SH (PS3.5 Table 6.2-1)."""


class StudyRequests:
    """Changes a person makes to studies. ``who`` is the name of the operating system's user."""

    def __init__(self, db: Database, revisions: Revisions, *, who: str) -> None:
        self._db = db
        self._revisions = revisions
        self._who = who
        self._queries = Queries("wetread.store")

    def hold(self, study_instance_uid: str, reason: str) -> None:
        """Read and send nothing of a study until it is released.

        Raises: ``Misconfigured``: no such study, no reason.
        """
        _check_reason(reason)
        with self._db.transaction() as tx:
            study = self._find(tx, study_instance_uid)
            self._set_state(tx, study, "held", f"held by {self._who}: {reason}")
            tx.event("held", f"by {self._who}", said=reason, study_id=study["id"])

    def patients(self, study_instance_uid: str) -> tuple[PatientSeen, ...]:
        """Whom the images of a study name. Raises: ``Misconfigured``: no such study."""
        with self._db.transaction() as tx:
            study = self._find(tx, study_instance_uid)
            instances = tx.fetch(self._queries["source_instances"], {"study_id": study["id"]})
        return patients_in(instances, self._revisions.spool_folder)

    def release(self, study_instance_uid: str, reason: str = "") -> None:
        """Let a held study go on: once nothing more arrives it is routed. What it said before a correction is not read.

        Raises: ``Misconfigured`` when it is not here or not held, or names several patients and no reason is given.
        """
        seen = self.patients(study_instance_uid)
        with self._db.transaction() as tx:
            study = self._find(tx, study_instance_uid)
            if study["state"] != "held":
                raise Misconfigured(f"study {study_instance_uid} is not held")
            if len(seen) > 1 and not reason.strip():
                differ = ", ".join(what_differs(seen))
                raise Misconfigured(
                    f"the images name {len(seen)} patients, who differ in {differ}, and would all be read as of one:"
                    " give --reason, or put it right first (wetread studies correct)"
                )
            self._set_state(tx, study, "receiving", "")
            tx.run(self._queries["hold_outdated"], {"study_id": study["id"]})
            tx.event("released", f"by {self._who}", said=reason, study_id=study["id"])

    def correct(self, study_instance_uid: str, attributes: Mapping[str, str], reason: str) -> str:
        """Put attributes of patient or order right, on top of earlier corrections; the state the study is in then.

        A complete study becomes a new revision at once and is read again; what was not sent yet is withdrawn. A held
        one stays held. Reads that wait are not begun any more: they would be of the former patient.
        Raises: ``Misconfigured``: no such study, no reason, nothing or something impossible to correct.
        """
        _check_reason(reason)
        wanted = {name: _checked(name, value) for name, value in attributes.items()}
        if not wanted:
            raise Misconfigured(f"nothing to correct: give at least one of {', '.join(CORRECTABLE)}")
        with self._db.transaction() as tx:
            study = self._find(tx, study_instance_uid)
            before = _correction(study)
            if all(getattr(before, name) == value for name, value in wanted.items()):
                raise Misconfigured(f"study {study_instance_uid} was corrected to just this before")
            after = dataclasses.replace(before, serial=before.serial + 1, **wanted)
            return self._change(tx, study, after, f"{', '.join(wanted)} by {self._who}", reason)

    def take_back(self, study_instance_uid: str, reason: str) -> str:
        """Let the instances speak again instead of all corrections; the state the study is in then.

        Raises: ``Misconfigured``: no such study, no reason, nothing corrected.
        """
        _check_reason(reason)
        with self._db.transaction() as tx:
            study = self._find(tx, study_instance_uid)
            before = _correction(study)
            if not before.corrected:
                raise Misconfigured(f"nothing of study {study_instance_uid} is corrected")
            detail = f"taken back ({', '.join(before.corrected)}) by {self._who}"
            return self._change(tx, study, Correction(before.serial + 1), detail, reason)

    def _change(self, tx: Transaction, study: Row, correction: Correction, detail: str, reason: str) -> str:
        key = {"study_id": study["id"]}
        fields = json.dumps(dataclasses.asdict(correction), ensure_ascii=False)
        tx.run(self._queries["set_correction"], {**key, "correction": fields, "now": now()})
        tx.event("corrected", detail, said=reason, study_id=study["id"])
        withdrawn = tx.run(self._queries["withdraw_all"], {**key, "why": _what_changed(correction)})
        if withdrawn:
            tx.event(
                "withdrawn",
                f"{number_of(withdrawn, 'object that says', 'objects that say')} something else of the patient",
                study_id=study["id"],
            )
        if study["state"] == "complete":
            self._set_state(tx, study, "receiving", "")
            self._revisions.close_study(tx, study["id"], evidence="person", reason=f"corrected by {self._who}")
        else:
            tx.run(self._queries["hold_outdated"], key)
        return str(self._find(tx, study["study_instance_uid"])["state"])

    def _find(self, tx: Transaction, study_instance_uid: str) -> Row:
        rows = tx.fetch(self._queries["study_by_uid"], {"study_instance_uid": study_instance_uid})
        if not rows:
            raise Misconfigured(f"no study {study_instance_uid} here; see: wetread studies list")
        return rows[0]

    def _set_state(self, tx: Transaction, study: Row, state: str, reason: str) -> None:
        fields = {"study_id": study["id"], "state": state, "reason": reason, "now": now()}
        tx.run(self._queries["set_state"], fields)


def _correction(study: Row) -> Correction:
    return Correction(**json.loads(study["correction"])) if study["correction"] else Correction(0)


def _what_changed(correction: Correction) -> str:
    if not correction.corrected:
        return "correction taken back"
    return "accession number corrected" if correction.corrected == ("accession_number",) else "patient corrected"


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise Misconfigured("a reason is needed: whoever looks at the study later must know why")


def _checked(name: str, value: str) -> str:
    """The value as DICOM writes it. Raises: ``Misconfigured`` with what was expected."""
    label, value = name.replace("_", " "), value.strip()
    if name not in CORRECTABLE:
        raise Misconfigured(f"{label} cannot be corrected; these can: {', '.join(CORRECTABLE)}")
    if "\\" in value or not value.isprintable():
        raise Misconfigured(f"{label}: backslashes and control characters cannot be written")
    if name == "birth_date":
        _check_date(value)
    elif name == "sex" and value not in ("M", "F", "O", ""):
        raise Misconfigured(f"sex: got {value!r}, expected M, F, O or nothing (PS3.3 C.7.1.1)")
    elif name == "name":
        _check_name(value)
    elif name in _LIMITS and len(value) > _LIMITS[name]:
        raise Misconfigured(f"{label}: got {len(value)} characters, at most {_LIMITS[name]} can be written")
    if name == "patient_id" and not value:
        raise Misconfigured("patient id: a study without patient ID cannot be told from others; give the right one")
    return value


def _check_date(value: str) -> None:
    problem = f"birth date: got {value!r}, expected a day as YYYYMMDD, not in the future, or nothing"
    if not value:
        return
    if not re.fullmatch(r"[0-9]{8}", value):
        raise Misconfigured(problem)
    try:
        born = date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError as exc:
        raise Misconfigured(problem) from exc
    if born > date.today():
        raise Misconfigured(problem)


def _check_name(value: str) -> None:
    groups = value.split("=")
    if len(groups) > 3 or any(len(group) > 64 or group.count("^") > 4 for group in groups):
        raise Misconfigured(
            "name: expected Family^Given^Middle^Prefix^Suffix of at most 64 characters, up to three of them joined by ="
        )
