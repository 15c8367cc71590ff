"""Two reads of the same series side by side: what each says of every structure, condition and kind of detection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from wetread.records.result import FindingSummary


@dataclass(frozen=True, slots=True)
class MeasuredTwice:
    """One measurement of both reads; None where one read lacks it."""

    name: str
    unit: str
    """UCUM."""
    shadow: float | None
    live: float | None

    @property
    def difference(self) -> float | None:
        """Shadow less live."""
        return None if self.shadow is None or self.live is None else self.shadow - self.live


@dataclass(frozen=True, slots=True)
class FoundTwice:
    """One finding of both reads; None where one read lacks it."""

    either: FindingSummary
    """For what both share: name, code, laterality."""
    shadow: FindingSummary | None
    live: FindingSummary | None

    @property
    def verdict(self) -> str:
        """Whether both say the same, in words."""
        if self.shadow is None or self.live is None:
            return f"only in {'live' if self.shadow is None else 'shadow'}: {self.either.evaluation}"
        if self.shadow.evaluation == self.live.evaluation:
            return f"both {self.shadow.evaluation}"
        return f"shadow {self.shadow.evaluation}, live {self.live.evaluation}"

    @property
    def measurements(self) -> tuple[MeasuredTwice, ...]:
        """By name and unit, in the order of the shadow read."""
        shadow, live = _measured(self.shadow), _measured(self.live)
        names = dict.fromkeys([*shadow, *live])
        return tuple(
            MeasuredTwice(name, unit, shadow.get((name, unit)), live.get((name, unit))) for name, unit in names
        )


def beside(shadow: Sequence[FindingSummary], live: Sequence[FindingSummary]) -> tuple[FoundTwice, ...]:
    """Pair the findings by code and side; several of one code (detections) in their order, the best score first.

    Names are not compared: two versions of a bundle may word them differently.
    """
    return tuple(_paired(_by_code(shadow), _by_code(live)))


def _paired(
    shadow: dict[tuple[str, str], list[FindingSummary]], live: dict[tuple[str, str], list[FindingSummary]]
) -> Iterator[FoundTwice]:
    for key in dict.fromkeys([*shadow, *live]):
        for one, other in zip_longest(shadow.get(key, []), live.get(key, [])):
            yield FoundTwice(one or other, one, other)


def _by_code(findings: Iterable[FindingSummary]) -> dict[tuple[str, str], list[FindingSummary]]:
    grouped: dict[tuple[str, str], list[FindingSummary]] = {}
    for finding in findings:
        grouped.setdefault((f"{finding.code.value}^{finding.code.scheme}", finding.laterality), []).append(finding)
    return grouped


def _measured(finding: FindingSummary | None) -> dict[tuple[str, str], float]:
    return {(m.name, m.unit): m.value for m in finding.measurements} if finding else {}
