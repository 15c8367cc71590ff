"""An edge over real HTTP on loopback, as ``packaging/docs/API.md`` says, with faults that a test can switch on.

Reviews follow the rules of ``wetread/review/decisions.py``. Nothing is read: a test says how far a job is.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import ssl
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fake_edge_http import TOKEN, Document, Handler, Refusal, with_closed
from wetread.review.decisions import Decision, DecisionRefused, Review, decide, opened, sign

__all__ = ["TOKEN", "Document", "FakeEdge", "FakeJob", "Refusal"]


@dataclass
class FakeJob:
    """One read."""

    job_id: str
    study_instance_uid: str
    bundle: str
    result: Document | None = None
    labels: bytes = b""
    heatmaps: dict[str, bytes] = field(default_factory=dict)
    progress: list[Document] = field(default_factory=list)
    review: Review = field(default_factory=lambda: Review(()))
    decisions: dict[str, Decision] = field(default_factory=dict)
    holder: str = ""
    signed: Document | None = None
    superseded: bool = False
    outside: bool = False
    """Asked for outside the intended use."""
    finished_at: str = "2026-11-22T07:42:00Z"

    @property
    def state(self) -> str:
        return str(self.progress[-1]["state"]) if self.progress else "waiting"


class FakeEdge:
    """Start, use, stop; ``down`` and ``up`` keep the address."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.studies: dict[str, Document] = {}
        self.suggestions: dict[str, list[Document]] = {}
        self.jobs: dict[str, FakeJob] = {}
        self.uploads: list[list[str]] = []
        self.calls: list[tuple[str, str]] = []
        self.readers: list[str] = []
        self.version = "1"
        self.answer_first: Callable[[str, str], Document | None] = lambda method, path: None
        """A fault: a problem document for this call instead of its answer, or none."""
        self.break_after: set[tuple[str, str]] = set()
        """Calls (method, end of the path) that are done and whose answer is lost; each once."""
        self.break_always: set[tuple[str, str]] = set()
        """The same, every time."""
        self.on_upload: Callable[[], None] = lambda: None
        self.changed = threading.Condition()
        self._tls = tls
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._connections: list[Any] = []
        self.up()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Answer, on the port of before."""
        edge = self

        class OurHandler(Handler):
            pass

        OurHandler.edge = edge
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), OurHandler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self) -> None:
        """Be gone, in the middle of whatever it is."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            with self.changed:
                for connection in self._connections:
                    with_closed(connection)
                self._connections.clear()
                self.changed.notify_all()

    def add_study(self, study: Document, suggestions: list[Document]) -> None:
        self.studies[study["study_instance_uid"]] = study
        self.suggestions[study["study_instance_uid"]] = suggestions

    def add_job(self, job: FakeJob) -> FakeJob:
        if job.result is not None:
            job.review = opened(f["tracking_uid"] for f in job.result["findings"])
        self.jobs[job.job_id] = job
        for suggestion in self.suggestions.get(job.study_instance_uid, ()):
            if suggestion["bundle"] == job.bundle:
                suggestion["latest_job"] = job.job_id
        return job

    def tell(self, job: FakeJob, **progress: Any) -> None:
        """The read is so far now."""
        whole = {"stage": "", "percent": None, "queue_place": None, "eta_s": None, "reason": ""} | progress
        with self.changed:
            job.progress.append(whole)
            self.changed.notify_all()

    # --- Answers ---

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Document | list[Any] | bytes]:
        """Status and document or bytes of one call but the stream of events."""
        for pattern, name in _ROUTES:
            match = re.fullmatch(pattern, f"{method} {path.partition('?')[0]}")
            if match:
                args = [unquote(group) for group in match.groups()]
                return getattr(self, name)(*args, body=body, headers=headers)  # type: ignore[no-any-return]
        raise Refusal(404, "not-here", f"no such call: {method} {path}")

    def get_health(self, **_: Any) -> tuple[int, Document]:
        return 200, {"state": "ok", "version": "0.1.0", "api": 1, "problems": []}

    def list_studies(self, **_: Any) -> tuple[int, Document]:
        return 200, {"studies": list(self.studies.values())}

    def get_study(self, uid: str, **_: Any) -> tuple[int, Document]:
        return 200, self._of(self.studies, uid, "study")

    def get_bundles(self, uid: str, **_: Any) -> tuple[int, list[Any]]:
        self._of(self.studies, uid, "study")
        return 200, self.suggestions[uid]

    def post_study(self, *, body: bytes, **_: Any) -> tuple[int, Document]:
        self.uploads.append(zipfile.ZipFile(io.BytesIO(body)).namelist())
        self.on_upload()
        return 202, {"studies": list(self.studies), "kept": len(self.uploads[-1]), "refused": []}

    def post_job(self, *, body: bytes, **_: Any) -> tuple[int, Document]:
        asked = json.loads(body)
        outside = asked.get("outside_intended_use", False)
        for job in self.jobs.values():
            there = (job.study_instance_uid, job.bundle, job.outside)
            if there == (asked["study_instance_uid"], asked["bundle"], outside):
                return 200, self.job_document(job)
        job = FakeJob(f"job-{len(self.jobs) + 1}", asked["study_instance_uid"], asked["bundle"], outside=outside)
        self.tell(self.add_job(job), state="waiting", queue_place=1)
        return 202, self.job_document(job)

    def get_job(self, job_id: str, **_: Any) -> tuple[int, Document]:
        return 200, self.job_document(self._job(job_id))

    def delete_job(self, job_id: str, **_: Any) -> tuple[int, Document]:
        self.tell(self._job(job_id), state="cancelled", reason="cancelled by the reader")
        return 202, {}

    def get_result(self, job_id: str, **_: Any) -> tuple[int, Document]:
        job = self._job(job_id)
        if job.result is None:
            raise Refusal(409, "no-result", f"job {job_id} has no result yet")
        status = "signed" if job.signed else "preliminary"
        more = {"job": self.job_document(job), "status": status, "outside_intended_use": job.outside}
        return 200, job.result | more

    def get_labels(self, job_id: str, **_: Any) -> tuple[int, bytes]:
        return 200, gzip.compress(self._job(job_id).labels)

    def get_heatmap(self, job_id: str, uid: str, **_: Any) -> tuple[int, bytes]:
        return 200, gzip.compress(self._of(self._job(job_id).heatmaps, uid, "heat map"))

    def get_review(self, job_id: str, **_: Any) -> tuple[int, Document]:
        return 200, self.review_document(self._job(job_id))

    def put_holder(self, job_id: str, *, body: bytes, headers: Any, **_: Any) -> tuple[int, Document]:
        job, reader = self._job(job_id), _reader(headers)
        if job.holder not in ("", reader) and not json.loads(body)["take_over"]:
            raise self._held(job)
        job.holder = reader
        return 200, {"reader": reader, "since": "2026-11-22T07:50:00Z"}

    def delete_holder(self, job_id: str, **_: Any) -> tuple[int, Document]:
        self._job(job_id).holder = ""
        return 204, {}

    def post_decisions(self, job_id: str, *, body: bytes, headers: Any, **_: Any) -> tuple[int, Document]:
        job, reader = self._job(job_id), _reader(headers)
        if job.superseded:
            raise Refusal(409, "superseded", "this study was read again")
        if job.holder != reader:
            raise self._held(job)
        review, fresh = job.review, {}
        for item in json.loads(body):
            decision = Decision(**item, reader=reader)
            if decision.id not in job.decisions:
                try:
                    review = decide(review, decision)
                except DecisionRefused as error:
                    raise Refusal(409 if error.code == "signed" else 422, error.code, str(error)) from error
                fresh[decision.id] = decision
        job.review = review
        job.decisions |= fresh
        return 200, self.review_document(job)

    def post_sign(self, job_id: str, *, body: bytes, headers: Any, **_: Any) -> tuple[int, Document]:
        job, asked = self._job(job_id), json.loads(body)
        if job.signed and job.signed["id"] == asked["id"]:
            return 201, job.signed
        if job.holder != _reader(headers):
            raise self._held(job)
        if job.superseded:
            raise Refusal(409, "superseded", "this study was read again")
        if headers["If-Match"] != f'"{job.review.version}"':
            raise Refusal(412, "review-changed", "the review changed meanwhile")
        assert job.result is not None
        assert asked["confirm"]["patient_id"] == job.result["patient"]["patient_id"]
        try:
            job.review = sign(job.review, undecided_ok=asked.get("undecided_ok", False))
        except DecisionRefused as error:
            raise Refusal(409, error.code, str(error)) from error
        job.signed = {
            "id": asked["id"],
            "sop_instance_uid": "2.25.999",
            "series_instance_uid": "2.25.998",
            "signed_at": "2026-11-22T08:00:00Z",
            "reader": asked["reader"]["name"],
            "deliveries": [{"destination": "pacs", "state": "waiting"}],
        }
        return 201, job.signed

    def job_document(self, job: FakeJob) -> Document:
        return {
            "id": job.job_id,
            "study_instance_uid": job.study_instance_uid,
            "bundle": job.bundle,
            "state": job.state,
            "code": job.progress[-1].get("code", "") if job.progress else "",
            "reason": job.progress[-1].get("reason", "") if job.progress else "",
            "finished_at": job.finished_at if job.state == "done" else None,
        }

    def review_document(self, job: FakeJob) -> Document:
        findings = [
            {"tracking_uid": f.tracking_uid, "state": f.state, "comment": f.comment, "reader": f.reader, "at": f.at}
            for f in job.review.findings
        ]
        return {
            "job_id": job.job_id,
            "state": "signed" if job.review.is_signed else "open",
            "version": job.review.version,
            "holder": {"reader": job.holder, "since": "2026-11-22T07:50:00Z"} if job.holder else None,
            "findings": findings,
            "signed": job.signed,
            "superseded": job.superseded,
        }

    def _job(self, job_id: str) -> FakeJob:
        return self._of(self.jobs, job_id, "job")  # type: ignore[no-any-return]

    def _of(self, things: dict[str, Any], key: str, what: str) -> Any:
        if key not in things:
            raise Refusal(404, "not-here", f"no {what} {key} here")
        return things[key]

    def _held(self, job: FakeJob) -> Refusal:
        holder = {"reader": job.holder, "since": "2026-11-22T07:50:00Z"}
        return Refusal(409, "held-by-another", f"{job.holder} holds the review", holder=holder)


_ROUTES = (
    (r"GET /health", "get_health"),
    (r"GET /studies", "list_studies"),
    (r"POST /studies", "post_study"),
    (r"GET /studies/([^/]+)", "get_study"),
    (r"GET /studies/([^/]+)/bundles", "get_bundles"),
    (r"POST /jobs", "post_job"),
    (r"GET /jobs/([^/]+)", "get_job"),
    (r"DELETE /jobs/([^/]+)", "delete_job"),
    (r"GET /jobs/([^/]+)/result", "get_result"),
    (r"GET /jobs/([^/]+)/labels", "get_labels"),
    (r"GET /jobs/([^/]+)/heatmaps/([^/]+)", "get_heatmap"),
    (r"GET /jobs/([^/]+)/review", "get_review"),
    (r"PUT /jobs/([^/]+)/review/holder", "put_holder"),
    (r"DELETE /jobs/([^/]+)/review/holder", "delete_holder"),
    (r"POST /jobs/([^/]+)/review/decisions", "post_decisions"),
    (r"POST /jobs/([^/]+)/sign", "post_sign"),
)


def _reader(headers: Any) -> str:
    return unquote(headers.get("Wetread-Reader", ""))
