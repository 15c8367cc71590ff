"""Small synthetic MR and CT series that every test reads: the same object at the same place in the patient.

The object is drawn in patient space (LPS mm) and then cut into slices, so whatever the orientation, spacing or order of
the files, its centroids are known without reading anything. Two ellipsoids, off-centre along all three axes and of
different size and value, make every mirrored or exchanged axis visible. All values are the same in every run.

The files are valid MR and CT image instances: dciodvfy has nothing to say against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from wetread.images.folder import scan_folder
from wetread.records.study import SeriesRef, StudyRef

Orientation = Literal["axial", "coronal", "sagittal", "oblique"]
Mutate = Callable[[Dataset, int], None]

_ROW_AND_COLUMN: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}
_CENTRE_MM = np.array((4.0, -17.5, 31.0))
"""Centre of every volume, LPS."""
_VALUES = {"MR": (20, 180, 600, 1000), "CT": (-1000, 40, 300, 800)}
"""Modality values of the outside, the body, the large and the small ellipsoid."""


@dataclass(frozen=True)
class Patient:
    """Who the phantom says it is about."""

    name: str = "Phantom^Petra"
    id: str = "PH-0042"
    birth_date: str = "19800229"
    sex: str = "F"
    age: str = "046Y"


@dataclass(frozen=True)
class Phantom:
    """What was written, and what a reader must find."""

    folder: Path
    paths: tuple[Path, ...]
    """In slice order: along the normal (row direction × column direction), whatever the numbers say."""
    array: npt.NDArray[np.float32]
    """Expected modality values, ``(slice, row, column)``, before ``mutate``."""
    affine: npt.NDArray[np.float64]
    """Expected, ``(slice, row, column)`` of voxel centres to LPS mm."""
    large_centre_mm: tuple[float, float, float]
    small_centre_mm: tuple[float, float, float]
    large_value: float
    small_value: float
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str

    def study(self) -> StudyRef:
        """The study of this phantom as ``scan_folder`` sees it, with everything else that lies in the folder."""
        studies = scan_folder(self.folder).studies
        return next(study for study in studies if study.study_instance_uid == self.study_instance_uid)

    def series(self) -> SeriesRef:
        """The series of this phantom as ``scan_folder`` sees it."""
        return next(s for s in self.study().series if s.series_instance_uid == self.series_instance_uid)


def write_series(
    folder: Path,
    *,
    orientation: Orientation = "axial",
    reverse: bool = False,
    shuffle_instance_numbers: bool = True,
    shape: tuple[int, int, int] = (24, 48, 40),
    spacing_mm: tuple[float, float, float] = (2.5, 0.9, 1.1),
    modality: Literal["MR", "CT"] = "MR",
    study_seed: str = "study",
    series_seed: str = "series",
    series_number: int = 3,
    patient: Patient = Patient(),
    description: str = "T1 MPRAGE",
    mutate: Mutate | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> Phantom:
    """Write one series into ``folder`` (made if need be), one file for each slice: ``IM0001.dcm`` and so on.

    ``shape`` and ``spacing_mm`` are along (slice, row, column). The object scales with the smallest side of the volume,
    so it keeps its place and size in patient space for every orientation of one shape and spacing.
    ``reverse`` acquires against the slice normal; ``shuffle_instance_numbers`` makes Instance Number and file name tell
    nothing about the order. ``mutate(ds, k)`` may change each instance before it is written; ``k`` is the slice index
    along the normal. A compressed ``transfer_syntax`` is encoded by pydicom, after ``mutate``.
    """
    affine = _affine(orientation, shape, spacing_mm)
    radius_mm = min(np.multiply(shape, spacing_mm)) / 2
    centres = (
        _CENTRE_MM + radius_mm * np.array((0.2, -0.15, 0.25)),
        _CENTRE_MM + radius_mm * np.array((-0.4, 0.45, -0.35)),
    )
    array = _draw(affine, shape, radius_mm, centres, _VALUES[modality])
    numbers = _instance_numbers(shape[0], reverse=reverse, shuffle=shuffle_instance_numbers)
    uids = {name: generate_uid(entropy_srcs=[study_seed, name]) for name in ("study", "frame of reference")}
    series_uid = generate_uid(entropy_srcs=[study_seed, series_seed])
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, number in enumerate(numbers):
        ds = _instance(modality, patient)
        ds.StudyInstanceUID, ds.FrameOfReferenceUID = uids["study"], uids["frame of reference"]
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.SeriesDescription = series_uid, series_number, description
        ds.ProtocolName = description
        ds.InstanceNumber = ds.AcquisitionNumber = int(number)
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[study_seed, series_seed, str(number)])
        _place(ds, affine, k, spacing_mm)
        _fill(ds, array[k], transfer_syntax)
        path = folder / f"IM{number:04d}.dcm"
        _save(ds, path, k, mutate, transfer_syntax)
        paths.append(path)
    return Phantom(
        folder=folder,
        paths=tuple(paths),
        array=array,
        affine=affine,
        large_centre_mm=_triple(centres[0]),
        small_centre_mm=_triple(centres[1]),
        large_value=float(_VALUES[modality][2]),
        small_value=float(_VALUES[modality][3]),
        study_instance_uid=uids["study"],
        series_instance_uid=series_uid,
        frame_of_reference_uid=uids["frame of reference"],
    )


def centroid_mm(mask: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean position in LPS mm of the voxels in ``mask``."""
    centre: npt.NDArray[np.float64] = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    return centre


def _affine(
    orientation: Orientation, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    if orientation == "oblique":
        turn = Rotation.from_euler("xyz", (17, -23, 38), degrees=True).as_matrix()
        row, column = turn[:, 0], turn[:, 1]
    else:
        row, column = (np.array(direction, float) for direction in _ROW_AND_COLUMN[orientation])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.cross(row, column), column, row], axis=1) * spacing_mm
    affine[:3, 3] = _CENTRE_MM - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _draw(
    affine: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    radius_mm: float,
    centres: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    values: tuple[int, int, int, int],
) -> npt.NDArray[np.float32]:
    points = np.moveaxis(np.indices(shape, dtype=float), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    outside, body, large, small = values
    array = np.full(shape, outside, np.float32)
    for centre, axes, value in (
        (_CENTRE_MM, (0.85, 0.95, 0.9), body),
        (centres[0], (0.45, 0.35, 0.5), large),
        (centres[1], (0.2, 0.2, 0.2), small),
    ):
        array[(((points - centre) / (radius_mm * np.array(axes))) ** 2).sum(axis=-1) <= 1] = value
    return array


def _instance_numbers(count: int, *, reverse: bool, shuffle: bool) -> npt.NDArray[np.int_]:
    numbers = np.arange(1, count + 1)
    if shuffle:
        numbers = np.random.default_rng(20).permutation(numbers)
    return numbers[::-1] if reverse else numbers


def _place(ds: Dataset, affine: npt.NDArray[np.float64], k: int, spacing_mm: tuple[float, float, float]) -> None:
    position = affine[:3, 3] + k * affine[:3, 0]
    row, column = affine[:3, 2] / spacing_mm[2], affine[:3, 1] / spacing_mm[1]
    ds.ImagePositionPatient = [f"{value:.8f}" for value in position]
    ds.ImageOrientationPatient = [f"{value:.8f}" for value in (*row, *column)]
    ds.PixelSpacing = [f"{spacing_mm[1]:g}", f"{spacing_mm[2]:g}"]
    ds.SliceThickness = ds.SpacingBetweenSlices = f"{spacing_mm[0]:g}"
    ds.SliceLocation = f"{position @ np.cross(row, column):.6f}"


def _fill(ds: Dataset, values: npt.NDArray[np.float32], transfer_syntax: str) -> None:
    stored = values + 1024 if ds.Modality == "CT" else values
    ds.Rows, ds.Columns = values.shape
    little = transfer_syntax != ExplicitVRBigEndian
    ds.PixelData = stored.astype("<u2" if little else ">u2").tobytes()
    ds["PixelData"].VR = "OW"


def _save(ds: Dataset, path: Path, k: int, mutate: Mutate | None, transfer_syntax: str) -> None:
    meta = FileMetaDataset()
    compress = ExplicitVRLittleEndian.__class__(transfer_syntax).is_compressed and not _is_deflated(transfer_syntax)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if compress else transfer_syntax
    ds.file_meta = meta
    if mutate is not None:
        mutate(ds, k)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    if compress:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def _is_deflated(transfer_syntax: str) -> bool:
    return transfer_syntax == "1.2.840.10008.1.2.1.99"


def _triple(vector: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _instance(modality: str, patient: Patient) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID = patient.name, patient.id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = patient.birth_date, patient.sex, patient.age
    ds.StudyID, ds.AccessionNumber, ds.StudyDescription = "7", "ACC0007", "Head without contrast"
    ds.ReferringPhysicianName = "Doe^Dana"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260314"
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = "081500", "081730", "081731", "081745"
    ds.Modality, ds.BodyPartExamined, ds.PatientPosition = modality, "HEAD", "HFS"
    ds.Manufacturer, ds.ManufacturerModelName = "Wetread", "Phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.InstitutionName = "0001", "1.0", "Test site"
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.InstanceCreationDate, ds.InstanceCreationTime = "20260314", "081746"
    (_mr if modality == "MR" else _ct)(ds)
    return ds


def _mr(ds: Dataset) -> None:
    ds.SOPClassUID, ds.ImageType = MRImageStorage, ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = ["GR", "IR"], "MP", "", "3D"
    ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.FlipAngle = "2300", "2.98", "900", "9"
    ds.EchoTrainLength, ds.MagneticFieldStrength, ds.EchoNumbers = 1, "3", 1
    ds.WindowCenter, ds.WindowWidth = "500", "1000"


def _ct(ds: Dataset) -> None:
    ds.SOPClassUID, ds.ImageType = CTImageStorage, ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.KVP, ds.ConvolutionKernel = "120", "H31s"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
