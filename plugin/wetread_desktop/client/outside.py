"""A study that was not read, and the offer to read it outside the bundle's intended use: only when a person asks."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.records.job import JobState
from wetread_desktop.client.cards import Card, CardAction
from wetread_desktop.client.jobs import Job
from wetread_desktop.client.panel_state import PatientBar
from wetread_desktop.client.studies import Suggestion
from wetread_desktop.client.words import Sentence, say

_NOT_INTENDED = frozenset({"not-intended"})
"""Codes of rejections that a person may overrule: what the bundle was not made for (``wetread/errors.py``)."""


@dataclass(frozen=True, slots=True)
class OutsideUse:
    """What a reader has to know before a study is read outside the intended use."""

    patient: PatientBar
    bundle: str
    title: str
    reasons: tuple[str, ...]
    """Why the bundle was not made for this study."""
    intended_use: str
    not_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotRead:
    """Why a bundle did not read a study, or would not."""

    why: str
    reasons: tuple[str, ...]
    """Why it was not made for it, where it could read it all the same."""
    details: str

    def card(self, title: str) -> Card:
        """Said as what it is: no result, and no failure either."""
        todo: Sentence = say("Nothing was found and nothing was ruled out. Choose another bundle or series.")
        if not self.reasons:
            return Card(say("Not read: {why}", why=self.why), todo, self.details, is_failure=False)
        todo = say(
            "Nothing was found and nothing was ruled out: {title} was not made for this study. It can be read all the "
            "same; then every result says that it lies outside the intended use.",
            title=title,
        )
        actions = (CardAction.READ_OUTSIDE,)
        return Card(say("Not read: {why}", why=self.why), todo, self.details, actions, is_failure=False)


def not_read(chosen: Suggestion | None, job: Job | None) -> NotRead | None:
    """Why the chosen bundle has not read the study, after it was asked (``job``) or before; none: it did, or may be."""
    if job is not None and job.state is JobState.REJECTED:
        details = f"job: {job.job_id}\nstate: {job.state}\ncode: {job.code}\nreason: {job.reason}"
        return NotRead(job.reason, (job.reason,) if job.code in _NOT_INTENDED else (), details)
    if chosen is None or chosen.fits or (job is not None and job.state is not JobState.CANCELLED):
        return None
    return NotRead(
        chosen.reason, chosen.outside, f"bundle: {chosen.bundle} {chosen.about.version}\nreason: {chosen.reason}"
    )


def outside_use(patient: PatientBar, chosen: Suggestion, found: NotRead) -> OutsideUse:
    """For the dialog that asks."""
    about = chosen.about
    return OutsideUse(patient, about.name, about.title, found.reasons, about.intended_use, about.not_for)
