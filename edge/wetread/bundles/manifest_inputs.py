"""``inputs``, ``patient`` and ``guard`` of ``wetread.json``: which series feed a model, and for whom it was made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wetread.bundles.manifest_terms import Pattern, Range, Strict


class InputRule(Strict):
    """Which series may feed one input of the model. Rules on absent attributes pass unless said otherwise."""

    name: str
    """What this input is called in routing decisions and messages; unique in the bundle."""
    key: str = ""
    """Key in the MONAI data dictionary; empty: the name. Inputs with one key are stacked as channels, in this order."""
    kind: Literal["volume", "radiograph"] = "volume"
    """``volume``: a stack of slices; ``radiograph``: single 2-D images."""
    modality: tuple[str, ...] = Field(min_length=1)
    """Accepted values of Modality (0008,0060), e.g. ``CT``."""
    sop_classes: tuple[str, ...] = ()
    """Accepted SOP Class UIDs; empty: any image class of the modality."""
    description_any: tuple[Pattern, ...] = ()
    """At least one must match Series Description or Protocol Name; empty: anything."""
    description_none: tuple[Pattern, ...] = ()
    """None may match Series Description or Protocol Name."""
    body_part: tuple[str, ...] = ()
    """Accepted Body Part Examined values; an absent value passes."""
    view_position: tuple[str, ...] = ()
    """Of a radiograph: accepted View Position values (0018,5101), e.g. ``AP``; empty: any."""
    unknown_view: Literal["accept", "reject"] = "reject"
    """What happens to a film without View Position, where ``view_position`` is given."""
    laterality: tuple[Literal["R", "L", "B", "U"], ...] = ()
    """Of a radiograph: accepted Image Laterality values; an absent value passes; empty: any."""
    image_type_none: tuple[str, ...] = ("LOCALIZER",)
    """Image Type values that exclude a series."""
    min_instances: int = Field(default=1, ge=1)
    """The fewest instances (of a volume: slices) a series must have."""
    contrast: Literal["any", "with", "without"] = "any"
    """Contrast/Bolus Agent present, absent, or not looked at."""
    slice_spacing_mm: Range = Range()
    """Distance of neighbouring slices along their normal."""
    pixel_spacing_mm: Range = Range()
    """Both numbers of Pixel Spacing must lie in it."""
    choose: Literal["best", "all"] = "best"
    """``best``: the series with most instances, of several films the first; ``all``: one read for each that fits."""


class PatientRule(Strict):
    """For whom the model was made."""

    age_years: Range = Range()
    """Age at the time of the study."""
    unknown_age: Literal["accept", "reject"] = "reject"
    """What happens to a study without Patient's Age or birth and study date, where ``age_years`` is limited."""
    sex: tuple[str, ...] = ()
    """Accepted values of Patient's Sex; empty: any. Where it is limited, a study that does not give it is rejected."""


class GuardRule(Strict):
    """What the bundle's training data looked like: images unlike them are rejected."""

    statistics: str
    """File in the bundle folder (safetensors), as ``wetread bundle train`` and ``wetread bundle guard`` write it."""
    sha256: str
    """Of that file."""
