"""What every result object says about itself: who made it, when, on whose study, and that nobody reviewed it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from highdicom import ContributingEquipment
from pydicom import Dataset
from pydicom.sr.codedict import codes

from wetread import __version__
from wetread.encode.context import Draft
from wetread.encode.text import choose_character_set, text_line
from wetread.encode.uids import derived_uid
from wetread.records.radiograph import Radiograph
from wetread.records.reading import AlgorithmIdentity

MANUFACTURER = "Wetread"
IMPLEMENTATION_CLASS_UID = derived_uid("implementation", "wetread")
IMPLEMENTATION_VERSION_NAME = f"WETREAD_{__version__}"[:16]

_SERIES = {"SEG": (0, "segments"), "SR": (1, "report"), "SC": (2, "overlay"), "PM": (3, "heat map")}
"""Kind: offset of the Series Number, and what the series description calls it."""


def series_number(draft: Draft, kind: str) -> int:
    """Fixed for each kind: viewers sort by it, and a re-run must not change it."""
    return draft.context.spec.series_number_base + _SERIES[kind][0]


def series_description(draft: Draft, kind: str) -> str:
    """Says at first sight that this is AI and not reviewed; at most 64 characters (PS3.5 6.2, LO)."""
    word = "card" if kind == "SC" and isinstance(draft.context.image, Radiograph) else _SERIES[kind][1]
    ending = f" {word} - {_standing(draft)}"
    return text_line(f"AI {draft.context.manifest.title}", 64 - len(ending)) + ending


def _standing(draft: Draft) -> str:
    if draft.refused:
        return "NOT READ, NOT REVIEWED"
    return "NOT REVIEWED, OUTSIDE INTENDED USE" if draft.context.reading.outside else "NOT REVIEWED"


def software_versions(algorithm: AlgorithmIdentity) -> list[str]:
    """The bundle's version and weights, and ours."""
    return [
        text_line(f"{algorithm.bundle_version}+weights.{algorithm.weights_digest[:16]}", 64),
        f"wetread {__version__}",
    ]


def device_uid(algorithm: AlgorithmIdentity) -> str:
    """Names model and engine together; changes when either does (IHE AIR: update when retrained)."""
    engine = algorithm.engine
    return derived_uid(
        "device", algorithm.weights_digest, engine.name, engine.precision, engine.library_version, engine.certificate
    )


def local_time(draft: Draft) -> datetime:
    """When the answer was computed, in the zone of the object's other times.

    Timezone Offset From UTC (0008,0201) speaks for every date and time of an object, also for the copied ones, which
    are never shifted. So a source that names its zone sets ours; else it is the site's.
    """
    minutes = offset_minutes(str(draft.headers[0].get("TimezoneOffsetFromUTC", "") or ""))
    if minutes is None:
        minutes = draft.context.spec.utc_offset_minutes
    return draft.context.reading.decided_at.astimezone(timezone(timedelta(minutes=minutes)))


def offset_minutes(value: str) -> int | None:
    """Minutes of ``&ZZXX`` (PS3.3 C.12.1.1.8), or None if it is not one."""
    if len(value) != 5 or value[0] not in "+-" or not value[1:].isdigit():
        return None
    minutes = int(value[1:3]) * 60 + int(value[3:])
    return (-minutes if value[0] == "-" else minutes) if minutes <= 14 * 60 else None


def finish(dataset: Dataset, draft: Draft, kind: str) -> Dataset:
    """Add what all objects share; the last step of every encoder.

    It also replaces what highdicom takes from the clock, so that one reading always gives the same bytes.
    """
    dataset.SeriesDescription = series_description(draft, kind)
    _set_times(dataset, local_time(draft))
    dataset.ContributingEquipmentSequence = _equipment(draft)
    if kind != "SR":
        _set_body_part(dataset, draft)
    choose_character_set(dataset, draft.headers[0])
    return dataset


def _set_times(dataset: Dataset, when: datetime) -> None:
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.ContentDate, dataset.ContentTime = date, time
    dataset.TimezoneOffsetFromUTC = when.strftime("%z")[:5]


def _equipment(draft: Draft) -> list[Dataset]:
    """The scanner and ourselves (PS3.3 C.12.1, Contributing Equipment Sequence)."""
    algorithm = draft.context.reading.algorithm
    when = local_time(draft)
    ourselves = ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=text_line(algorithm.bundle_name, 64),
        software_versions=software_versions(algorithm),
        contribution_datetime=when.strftime("%Y%m%d%H%M%S.%f%z"),
        contribution_description="AI, not read" if draft.refused else "AI read, not reviewed",
    )
    ourselves.DeviceUID = device_uid(algorithm)
    source = draft.headers[0]
    if not source.get("Manufacturer"):
        return [ourselves]
    return [ContributingEquipment.for_image_acquisition(source), ourselves]


def _set_body_part(dataset: Dataset, draft: Draft) -> None:
    """Copy body part and side; where the source is silent take the body part that the bundle reads.

    Laterality (0020,0060) is required unless the body part is known not to be paired (PS3.3 C.7.3.1).
    """
    source = draft.headers[0]
    stated = draft.context.manifest.inputs[0].body_part
    body_part = source.get("BodyPartExamined") or (stated[0] if stated else "")
    if body_part:
        dataset.BodyPartExamined = body_part
    if source.get("Laterality"):
        dataset.Laterality = source.Laterality
