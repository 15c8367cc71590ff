"""Routes: for each study, which bundle reads it, with what, and where the results go."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wetread.bundles import Bundle
from wetread.errors import Misconfigured
from wetread.records.job import ChosenSeries, ReadOptions
from wetread.records.study import Correction, StudyRef
from wetread.route.rules import Rule
from wetread.route.selection import Selection, Verdict, select


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """``[[routes]]``: one bundle for the studies that fit ``when``."""

    name: str
    """Unique; appears in the timeline."""
    when: str
    """CEL expression over ``study``."""
    bundle: str
    """Name of an installed bundle."""
    mode: Literal["off", "shadow", "live"] = "shadow"
    """``shadow`` reads and stores but sends nothing: a new route is looked at before anyone else sees its results."""
    research: bool = False
    """Needed to send results of a bundle that is not for clinical use."""
    destinations: tuple[str, ...] = ()
    """Names of ``[[destinations]]``."""
    late: Literal["reread", "ignore", "notify"] = "reread"
    """When instances come after the read began: read again, do not, or do not and say so in the timeline."""
    outside_intended_use: bool = False
    """Read also what the bundle was not made for (view, body part, age, …); every object says so. Live it needs
    ``research = true``."""
    accept_unknown_age: bool = False
    """Read a patient of unknown age, also with a bundle that would reject it."""
    send_rejections: bool = False
    """A study or film that is not read gives a report that says why; without it only the timeline does."""
    parametric_maps: bool = False
    """Heat maps are also written, and sent, as DICOM Parametric Maps."""

    send: Literal["at once", "after signing"] = "at once"
    """When results go to the destinations: at once, marked as not reviewed; or only after a person signed, and then the
    signed report with its segmentation."""

    learn: bool = False
    """Whether the signed reads of this route may be exported to learn from (``wetread learn export``)."""

    @property
    def options(self) -> ReadOptions:
        """What its jobs are told."""
        return ReadOptions(
            outside_intended_use=self.outside_intended_use,
            accept_unknown_age=self.accept_unknown_age,
            report_rejection=self.send_rejections,
            parametric_maps=self.parametric_maps,
        )


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """One read a route wants."""

    chosen: tuple[ChosenSeries, ...]
    input_digest: str
    """Over the content of the chosen instances: the same input is read once."""
    options: ReadOptions = ReadOptions()


@dataclass(frozen=True, slots=True)
class Decision:
    """What one route said about one study."""

    route: RouteSettings
    bundle: Bundle
    outcome: Literal["read", "passed", "rejected"]
    reason: str
    reads: tuple[PlannedRead, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


def check_rules(routes: Sequence[RouteSettings]) -> None:
    """What is said of routes before a bundle is looked for. Raises: ``Misconfigured`` with every faulty rule."""
    faults = []
    for route in routes:
        try:
            Rule(route.when)
        except Misconfigured as exc:
            faults.append(f"route {route.name!r}: {exc}")
    if faults:
        raise Misconfigured("; ".join(faults))


class Router:
    """The configured routes with their rules compiled and bundles found."""

    def __init__(self, routes: Sequence[RouteSettings], bundles: Mapping[str, Bundle]) -> None:
        """Check every route that is not off.

        Raises: ``Misconfigured`` for a faulty rule, an unknown bundle, or a bundle not for clinical use that would be
        sent, or read outside its intended use, without ``research = true``.
        """
        self._routes: list[tuple[RouteSettings, Rule, Bundle]] = []
        for route in routes:
            try:
                rule = Rule(route.when)
            except Misconfigured as exc:
                raise Misconfigured(f"route {route.name!r}: {exc}") from exc
            if route.mode == "off":
                continue
            bundle = bundles[route.bundle]
            if route.mode == "live" and not bundle.manifest.clinical_use and not route.research:
                raise Misconfigured(
                    f"route {route.name!r} is live, but bundle {bundle.name} is not for clinical use: "
                    "set research = true to send its results as research results, or mode = 'shadow'"
                )
            if route.mode == "live" and route.outside_intended_use and not route.research:
                raise Misconfigured(
                    f"route {route.name!r} is live and reads outside the intended use of bundle {bundle.name}: "
                    "set research = true to send such results as research results, or mode = 'shadow'"
                )
            self._routes.append((route, rule, bundle))

    def decide(self, study: StudyRef) -> list[Decision]:
        """What every active route says about a study."""
        return [_decide(study, route, rule, bundle) for route, rule, bundle in self._routes]


def _decide(study: StudyRef, route: RouteSettings, rule: Rule, bundle: Bundle) -> Decision:
    if not rule.matches(study):
        return Decision(route, bundle, "passed", "the study does not match the route's rule")
    selection = select(study, bundle.manifest.inputs, outside=route.outside_intended_use)
    if not selection.reads:
        return _rejected(study, route, bundle, selection)
    reads = planned(study, selection, route.options)
    taken = ", ".join(c.series.label for read in reads for c in read.chosen)
    return Decision(route, bundle, "read", f"the rule matches, {taken}", reads, selection.verdicts)


def _rejected(study: StudyRef, route: RouteSettings, bundle: Bundle, selection: Selection) -> Decision:
    """With a job that reads nothing and writes the report, where the route wants one."""
    reads: tuple[PlannedRead, ...] = ()
    if route.send_rejections:
        everything = tuple(ChosenSeries("", series, "") for series in study.series)
        options = replace(route.options, rejected_because=selection.missing)
        reads = (PlannedRead((), _digest(everything, study.correction, options), options),)
    return Decision(route, bundle, "rejected", selection.missing, reads, selection.verdicts)


def planned(study: StudyRef, selection: Selection, options: ReadOptions) -> tuple[PlannedRead, ...]:
    """The reads of what was selected."""
    return tuple(PlannedRead(chosen, _digest(chosen, study.correction, options), options) for chosen in selection.reads)


def _digest(chosen: tuple[ChosenSeries, ...], correction: Correction | None, options: ReadOptions) -> str:
    """What a read depends on besides the bundle; options that are all off leave no trace, as before there were any.

    In what objects the answer is written does not change the answer: for that alone nothing is read again.
    """
    digest = hashlib.sha256()
    asked = replace(options, report_rejection=False, parametric_maps=False)
    if asked != ReadOptions():
        digest.update(repr(asked).encode())
    for choice in chosen:
        digest.update(choice.input_name.encode() + b"\0")
        for instance_digest in sorted(i.digest for i in choice.series.instances):
            digest.update(instance_digest.encode())
    if correction is not None:
        digest.update(f"correction {correction.serial}".encode())
    return digest.hexdigest()
