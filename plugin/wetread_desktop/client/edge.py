"""The edge, call by call (``packaging/docs/API.md``); answers are read strictly. Every call may take seconds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlencode

from wetread_desktop.client.errors import AnswerInvalid
from wetread_desktop.client.fields import Fields, parse
from wetread_desktop.client.http import Answer, EdgeAddress, Http
from wetread_desktop.client.jobs import Job
from wetread_desktop.client.results import Result
from wetread_desktop.client.reviews import ReviewDocument, Signed
from wetread_desktop.client.studies import Study, StudyLine, Suggestion, sentences
from wetread_desktop.host import LabelVolume

T = TypeVar("T")

_LARGEST_LABELS = 1 << 30
"""Bytes of a packed label map."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the edge is."""

    state: str
    """``ok``, ``starting``, ``draining`` or ``failing``."""
    version: str
    problems: tuple[str, ...]

    @classmethod
    def read(cls, fields: Fields) -> Health:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.text("state"), fields.text("version", ""), sentences(fields, "problems"))


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of files that were sent."""

    studies: tuple[str, ...]
    kept: int
    refused: tuple[str, ...]
    """Why a file was not kept: a sentence each."""

    @classmethod
    def read(cls, fields: Fields) -> Uploaded:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.texts("studies"), fields.integer("kept"), fields.objects("refused", _refused))


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs."""

    name: str
    """DICOM PN."""
    organization: str
    id: str = ""
    """What the organization calls this person."""


class Edge:
    """One edge. May be used by several threads at a time."""

    def __init__(self, address: EdgeAddress, *, timeout_s: float = 10.0) -> None:
        """``timeout_s``: how long the edge may be silent. Raises: ``AddressInvalid``, ``CertificateRefused``."""
        self.http = Http(address, timeout_s=timeout_s)
        self._timeout_s = timeout_s

    def as_reader(self, name: str) -> Edge:
        """The same edge, asked by this reader (DICOM PN)."""
        if name == self.address.reader:
            return self
        return Edge(replace(self.address, reader=name), timeout_s=self._timeout_s)

    @property
    def address(self) -> EdgeAddress:
        """Where it is, and who asks."""
        return self.http.address

    def health(self) -> Health:
        """How it is; needs no token."""
        return Health.read(self.http.call("GET", "/health", again=False).fields("health"))

    def studies(self, *, limit: int = 50, **asked: str) -> tuple[StudyLine, ...]:
        """The latest studies. ``asked``: ``patient_id``, ``accession_number``, ``study_instance_uid``, ``state``."""
        query = urlencode({"limit": limit} | {key: value for key, value in asked.items() if value})
        return _listed(self.http.call("GET", f"/studies?{query}"), "studies", StudyLine.read)

    def study(self, study_instance_uid: str) -> Study:
        """One study. Raises: ``NotHere``."""
        return Study.read(self.http.call("GET", f"/studies/{_part(study_instance_uid)}").fields("study"))

    def suggestions(self, study_instance_uid: str) -> tuple[Suggestion, ...]:
        """Bundles beside this study, those that fit first. Raises: ``NotHere``."""
        answer = self.http.call("GET", f"/studies/{_part(study_instance_uid)}/bundles")
        return _listed(answer, "bundles", Suggestion.read)

    def upload(self, stream: BinaryIO, length: int) -> Uploaded:
        """Send a zip archive of DICOM files."""
        return Uploaded.read(self.http.send("/studies", stream, length, "application/zip").fields("upload"))

    def submit(self, study_instance_uid: str, bundle: str, *, outside_intended_use: bool = False) -> Job:
        """Have a study read; the job that does it already, where there is one."""
        asked = {"study_instance_uid": study_instance_uid, "bundle": bundle}
        body = asked | ({"outside_intended_use": True} if outside_intended_use else {})
        return Job.read(self._send("POST", "/jobs", body).fields("job"))

    def job(self, job_id: str) -> Job:
        """One job. Raises: ``NotHere``."""
        return Job.read(self.http.call("GET", f"/jobs/{_part(job_id)}").fields("job"))

    def cancel(self, job_id: str) -> None:
        """End a read."""
        self.http.call("DELETE", f"/jobs/{_part(job_id)}")

    def result(self, job_id: str) -> Result:
        """What was found. Raises: ``Conflict`` while there is none; ``AnswerInvalid`` when it is of another job."""
        result = Result.read(self.http.call("GET", f"/jobs/{_part(job_id)}/result").fields("result"))
        if result.job.job_id != job_id:
            raise AnswerInvalid(f"asked for the result of job {job_id} and got that of {result.job.job_id}")
        return result

    def labels(self, result: Result) -> LabelVolume | None:
        """The label map; ``None`` when the read made none."""
        if result.labels is None:
            return None
        return self._volume(result, "labels", result.labels.shape, result.labels.affine)

    def heatmap(self, result: Result, tracking_uid: str) -> LabelVolume:
        """Why a finding was scored as it was. Raises: ``NotHere``."""
        grid = result.labels or result.input
        return self._volume(result, f"heatmaps/{_part(tracking_uid)}", grid.shape, grid.affine)

    def review(self, job_id: str) -> ReviewDocument:
        """What was decided so far."""
        return self._review(self.http.call("GET", f"/jobs/{_part(job_id)}/review"), job_id)

    def hold(self, job_id: str, *, take_over: bool = False) -> ReviewDocument:
        """Become the one who reviews this. Raises: ``HeldByAnother``."""
        self._send("PUT", f"/jobs/{_part(job_id)}/review/holder", {"take_over": take_over})
        return self.review(job_id)

    def let_go(self, job_id: str) -> None:
        """Hold the review no longer."""
        self.http.call("DELETE", f"/jobs/{_part(job_id)}/review/holder")

    def decide(self, job_id: str, decisions: Iterable[dict[str, Any]]) -> ReviewDocument:
        """Send decisions; those it has already change nothing."""
        return self._review(self._send("POST", f"/jobs/{_part(job_id)}/review/decisions", list(decisions)), job_id)

    def sign(self, result: Result, version: int, signer: Signer, sign_off_id: str, *, undecided_ok: bool) -> Signed:
        """Sign the review as it was shown. ``sign_off_id``: a UUID; the same one twice is one sign-off.

        Raises: ``ChangedMeanwhile``, ``HeldByAnother``, ``Conflict``.
        """
        body = {
            "reader": {"name": signer.name, "organization": signer.organization, "id": signer.id},
            "confirm": {"patient_id": result.patient.patient_id, "study_instance_uid": result.study_instance_uid},
            "undecided_ok": undecided_ok,
            "id": sign_off_id,
        }
        path, headers = f"/jobs/{_part(result.job.job_id)}/sign", {"If-Match": f'"{version}"'}
        return Signed.read(self._send("POST", path, body, headers).fields("signature"))

    def _volume(
        self, result: Result, what: str, shape: tuple[int, int, int], affine: tuple[tuple[float, ...], ...]
    ) -> LabelVolume:
        path = f"/jobs/{_part(result.job.job_id)}/{what}"
        answer = self.http.call("GET", path, largest=_LARGEST_LABELS)
        uids = result.input.sop_instance_uids if shape == result.input.shape else ()
        voxels = shape[0] * shape[1] * shape[2]
        return LabelVolume(
            _unpacked(answer.body, voxels, what), shape, affine, result.input.frame_of_reference_uid, uids
        )

    def _review(self, answer: Answer, job_id: str) -> ReviewDocument:
        review = ReviewDocument.read(answer.fields("review"))
        if review.job_id != job_id:
            raise AnswerInvalid(f"asked for the review of job {job_id} and got that of {review.job_id}")
        return review

    def _send(self, method: str, path: str, document: Any, headers: dict[str, str] | None = None) -> Answer:
        body = json.dumps(document, ensure_ascii=False).encode()
        sent = {"Content-Type": "application/json"} | (headers or {})
        return self.http.call(method, path, body=body, headers=sent)


def _listed(answer: Answer, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
    """A list, bare or under its name."""
    document = parse(answer.body, key)
    if isinstance(document, list):
        document = {key: document}
    return Fields(document, key).objects(key, read)


def _unpacked(body: bytes, length: int, what: str) -> bytes:
    """Exactly so many bytes out of a gzip stream."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        values = unpacker.decompress(body, length + 1)
    except zlib.error as exc:
        raise AnswerInvalid(f"{what}: expected gzip: {exc}") from exc
    if len(values) != length or not unpacker.eof:
        raise AnswerInvalid(f"{what}: expected {length} voxels, got {'more' if len(values) > length else 'fewer'}")
    return values


def _part(value: str) -> str:
    return quote(value, safe="")


def _refused(fields: Fields) -> str:
    return f"{fields.text('name', '')}: {fields.text('reason', '')}"
