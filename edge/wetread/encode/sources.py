"""The headers of the source instances, in slice order and with the attributes every object needs."""

from __future__ import annotations

from pydicom import DataElement, Dataset, dcmread
from pydicom.config import RAISE
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

from wetread.encode.correction import apply_correction
from wetread.errors import NotDicom
from wetread.records.model_input import ModelInput
from wetread.records.refused import Refused
from wetread.records.study import Correction, InstanceRef

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Present in every object, empty if unknown (PS3.3 C.7.1.1, C.7.2.1); real archives hold instances that lack some."""


_FORMATTED_VRS = frozenset({"AS", "DA", "TM"})
"""An age of ``42`` or a date of ``unknown`` is no value and is not copied. Names and identifiers always are, whatever
their form."""


def read_headers(image: ModelInput | Refused, correction: Correction | None = None) -> tuple[Dataset, ...]:
    """Data sets of the source instances without pixel data, corrected; ``headers[k]`` belongs to slice ``k``.

    Masks are attached to source images by their place in this list, so its order is that of ``image.instances`` and
    of nothing else.
    """
    headers = tuple(_read(instance) for instance in image.instances)
    headers[0].decode()
    if correction is not None:
        for header in headers:
            apply_correction(header, correction)
    _complete(headers[0])
    return headers


def _read(instance: InstanceRef) -> Dataset:
    try:
        return dcmread(instance.path, stop_before_pixels=True)
    except InvalidDicomError as exc:
        raise NotDicom(f"{instance.path.name} is no longer a readable DICOM instance") from exc


def _complete(header: Dataset) -> None:
    """Make the instance whose attributes are copied fit the Patient and General Study modules."""
    for element in list(header):
        if element.VR in _FORMATTED_VRS and not _is_valid(element):
            del header[element.tag]
    for keyword in _TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""  # enumerated (PS3.3 C.7.1.1); "U" and the like mean unknown, which is written empty


def _is_valid(element: DataElement) -> bool:
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    try:
        for value in values:
            validate_value(element.VR, None if value is None else str(value), RAISE)
    except ValueError:
        return False
    return True
