"""What feeds a bundle's inputs: the bundle's own rule, with a reason for every series or film taken or passed over.

A radiograph is one instance: each film of a study is a candidate of its own, as a series narrowed to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wetread.bundles.fit import unintended, unreadable, why_not
from wetread.bundles.manifest import InputRule
from wetread.records.job import ChosenSeries
from wetread.records.numbers import number_of
from wetread.records.study import SeriesRef, StudyRef


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the selection said about one series, or film, for one input."""

    series_instance_uid: str
    label: str
    input_name: str
    taken: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.label}: {'taken' if self.taken else 'passed over'} for {self.input_name!r}, {self.reason}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Sets of what was chosen, one set for each read (none: the study does not fit), and all verdicts."""

    reads: tuple[tuple[ChosenSeries, ...], ...]
    verdicts: tuple[Verdict, ...]

    @property
    def missing(self) -> str:
        """Why nothing was chosen, in one sentence."""
        return "no series fits the bundle's input rule: " + "; ".join(
            f"{v.label} ({v.reason})" for v in self.verdicts if not v.taken
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    series: SeriesRef
    label: str


def select(study: StudyRef, rules: tuple[InputRule, ...], *, outside: bool = False) -> Selection:
    """Choose a series or film for every input of a bundle.

    With ``choose = "all"`` a bundle of one input gives a read for each that fits. ``outside``: what the bundle was not
    made for is taken too, after what it was made for, with the reasons.
    """
    verdicts: list[Verdict] = []
    per_input: list[list[ChosenSeries]] = []
    for rule in rules:
        chosen = list(_choose(study, rule, verdicts, outside=outside))
        per_input.append(chosen)
    if not all(per_input):
        return Selection((), tuple(verdicts))
    if len(rules) == 1:
        return Selection(tuple((c,) for c in per_input[0]), tuple(verdicts))
    return Selection((tuple(chosen[0] for chosen in per_input),), tuple(verdicts))


def _choose(study: StudyRef, rule: InputRule, verdicts: list[Verdict], *, outside: bool) -> Iterator[ChosenSeries]:
    fitting: list[tuple[_Candidate, tuple[str, ...]]] = []
    for candidate in _candidates(study, rule):
        problem, reasons = unreadable(candidate.series, rule), unintended(candidate.series, rule)
        if problem or (reasons and not outside):
            verdicts.append(_verdict(candidate, rule, taken=False, reason=why_not(candidate.series, rule)))
        else:
            fitting.append((candidate, reasons))
    # What the bundle was made for first, then most instances; the UID makes the choice the same every time.
    fitting.sort(key=lambda f: (len(f[1]), -len(f[0].series.instances), *_place(f[0].series)))
    taken = fitting if rule.choose == "all" else fitting[:1]
    for candidate, reasons in taken:
        reason = _why(candidate, rule, reasons)
        verdicts.append(_verdict(candidate, rule, taken=True, reason=reason))
        yield ChosenSeries(rule.name, candidate.series, reason)
    for candidate, _ in fitting[len(taken) :]:
        verdicts.append(_verdict(candidate, rule, taken=False, reason=_preferred(taken[0][0], rule)))


def _candidates(study: StudyRef, rule: InputRule) -> Iterator[_Candidate]:
    for series in study.series:
        if rule.kind != "radiograph" or series.modality not in rule.modality or not series.instances:
            yield _Candidate(series, series.label)
            continue
        for instance in series.instances:
            several = f", {instance.label}" if len(series.instances) > 1 else ""
            yield _Candidate(replace(series, instances=(instance,)), f"{series.label}{several}")


def _place(series: SeriesRef) -> tuple[str, int, str]:
    first = series.instances[0]
    return series.series_instance_uid, first.instance_number or 0, first.sop_instance_uid


def _why(candidate: _Candidate, rule: InputRule, outside: tuple[str, ...]) -> str:
    if outside:
        return f"read outside the intended use: {'; '.join(outside)}"
    count = len(candidate.series.instances)
    return "fits the rule" if rule.kind == "radiograph" else f"fits the rule, {number_of(count, 'instance')}"


def _preferred(best: _Candidate, rule: InputRule) -> str:
    preferred = f"{best.label} (UID …{best.series.series_instance_uid[-8:]})"
    if rule.kind == "radiograph":
        return f"fits, but {preferred} is read: the bundle reads one film of a study"
    return (
        f"fits, but {preferred} is preferred: {number_of(len(best.series.instances), 'instance')}, not fewer than here"
    )


def _verdict(candidate: _Candidate, rule: InputRule, *, taken: bool, reason: str) -> Verdict:
    return Verdict(candidate.series.series_instance_uid, candidate.label, rule.name, taken, reason)
