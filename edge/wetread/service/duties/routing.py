"""Duty: every route speaks once about every revision; what is to be read becomes jobs."""

from __future__ import annotations

from collections.abc import Mapping

from wetread.failpoint import failpoint
from wetread.jobs.new_job import Chosen, NewJob, RouteDecision
from wetread.jobs.queue import Queue
from wetread.records.job import ChosenSeries
from wetread.route.router import Decision, Router
from wetread.store.revisions import Revisions


class Routing:
    """From revisions to jobs."""

    def __init__(
        self, router: Router, revisions: Revisions, queue: Queue, *, bundle_digests: Mapping[str, str]
    ) -> None:
        self._router = router
        self._revisions = revisions
        self._queue = queue
        self._bundle_digests = bundle_digests

    def recover(self) -> None:
        """Nothing: a revision no route has spoken about is found by the next round."""

    def round(self) -> None:
        """Route what is new."""
        for revision in self._revisions.unrouted():
            decisions = [_recorded(d, self._bundle_digests[d.bundle.name]) for d in self._router.decide(revision.study)]
            self._queue.enqueue(study_id=revision.study_id, revision_id=revision.revision_id, decisions=decisions)
            failpoint("study.routed")

    def close(self) -> None:
        """Nothing to let go of."""


def _recorded(decision: Decision, bundle_digest: str) -> RouteDecision:
    """A routing decision in the queue's words."""
    route, bundle = decision.route, decision.bundle
    films = {rule.name for rule in bundle.manifest.inputs if rule.kind == "radiograph"}
    jobs = tuple(
        NewJob(
            route=route.name,
            mode=route.mode,
            destinations=route.destinations,
            bundle=bundle.name,
            bundle_version=bundle.version,
            bundle_digest=bundle_digest,
            bundle_folder=bundle.folder,
            chosen=tuple(_chosen(c, film=c.input_name in films) for c in read.chosen),
            input_digest=read.input_digest,
            options=read.options,
        )
        for read in decision.reads
    )
    verdicts = tuple(map(str, decision.verdicts))
    return RouteDecision(route.name, decision.outcome, decision.reason, verdicts, jobs, route.late)


def _chosen(chosen: ChosenSeries, *, film: bool) -> Chosen:
    sop_instance_uid = chosen.series.instances[0].sop_instance_uid if film else ""
    return Chosen(chosen.input_name, chosen.series.series_instance_uid, chosen.reason, sop_instance_uid)
