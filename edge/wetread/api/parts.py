"""What the interface talks to; ``service`` hands it in. Documents are JSON, with the names of the commands' ``--json``.

Every method may be called from several threads at one time. Errors are those of ``wetread.errors``: ``NotHere`` (404),
``Conflict`` (409), ``ReviewChanged`` (412), ``UploadTooLarge`` (413), ``NotPossible`` and other refusals (422),
``Temporary`` (503).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from wetread.review.decisions import Decision

Document = dict[str, Any]


class Studies(Protocol):
    """What came in."""

    def find(self, *, state: str, patient_id: str, accession_number: str, uid: str, limit: int) -> list[Document]:
        """The latest studies."""
        ...

    def show(self, study_instance_uid: str) -> Document:
        """One study with everything about it."""
        ...

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Document]:
        """The instances of a series, in slice order."""
        ...

    def instance(self, study_instance_uid: str, sop_instance_uid: str) -> Path:
        """The file of one instance."""
        ...

    def bundles(self, study_instance_uid: str) -> list[Document]:
        """Every bundle, whether it fits, and why."""
        ...


class Jobs(Protocol):
    """Reads."""

    def find(self, *, state: str, study: str, limit: int) -> list[Document]:
        """The latest jobs."""
        ...

    def show(self, job_id: str) -> Document:
        """One job."""
        ...

    def ask(
        self, study_instance_uid: str, bundle: str, *, who: str, outside_intended_use: bool
    ) -> tuple[Document, bool]:
        """Have a study read: the job, and whether it has to be done."""
        ...

    def cancel(self, job_id: str, *, who: str) -> Document:
        """End a read; the job."""
        ...

    def progress(self, job_id: str) -> Document:
        """``state, stage, percent, queue_place, eta_s, code, reason``."""
        ...


class Results(Protocol):
    """What reads found."""

    def result(self, job_id: str) -> Document:
        """The result document."""
        ...

    def labels(self, job_id: str) -> Path:
        """The label map, gzip."""
        ...

    def heatmap(self, job_id: str, tracking_uid: str) -> Path:
        """A heat map, gzip."""
        ...

    def objects(self, job_id: str) -> list[Document]:
        """The DICOM objects."""
        ...

    def object(self, job_id: str, sop_instance_uid: str) -> Path:
        """The file of one object."""
        ...

    def key_images(self, job_id: str) -> list[Document]:
        """The pictures."""
        ...

    def key_image(self, job_id: str, number: int) -> bytes:
        """One picture, PNG."""
        ...


@dataclass(frozen=True, slots=True)
class SignRequest:
    """What a reader signs."""

    reader: str
    organization: str
    reader_id: str
    patient_id: str
    study_instance_uid: str
    id: str
    version: int | None
    undecided_ok: bool


class Review(Protocol):
    """What readers decide."""

    def show(self, job_id: str) -> Document:
        """The review of a read."""
        ...

    def hold(self, job_id: str, reader: str, *, take_over: bool) -> Document:
        """Let this reader decide."""
        ...

    def let_go(self, job_id: str, reader: str) -> None:
        """Let others decide."""
        ...

    def decide(self, job_id: str, reader: str, decisions: list[Decision]) -> Document:
        """Take decisions down."""
        ...

    def sign(self, job_id: str, wanted: SignRequest) -> Document:
        """Sign: ``sop_instance_uid, series_instance_uid, signed_at, deliveries``."""
        ...


class Upload(Protocol):
    """One upload under way."""

    def take(self, name: str, body: bytes) -> None:
        """Keep one file."""
        ...

    def take_zip(self, file: IO[bytes]) -> None:
        """Keep what is in an archive."""
        ...

    def end(self, *, is_whole: bool) -> None:
        """Nothing more comes."""
        ...

    def document(self) -> Document:
        """``studies, kept, refused``."""
        ...


class Uploads(Protocol):
    """The entrance."""

    def begin(self, address: str, reader: str) -> Upload:
        """A new upload. Raises: ``SpoolUnavailable`` when there is no room."""
        ...

    def scratch(self) -> IO[bytes]:
        """Room on the spool's disk for an archive; gone when it is closed, however that happens.

        Raises: ``SpoolUnavailable`` when there is none.
        """
        ...


class Health(Protocol):
    """How the service is."""

    def document(self) -> Document:
        """``state, version, api, problems``; no patient data."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """All of it."""

    studies: Studies
    jobs: Jobs
    results: Results
    review: Review
    uploads: Uploads
    health: Health
