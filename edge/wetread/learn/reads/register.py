"""The register: which reads were exported, who withdrew. It knows patients and studies by pseudonym alone."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.errors import Conflict
from wetread.learn.reads.pseudonyms import Pseudonyms
from wetread.records.numbers import number_of


@dataclass(frozen=True, slots=True)
class ExportedCase:
    """One read in an export."""

    name: str
    """Of its files, without suffix."""
    patient: str
    study: str
    study_id: int
    job_id: str


class Register:
    """Of one data folder."""

    def __init__(self, db: Database, who: str) -> None:
        """``who``: the person at the keyboard."""
        self._db, self._who = db, who
        self._queries = Queries("wetread.learn.reads")

    def pseudonyms(self) -> Pseudonyms:
        """With the key of this data folder; made at the first call, and in every backup of the database."""
        with self._db.transaction() as tx:
            for row in tx.fetch(self._queries["key"]):
                return Pseudonyms(row["key"])
            key = secrets.token_bytes(32)
            tx.run(self._queries["set_key"], {"key": key})
            return Pseudonyms(key)

    def signed_reads(self, *, route: str, since: str) -> list[Row]:
        """Live reads that a person signed and that hold, oldest signature first; ``since``: ISO 8601."""
        return self._db.fetch(self._queries["signed_reads"], {"route": route, "since": since})

    def withdrawn(self) -> frozenset[str]:
        """Pseudonyms of patients and studies that are not exported any more."""
        return frozenset(row["pseudonym"] for row in self._db.fetch(self._queries["withdrawn"]))

    def record(self, export_id: str, bundle: str, folder: str, made_at: str, cases: Sequence[ExportedCase]) -> None:
        """Take an export down, with an event for each read.

        Raises: ``Conflict`` when one of the patients or studies was withdrawn meanwhile.
        """
        about = {"id": export_id, "bundle": bundle, "folder": folder, "made_at": made_at, "made_by": self._who}
        with self._db.transaction() as tx:
            withdrawn = {row["pseudonym"] for row in tx.fetch(self._queries["withdrawn"])}
            if any({case.patient, case.study} & withdrawn for case in cases):
                raise Conflict("a patient or study was withdrawn while the export was made; nothing is left, try again")
            tx.run(self._queries["add_export"], about)
            for case in cases:
                fields = {"name": case.name, "patient": case.patient, "study": case.study}
                tx.run(self._queries["add_case"], fields | {"export_id": export_id})
                detail = f"by {self._who}, pseudonymised, for {bundle}: export {export_id}"
                tx.event("learning_exported", detail, study_id=case.study_id, job_id=case.job_id)

    def withdraw_patient(self, patient_id: str) -> list[Row]:
        """Never export the patient again; the cases in every export so far, removed ones too.

        Also those of studies that were somebody else's when they were exported, and corrected since.
        """
        names = self.pseudonyms()
        asked = {"patient_id": patient_id.strip()}
        studies = [r["study_instance_uid"] for r in self._db.fetch(self._queries["studies_of_patient"], asked)]
        also = [names.study(uid) for uid in studies]
        return self._withdraw("patient", names.patient(patient_id), also=also)

    def withdraw_study(self, study_instance_uid: str) -> list[Row]:
        """The same of one study, whether it is still here or not."""
        pseudonym = self.pseudonyms().study(study_instance_uid)
        return self._withdraw("study", pseudonym, study_instance_uid=study_instance_uid)

    def _withdraw(
        self,
        kind: Literal["patient", "study"],
        pseudonym: str,
        *,
        also: Sequence[str] = (),
        study_instance_uid: str = "",
    ) -> list[Row]:
        with self._db.transaction() as tx:
            fields = {"pseudonym": pseudonym, "kind": kind, "now": now(), "who": self._who}
            tx.run(self._queries["withdraw"], fields)
            found = [case for one in (pseudonym, *also) for case in self._cases(tx, one)]
            cases = list({(case["export_id"], case["name"]): case for case in found}.values())
            detail = f"one {kind}, by {self._who}: {number_of(len(cases), 'exported read')}"
            tx.event("learning_withdrawn", detail, study_id=self._study_id(tx, study_instance_uid))
        return cases

    def erased(self, study: str) -> list[Row]:
        """The exported cases of a study that is erased, by its pseudonym; an event says so if there are any."""
        with self._db.transaction() as tx:
            cases = self._cases(tx, study)
            if cases:
                tx.event("learning_erased", f"the exported copies of one erased study: {number_of(len(cases), 'read')}")
        return cases

    def removed(self, export_id: str, name: str) -> None:
        """The files of a case are gone."""
        with self._db.transaction() as tx:
            tx.run(self._queries["case_removed"], {"export_id": export_id, "name": name, "now": now()})

    def exports(self) -> list[Row]:
        """All of them, oldest first, with the number of cases, patients and removed cases."""
        return self._db.fetch(self._queries["exports"])

    def _cases(self, tx: Transaction, pseudonym: str) -> list[Row]:
        return tx.fetch(self._queries["cases_of"], {"pseudonym": pseudonym})

    def _study_id(self, tx: Transaction, study_instance_uid: str) -> int | None:
        rows = tx.fetch(self._queries["study_id"], {"study_instance_uid": study_instance_uid})
        return int(rows[0]["id"]) if rows else None
