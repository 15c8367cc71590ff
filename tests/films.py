"""Small synthetic radiographs: a chest that no mirror or quarter turn leaves unchanged, hung or stored in any way.

The upright picture is known; how it is stored (orientation, bits, sign, photometric interpretation, LUTs) is what the
reader has to undo. The files are valid CR and DX instances: dciodvfy has nothing to say against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    generate_uid,
)

from wetread.images.folder import scan_folder
from wetread.records.study import SeriesRef, StudyRef

Mutate = Callable[[Dataset], None]
Grey = npt.NDArray[np.float64]

STORED: dict[tuple[str, str], Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]] = {
    ("L", "F"): lambda a: a,
    ("R", "F"): lambda a: a[:, ::-1],
    ("L", "H"): lambda a: a[::-1],
    ("R", "H"): lambda a: a[::-1, ::-1],
    ("F", "L"): lambda a: a.T,
    ("F", "R"): lambda a: a[:, ::-1].T,
    ("H", "L"): lambda a: a[::-1].T,
    ("H", "R"): lambda a: a[::-1, ::-1].T,
}
"""Patient Orientation of the stored matrix: how a film that hangs upright is stored with it."""

SHAPE = (90, 70)
HEART = (slice(44, 64), slice(38, 56))
"""In the upright picture: on the right of the screen, the patient's left."""
MARKER = (slice(4, 10), slice(5, 15))
"""A lead marker at the upper left of the screen, brighter than anything else."""


def chest() -> Grey:
    """The upright picture, ``(row, column)``, 0 to 1."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    grey = np.full(SHAPE, 0.55)
    grey[((np.abs(columns) - 0.45) / 0.3) ** 2 + (rows / 0.75) ** 2 < 1] = 0.2
    grey[HEART] = 0.7
    grey[MARKER] = 0.95
    grey += 0.03 * rows  # nothing is the same above and below
    return np.clip(grey, 0.0, 1.0)


@dataclass(frozen=True)
class Film:
    """What was written, and what a reader must find."""

    folder: Path
    path: Path
    upright: Grey

    def study(self) -> StudyRef:
        """The study as ``scan_folder`` sees it."""
        return scan_folder(self.folder).studies[0]

    def series(self) -> SeriesRef:
        """The first series as ``scan_folder`` sees it."""
        return self.study().series[0]


def write_film(
    folder: Path,
    *,
    upright: Grey | None = None,
    orientation: tuple[str, str] | None = ("L", "F"),
    modality: Literal["CR", "DX"] = "CR",
    bits: tuple[int, int] = (16, 12),
    signed: bool = False,
    monochrome1: bool = False,
    window: bool = True,
    view: str = "AP",
    birth_date: str = "20230110",
    number: int = 1,
    seed: str = "film",
    series_seed: str = "",
    mutate: Mutate | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> Film:
    """Write one film of a child of 3 years into ``folder``; ``bits``: allocated, stored.

    Stored values span the whole range of the bits; with ``window`` its window says so. ``mutate`` may change the data
    set before it is written; a compressed ``transfer_syntax`` is encoded by pydicom after that.
    """
    upright = chest() if upright is None else upright
    turned = STORED[orientation](upright) if orientation in STORED else upright
    values = np.rint((1.0 - turned if monochrome1 else turned) * (2 ** bits[1] - 1)).astype(np.int64)
    offset = 2 ** (bits[1] - 1) if signed else 0
    ds = _instance(modality, view, birth_date, number)
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[seed, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, "series", series_seed])
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[seed, "film", series_seed, str(number)])
    _fill(ds, values - offset, bits, signed=signed)
    ds.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    if modality == "DX":
        ds.PresentationLUTShape = "INVERSE" if monochrome1 else "IDENTITY"
    if orientation is not None:
        ds.PatientOrientation = list(orientation)
    if window:
        ds.WindowCenter, ds.WindowWidth = 2 ** (bits[1] - 1) - offset, 2 ** bits[1]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{series_seed or 'F'}{number}.dcm"
    _save(ds, path, mutate, transfer_syntax)
    return Film(folder, path, upright)


def _fill(ds: Dataset, values: npt.NDArray[np.int64], bits: tuple[int, int], *, signed: bool) -> None:
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits[0], bits[1], bits[1] - 1, int(signed)
    data = values.astype(f"<{'i' if signed else 'u'}{bits[0] // 8}").tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW"


def _save(ds: Dataset, path: Path, mutate: Mutate | None, transfer_syntax: str) -> None:
    ds.file_meta = FileMetaDataset()
    compress = transfer_syntax != ExplicitVRLittleEndian
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if mutate is not None:
        mutate(ds)
    if compress:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)


def _instance(modality: str, view: str, birth_date: str, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Paul", "PH-0077", birth_date, "M"
    ds.StudyID, ds.AccessionNumber, ds.StudyDescription = "9", "ACC0009", "Chest"
    ds.ReferringPhysicianName = "Doe^Dana"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260314"
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = "081500", "081730", "081731", "081745"
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = modality, "CHEST", view
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = 1, "Chest bedside", number
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "Wetread", "Phantom", "1.0"
    ds.SamplesPerPixel = 1
    ds.ImagerPixelSpacing = ["2.5", "2.5"]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    (_cr if modality == "CR" else _dx)(ds)
    return ds


def _cr(ds: Dataset) -> None:
    ds.SOPClassUID = ComputedRadiographyImageStorage


def _dx(ds: Dataset) -> None:
    ds.SOPClassUID, ds.PresentationIntentType = DigitalXRayImageStorageForPresentation, "FOR PRESENTATION"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.ImageLaterality, ds.BurnedInAnnotation, ds.LossyImageCompression = "U", "NO", "00"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.AcquisitionContextSequence = Sequence()
    ds.DetectorType, ds.KVP, ds.DistanceSourceToDetector = "DIRECT", "70", "1000"
    ds.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    ds.ViewCodeSequence = [_code("399348003", "SCT", "antero-posterior")]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    ds.PatientOrientationCodeSequence = Sequence()


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def for_processing(ds: Dataset) -> None:
    """The raw image beside the one for presentation."""
    ds.SOPClassUID, ds.PresentationIntentType = DigitalXRayImageStorageForProcessing, "FOR PROCESSING"


def lut(first: int, entries: npt.NDArray[np.integer], bits: int, *, as_bytes: bool = True) -> Dataset:
    """One item of a Modality or VOI LUT Sequence; 65536 entries are declared as 0."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 2**16, first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries.astype("<u2").tobytes() if as_bytes else [int(v) for v in entries]
    item["LUTData"].VR = "OW" if as_bytes else "US"
    item.LUTExplanation = "test"
    return item
