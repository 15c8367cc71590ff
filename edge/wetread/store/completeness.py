"""When does a study count as complete? Nothing in DICOM says that a study has ended, so evidence is weighed.

In order of strength: every association that brought instances of it was released by a sender of which we know that it
then has finished; the PACS that sends it counts as many instances as are here; the instances themselves announce as
many; no new instance came for the quiet time. A count that is not reached makes the quiet time wait, but not for ever.
The clock is monotonic and starts anew with the process; wall-clock steps cannot fool it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from wetread.dimse.query import StudyCount
from wetread.records.numbers import number_of
from wetread.store.counting import Counted

Evidence = Literal["release", "pacs-count", "announced-count", "quiet", "person"]

_RESULT_MODALITIES = frozenset({"SR", "SEG", "PR", "KO", "DOC", "REG", "RWV", "FID", "RTSTRUCT", "RTPLAN", "RTDOSE"})
"""Series of these are made from the images, often much later (PS3.3 C.7.3.1.1.1): nobody waits for them."""


@dataclass(frozen=True, slots=True)
class CompletenessSettings:
    """``[completeness]``: when a study counts as complete."""

    quiet_s: Annotated[float, Gt(0)] = 5.0
    """Seconds without a new instance, if nothing better is known. Longer than the gap between two associations."""
    settle_s: Annotated[float, Ge(0)] = 0.3
    """Seconds without a new instance before evidence counts: parallel associations do not begin at one moment."""
    wait_for_count_s: Annotated[float, Gt(0)] = 120.0
    """Longest wait, after the last instance, for instances that a count promises; then quiet time, with the reason."""
    wait_for_release_s: Annotated[float, Gt(0)] = 120.0
    """Longest wait, after the last instance, for the end of an association; longer than listener.network_timeout_s."""


@dataclass(frozen=True, slots=True)
class AssociationSeen:
    """An association that brought source instances no revision holds yet."""

    peer: str
    ended: str
    """``released``, ``aborted``, ``lost``, or '' while it is open as far as we know."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What instances say in (0020,1206), (0020,1208) and (0020,1209); ``None`` where they say nothing."""

    series: int | None
    instances: int | None
    by_series: Mapping[str, int]
    """Series Instance UID to Number of Series Related Instances."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a receiving study."""

    here: Mapping[str, int]
    """Source instances by Series Instance UID."""
    derived: Mapping[str, int]
    """Results and other derived instances by Series Instance UID, our own among them."""
    own: int
    """Of the derived ones, those we made."""
    associations: tuple[AssociationSeen, ...]
    announced: Announced
    comparing: int
    """Instances sent again in another encoding whose pictures are still to be compared."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The study counts as complete."""

    evidence: Evidence
    reason: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """The study waits for ``what``; in ``again_s`` seconds there may be more to know."""

    what: str
    again_s: float


Verdict = Complete | NotYet


@dataclass(frozen=True, slots=True)
class _Count:
    """How many of the instances somebody counts are here."""

    here: int
    expected: int
    who: str

    @property
    def reached(self) -> bool:
        return self.here >= self.expected

    def __str__(self) -> str:
        return f"{self.here} of {number_of(self.expected, 'instance')} that {self.who}"


def judge(
    facts: Facts, quiet_for_s: float, *, counted: Counted, settings: CompletenessSettings, releasing: frozenset[str]
) -> Verdict:
    """Weigh the evidence. ``releasing`` names the peers whose release of an association ends what they had to send."""
    if quiet_for_s < settings.settle_s:
        return NotYet("instances are arriving", settings.settle_s - quiet_for_s)
    if facts.comparing:
        return NotYet(f"{number_of(facts.comparing, 'instance')} in another encoding still compared", 0.1)
    counts = list(_counts(facts, counted))
    return (
        _by_release(facts.associations, releasing)
        or _by_count(counts)
        or _not_yet(facts, quiet_for_s, counted, counts, settings, releasing)
        or Complete("quiet", "; ".join(_last_resort(facts, counted, counts, settings, releasing)))
    )


def count_expected(count: StudyCount, facts: Facts) -> tuple[int, int]:
    """How many source instances the PACS counts, and how many of these are here; (0, 0) if it cannot say.

    Results are not waited for: series of result modalities, and those known here to be derived, do not count. A PACS
    that counts less than is here has not seen all of it either: then its count says nothing.
    """
    by_series = {s.series_instance_uid: s for s in count.series if s.instances is not None}
    if len(by_series) == len(count.series) and by_series:
        wanted = {
            uid: series.instances or 0
            for uid, series in by_series.items()
            if uid in facts.here or (series.modality not in _RESULT_MODALITIES and uid not in facts.derived)
        }
        knows_all = all(wanted.get(uid, 0) >= n for uid, n in facts.here.items())
        return (sum(wanted.values()), sum(facts.here.values())) if knows_all else (0, 0)
    everything = sum(facts.here.values()) + sum(facts.derived.values())
    return (0, 0) if count.instances is None or count.instances < everything else (count.instances, everything)


def _by_release(associations: tuple[AssociationSeen, ...], releasing: frozenset[str]) -> Complete | None:
    if not associations or not all(a.peer in releasing and a.ended == "released" for a in associations):
        return None
    peers = " and ".join(sorted({a.peer for a in associations}))
    many = "its association" if len(associations) == 1 else f"all {len(associations)} associations"
    return Complete("release", f"{peers} released {many}")


def _by_count(counts: Iterable[tuple[Evidence, _Count]]) -> Complete | None:
    """The strongest count that is reached, unless a stronger one is not."""
    for evidence, count in counts:
        here = number_of(count.expected, "instance")
        return Complete(evidence, f"all {here} that {count.who} are here") if count.reached else None
    return None


def _counts(facts: Facts, counted: Counted) -> Iterator[tuple[Evidence, _Count]]:
    if counted.answer is not None:
        expected, here = count_expected(counted.answer, facts)
        if expected:
            yield "pacs-count", _Count(here, expected, f"{counted.peer} counts")
    announced = facts.announced
    not_ours = sum(facts.here.values()) + sum(facts.derived.values()) - facts.own
    if announced.instances and not_ours <= announced.instances:  # fewer than are here: not true
        yield "announced-count", _Count(not_ours, announced.instances, "the instances announce")
    elif not announced.instances and announced.by_series:
        expected = sum(announced.by_series.values())
        here = sum(facts.here.get(uid, 0) for uid in announced.by_series)
        whole = announced.series == len(facts.here) == len(announced.by_series)
        if here < expected or (here == expected and whole):
            yield "announced-count", _Count(here, expected, "the instances announce for their series")


def _not_yet(
    facts: Facts,
    quiet_for_s: float,
    counted: Counted,
    counts: list[tuple[Evidence, _Count]],
    settings: CompletenessSettings,
    releasing: frozenset[str],
) -> NotYet | None:
    """What is waited for, each for its own time."""
    waits = [(settings.quiet_s, f"no new instance for {settings.quiet_s:g} s")]
    still_open = _open(facts.associations, releasing)
    if still_open:
        waits.append((settings.wait_for_release_s, f"the end of {number_of(still_open, 'association')}"))
    waits += [(settings.wait_for_count_s, str(count)) for _, count in counts if not count.reached]
    until_s, what = max(waits)
    if quiet_for_s < until_s:
        return NotYet(f"{what}, at most {until_s:g} s", min(until_s - quiet_for_s, counted.again_s))
    if counted.pending:
        return NotYet(f"{counted.peer} is asked how many instances it has", counted.again_s)
    return None


def _open(associations: tuple[AssociationSeen, ...], releasing: frozenset[str]) -> int:
    return sum(a.peer in releasing and not a.ended for a in associations)


def _last_resort(
    facts: Facts,
    counted: Counted,
    counts: list[tuple[Evidence, _Count]],
    settings: CompletenessSettings,
    releasing: frozenset[str],
) -> Iterator[str]:
    """Why it came to the quiet time although there was something better."""
    yield f"no new instance for {settings.quiet_s:g} s"
    yield from (f"only {count}, after {settings.wait_for_count_s:g} s" for _, count in counts if not count.reached)
    broken = sum(a.peer in releasing and a.ended in ("aborted", "lost") for a in facts.associations)
    if broken:
        yield f"{number_of(broken, 'association')} ended without release"
    if _open(facts.associations, releasing):
        yield f"the end of an association was not seen in {settings.wait_for_release_s:g} s"
    if counted.problem:
        yield f"the count could not be asked: {counted.problem}"
