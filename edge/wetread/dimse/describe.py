"""From headers to references: the studies, series and instances that a set of headers speaks of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from pydicom.dataset import Dataset

from wetread.dimse.attributes import integer, is_present, text, texts
from wetread.records.sop_classes import is_film
from wetread.records.study import Film, InstanceRef, Patient, SeriesRef, StudyRef

_Item = tuple[Dataset, InstanceRef]
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
"""What ``build_study`` only asks whether it is there."""
DESCRIBING = (
    *("StudyInstanceUID", "AccessionNumber", "StudyDescription", "StudyDate", "StudyTime"),
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber", "ProtocolName", "BodyPartExamined"),
    *("Laterality", "Manufacturer", "ImageType", "ContrastBolusAgent"),
)
"""What ``build_study`` looks at. A test says when it looks at more."""
_VIEWS = {
    ("399348003", "SCT"): "AP",
    ("R-10206", "SRT"): "AP",
    ("272479007", "SCT"): "PA",
    ("R-10214", "SRT"): "PA",
    ("399173006", "SCT"): "LL",
    ("R-10236", "SRT"): "LL",
    ("399198007", "SCT"): "RL",
    ("R-10232", "SRT"): "RL",
}
"""View Position (PS3.3 C.8.1.2) that a code of CID 4010 stands for; other codes are said by their meaning."""
_REGIONS = {("51185008", "SCT"): "CHEST", ("T-D3000", "SRT"): "CHEST"}
"""Body Part Examined (PS3.16 annex L) of a code; other codes are said by their meaning."""


def build_study(items: Iterable[_Item]) -> list[StudyRef]:
    """Group instances into studies, each described by its first instance; no other header is kept meanwhile.

    Two patients under one Study Instance UID give two references with the same UID: whoever asked sees the conflict and
    must not read either. Order is always the same: studies by UID and patient, series by number and UID, instances by
    Instance Number and UID (a listing order only: slices are ordered by position).
    """
    groups: dict[tuple[str, str, str], _Group] = {}
    for ds, instance in items:
        key = (text(ds, "StudyInstanceUID"), text(ds, "PatientID"), text(ds, "IssuerOfPatientID"))
        if key not in groups:
            groups[key] = _Group((ds, instance))
        groups[key].add(ds, instance)
    return [groups[key].study() for key in sorted(groups)]


class _Group:
    """One study under way. Thousands of headers at once would stop every thread while Python looks for garbage."""

    def __init__(self, first: _Item) -> None:
        self._first = first
        self._first_of: dict[str, _Item] = {}
        self._instances: dict[str, list[InstanceRef]] = defaultdict(list)

    def add(self, ds: Dataset, instance: InstanceRef) -> None:
        """Its header is kept if it describes the study or a series so far."""
        uid = text(ds, "SeriesInstanceUID")
        self._instances[uid].append(instance)
        first = self._first_of.get(uid)
        if first is None or _listing_order(instance) < _listing_order(first[1]):
            self._first_of[uid] = (ds, instance)
        if instance.sop_instance_uid < self._first[1].sop_instance_uid:
            self._first = (ds, instance)

    def study(self) -> StudyRef:
        """Of all that were added, at least one."""
        series = [_describe_series(ds, self._instances[uid]) for uid, (ds, _) in self._first_of.items()]
        return _describe_study(self._first[0], sorted(series, key=_series_order))


def _describe_series(ds: Dataset, instances: Iterable[InstanceRef]) -> SeriesRef:
    """One series; its attributes come from the header of its first instance in listing order."""
    return SeriesRef(
        series_instance_uid=text(ds, "SeriesInstanceUID"),
        modality=text(ds, "Modality"),
        instances=tuple(sorted(instances, key=_listing_order)),
        description=text(ds, "SeriesDescription"),
        number=integer(ds, "SeriesNumber"),
        protocol=text(ds, "ProtocolName"),
        body_part=text(ds, "BodyPartExamined"),
        laterality=text(ds, "Laterality"),
        manufacturer=text(ds, "Manufacturer"),
        image_type=texts(ds, "ImageType"),
        contrast_agent=text(ds, "ContrastBolusAgent"),
        has_geometry=all(is_present(ds, keyword) for keyword in GEOMETRY),
    )


def describe_patient(ds: Dataset) -> Patient:
    """Who a header says it is about (PS3.3 C.7.1.1)."""
    return Patient(
        patient_id=text(ds, "PatientID"),
        issuer=text(ds, "IssuerOfPatientID"),
        name=text(ds, "PatientName"),
        birth_date=text(ds, "PatientBirthDate"),
        sex=text(ds, "PatientSex"),
    )


def describe_film(ds: Dataset) -> Film | None:
    """What a header says about the one film it belongs to; None of anything but a projection radiograph."""
    if not is_film(text(ds, "SOPClassUID")):
        return None
    return Film(
        view_position=text(ds, "ViewPosition").upper() or _coded(ds, "ViewCodeSequence", _VIEWS),
        laterality=(text(ds, "ImageLaterality") or text(ds, "Laterality")).upper(),
        body_part=text(ds, "BodyPartExamined").upper() or _coded(ds, "AnatomicRegionSequence", _REGIONS),
        presentation_intent=text(ds, "PresentationIntentType").upper(),
        image_type=texts(ds, "ImageType"),
    )


def _coded(ds: Dataset, keyword: str, words: dict[tuple[str, str], str]) -> str:
    """The word for the first item of a code sequence, or its meaning."""
    try:
        item = next(iter(ds.get(keyword) or ()), None)
    except Exception:  # a sequence that nobody can parse says nothing
        return ""
    if not isinstance(item, Dataset):
        return ""
    code = text(item, "CodeValue"), text(item, "CodingSchemeDesignator")
    return words.get(code, text(item, "CodeMeaning").upper())


def _describe_study(ds: Dataset, series: Iterable[SeriesRef]) -> StudyRef:
    return StudyRef(
        study_instance_uid=text(ds, "StudyInstanceUID"),
        patient=describe_patient(ds),
        series=tuple(series),
        accession_number=text(ds, "AccessionNumber"),
        description=text(ds, "StudyDescription"),
        date=text(ds, "StudyDate"),
        time=text(ds, "StudyTime"),
        patient_age=text(ds, "PatientAge"),
    )


def _listing_order(instance: InstanceRef) -> tuple[bool, int, str]:
    number = instance.instance_number
    return number is None, number or 0, instance.sop_instance_uid


def _series_order(series: SeriesRef) -> tuple[bool, int, str]:
    return series.number is None, series.number or 0, series.series_instance_uid
