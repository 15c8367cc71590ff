"""A data folder as ``wetread serve`` leaves it, made by the stages' own code, without network and model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pydicom

from phantoms import write_series
from stored import Stored
from wetread.deliver.delivery import Delivery
from wetread.deliver.destination import Destination, DestinationSettings, open_destination
from wetread.deliver.pace import DeliverySettings, Pace
from wetread.durable import write_atomically
from wetread.jobs.new_job import Chosen, NewJob, RouteDecision
from wetread.jobs.queue import Queue, RetrySettings
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import EncodedResult


@dataclass
class Served(Stored):
    """One data folder: studies come in, are read (one made-up result object each) and go to the folder ``out``."""

    def __post_init__(self) -> None:
        self._outcome: JobOutcome | None = None
        self.open()

    def open(self) -> None:
        super().open()
        self.queue = Queue(self.db, RetrySettings(max_attempts=3, first_delay_s=0.0), owner="test")
        self.out = self.folder.parent / "out"
        self.delivery = Delivery(
            "out",
            self.destination(),
            db=self.db,
            data_folder=self.folder,
            pace=Pace(DeliverySettings(first_delay_s=0.0, stale_after_h=0.0)),
        )

    def destination(self) -> Destination:
        """The folder ``out`` beside the data folder."""
        return open_destination(DestinationSettings("out", "folder", path=str(self.out)), None)

    def images(self, seed: str, count: int = 3) -> list[Path]:
        """The files of one study."""
        return list(write_series(self.folder.parent / f"images-{seed}", study_seed=seed, shape=(count, 16, 16)).paths)

    def complete(self) -> None:
        """Let the quiet time pass and route what is new: one read of everything."""
        self.revisions.close_complete()  # notices what a start found; the quiet time runs from here
        self.clock.at += 6.0
        self.revisions.close_complete()
        for revision in self.revisions.unrouted():
            series = revision.study.series[0].series_instance_uid
            digest = hashlib.sha256(str(revision.revision_id).encode()).hexdigest()
            job = NewJob("r", "live", ("out",), "b", "1", "bd", Path("/b"), (Chosen("image", series, "fits"),), digest)
            decision = RouteDecision("r", "read", "fits", (), (job,))
            self.queue.enqueue(study_id=revision.study_id, revision_id=revision.revision_id, decisions=[decision])

    def read(self, state: JobState = JobState.DONE) -> None:
        """Finish every waiting job; a done one leaves a result file. What could not be recorded is recorded first."""
        while True:
            if self._outcome is None:
                job = self.queue.claim()
                if job is None:
                    return
                self._outcome = self._read(job.job_id, state)
            self.queue.finish(self._outcome, data_folder=self.folder)
            self._outcome = None

    def deliver(self) -> int:
        """Empty the outbox; how many files are at the destination."""
        while self.delivery.deliver_due():
            pass
        return sum(1 for path in self.out.rglob("*") if path.is_file())

    def whole_way(self, seed: str) -> list[Path]:
        """One study received, read and delivered."""
        paths = self.images(seed)
        self.receive(*paths)
        self.complete()
        self.read()
        self.deliver()
        return paths

    def age(self, days: float) -> None:
        """Everything happened ``days`` earlier."""
        shift = {"by": f"-{days * 86400} seconds"}
        moved = "strftime('%Y-%m-%dT%H:%M:%f+00:00', {column}, :by)"
        with self.db.transaction() as tx:
            for table, column in (("studies", "updated_at"), ("jobs", "finished_at"), ("events", "at")):
                tx.run(f"UPDATE {table} SET {column} = {moved.format(column=column)}", shift)  # noqa: S608 (literals)

    def states(self) -> list[str]:
        return [r["state"] for r in self.db.fetch("SELECT state FROM study_status ORDER BY id")]

    def actions(self) -> list[str]:
        return [r["action"] for r in self.db.fetch("SELECT action FROM events ORDER BY id")]

    def source_files(self) -> int:
        return sum(1 for _ in self.spool.studies.rglob("*.dcm"))

    def result_files(self) -> int:
        return sum(1 for path in (self.folder / "results").rglob("*") if path.is_file())

    def _read(self, job_id: str, state: JobState) -> JobOutcome:
        try:
            results = (self._result(job_id),) if state is JobState.DONE else ()
        except OSError as exc:
            return JobOutcome(job_id, JobState.WAITING, code="spool-unavailable", reason=str(exc))
        return JobOutcome(job_id, state, results=results, reason="made up")

    def _result(self, job_id: str) -> EncodedResult:
        path = self.folder / "results" / job_id / "1" / "sr.dcm"
        result = pydicom.dcmread(next(iter(sorted(self.spool.studies.rglob("*.dcm")))))  # any Part 10 file serves
        uid = result.SOPInstanceUID = result.file_meta.MediaStorageSOPInstanceUID = f"2.25.{int(job_id, 16)}"
        write_atomically(path, result.save_as)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return EncodedResult("SR", "1.2.840.10008.5.1.4.1.1.88.33", uid, "2.25.7", "1.2.840.10008.1.2.1", path, digest)
