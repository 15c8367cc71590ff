"""A reader's program: what the desktop says to the HTTP interface of a running ``wetread serve``."""

from __future__ import annotations

import gzip
import io
import json
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt

from peers import WetreadProcess
from waiting import until

JANE, JOHN = "Doe^Jane", "Smith^John"
HOSPITAL = "Hospital of Examples"


def zipped(paths: Iterable[Path], **more: bytes) -> bytes:
    """An archive of these files, and of others by name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, path in enumerate(paths):
            archive.write(path, f"DICOM/{number:05d}")
        for name, content in more.items():
            archive.writestr(name, content)
    return packed.getvalue()


class ReadersProgram:
    """One reader at one service."""

    def __init__(self, service: WetreadProcess, reader: str = JANE, *, token: str | None = None) -> None:
        self._service = service
        self.reader = reader
        given = token if token is not None else (service.data / "api.token").read_text().strip()
        headers = {"Authorization": f"Bearer {given}", "Wetread-Reader": quote(reader)}
        self.http = httpx.Client(base_url=f"{service.api}/api/v1", headers=headers, timeout=60.0)

    def get(self, path: str, **params: Any) -> Any:
        return self.http.get(path, params=params).raise_for_status().json()

    def upload(self, paths: Iterable[Path]) -> str:
        """The one study of these files."""
        answer = self.http.post("/studies", content=zipped(paths), headers={"Content-Type": "application/zip"})
        assert answer.status_code == 202, answer.text
        (study,) = answer.json()["studies"]
        return str(study)

    def read(self, study: str, bundle: str = "threshold") -> str:
        """Press the button and wait until the read is done; the job."""
        answer = self.http.post("/jobs", json={"study_instance_uid": study, "bundle": bundle})
        assert answer.status_code in (200, 202), answer.text
        job = str(answer.json()["id"])
        last = list(self.events(job))[-1]
        assert last["state"] == "done", last
        return job

    def events(self, job: str, **headers: str) -> Iterator[dict[str, Any]]:
        with self.http.stream("GET", f"/jobs/{job}/events", headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def result(self, job: str) -> Any:
        return self.get(f"/jobs/{job}/result")

    def labels(self, job: str) -> npt.NDArray[np.uint8]:
        shape = self.result(job)["labels"]["shape"]
        packed = self.http.get(f"/jobs/{job}/labels").raise_for_status().content
        return np.frombuffer(gzip.decompress(packed), np.uint8).reshape(shape)

    def never_sent(self, job: str, signed_uid: str, folder: Path) -> list[Path]:
        """What a signed report followed, of its rendition: report and segmentation that nobody had reviewed."""
        objects = self.get(f"/jobs/{job}/objects")
        (rendition,) = (o["rendition"] for o in objects if o["sop_instance_uid"] == signed_uid)
        paths = []
        for found in objects:
            if not found["signed"] and found["kind"] in ("SEG", "SR") and found["rendition"] == rendition:
                path = folder / f"not-reviewed-{found['kind']}.dcm"
                path.write_bytes(self.http.get(f"/jobs/{job}/objects/{found['sop_instance_uid']}").content)
                paths.append(path)
        return paths

    def heatmap(self, job: str, tracking_uid: str) -> npt.NDArray[np.uint8]:
        """Of a film, as it is stored."""
        shape = self.result(job)["input"]["shape"]
        packed = self.http.get(f"/jobs/{job}/heatmaps/{tracking_uid}").raise_for_status().content
        return np.frombuffer(gzip.decompress(packed), np.uint8).reshape(shape)

    def hold(self, job: str, *, take_over: bool = False) -> httpx.Response:
        return self.http.put(f"/jobs/{job}/review/holder", json={"take_over": take_over})

    def decide(self, job: str, *decisions: dict[str, Any]) -> httpx.Response:
        return self.http.post(f"/jobs/{job}/review/decisions", json=list(decisions))

    def sign(self, job: str, **changed: Any) -> httpx.Response:
        """With the version and the patient that are shown now."""
        result, review = self.result(job), self.get(f"/jobs/{job}/review")
        body = {
            "reader": {"name": self.reader, "organization": HOSPITAL, "id": "42"},
            "confirm": {
                "patient_id": result["patient"]["patient_id"],
                "study_instance_uid": result["study_instance_uid"],
            },
        }
        headers = {"If-Match": f'"{review["version"]}"'} | changed.pop("headers", {})
        return self.http.post(f"/jobs/{job}/sign", json=body | changed, headers=headers)

    def wait_for_job(self, study: str, *, of_route: str) -> str:
        """The done job of a route."""

        def done() -> list[Any]:
            return [j for j in self.get("/jobs", study=study) if j["route"] == of_route and j["state"] == "done"]

        return str(until(done, timeout_s=120, what=f"a read of route {of_route} is done")[0]["id"])


def decision(tracking_uid: str, action: str, comment: str | None = None, **more: str) -> dict[str, Any]:
    """One decision as a client makes it."""
    made = {"id": str(uuid.uuid4()), "tracking_uid": tracking_uid, "action": action, "at": "2026-03-01T08:00:00Z"}
    return made | ({} if comment is None else {"comment": comment}) | more
