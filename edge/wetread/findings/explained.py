"""Heat maps of scores become heat maps of findings."""

from __future__ import annotations

from collections.abc import Sequence

from wetread.records.heat_map import HeatMap, ScoreMap
from wetread.records.reading import Reading


def heat_maps(reading: Reading, maps: Sequence[ScoreMap]) -> tuple[HeatMap, ...]:
    """``maps``: one for each score, in the order of the findings; or none.

    A map on which nothing speaks for the score is left out: it would be a picture of nothing.
    """
    if not maps:
        return ()
    pairs = zip(reading.findings, maps, strict=True)
    return tuple(HeatMap(m.array, f.tracking_uid, m.method, m.parameters) for f, m in pairs if m.array.any())
