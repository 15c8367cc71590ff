"""``wetread learn export``: signed reads become a folder for ``wetread bundle train``, without identity.

::

    OUT/<bundle>/export.json     which export this is; ``wetread bundle train`` writes it into metrics and model card
    OUT/<bundle>/cases.csv       image, label, patient (pseudonym), sex, age_years, manufacturer
    OUT/<bundle>/images/         films as DICOM, volumes as NIfTI
    OUT/<bundle>/labels/         label maps of segmentations
"""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import wetread
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.db import Database, Queries, Row, now
from wetread.durable import make_folder, sync_folder
from wetread.errors import DataUnusable, Misconfigured, StudyRejected
from wetread.guard.intended import age_years
from wetread.images.volume import read_volume
from wetread.learn.lineage import EXPORT
from wetread.learn.reads.deidentify import OPTIONS, Stranger, check_no_names_in_pictures, write_film
from wetread.learn.reads.labels import score_targets, structure_values
from wetread.learn.reads.pseudonyms import Pseudonyms, whole_years
from wetread.learn.reads.register import ExportedCase, Register
from wetread.learn.reads.settings import LearningSettings
from wetread.nifti import write_nifti
from wetread.records.reading import OUTSIDE
from wetread.records.study import InstanceRef, SeriesRef, StudyRef
from wetread.records.volume import LabelMap, Volume
from wetread.review.decisions import Review
from wetread.review.reviews import Reviews
from wetread.store.attributes import study_from_json

TableRow = dict[str, str]


@dataclass(frozen=True, slots=True)
class Exported:
    """The reads of one bundle."""

    id: str
    bundle: str
    folder: Path
    cases: int
    patients: int
    left_out: Mapping[str, int]
    """Reason → how many reads."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What this site opted in to."""

    settings: LearningSettings
    routes: frozenset[str]
    """Routes with ``learn = true``."""

    def check(self, route: str) -> None:
        """Raises: ``Misconfigured`` when nothing was opted in to, or not this route."""
        if self.settings.signed_reads or (route and route in self.routes) or (self.routes and not route):
            return
        what = f"the signed reads of route {route!r} are" if route else "this site's signed reads are"
        raise Misconfigured(
            f"{what} not learned from: that takes [learning] signed_reads = true, or learn = true of a [[routes]] entry"
        )

    def includes(self, route: str) -> bool:
        """Whether reads of this route may be exported."""
        return self.settings.signed_reads or route in self.routes


class ReadsExport:
    """Exports of one data folder."""

    def __init__(self, db: Database, data_folder: Path, allowed: Allowed, who: str) -> None:
        self._data_folder, self._allowed = data_folder, allowed
        self._db, self._register, self._reviews = db, Register(db, who), Reviews(db)
        self._queries = Queries("wetread.learn.reads")

    def export(self, out: Path, *, route: str = "", since: str = "") -> list[Exported]:
        """Write a folder for each bundle; bundles of which no read can be taken have no id and no folder.

        Raises: ``Misconfigured`` without opt-in, or when a folder is there already; ``Conflict``, ``SpoolUnavailable``.
        """
        self._allowed.check(route)
        names = self._register.pseudonyms()
        by_bundle: dict[str, dict[str, Row]] = {}
        for row in self._register.signed_reads(route=route, since=since):
            if self._allowed.includes(row["route"]):
                # Of one image the latest signature counts.
                by_bundle.setdefault(row["bundle"], {})[_image_key(row)] = row
        for bundle in by_bundle:
            if (out / bundle).exists():
                raise Misconfigured(f"{out / bundle} is there already: name another --out")
        make_folder(out)
        return [self._one(bundle, list(rows.values()), out, names) for bundle, rows in sorted(by_bundle.items())]

    def _one(self, bundle: str, rows: Sequence[Row], out: Path, names: Pseudonyms) -> Exported:
        left_out: Counter[str] = Counter()
        table: list[TableRow] = []
        cases: list[ExportedCase] = []
        withdrawn = self._register.withdrawn()
        with tempfile.TemporaryDirectory(prefix=f".{bundle}.", dir=out) as work:
            folder = Path(work) / bundle
            for part in ("images", "labels"):
                make_folder(folder / part)
            for row in rows:
                try:
                    read = _Read(row, names, withdrawn)
                    table.append(self._write(read, folder, names))
                    cases.append(read.case)
                except (DataUnusable, StudyRejected) as exc:
                    left_out[str(exc)] += 1
            if not cases:
                return Exported("", bundle, out / bundle, 0, 0, left_out)
            export_id, made_at = str(uuid.uuid4()), now()
            _write_table(folder / "cases.csv", table)
            _write_about(folder / EXPORT, export_id, bundle, made_at, len(cases))
            # Registered first: what is not registered could not be withdrawn.
            self._register.record(export_id, bundle, str((out / bundle).resolve()), made_at, cases)
            folder.rename(out / bundle)
            sync_folder(out)
        patients = len({case.patient for case in cases})
        return Exported(export_id, bundle, out / bundle, len(cases), patients, left_out)

    def _write(self, read: _Read, folder: Path, names: Pseudonyms) -> TableRow:
        """Write the files of one case; its line of the table."""
        review = self._reviews.get(read.case.job_id).review
        instances = self._instances(read)
        silent = self._allowed.settings.films_that_do_not_say == "take"
        check_no_names_in_pictures(instances, silent_films=silent)
        bundle = read.bundle()
        line = {"patient": read.case.patient, "sex": read.stranger.sex, "age_years": read.stranger.age_years}
        if bundle.manifest.labels:
            return line | self._volume(read, bundle, review, instances, folder)
        targets = score_targets(bundle.manifest, read.findings, review)
        path = folder / "images" / f"{read.case.name}.dcm"
        write_film(instances[0], read.study, read.stranger, names, path)
        columns = [rule.name for rule in bundle.manifest.scores] if len(targets) > 1 else ["label"]
        labels = {column: str(target) for column, target in zip(columns, targets, strict=True)}
        return {"image": f"images/{path.name}"} | labels | line

    def _volume(
        self, read: _Read, bundle: Bundle, review: Review, instances: Sequence[InstanceRef], folder: Path
    ) -> TableRow:
        values = structure_values(bundle.manifest, read.findings, review)
        volume = read_volume(SeriesRef("", "", tuple(instances)), min_slices=1)
        if [i.sop_instance_uid for i in volume.instances] != [i.sop_instance_uid for i in instances]:
            raise DataUnusable("its slices are not in the order in which they were read")
        drawn = self._label_map(read, volume)
        meant = np.zeros(256, np.uint8)
        for value, bundle_value in values.items():
            meant[value] = bundle_value
        name = f"{read.case.name}.nii.gz"
        write_nifti(volume, folder / "images" / name)
        write_nifti(LabelMap(meant[drawn], volume.affine), folder / "labels" / name)
        return {"image": f"images/{name}", "label": f"labels/{name}"}

    def _label_map(self, read: _Read, volume: Volume) -> npt.NDArray[np.uint8]:
        rows = self._db.fetch(self._queries["label_map"], {"job_id": read.case.job_id})
        path = self._data_folder / rows[0]["path"] if rows else None
        if path is None or not path.is_file():
            raise DataUnusable("its label map is not here: structures overlap, or retention removed it")
        if file_sha256(path) != rows[0]["sha256"]:
            raise DataUnusable("its label map is not what was committed")
        drawn = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
        if drawn.size != volume.array.size:
            raise DataUnusable("its label map is not on the grid of its images")
        return drawn.reshape(volume.array.shape)

    def _instances(self, read: _Read) -> list[InstanceRef]:
        """What was read, in its order. Raises: ``DataUnusable`` when something of it is gone."""
        found = []
        for uid in read.sop_instance_uids:
            key = {"study_id": read.case.study_id, "sop_instance_uid": uid}
            for row in self._db.fetch(self._queries["instance"], key):
                path = self._data_folder / "spool" / row["path"]
                if row["removed_at"] is None and path.is_file():
                    number, digest = row["instance_number"], row["content_digest"]
                    found.append(InstanceRef(uid, row["sop_class_uid"], path, digest, number, in_spool=True))
        if not found or len(found) != len(read.sop_instance_uids):
            raise DataUnusable("its images are not here any more: retention removed them")
        return found


class _Read:
    """One signed read, and who its patient has become."""

    def __init__(self, row: Row, names: Pseudonyms, withdrawn: frozenset[str]) -> None:
        """Raises: ``DataUnusable`` for who cannot be named or has withdrawn."""
        self._row = row
        self.study: StudyRef = study_from_json(row["attributes"])
        patient_id = self.study.patient.patient_id.strip()
        if not patient_id:
            raise DataUnusable("its study names no patient: nobody could withdraw it, nor keep it in one part")
        sex = self.study.patient.sex if self.study.patient.sex in ("M", "F", "O") else ""
        age = whole_years(age_years(self.study))
        patient = names.patient(patient_id)
        self.stranger = Stranger(patient, sex, age, names.date(self.study.date, patient_id))
        study = names.study(self.study.study_instance_uid)
        self.case = ExportedCase(names.case(row["id"]), patient, study, int(row["study_id"]), row["id"])
        if {patient, study} & withdrawn:
            raise DataUnusable("withdrawn")
        report = json.loads(row["report"])
        if any(str(warning).startswith(OUTSIDE) for warning in report.get("warnings", ())):
            raise DataUnusable("it was read outside the intended use of its bundle")
        self.sop_instance_uids: list[str] = json.loads(row["input"])["sop_instance_uids"] if row["input"] else []
        self.findings: list[dict[str, object]] = report.get("findings", [])

    def bundle(self) -> Bundle:
        """What read it, as it is now. Raises: ``DataUnusable``."""
        try:
            bundle = load_bundle(Path(self._row["bundle_folder"]))
        except Misconfigured as exc:
            raise DataUnusable("its bundle is not here any more") from exc
        if bundle.manifest.boxes or len(bundle.manifest.inputs) != 1:
            raise DataUnusable("boxes and bundles of several images are not learned from yet")
        return bundle


def _image_key(row: Row) -> str:
    return str(json.loads(row["input"])["sop_instance_uids"]) if row["input"] else str(row["id"])


def _write_table(path: Path, rows: Sequence[TableRow]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def _write_about(path: Path, export_id: str, bundle: str, made_at: str, cases: int) -> None:
    about = {
        "schema_version": 1,
        "id": export_id,
        "bundle": bundle,
        "made_at": made_at,
        "wetread": wetread.__version__,
        "cases": cases,
        "deidentification": [{"code": code, "scheme": "DCM", "meaning": meaning} for code, meaning in OPTIONS],
    }
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
