"""DICOM files as a case: the film or volume as a read would see it, and what the header says about the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.dimse.dataset import build_study, describe_instance
from wetread.errors import NotDicom
from wetread.guard.intended import age_years
from wetread.images.film import read_radiograph
from wetread.images.folder import scan_folder
from wetread.images.volume import read_volume
from wetread.records.study import SeriesRef, StudyRef
from wetread.records.volume import Volume

_MAGIC = (128, b"DICM")  # PS3.10 7.1


def is_dicom(path: Path) -> bool:
    """Whether the file has the preamble of PS3.10."""
    with path.open("rb") as stream:
        stream.seek(_MAGIC[0])
        return stream.read(len(_MAGIC[1])) == _MAGIC[1]


def read_film(path: Path) -> tuple[npt.NDArray[np.float32], str, dict[str, str]]:
    """The film, its patient (ID and issuer), and what is known for subgroups.

    Raises: ``NotDicom``, ``NoPixels``, ``TruncatedPixels``, ``UnsupportedImage``.
    """
    ds, instance = describe_instance(path)
    studies = list(build_study([(ds, instance)]))
    if len(studies) != 1:
        raise NotDicom(f"{path.name}: is no image of one study")
    study = studies[0]
    film = read_radiograph(study.series[0])
    patient, about = about_study(study, study.series[0])
    if film.spacing_mm is not None:
        about["spacing_mm"] = f"{film.spacing_mm[0]:g}"
    return film.array, patient, about


def read_series(folder: Path) -> tuple[Volume, str, dict[str, str]]:
    """The volume of a folder with one series, its patient (ID and issuer), and what is known for subgroups.

    Raises: ``NotDicom`` for another number of series, and what ``read_volume`` raises.
    """
    found = [(study, series) for study in scan_folder(folder).studies for series in study.series]
    if len(found) != 1:
        raise NotDicom(f"{folder.name}: holds {len(found)} DICOM series, one was expected")
    study, series = found[0]
    volume = read_volume(series, min_slices=2)
    patient, about = about_study(study, series)
    return volume, patient, {**about, "spacing_mm": f"{volume.spacing_mm[0]:g}"}


def about_study(study: StudyRef, series: SeriesRef) -> tuple[str, dict[str, str]]:
    """The patient (ID and issuer; empty if unknown), and what headers say for subgroups."""
    age = age_years(study)
    about = {
        "sex": study.patient.sex,
        "age_years": "" if age is None else f"{age:g}",
        "manufacturer": series.manufacturer,
    }
    patient = f"{study.patient.patient_id}^{study.patient.issuer}" if study.patient.patient_id else ""
    return patient, {name: value for name, value in about.items() if value}
