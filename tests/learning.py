"""Films with a shadow or without one, small enough to learn from in seconds, and the shipped bundle made as small."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from wetread.bundles import Bundle, load_bundle
from wetread.learn.settings import TrainingSettings

SHIPPED = Path(__file__).parents[1] / "monai_bundles"
SMALL = {"channels": [4, 4, 8, 8]}


def films(count: int, *, seed: int, side: int = 28) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images ``(case, row, column)`` and labels ``(case, 1)``; every second film has a bright shadow on one side."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    images = np.empty((count, side, side), np.uint8)
    labels = (np.arange(count) % 2).astype(np.uint8)
    for number, label in enumerate(labels):
        body = 90 + 60 * np.exp(-((columns - 0.5) ** 2) / 0.02) + random.normal(0, 8, (side, side))
        row, column = random.uniform(0.5, 0.8), random.choice([0.25, 0.75])
        shadow = 70 * label * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 0.02)
        images[number] = np.clip(body + shadow, 0, 255)
    return images, labels[:, None]


def write_films(path: Path, *, train: int = 48, val: int = 24, test: int = 0, **more: Any) -> Path:
    """A NumPy archive as MedMNIST has them; ``more`` adds or replaces arrays."""
    arrays: dict[str, Any] = {}
    for seed, (part, count) in enumerate((("train", train), ("val", val), ("test", test))):
        if count:
            arrays[f"{part}_images"], arrays[f"{part}_labels"] = films(count, seed=seed)
    np.savez(path, **{name: value for name, value in (arrays | more).items() if value is not None})
    return path


def small_bundle(folder: Path, *, train_config: bool = True, **network: Any) -> Bundle:
    """The shipped CNN bundle with a smaller network and no weights."""
    shutil.copytree(SHIPPED / "cxr_pneumonia", folder, ignore=shutil.ignore_patterns("*.safetensors", "training"))
    for name in ("inference.json", "train.json"):
        path = folder / "configs" / name
        config = json.loads(path.read_text())
        config["network_def"] |= SMALL | network
        path.write_text(json.dumps(config))
    if not train_config:
        (folder / "configs" / "train.json").unlink()
    return load_bundle(folder)


def settings(data: Path, out: Path, **more: Any) -> TrainingSettings:
    """A training of seconds."""
    given: dict[str, Any] = {"epochs": 2, "batch_size": 16, "threads": 1, **more}
    return TrainingSettings(data=data, out=out, **given)


def write_table(folder: Path, rows: list[dict[str, Any]]) -> None:
    """``cases.csv`` with the columns of the first row."""
    with (folder / "cases.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write_film(path: Path, *, side: int = 20, patient: str = "PAT1") -> None:
    """A CR film of a child: the brightest pixel is bone."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientID, ds.IssuerOfPatientID, ds.PatientName, ds.PatientSex, ds.PatientAge = (
        patient,
        "SITE",
        "A^B",
        "F",
        "003Y",
    )
    ds.PatientBirthDate, ds.StudyDate, ds.StudyTime, ds.Manufacturer, ds.Modality = "", "20200101", "", "Acme", "CR"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = side + 4, side, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PatientOrientation, ds.ViewPosition, ds.BodyPartExamined = ["L", "F"], "AP", "CHEST"
    ds.PixelData = (np.arange((side + 4) * side) % 4096).astype(np.uint16).tobytes()
    ds.save_as(path, enforce_file_format=True)
