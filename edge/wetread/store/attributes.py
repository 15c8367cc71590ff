"""Study and series attributes as the database keeps them: JSON of the records, without instances."""

from __future__ import annotations

import dataclasses
import json

from wetread.records.study import Correction, Film, InstanceRef, Patient, SeriesRef, StudyRef


def study_to_json(study: StudyRef) -> str:
    """Everything of the study but its series."""
    fields = dataclasses.asdict(dataclasses.replace(study, series=()))
    del fields["series"]
    return json.dumps(fields, ensure_ascii=False)


def study_from_json(text: str, series: tuple[SeriesRef, ...] = ()) -> StudyRef:
    """The inverse of ``study_to_json``."""
    fields = json.loads(text)
    patient = Patient(**fields.pop("patient"))
    corrected = fields.pop("correction", None)  # not there before version 0.2.0
    correction = Correction(**corrected) if corrected else None
    return StudyRef(patient=patient, series=series, correction=correction, **fields)


def series_to_json(series: SeriesRef) -> str:
    """Everything of the series but its instances."""
    fields = dataclasses.asdict(dataclasses.replace(series, instances=()))
    del fields["instances"]
    return json.dumps(fields, ensure_ascii=False)


def series_from_json(text: str, instances: tuple[InstanceRef, ...]) -> SeriesRef:
    """The inverse of ``series_to_json``."""
    fields = json.loads(text)
    fields["image_type"] = tuple(fields["image_type"])
    return SeriesRef(instances=instances, **fields)


def film_to_json(film: Film | None) -> str:
    """Of one instance; '' of anything but a film."""
    return json.dumps(dataclasses.asdict(film), ensure_ascii=False) if film else ""


def film_from_json(text: str) -> Film | None:
    """The inverse of ``film_to_json``."""
    if not text:
        return None
    fields = json.loads(text)
    return Film(**fields | {"image_type": tuple(fields["image_type"])})
