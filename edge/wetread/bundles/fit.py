"""Does a series, or one film of it, fit an input rule of a bundle? What cannot be read, and what it was not made for.

The second kind can be overruled by a person or a route (``outside_intended_use``), the first cannot.
"""

from __future__ import annotations

from collections.abc import Iterator

from wetread.bundles.manifest import InputRule
from wetread.records.numbers import number_of
from wetread.records.sop_classes import is_derived
from wetread.records.study import Film, SeriesRef

FOR_PROCESSING = "FOR PROCESSING"


def why_not(series: SeriesRef, rule: InputRule) -> str:
    """What a person is told first: another class of images, then what the bundle was made for, then what is missing."""
    return _other_class(series, rule) or next(iter(unintended(series, rule)), "") or unreadable(series, rule)


def unreadable(series: SeriesRef, rule: InputRule) -> str:
    """Why the input cannot be made of this series (of a film: narrowed to it), or ''."""
    other = _other_class(series, rule)
    return other or (_not_a_film(series) if rule.kind == "radiograph" else _no_volume(series, rule))


def _other_class(series: SeriesRef, rule: InputRule) -> str:
    if series.modality not in rule.modality:
        return f"modality is {series.modality or 'absent'}, expected {' or '.join(rule.modality)}"
    if any(is_derived(uid) for uid in series.sop_class_uids):
        return "a result or other derived object, not an acquisition"
    foreign = series.sop_class_uids - set(rule.sop_classes)
    if rule.sop_classes and foreign:
        return f"SOP class {sorted(foreign)[0]} is not one the bundle reads"
    return ""


def unintended(series: SeriesRef, rule: InputRule) -> tuple[str, ...]:
    """Why the bundle was not made for this series, or film."""
    film = series.instances[0].film if rule.kind == "radiograph" and series.instances else None
    found = [*_texts(series, rule), *_types(series, film, rule)]
    if film is not None:
        found += _views(film, rule)
    return tuple(found)


def _not_a_film(series: SeriesRef) -> str:
    film = series.instances[0].film if series.instances else None
    if film is None:
        return "not a CR or DX image"
    if film.presentation_intent == FOR_PROCESSING:
        return "for processing (raw detector values), its image for presentation is read"
    return ""


def _no_volume(series: SeriesRef, rule: InputRule) -> str:
    if len(series.instances) < rule.min_instances:
        return f"{number_of(len(series.instances), 'instance')}, expected at least {rule.min_instances}"
    if not series.has_geometry:
        return "no position, orientation or pixel spacing, which a volume needs"
    return ""


def _texts(series: SeriesRef, rule: InputRule) -> Iterator[str]:
    texts = [t for t in (series.description, series.protocol) if t]
    for pattern in rule.description_none:
        for text in texts:
            if pattern.found_in(text):
                yield f"{text!r} says {pattern.means}, which the bundle excludes"
    if rule.description_any and not any(p.found_in(text) for p in rule.description_any for text in texts):
        found = " and ".join(map(repr, dict.fromkeys(texts))) or "an absent description"
        yield f"{found} says none of: {', '.join(p.means for p in rule.description_any)}"


def _types(series: SeriesRef, film: Film | None, rule: InputRule) -> Iterator[str]:
    image_type = film.image_type if film else series.image_type
    body_part = film.body_part if film else series.body_part
    excluded = set(rule.image_type_none) & {t.upper() for t in image_type}
    if excluded:
        yield f"Image Type is {sorted(excluded)[0]}"
    if rule.body_part and body_part and body_part.upper() not in rule.body_part:
        yield f"body part is {body_part}, expected {' or '.join(rule.body_part)}"
    if rule.contrast == "without" and series.contrast_agent:
        yield "acquired with contrast agent, expected without"
    if rule.contrast == "with" and not series.contrast_agent:
        yield "acquired without contrast agent, expected with"


def _views(film: Film, rule: InputRule) -> Iterator[str]:
    expected = " or ".join(rule.view_position)
    if rule.view_position and not film.view_position and rule.unknown_view == "reject":
        yield f"the film does not say its view, expected {expected}"
    if rule.view_position and film.view_position and film.view_position not in rule.view_position:
        yield f"view is {film.view_position}, expected {expected}"
    if rule.laterality and film.laterality and film.laterality not in rule.laterality:
        yield f"laterality is {film.laterality}, expected {' or '.join(rule.laterality)}"
