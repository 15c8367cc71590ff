"""The parts that the HTTP interface talks to, put together from the code that the commands and the coordinator use."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import asdict, dataclass
from typing import IO, Any

from wetread import __version__
from wetread.api.door import VERSION
from wetread.api.parts import Parts, SignRequest
from wetread.config import Config
from wetread.db import Database, Queries
from wetread.durable import make_folder
from wetread.errors import SpoolUnavailable, Temporary
from wetread.jobs.requests import Requests
from wetread.receive.upload import Limits, Upload, Uploader
from wetread.records.job import ReadOptions
from wetread.records.notes import Ended
from wetread.review.decisions import Decision
from wetread.review.reviews import ReviewOfJob, Reviews, WantedSignOff
from wetread.service.on_demand import OnDemand
from wetread.service.overview import Overview
from wetread.service.progress import Progress
from wetread.service.signing import Confirmed, Signing
from wetread.service.stored_images import StoredImages
from wetread.service.viewing import Viewing
from wetread.store.spool import Spool

Document = dict[str, Any]

_ARRIVES_S = 10.0
_LOOK_EVERY_S = 0.1


def make_parts(config: Config) -> Parts:
    """Everything for one data folder; the caller serves it."""
    db = Database(config.data_dir / "wetread.db")
    overview = Overview(config.data_dir)
    return Parts(
        studies=_Studies(overview, StoredImages(db, config.data_dir), OnDemand(config, db), _Arrival(config, overview)),
        jobs=_Jobs(config, db, overview),
        results=_Results(Viewing(db, config.data_dir, overview)),
        review=_Review(db, config),
        uploads=_Uploads(config),
        health=_Health(config, db),
    )


def upload_limits(config: Config) -> Limits:
    """How much one upload may be."""
    return Limits(config.api.max_upload_mb * 2**20, config.listener.max_instance_mb * 2**20)


@dataclass(frozen=True, slots=True)
class _Studies:
    overview: Overview
    images: StoredImages
    on_demand: OnDemand
    arrival: _Arrival

    def find(self, *, state: str, patient_id: str, accession_number: str, uid: str, limit: int) -> list[Document]:
        asked = {"patient_id": patient_id, "accession_number": accession_number, "uid": uid}
        return self.overview.studies(state=state, limit=limit, **asked)

    def show(self, study_instance_uid: str) -> Document:
        return self.overview.study(study_instance_uid)

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Document]:
        return self.images.of_series(study_instance_uid, series_instance_uid)

    def instance(self, study_instance_uid: str, sop_instance_uid: str) -> Any:
        return self.images.file(study_instance_uid, sop_instance_uid)

    def bundles(self, study_instance_uid: str) -> list[Document]:
        self.arrival.wait(study_instance_uid)
        return self.on_demand.bundles(study_instance_uid)


class _Jobs:
    def __init__(self, config: Config, db: Database, overview: Overview) -> None:
        self._db = db
        self._overview = overview
        self._on_demand = OnDemand(config, db)
        self._arrival = _Arrival(config, overview)
        self._progress = Progress(db, head_start_s=config.jobs.priority.head_start_s)

    def find(self, *, state: str, study: str, limit: int) -> list[Document]:
        return self._overview.jobs(state=state, study=study, limit=limit)

    def show(self, job_id: str) -> Document:
        return self._overview.job(job_id)

    def ask(
        self, study_instance_uid: str, bundle: str, *, who: str, outside_intended_use: bool
    ) -> tuple[Document, bool]:
        options = ReadOptions(outside_intended_use=outside_intended_use)
        self._arrival.wait(study_instance_uid)
        job_id, is_new = self._on_demand.ask(study_instance_uid, bundle, who=who, options=options)
        return self._overview.job(job_id), is_new

    def cancel(self, job_id: str, *, who: str) -> Document:
        if self._overview.job(job_id)["state"] != "cancelled":  # asking twice is no mistake
            Requests(self._db, who).cancel(job_id)
        return self._overview.job(job_id)

    def progress(self, job_id: str) -> Document:
        return self._progress.of(job_id)


@dataclass(frozen=True, slots=True)
class _Results:
    viewing: Viewing

    def result(self, job_id: str) -> Document:
        return self.viewing.result(job_id)

    def labels(self, job_id: str) -> Any:
        return self.viewing.file(job_id, "labels")

    def heatmap(self, job_id: str, tracking_uid: str) -> Any:
        return self.viewing.file(job_id, "heatmap", tracking_uid)

    def objects(self, job_id: str) -> list[Document]:
        return self.viewing.objects(job_id)

    def object(self, job_id: str, sop_instance_uid: str) -> Any:
        return self.viewing.object(job_id, sop_instance_uid)

    def key_images(self, job_id: str) -> list[Document]:
        return self.viewing.key_image_documents(job_id)

    def key_image(self, job_id: str, number: int) -> bytes:
        return self.viewing.key_image(job_id, number)


class _Review:
    def __init__(self, db: Database, config: Config) -> None:
        self._db = db
        self._reviews = Reviews(db)
        self._signing = Signing(db, config.data_dir, organization=config.api.organization)
        self._queries = Queries("wetread.service")

    def show(self, job_id: str) -> Document:
        return _review(self._reviews.get(job_id))

    def hold(self, job_id: str, reader: str, *, take_over: bool) -> Document:
        return _review(self._reviews.hold(job_id, reader, take_over=take_over))

    def let_go(self, job_id: str, reader: str) -> None:
        self._reviews.let_go(job_id, reader)

    def decide(self, job_id: str, reader: str, decisions: list[Decision]) -> Document:
        return _review(self._reviews.decide(job_id, reader, decisions))

    def sign(self, job_id: str, wanted: SignRequest) -> Document:
        sign_off = WantedSignOff(
            reader=wanted.reader,
            organization=wanted.organization,
            reader_id=wanted.reader_id,
            id=wanted.id,
            version=wanted.version,
            undecided_ok=wanted.undecided_ok,
        )
        review = self._signing.sign(job_id, sign_off, Confirmed(wanted.patient_id, wanted.study_instance_uid))
        signed = _review(review)["signed"]
        deliveries = [
            {"sop_instance_uid": uid, **dict(row)}
            for uid, *_ in (review.signed.reports if review.signed else ())
            for row in self._db.fetch(self._queries["deliveries_of_object"], {"sop_instance_uid": uid})
        ]
        return {**signed, "deliveries": deliveries}


@dataclass(frozen=True, slots=True)
class _UploadUnderWay:
    upload: Upload

    def take(self, name: str, body: bytes) -> None:
        self.upload.take(name, body)

    def take_zip(self, file: IO[bytes]) -> None:
        self.upload.take_zip(file)

    def end(self, *, is_whole: bool) -> None:
        ended: Ended = "released" if is_whole else "lost"
        self.upload.end(ended)

    def document(self) -> Document:
        return self.upload.document()


class _Uploads:
    def __init__(self, config: Config) -> None:
        self._spool = Spool(config.data_dir / "spool", reserve_bytes=config.spool.reserve_mb * 2**20)
        self._folder = config.data_dir / "uploads"
        self._limits = upload_limits(config)

    def begin(self, address: str, reader: str) -> _UploadUnderWay:
        self._spool.check_room()
        return _UploadUnderWay(Upload(self._spool.keep, self._spool.note, self._limits, Uploader(address, reader)))

    def scratch(self) -> IO[bytes]:
        self._spool.check_room()
        try:
            make_folder(self._folder)
            return tempfile.TemporaryFile(dir=self._folder)
        except OSError as exc:
            raise SpoolUnavailable(f"the upload cannot be written: {exc.strerror}") from exc


@dataclass(frozen=True, slots=True)
class _Health:
    config: Config
    db: Database

    def document(self) -> Document:
        problems = []
        try:
            self.db.fetch("SELECT 1")
            free_mb = shutil.disk_usage(self.config.data_dir).free // 2**20
            if free_mb < self.config.spool.reserve_mb:
                problems.append(f"{free_mb} MiB free, less than [spool] reserve_mb: nothing is received")
        except (Temporary, OSError) as exc:
            problems.append(str(exc))
        return {
            "state": "failing" if problems else "ok",
            "version": __version__,
            "api": VERSION,
            "problems": problems,
        }


class _Arrival:
    """A study that was uploaded a moment ago is complete in the next: wait for it instead of refusing."""

    def __init__(self, config: Config, overview: Overview) -> None:
        self._spool = Spool(config.data_dir / "spool")
        self._overview = overview

    def wait(self, study_instance_uid: str) -> None:
        """Until the study is complete, but not for ever, and not for one of which nothing is on its way."""
        tick = threading.Event()
        for _ in range(int(_ARRIVES_S / _LOOK_EVERY_S)):
            under_way = self._spool.has_waiting()  # asked first: what is not there afterwards is in the index
            state = self._overview.study_state(study_instance_uid)
            if state not in ("receiving", "") or (not state and not under_way):
                return
            tick.wait(_LOOK_EVERY_S)


def _review(there: ReviewOfJob) -> Document:
    signed = None
    if there.signed is not None:
        reports = there.signed.reports
        signed = {
            "id": there.signed.id,
            "reader": there.signed.reader,
            "organization": there.signed.organization,
            "signed_at": there.signed.signed_at,
            "version": there.signed.version,
            "superseded_at": there.signed.superseded_at,
            "sop_instance_uid": reports[0][0] if reports else "",
            "series_instance_uid": reports[0][1] if reports else "",
            "reports": [
                dict(zip(("sop_instance_uid", "series_instance_uid", "rendition"), r, strict=True)) for r in reports
            ],
        }
    return {
        "job_id": there.job_id,
        "state": "signed" if signed else "open",
        "version": there.review.version,
        "holder": asdict(there.holder) if there.holder else None,
        "findings": [asdict(f) for f in there.review.findings],
        "signed": signed,
        "superseded": there.is_superseded,
    }
