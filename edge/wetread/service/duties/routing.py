"""Duty: every route speaks once about every revision; what is to be read becomes jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from wetread.failpoint import failpoint
from wetread.guard.guard import every_reason
from wetread.jobs.new_job import RouteDecision
from wetread.jobs.queue import Queue
from wetread.records.study import StudyRef
from wetread.route.router import Decision, Router
from wetread.service.on_demand import jobs_on_demand, new_job
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
            study, digests = revision.study, self._bundle_digests
            decisions = [_recorded(d, study, digests[d.bundle.name]) for d in self._router.decide(study)]
            still_wanted = [
                job
                for asked in self._queue.asked_for(revision.study_id)
                for job in jobs_on_demand(revision.study, *asked)
            ]
            where = {"study_id": revision.study_id, "revision_id": revision.revision_id}
            self._queue.enqueue(**where, decisions=decisions, still_wanted=still_wanted)
            failpoint("study.routed")

    def close(self) -> None:
        """Nothing to let go of."""


def _recorded(decision: Decision, study: StudyRef, bundle_digest: str) -> RouteDecision:
    """A routing decision in the queue's words; a rejection with what the patient's header says against it, too."""
    route, bundle, reason = decision.route, decision.bundle, decision.reason
    if decision.outcome == "rejected":
        reason = every_reason(reason, study, bundle.manifest, route.options)
    jobs = tuple(
        dataclasses.replace(
            new_job(route.name, bundle, bundle_digest, read),
            mode=route.mode,
            destinations=route.destinations,
            send=route.send,
        )
        for read in decision.reads
    )
    verdicts = tuple(map(str, decision.verdicts))
    return RouteDecision(route.name, decision.outcome, reason, verdicts, jobs, route.late)
