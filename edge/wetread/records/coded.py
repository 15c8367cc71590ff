"""Coded terms: what DICOM calls a Code Sequence item (PS3.3 8.8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodedTerm:
    """One code with its scheme and meaning, e.g. ``CodedTerm("12738006", "SCT", "Brain")``."""

    value: str
    scheme: str
    meaning: str

    def __str__(self) -> str:
        return f"({self.value}, {self.scheme}, {self.meaning!r})"
