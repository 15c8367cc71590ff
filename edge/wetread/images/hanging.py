"""How a film hangs: from Patient Orientation to the turn that puts it upright (PS3.3 C.7.6.1.1.1)."""

from __future__ import annotations

from wetread.records.radiograph import Turn

_AXES = {"L": "side", "R": "side", "A": "depth", "P": "depth", "H": "length", "F": "length"}
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
_RIGHT = {"L", "P"}
"""To the right of the screen: the patient's left, as if facing the reader; on lateral views the back."""
_DOWN = {"F", "P"}
"""Down the screen: the feet; on axial views the back."""

Orientation = tuple[str, str]
"""Patient Orientation: where a row points, then where a column points; the strongest letter first."""


def upright(orientation: Orientation) -> tuple[Turn, Orientation]:
    """The turn that hangs a film, and its Patient Orientation afterwards.

    An orientation that is absent or makes no sense gives no turn: then the film is taken as it is stored.
    """
    row, column = orientation
    if not _makes_sense(row, column):
        return Turn(), orientation
    transpose = _AXES[row[0]] == "length" or (_AXES[column[0]] == "side")
    if transpose:
        row, column = column, row
    reverse_columns, reverse_rows = row[0] not in _RIGHT, column[0] not in _DOWN
    row = _opposite(row) if reverse_columns else row
    column = _opposite(column) if reverse_rows else column
    return Turn(transpose, reverse_rows, reverse_columns), (row, column)


def _makes_sense(row: str, column: str) -> bool:
    return all(
        part and len(part) <= 3 and set(part) <= set(_AXES) and len({_AXES[letter] for letter in part}) == len(part)
        for part in (row, column)
    ) and (_AXES[row[0]] != _AXES[column[0]])


def _opposite(direction: str) -> str:
    return "".join(_OPPOSITE[letter] for letter in direction)
