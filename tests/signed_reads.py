"""A data folder with reads that a person signed: real spool, queue, pipeline, review and signature.

Only the model's answer is given.
"""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from conformance.cases import ENGINE
from films import chest, write_film
from phantoms import Patient, write_series
from served import Served
from wetread.bundles import Bundle
from wetread.findings.summary import described, summarize
from wetread.jobs.new_job import Chosen, NewJob, RouteDecision
from wetread.pipeline import process
from wetread.records.job import ChosenSeries, JobOutcome, JobSpec, JobState, ReadOptions
from wetread.records.output import ModelOutput
from wetread.records.study import SeriesRef, StudyRef
from wetread.review.decisions import Decision
from wetread.review.reviews import Reviews, WantedSignOff
from wetread.service.signing import Confirmed, Signing

READER, HOSPITAL = "Doe^Jane", "Hospital of Examples"


@dataclass
class Answering:
    """A model that says what it is told."""

    answer: Any
    identity = ENGINE

    def run(self, images: Any) -> ModelOutput:
        given: ModelOutput = self.answer(images) if callable(self.answer) else self.answer
        return given

    def explain(self, images: Any) -> Any:
        raise AssertionError("the bundles of these tests explain nothing")


@dataclass
class SignedReads(Served):
    """Studies come in one by one, are read by ``bundle`` and reviewed."""

    bundle: Bundle | None = None
    route: str = "chest"

    def film(self, number: int, *, patient: str, says_clean: bool = True, **more: Any) -> StudyRef:
        """Receive a film of this patient; the revision's study."""

        def name(ds: Dataset) -> None:
            ds.PatientID, ds.PatientName, ds.IssuerOfPatientID = patient, f"Secret^{patient}", "SITE-ISSUER"
            ds.OtherPatientIDs, ds.PatientAddress, ds.InstitutionName = (
                f"OTHER-{patient}",
                "Privet Drive",
                "St Elsewhere",
            )
            ds.AccessionNumber, ds.DeviceSerialNumber, ds.StationName = f"ACC-{number}", "SERIAL-77", "ROOM-12"
            ds.OperatorsName, ds.PatientComments = "Operator^Olga", "knows the mayor"
            ds.SoftwareVersions = "SOFTWARE-9"
            ds.StudyID = f"STUDYID{number}"
            ds.private_block(0x0029, "ACME SECRETS", create=True).add_new(0x10, "LO", f"private {patient}")
            if says_clean:
                ds.BurnedInAnnotation = "NO"
            for keyword, value in more.items():
                setattr(ds, keyword, value)

        upright = np.clip(chest() + np.random.default_rng(number).normal(0, 0.05, chest().shape), 0, 1)
        folder = self.folder.parent / f"film-{number}"
        path = write_film(folder, upright=upright, seed=f"film {number}", mutate=name).path
        return self._received(path)

    def series(self, number: int, *, patient: str) -> StudyRef:
        """Receive an MR series of this patient; the revision's study."""
        who = Patient(name=f"Secret^{patient}", id=patient)
        folder = self.folder.parent / f"series-{number}"
        made = write_series(folder, orientation="oblique", study_seed=f"s{number}", shape=(6, 20, 16), patient=who)
        return self._received(*made.paths)

    def read_and_sign(self, study: StudyRef, answer: Any, *actions: str, sign: bool = True) -> str:
        """Read it with ``answer`` and decide about the findings in their order; the job."""
        job_id = self._read_it(study, answer)
        reviews = Reviews(self.db)
        reviews.hold(job_id, READER)
        uids = [finding.tracking_uid for finding in reviews.get(job_id).review.findings]
        taken = [
            Decision(str(uuid.uuid4()), uid, action, None, READER, "2026-03-01T08:00:00Z")  # type: ignore[arg-type]
            for uid, action in zip(uids, actions, strict=False)
        ]
        reviews.decide(job_id, READER, taken)
        if sign:
            wanted = WantedSignOff(READER, HOSPITAL, undecided_ok=True)
            confirmed = Confirmed(study.patient.patient_id, study.study_instance_uid)
            Signing(self.db, self.folder).sign(job_id, wanted, confirmed)
        return job_id

    def _received(self, *paths: Path) -> StudyRef:
        self.receive(*paths)
        self.revisions.close_complete()
        self.clock.at += 6.0
        self.revisions.close_complete()
        (revision,) = self.revisions.unrouted()
        self._routed = revision
        return revision.study

    def _read_it(self, study: StudyRef, answer: Any) -> str:
        assert self.bundle is not None
        series = study.series[0]
        rule = self.bundle.manifest.inputs[0]
        film = series.instances[0].sop_instance_uid if rule.kind == "radiograph" else ""
        chosen = Chosen(rule.name, series.series_instance_uid, "fits", film)
        made = NewJob(
            self.route,
            "live",
            (),
            self.bundle.name,
            self.bundle.version,
            self.bundle.digest(),
            self.bundle.folder,
            (chosen,),
            uuid.uuid4().hex,
        )
        decision = RouteDecision(self.route, "read", "fits", (), (made,))
        revision = self._routed
        self.queue.enqueue(study_id=revision.study_id, revision_id=revision.revision_id, decisions=[decision])
        job = self.queue.claim()
        assert job is not None
        self.queue.finish(self._outcome_of(job.job_id, study, series, answer), data_folder=self.folder)
        return str(job.job_id)

    def _outcome_of(self, job_id: str, study: StudyRef, series: SeriesRef, answer: Any) -> JobOutcome:
        assert self.bundle is not None
        rule = self.bundle.manifest.inputs[0]
        spec = JobSpec(
            job_id,
            study,
            (ChosenSeries(rule.name, dataclasses.replace(series), "fits"),),
            self.bundle.folder,
            self.bundle.digest(),
            self.folder / "results" / job_id,
            options=ReadOptions(outside_intended_use=True),
            for_viewers=True,
        )
        read = process(spec, self.bundle, Answering(answer), progress=lambda _stage, _share: None)  # type: ignore[arg-type]
        return JobOutcome(
            job_id,
            JobState.DONE,
            results=read.results,
            findings=summarize(read.reading, read.shown),
            input=described(read.shown),
            files=read.files,
            warnings=read.warnings,
        )
