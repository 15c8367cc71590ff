"""An outbox with results in it, a clock that can be moved, and destinations that do what a test says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from wetread.db import Database, Row
from wetread.deliver.delivery import Delivery, DeliveryPolicy
from wetread.deliver.destination import Answer, Archive, Commitment, Negotiator, Outcome, StudyIdentity
from wetread.deliver.pace import Clock, DeliverySettings, Pace
from wetread.dimse.commitment import CommitmentReport
from wetread.records.study import Patient, StudyRef
from wetread.store.attributes import study_to_json

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
PATIENT = Patient("P1", "HOSPITAL", "Muster^Anna", "19700131", "F")


class Hours:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.start = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
        self.passed_s = 0.0
        self.set_back_s = 0.0

    def utc(self) -> datetime:
        return self.start + timedelta(seconds=self.passed_s - self.set_back_s)

    def monotonic(self) -> float:
        return self.passed_s

    @property
    def clock(self) -> Clock:
        return Clock(self.utc, self.monotonic)


@dataclass
class Peer:
    """A destination that answers as ``answer`` says; what it took stays in ``has``."""

    answer: Callable[[str], Answer] = lambda _uid: Answer(Outcome.TAKEN)
    archive: Archive | None = None
    commitment: Commitment | None = None
    negotiator: Negotiator | None = None
    proof: Literal["status", "digest"] = "status"
    has: list[str] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    bytes_of: dict[str, set[str]] = field(default_factory=dict)

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        self.calls.append([path.stem for path in paths])
        answers: list[Answer] = []
        for path in paths:
            failed = any(a.outcome is Outcome.FAILED for a in answers)
            answers.append(Answer(Outcome.FAILED, "waits") if failed else self.answer(path.stem))
            if answers[-1].accepted:
                self.has.append(path.stem)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                self.bytes_of.setdefault(path.stem, set()).add(digest)
        return answers


@dataclass
class Memory:
    """An archive that says what a test put there."""

    known: dict[str, tuple[StudyIdentity, ...]] = field(default_factory=dict)
    holds: set[str] = field(default_factory=set)
    failure: Exception | None = None
    asked: int = 0

    def study(self, study_instance_uid: str) -> tuple[StudyIdentity, ...]:
        self.asked += 1
        if self.failure:
            raise self.failure
        return self.known.get(study_instance_uid, ())

    def instances(self, _study_instance_uid: str, _series_instance_uid: str) -> frozenset[str]:
        self.asked += 1
        if self.failure:
            raise self.failure
        return frozenset(self.holds)


@dataclass
class Committing:
    """Storage commitment that answers as ``answer`` says."""

    answer: Callable[[str, list[str]], CommitmentReport | None] = lambda _transaction, _uids: None
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def ask(self, transaction_uid: str, instances: Sequence[tuple[str, str]]) -> CommitmentReport | None:
        uids = [uid for _, uid in instances]
        self.asked.append((transaction_uid, uids))
        return self.answer(transaction_uid, uids)


class Bed:
    """A data folder with a database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = Database(folder / "wetread.db")
        self.hours = Hours()
        self._count = 0

    def add_study(
        self,
        *uids: str,
        destinations: Sequence[str] = ("pacs",),
        patient: Patient = PATIENT,
        sop_classes: Sequence[str] = (),
    ) -> str:
        """One study with one finished job whose results are these objects; its Study Instance UID."""
        self._count += 1
        n = self._count
        fields = {"n": n, "uid": f"1.2.{n}", "job": f"job{n}", "now": self.hours.clock.stamp()}
        with self.db.transaction() as tx:
            tx.run(
                "INSERT INTO studies (id, study_instance_uid, folder, attributes, state, created_at, updated_at,"
                " last_instance_at) VALUES (:n, :uid, :uid, :attributes, 'complete', :now, :now, :now)",
                {**fields, "attributes": _attributes(fields["uid"], patient)},
            )
            tx.run(
                "INSERT INTO revisions (id, study_id, number, digest, reason, created_at, routed_at)"
                " VALUES (:n, :n, 1, 'd', 'quiet', :now, :now)",
                fields,
            )
            tx.run(
                "INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version,"
                " bundle_digest, bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)"
                " VALUES (:job, :n, :n, 'r', 'live', '[]', 'b', '1', 'd', '/', '[]', 'x', '', 'done', :now, :now)",
                fields,
            )
        for position, uid in enumerate(uids):
            sop_class = sop_classes[position] if sop_classes else SECONDARY_CAPTURE
            path = self._write(f"1.2.{n}", uid, sop_class, patient)
            self.add_result(f"job{n}", uid, path, position, destinations=destinations, sop_class=sop_class)
        return f"1.2.{n}"

    def add_result(
        self,
        job_id: str,
        uid: str,
        path: Path,
        position: int,
        *,
        destinations: Sequence[str] = ("pacs",),
        sop_class: str = SECONDARY_CAPTURE,
    ) -> None:
        """One more committed object of a job."""
        fields = {
            "uid": uid,
            "job": job_id,
            "position": position,
            "sop_class": sop_class,
            "path": path.relative_to(self.folder).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        with self.db.transaction() as tx:
            tx.run(
                "INSERT INTO results (sop_instance_uid, job_id, position, kind, sop_class_uid, series_instance_uid,"
                " transfer_syntax_uid, path, sha256) VALUES (:uid, :job, :position, 'SC', :sop_class, '1.2.9', '1',"
                " :path, :sha256)",
                fields,
            )
            for destination in destinations:
                tx.run(
                    "INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at)"
                    " VALUES (:job, :uid, :destination, 'pending', :now)",
                    {"job": job_id, "uid": uid, "destination": destination, "now": self.hours.clock.stamp()},
                )

    def delivery(
        self,
        destination: Any,
        *,
        name: str = "pacs",
        policy: DeliveryPolicy | None = None,
        jitter: Callable[[], float] = lambda: 0.0,
        witnesses: Mapping[str, Any] | None = None,
        **settings: float,
    ) -> Delivery:
        """The delivery to a destination, with this bed's clock; nothing is stale unless a test asks for it."""
        pace = Pace(DeliverySettings(**{"stale_after_h": 0.0, **settings}), self.hours.clock, jitter)
        return Delivery(
            name,
            destination,
            db=self.db,
            data_folder=self.folder,
            pace=pace,
            policy=policy or DeliveryPolicy(),
            witnesses=witnesses or {},
        )

    def row(self, uid: str, destination: str = "pacs") -> Row:
        """The outbox's row of one object."""
        key = {"uid": uid, "destination": destination}
        (row,) = self.db.fetch("SELECT * FROM outbox WHERE sop_instance_uid = :uid AND destination = :destination", key)
        return row

    def states(self, destination: str = "pacs") -> list[str]:
        """The states of all rows of a destination, in order."""
        key = {"destination": destination}
        return [
            r["state"]
            for r in self.db.fetch("SELECT state FROM outbox WHERE destination = :destination ORDER BY id", key)
        ]

    def events(self, action: str) -> list[str]:
        """Details of the events of one kind."""
        rows = self.db.fetch("SELECT detail FROM events WHERE action = :action ORDER BY id", {"action": action})
        return [row["detail"] for row in rows]

    def _write(self, study_uid: str, uid: str, sop_class: str, patient: Patient) -> Path:
        path = self.folder / "results" / f"{uid}.dcm"
        path.parent.mkdir(exist_ok=True)
        write_object(path, study_uid, uid, sop_class=sop_class, patient=patient)
        return path


def write_object(
    path: Path, study_uid: str, uid: str, *, sop_class: str = SECONDARY_CAPTURE, patient: Patient = PATIENT
) -> None:
    """A small Part 10 file: headers enough to be sent, stored and found."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.StudyInstanceUID = study_uid
    ds.SeriesInstanceUID = "1.2.9"
    ds.Modality = "OT"
    ds.PatientID = patient.patient_id
    ds.IssuerOfPatientID = patient.issuer
    ds.PatientName = patient.name
    ds.PatientBirthDate = patient.birth_date
    ds.PatientSex = patient.sex
    ds.AccessionNumber = "A1"
    ds.save_as(path, enforce_file_format=True)


def _attributes(study_instance_uid: str, patient: Patient) -> str:
    return study_to_json(StudyRef(study_instance_uid, patient, (), accession_number="A1"))
