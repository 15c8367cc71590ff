"""Images without identity: what a model needs is copied, everything else does not exist.

PS3.15 Annex E (Basic Application Level Confidentiality Profile) lists what to remove, empty or replace. A list of what
to keep is stricter: an attribute that nobody thought of is not there. Pixels are decoded and written anew, because
compressed streams can hold comments and unused bits overlays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from wetread import __version__
from wetread.dimse.attributes import text
from wetread.dimse.dataset import read_header
from wetread.errors import DataUnusable
from wetread.images.instance import count
from wetread.images.pixels import stored_values
from wetread.learn.reads.pseudonyms import Pseudonyms
from wetread.records.sop_classes import is_derived, is_film
from wetread.records.study import InstanceRef, StudyRef

KEPT = (
    *("SOPClassUID", "ImageType", "Modality", "Manufacturer", "PresentationIntentType", "AnatomicRegionSequence"),
    *("PatientSex", "BodyPartExamined", "ViewPosition", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ImagerPixelSpacing", "PatientOrientation", "Laterality", "ImageLaterality", "ViewCodeSequence"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelSpacing", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelIntensityRelationship", "PixelIntensityRelationshipSign"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "RescaleIntercept", "RescaleSlope"),
    *("RescaleType", "ModalityLUTSequence", "PresentationLUTShape", "LossyImageCompression", "BurnedInAnnotation"),
    *("DetectorType", "PositionerType"),
)
"""Keywords of what is copied of a film."""
KEPT_IN_ITEMS = (
    *("CodeValue", "CodingSchemeDesignator", "CodeMeaning"),
    *("LUTDescriptor", "LUTData", "ModalityLUTType"),
)
"""Of the items of its sequences."""
_TYPE_2_OF_DX = ("DetectorType", "PositionerType", "AcquisitionContextSequence")
"""Present in every DX image, empty if unknown (PS3.3 C.8.11.4, C.8.11.5, C.7.6.14)."""
OPTIONS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
"""De-identification Method (CID 7050): sex and years of age stay, dates move, the same way for all of a patient."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who the patient has become."""

    patient: str
    """Pseudonym."""
    sex: str
    age_years: str
    """Whole years, at most 90; '' if not known."""
    study_date: str
    """DICOM DA, moved."""


def check_no_names_in_pictures(instances: Sequence[InstanceRef], *, silent_films: bool) -> None:
    """Nobody looks at the pixels, so nothing may be written in them.

    ``silent_films``: take films that do not say whether something is (Burned In Annotation is absent).
    Raises: ``DataUnusable``.
    """
    for instance in instances:
        said = text(read_header(instance.path), "BurnedInAnnotation").upper()
        if said == "YES":
            raise DataUnusable("names may stand in the picture: Burned In Annotation is YES")
        if is_derived(instance.sop_class_uid):
            raise DataUnusable("names may stand in the picture: it is a secondary capture or another derived object")
        if is_film(instance.sop_class_uid) and said != "NO" and not silent_films:
            raise DataUnusable(
                "names may stand in the picture: the film has no Burned In Annotation = NO (where this site's machines "
                'never burn names in: [learning] films_that_do_not_say = "take")'
            )


def write_film(instance: InstanceRef, study: StudyRef, stranger: Stranger, names: Pseudonyms, path: Path) -> None:
    """One film as a Part 10 file without identity. Raises: as ``stored_values``."""
    header = read_header(instance.path)
    rows, columns = (count(header, instance.label, keyword) for keyword in ("Rows", "Columns"))
    source, stored = stored_values(instance, rows=rows, columns=columns)
    ds = _copied(source, KEPT)
    ds.SpecificCharacterSet = "ISO_IR 192"
    _set_patient(ds, stranger)
    _set_study(ds, source, study, stranger, names)
    sign = "i" if ds.get("PixelRepresentation") == 1 else "u"
    data = stored.astype(f"<{sign}{int(ds.BitsAllocated) // 8}").tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)


def _set_patient(ds: Dataset, stranger: Stranger) -> None:
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = f"Stranger^{stranger.patient}", stranger.patient, ""
    ds.PatientSex = stranger.sex
    if stranger.age_years:
        ds.PatientAge = f"{int(stranger.age_years):03d}Y"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = f"wetread {__version__}: what a model needs was copied, nothing else"
    ds.DeidentificationMethodCodeSequence = [_code(value, meaning) for value, meaning in OPTIONS]
    ds.LongitudinalTemporalInformationModified = "MODIFIED"


def _set_study(ds: Dataset, source: Dataset, study: StudyRef, stranger: Stranger, names: Pseudonyms) -> None:
    ds.StudyInstanceUID = names.uid(study.study_instance_uid)
    ds.SeriesInstanceUID = names.uid(str(source.SeriesInstanceUID))
    ds.SOPInstanceUID = names.uid(str(source.SOPInstanceUID))
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = stranger.study_date, "", "", ""
    ds.ReferringPhysicianName, ds.SeriesNumber, ds.InstanceNumber = "", 1, 1
    if ds.SOPClassUID == DigitalXRayImageStorageForPresentation:
        for keyword in _TYPE_2_OF_DX:
            if keyword not in ds:
                setattr(ds, keyword, [] if keyword.endswith("Sequence") else "")


def _copied(source: Dataset, keywords: Sequence[str]) -> Dataset:
    copy = Dataset()
    for keyword in keywords:
        if keyword not in source:
            continue
        element = source[keyword]
        if element.VR == "SQ":
            setattr(copy, keyword, [_copied(item, KEPT_IN_ITEMS) for item in element.value])
        else:
            copy.add(element)
    return copy


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
