"""Which series feed a bundle's inputs: the bundle's own rule, with a reason for every series taken or passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wetread.bundles.manifest import InputRule
from wetread.records.job import ChosenSeries
from wetread.records.sop_classes import is_derived
from wetread.records.study import SeriesRef, StudyRef


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the selection said about one series for one input."""

    series_instance_uid: str
    label: str
    input_name: str
    taken: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.label}: {'taken' if self.taken else 'passed over'} for {self.input_name!r}, {self.reason}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Sets of chosen series, one set for each read (none: the study does not fit), and all verdicts."""

    reads: tuple[tuple[ChosenSeries, ...], ...]
    verdicts: tuple[Verdict, ...]

    @property
    def missing(self) -> str:
        """Why nothing was chosen, in one sentence."""
        return "no series fits the bundle's input rule: " + "; ".join(
            f"{v.label} ({v.reason})" for v in self.verdicts if not v.taken
        )


def select(study: StudyRef, rules: tuple[InputRule, ...]) -> Selection:
    """Choose series for every input of a bundle.

    With ``choose = "all"`` a bundle of one input gives a read for each series that fits.
    """
    verdicts: list[Verdict] = []
    per_input: list[list[ChosenSeries]] = []
    for rule in rules:
        chosen = list(_choose(study, rule, verdicts))
        per_input.append(chosen)
    if not all(per_input):
        return Selection((), tuple(verdicts))
    if len(rules) == 1:
        return Selection(tuple((c,) for c in per_input[0]), tuple(verdicts))
    return Selection((tuple(chosen[0] for chosen in per_input),), tuple(verdicts))


def _choose(study: StudyRef, rule: InputRule, verdicts: list[Verdict]) -> Iterator[ChosenSeries]:
    fitting: list[SeriesRef] = []
    for series in study.series:
        problem = _problem(series, rule)
        if problem:
            verdicts.append(_verdict(series, rule, taken=False, reason=problem))
        else:
            fitting.append(series)
    # Most instances first; the UID makes the choice the same every time.
    fitting.sort(key=lambda s: (-len(s.instances), s.series_instance_uid))
    taken = fitting if rule.choose == "all" else fitting[:1]
    for series in taken:
        reason = f"fits the rule, {len(series.instances)} instances"
        verdicts.append(_verdict(series, rule, taken=True, reason=reason))
        yield ChosenSeries(rule.name, series, reason)
    for series in fitting[len(taken) :]:
        preferred = f"{taken[0].label} (UID …{taken[0].series_instance_uid[-8:]})"
        reason = f"fits, but {preferred} is preferred: {len(taken[0].instances)} instances, not fewer than here"
        verdicts.append(_verdict(series, rule, taken=False, reason=reason))


def _verdict(series: SeriesRef, rule: InputRule, *, taken: bool, reason: str) -> Verdict:
    return Verdict(series.series_instance_uid, series.label, rule.name, taken, reason)


def _problem(series: SeriesRef, rule: InputRule) -> str:
    """Why the series may not feed this input, or ''."""
    for check in (_class_problem, _text_problem, _type_problem, _size_problem):
        problem = check(series, rule)
        if problem:
            return problem
    return ""


def _class_problem(series: SeriesRef, rule: InputRule) -> str:
    if series.modality not in rule.modality:
        return f"modality is {series.modality or 'absent'}, expected {' or '.join(rule.modality)}"
    if any(is_derived(uid) for uid in series.sop_class_uids):
        return "a result or other derived object, not an acquisition"
    foreign = series.sop_class_uids - set(rule.sop_classes)
    if rule.sop_classes and foreign:
        return f"SOP class {sorted(foreign)[0]} is not one the bundle reads"
    return ""


def _text_problem(series: SeriesRef, rule: InputRule) -> str:
    texts = [t for t in (series.description, series.protocol) if t]
    for pattern in rule.description_none:
        for text in texts:
            if pattern.found_in(text):
                return f"{text!r} says {pattern.means}, which the bundle excludes"
    if rule.description_any and not any(p.found_in(text) for p in rule.description_any for text in texts):
        found = " and ".join(map(repr, dict.fromkeys(texts))) or "an absent description"
        return f"{found} says none of: {', '.join(p.means for p in rule.description_any)}"
    return ""


def _type_problem(series: SeriesRef, rule: InputRule) -> str:
    excluded = set(rule.image_type_none) & {t.upper() for t in series.image_type}
    if excluded:
        return f"Image Type is {sorted(excluded)[0]}"
    if rule.body_part and series.body_part and series.body_part.upper() not in rule.body_part:
        return f"body part is {series.body_part}, expected {' or '.join(rule.body_part)}"
    if rule.contrast == "without" and series.contrast_agent:
        return "acquired with contrast agent, expected without"
    if rule.contrast == "with" and not series.contrast_agent:
        return "acquired without contrast agent, expected with"
    return ""


def _size_problem(series: SeriesRef, rule: InputRule) -> str:
    if len(series.instances) < rule.min_instances:
        return f"{len(series.instances)} instances, expected at least {rule.min_instances}"
    if rule.kind == "volume" and not series.has_geometry:
        return "no position, orientation or pixel spacing, which a volume needs"
    return ""
