"""What a reader's program shows of a read: findings with places, label map, pictures, objects. Changes nothing."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.bundles import load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.db import Database, Queries, Row
from wetread.errors import Conflict, Misconfigured, NotHere
from wetread.jobs.committing import committed_results
from wetread.records.numbers import number_of
from wetread.records.result import EncodedResult
from wetread.service.overview import Overview

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeyImage:
    """A picture with outlines, and where it belongs."""

    path: Path
    slice_number: int
    sop_instance_uid: str
    """Of the source image."""


class Viewing:
    """Results of one data folder."""

    def __init__(self, db: Database, data_folder: Path, overview: Overview) -> None:
        self._db = db
        self._data_folder = data_folder
        self._overview = overview
        self._queries = Queries("wetread.service")
        self._jobs = Queries("wetread.jobs")

    def result(self, job_id: str) -> Document:
        """The result document (packaging/docs/API.md). Raises: ``NotHere``; ``Conflict`` while there is none."""
        row = self.done(job_id)
        read = self._overview.job(job_id)
        attributes = json.loads(row["attributes"])
        image = self._input(job_id)
        files = self._files(job_id)
        signed = self._db.fetch(self._queries["sign_off"], {"job_id": job_id})
        return {
            "job": {key: value for key, value in read.items() if not isinstance(value, list | dict)},
            "read": read,
            "status": "signed" if signed else "preliminary",
            "outside_intended_use": bool(json.loads(row["options"]).get("outside_intended_use")),
            "superseded_by": row["superseded_by"],
            "superseded": bool(row["superseded_at"]),
            "patient": attributes["patient"],
            "accession_number": attributes["accession_number"],
            "study_instance_uid": row["study_instance_uid"],
            "input": image,
            "findings": [
                _finding(f, heatmaps={name for kind, name in files if kind == "heatmap"}) for f in read["findings"]
            ],
            "labels": _labels(image) if image and ("labels", "") in files else None,
            "notes": list(read["warnings"]),
            "bundle": _bundle(row),
        }

    def file(self, job_id: str, kind: str, name: str = "") -> Path:
        """What the read left for viewers. Raises: ``NotHere``; ``Conflict`` also when it is not what was committed."""
        self.done(job_id)
        what = {"labels": "label map", "heatmap": f"heat map of finding {name}"}[kind]
        path, sha256 = self._files(job_id).get((kind, name), (None, ""))
        if path is None or not path.is_file():
            raise NotHere(f"job {job_id} has no {what}")
        if file_sha256(path) != sha256:
            raise Conflict(f"the {what} of job {job_id} is not what was committed; it is not shown")
        return path

    def objects(self, job_id: str) -> list[Document]:
        """The DICOM objects, those a person signed last, each with how far it got."""
        self.done(job_id)
        return [self._object(r, is_signed=s) for r, s in self._results(job_id)]

    def object(self, job_id: str, sop_instance_uid: str) -> Path:
        """The file of one object. Raises: ``NotHere``, ``Conflict``."""
        self.done(job_id)
        for result, _ in self._results(job_id):
            if result.sop_instance_uid == sop_instance_uid and result.path.is_file():
                return result.path
        raise NotHere(f"job {job_id} has no object {sop_instance_uid}, or it was removed by retention")

    def key_images(self, job_id: str) -> list[KeyImage]:
        """The pictures, in slice order. Raises: ``NotHere``, ``Conflict``."""
        from pydicom import dcmread

        self.done(job_id)
        pictures = [r for r, _ in self._results(job_id) if r.kind == "SC" and r.path.is_file()]
        one_rendition = [r for r in pictures if r.rendition is pictures[0].rendition]
        found = []
        for result in one_rendition:
            header = dcmread(result.path, stop_before_pixels=True)
            source = str(header.SourceImageSequence[0].ReferencedSOPInstanceUID)
            found.append(KeyImage(result.path, int(header.InstanceNumber), source))
        return found

    def key_image_documents(self, job_id: str) -> list[Document]:
        """The pictures with the findings whose place is on their slice."""
        findings = self._overview.job(job_id)["findings"]
        return [
            {
                "number": number,
                "slice_number": image.slice_number,
                "sop_instance_uid": image.sop_instance_uid,
                "findings": [f["tracking_uid"] for f in findings if _slice(f) == image.slice_number],
                "url": f"/api/v1/jobs/{job_id}/key-images/{number}.png",
            }
            for number, image in enumerate(self.key_images(job_id), start=1)
        ]

    def key_image(self, job_id: str, number: int) -> bytes:
        """One picture as PNG. Raises: ``NotHere``, ``Conflict``."""
        from PIL import Image
        from pydicom import dcmread

        images = self.key_images(job_id)
        if not 1 <= number <= len(images):
            raise NotHere(f"job {job_id} has {number_of(len(images), 'key image')}, there is no number {number}")
        # Ours: 8 bit RGB, colour by pixel, not compressed.
        picture = dcmread(images[number - 1].path)
        size = (int(picture.Columns), int(picture.Rows))
        packed = io.BytesIO()
        Image.frombytes("RGB", size, picture.PixelData[: size[0] * size[1] * 3]).save(packed, "PNG", compress_level=1)
        return packed.getvalue()

    def done(self, job_id: str) -> Row:
        """The job's row. Raises: ``NotHere``; ``Conflict`` when it is not done."""
        rows = self._db.fetch(self._queries["job_by_id"], {"job_id": job_id})
        if not rows:
            raise NotHere(f"no job {job_id}; see: wetread jobs list")
        if rows[0]["state"] != "done":
            reason = f": {rows[0]['reason']}" if rows[0]["reason"] else ""
            raise Conflict(f"there is no result: job {job_id} is {rows[0]['state']}{reason}")
        return rows[0]

    def _results(self, job_id: str) -> list[tuple[EncodedResult, bool]]:
        with self._db.snapshot() as tx:
            read = committed_results(tx, self._jobs, job_id, self._data_folder)
            signed = committed_results(tx, self._jobs, job_id, self._data_folder, signed=True)
        return [(r, False) for r in read] + [(r, True) for r in signed]

    def _object(self, result: EncodedResult, *, is_signed: bool) -> Document:
        from pydicom import dcmread

        header = dcmread(result.path, stop_before_pixels=True, specific_tags=["SeriesDescription"])
        key = {"sop_instance_uid": result.sop_instance_uid}
        return {
            "sop_instance_uid": result.sop_instance_uid,
            "series_instance_uid": result.series_instance_uid,
            "kind": result.kind,
            "series_description": str(header.get("SeriesDescription", "")),
            "rendition": result.rendition.value,
            "signed": is_signed,
            "deliveries": [dict(r) for r in self._db.fetch(self._queries["deliveries_of_object"], key)],
        }

    def _input(self, job_id: str) -> Document | None:
        rows = self._db.fetch(self._queries["read_input"], {"job_id": job_id})
        return dict(json.loads(rows[0]["document"])) if rows else None

    def _files(self, job_id: str) -> dict[tuple[str, str], tuple[Path, str]]:
        """Path and SHA-256 by kind and name."""
        rows = self._db.fetch(self._queries["result_files"], {"job_id": job_id})
        return {(r["kind"], r["name"]): (self._data_folder / r["path"], r["sha256"]) for r in rows}


def _finding(stored: Document, *, heatmaps: set[str]) -> Document:
    """A finding as it was committed; reads of older versions know less of it."""
    known = {"place": None, "box": None, "colour_rgb": None, "label_value": None, "score": None, "threshold": None}
    return known | {"wording": "", "spread": None} | stored | {"heatmap": stored["tracking_uid"] in heatmaps}


def _labels(image: Document) -> Document:
    return {"shape": image["shape"], "affine": image["affine"], "dtype": "uint8", "overlapping": False}


def _slice(finding: Document) -> int | None:
    place = finding.get("place")
    return int(place["slice_number"]) if place else None


def _bundle(row: Row) -> Document:
    """What the bundle says of itself, as long as it is here."""
    about: Document = {"name": row["bundle"], "version": row["bundle_version"], "title": row["bundle"]}
    try:
        manifest = load_bundle(Path(row["bundle_folder"])).manifest
    except Misconfigured:
        return about | {"intended_use": "", "not_for": [], "clinical_use": False}
    return about | {
        "title": manifest.title,
        "intended_use": manifest.intended_use,
        "not_for": list(manifest.not_for),
        "clinical_use": manifest.clinical_use,
    }
