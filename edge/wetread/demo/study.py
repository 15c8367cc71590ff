"""The demo's study as a scanner would write it: a T1 series to be read, a localizer and a T2 that must not be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from wetread.demo.head import NOTICE, Head, average_head
from wetread.demo.scan import AXIAL, CORONAL, SAGITTAL, Scan, Slab, acquire, centre_of
from wetread.progress import Progress, unheard
from wetread.records.volume import Affine

PATIENT_NAME = "Demo^Average Head"
PATIENT_ID = "WETREAD-DEMO"
AGE_YEARS = 45


LOCALIZER = Scan(
    number=1,
    description="Localizer",
    image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
    slabs=tuple(Slab(plane, (1, 256, 256), (6.0, 1.1, 1.1)) for plane in (AXIAL, CORONAL, SAGITTAL)),
    technique={
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "8.6",
        "EchoTime": "4",
        "EchoTrainLength": 1,
        "FlipAngle": "20",
    },
)
T1 = Scan(
    number=2,
    description="T1 MPRAGE sag oblique",
    image_type=("ORIGINAL", "PRIMARY", "OTHER"),
    slabs=(Slab(SAGITTAL, (172, 240, 256), (1.2, 1.0, 1.0), turned_degrees=(11.0, -4.0, 7.0)),),
    technique={
        "ScanningSequence": ["GR", "IR"],
        "SequenceVariant": "MP",
        "MRAcquisitionType": "3D",
        "RepetitionTime": "2300",
        "EchoTime": "2.98",
        "EchoTrainLength": 1,
        "InversionTime": "900",
        "FlipAngle": "9",
    },
)
T2 = Scan(
    number=3,
    description="T2 TSE",
    image_type=("ORIGINAL", "PRIMARY", "OTHER"),
    slabs=(Slab(AXIAL, (46, 256, 224), (4.4, 0.95, 0.95), turned_degrees=(11.0, 0.0, 0.0)),),
    technique={
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "5200",
        "EchoTime": "98",
        "EchoTrainLength": 15,
        "FlipAngle": "150",
    },
    inverted=True,
)
SCANS = (LOCALIZER, T1, T2)
SYNTHETIC = {T2.number: "made from the T1 image by inverting its contrast, not acquired"}
"""What a series of the study is not."""


@dataclass(frozen=True, slots=True)
class DemoStudy:
    """What was written."""

    study_instance_uid: str
    t1_series_instance_uid: str
    paths: tuple[Path, ...]
    """All instances, by series and slice."""


def write_study(folder: Path, *, progress: Progress = unheard) -> DemoStudy:
    """Write the study into ``folder``, one file for each instance; all UIDs are new.

    Raises: ``Misconfigured`` when the template is not installed.
    """
    progress("painting a head around the MNI152 brain", 0.0)
    head = average_head()
    common = _common(datetime.now())
    paths: list[Path] = []
    t1_uid = ""
    for done, scan in enumerate(SCANS, start=1):
        progress(f"scanning {scan.description}", done / (len(SCANS) + 1))
        series = _series(common, scan)
        t1_uid = str(series.SeriesInstanceUID) if scan is T1 else t1_uid
        paths.extend(_write_scan(folder / f"series-{scan.number}", series, scan, head))
    progress("the study is written", 1.0)
    return DemoStudy(str(common.StudyInstanceUID), t1_uid, tuple(paths))


def _write_scan(folder: Path, series: Dataset, scan: Scan, head: Head) -> list[Path]:
    folder.mkdir(parents=True)
    centre = centre_of(head)
    paths: list[Path] = []
    for slab in scan.slabs:
        affine = slab.affine(centre)
        for k, pixels in enumerate(acquire(head, affine, slab.shape, inverted=scan.inverted)):
            number = len(paths) + 1
            paths.append(folder / f"IM{number:04d}.dcm")
            _write_instance(paths[-1], series, number, _placed(affine, k, slab.spacing_mm), pixels)
    return paths


def _placed(affine: Affine, k: int, spacing_mm: tuple[float, float, float]) -> Dataset:
    """Image Plane attributes of slice ``k`` (PS3.3 C.7.6.2)."""
    position = affine[:3, 3] + k * affine[:3, 0]
    row, column = affine[:3, 2] / spacing_mm[2], affine[:3, 1] / spacing_mm[1]
    plane = Dataset()
    plane.ImagePositionPatient = [f"{value:.8f}" for value in position]
    plane.ImageOrientationPatient = [f"{value:.10f}" for value in (*row, *column)]
    plane.PixelSpacing = [f"{spacing_mm[1]:g}", f"{spacing_mm[2]:g}"]
    plane.SliceThickness = plane.SpacingBetweenSlices = f"{spacing_mm[0]:g}"
    plane.SliceLocation = f"{position @ np.cross(row, column):.6f}"
    return plane


def _write_instance(path: Path, series: Dataset, number: int, plane: Dataset, pixels: npt.NDArray[np.uint16]) -> None:
    ds = Dataset()
    ds.update(series)
    ds.update(plane)
    ds.SOPInstanceUID = generate_uid(prefix=None)
    ds.InstanceNumber = number
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)


def _series(common: Dataset, scan: Scan) -> Dataset:
    ds = Dataset()
    ds.update(common)
    ds.SeriesInstanceUID = generate_uid(prefix=None)
    ds.SeriesNumber = ds.AcquisitionNumber = scan.number
    ds.SeriesDescription = ds.ProtocolName = scan.description
    ds.ImageType = list(scan.image_type)
    ds.ImageComments = f"{NOTICE} {SYNTHETIC.get(scan.number, '')}".strip()
    for keyword, value in scan.technique.items():
        setattr(ds, keyword, value)
    return ds


def _common(when: datetime) -> Dataset:
    """What all instances of the study share: patient, study, equipment, pixel format."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.Modality, ds.BodyPartExamined, ds.PatientPosition = MRImageStorage, "MR", "HEAD", "HFS"
    ds.PatientName, ds.PatientID, ds.PatientSex = PATIENT_NAME, PATIENT_ID, "O"
    ds.PatientBirthDate, ds.PatientAge = f"{when.year - AGE_YEARS}0101", f"{AGE_YEARS:03d}Y"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    ds.PositionReferenceIndicator = ""
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "DEMO", ""
    ds.StudyDescription = "MR head, demo: not a patient"
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = ds.InstanceCreationDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = ds.InstanceCreationTime = time
    ds.Manufacturer, ds.ManufacturerModelName, ds.InstitutionName = "Wetread", "Demo scanner", "Demo"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.MagneticFieldStrength, ds.EchoNumbers, ds.ScanOptions = "3", 1, ""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = "500", "1000"
    return ds
