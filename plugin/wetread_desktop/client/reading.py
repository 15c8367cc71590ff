"""A read that runs: how far it is, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable

from wetread.records.job import JobState
from wetread_desktop.client.cards import Card, CardAction, card_of
from wetread_desktop.client.desk import Desk
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import EdgeError
from wetread_desktop.client.follow import Following
from wetread_desktop.client.jobs import Job, Progress
from wetread_desktop.client.panel_state import Action, Phase, ProgressView
from wetread_desktop.client.wording import duration
from wetread_desktop.client.words import Sentence, say, say_n

STAGES: dict[str, Sentence] = {
    "images": say("Reading the images"),
    "guard": say("Checking whether the bundle was made for them"),
    "infer": say("Computing"),
    "findings": say("Measuring"),
    "encode": say("Writing the results"),
    "deliver": say("Sending the results"),
}
"""The stages that the edge names; any other is shown as it is called."""


class Reading:
    """Follows one read."""

    def __init__(self, desk: Desk, *, done: Callable[[str], None], ended: Callable[[Job], None]) -> None:
        """``done``: the id of a job with a result; ``ended``: one without."""
        self._desk, self._done, self._ended = desk, done, ended
        self._job: Job | None = None
        self._following: Following | None = None

    def follow(self, job: Job) -> None:
        """Show how far this read is."""
        self.stop()
        self._job = job
        self._desk.change(
            phase=Phase.READING,
            progress=ProgressView(say("Asked for"), None),
            primary=Action(say("Reading…"), enabled=False),
            card=None,
        )
        self._desk.ask(lambda edge: edge, lambda edge: self._begin(edge, job))

    def stop(self) -> None:
        """Follow no longer; the read goes on."""
        if self._following is not None:
            self._following.stop()
        self._following = self._job = None

    def cancel(self) -> None:
        """End the read."""
        job, shown = self._job, self._desk.state.progress
        if job is None or shown is None:
            return
        self._desk.change(progress=ProgressView(say("Stopping…"), None, can_cancel=False))
        self._desk.ask(lambda edge: edge.cancel(job.job_id), lambda _: None)

    def _begin(self, edge: Edge, job: Job) -> None:
        if self._job is not job:
            return
        subject = self._desk.subject

        def here(call: Callable[[], None]) -> None:
            """On the thread of the GUI, if it is still about this read."""
            self._desk.background.tell(lambda: call() if self._job is job and self._desk.subject is subject else None)

        self._following = Following(
            edge,
            job.job_id,
            on_progress=lambda progress: here(lambda: self._show(job, progress)),
            on_trouble=lambda error: here(lambda: self._trouble(error)),
        )

    def _show(self, job: Job, progress: Progress) -> None:
        if not progress.is_final:
            before = self._desk.state.progress
            if before is not None and not before.can_cancel and not before.trouble:
                return  # it is being stopped: what it was still doing is of no interest
            self._desk.change(progress=_view(progress))
            return
        self.stop()
        self._desk.change(progress=None)
        if progress.state is JobState.DONE:
            self._done(job.job_id)
            return
        told = (progress.state, progress.reason, "", progress.code)
        ended = Job(job.job_id, job.study_instance_uid, job.bundle, *told)
        self._ended(ended)
        if progress.state is JobState.FAILED:
            self._desk.show(_failed_card(ended))

    def _trouble(self, error: EdgeError) -> None:
        shown = self._desk.state.progress
        if error.retry and shown is not None:
            text = say("The edge does not answer. The read goes on there; trying again…")
            self._desk.change(progress=ProgressView(shown.stage, shown.percent, "", shown.can_cancel, text))
            return
        job = self._job
        self.stop()
        if job is not None:
            self._ended(job)
        self._desk.show(card_of(error, self._desk.settings.url))


def _view(progress: Progress) -> ProgressView:
    if progress.state is JobState.WAITING:
        stage: Sentence = say("Waiting in line")
        ahead = (progress.queue_place or 1) - 1
        detail: Sentence = say_n("{n} read before this one", "{n} reads before this one", ahead)
        if ahead == 0:
            detail = progress.reason or say("the next one")
        return ProgressView(stage, None, detail)
    stage = STAGES.get(progress.stage, progress.stage) if progress.stage else say("Beginning")
    detail = say("about {time} left", time=duration(progress.eta_s)) if progress.eta_s is not None else ""
    return ProgressView(stage, progress.percent, detail)


def _failed_card(job: Job) -> Card:
    details = f"job: {job.job_id}\nstate: {job.state}\nreason: {job.reason}"
    what = say("The read failed: {why}", why=job.reason)
    todo = say("Try again. If it fails again, copy the details for whoever looks after the edge.")
    return Card(what, todo, details, (CardAction.RETRY,))
