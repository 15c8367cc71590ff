"""A chosen series becomes what the bundle's input asks for. A new kind of input is a line here."""

from __future__ import annotations

from wetread.bundles.manifest import InputRule
from wetread.images.film import read_radiograph
from wetread.images.volume import read_volume
from wetread.records.model_input import ModelInput
from wetread.records.study import SeriesRef


def read_image(series: SeriesRef, rule: InputRule) -> ModelInput:
    """A volume, or the one film that ``series`` was narrowed to.

    Raises: ``ImageUnusable``, ``GeometryInvalid`` or ``NotDicom``; the message names the files and what was expected.
    """
    if rule.kind == "radiograph":
        return read_radiograph(series)
    return read_volume(series, min_slices=rule.min_instances)
