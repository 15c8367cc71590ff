"""From the study in the viewer to a read: what the edge knows of it, which bundle fits, and the one button."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from wetread.records.job import JobState
from wetread_desktop.client.cards import Card, CardAction
from wetread_desktop.client.desk import Desk, Subject
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import NotHere
from wetread_desktop.client.jobs import Job
from wetread_desktop.client.outside import NotRead, OutsideUse, not_read, outside_use
from wetread_desktop.client.panel_state import Action, PanelState, PatientBar, Phase
from wetread_desktop.client.studies import Study, Suggestion
from wetread_desktop.client.wording import age_years, clock_time, person_name, shown_date
from wetread_desktop.client.words import Sentence, say, say_n
from wetread_desktop.host import SeriesHandle


@dataclass(frozen=True, slots=True)
class Known:
    """What the edge knows of a study."""

    study: Study
    suggestions: tuple[Suggestion, ...]
    job: Job | None
    """The latest read by the bundle that is chosen."""


class Opening:
    """Asks about a study, and offers to have it read."""

    def __init__(self, desk: Desk, *, follow: Callable[[Job], None], open_result: Callable[[str], None]) -> None:
        """``follow``: a read that runs; ``open_result``: of a job that is done."""
        self._desk = desk
        self._follow, self._open_result = follow, open_result
        self._known: Known | None = None
        self._open_at_once = True

    @property
    def known(self) -> Known | None:
        """What the edge said of the study; none before it answered."""
        return self._known

    def begin(self, series: SeriesHandle, *, open_at_once: bool = True) -> None:
        """The panel is about this study now. ``open_at_once``: show findings that exist, if the settings say so."""
        self._start_anew(Subject(series.study_instance_uid, series.patient_id))
        self._open_at_once = open_at_once and self._desk.settings.open_at_once
        wait = Action(say("Read"), enabled=False, why_not=say("Asking the edge about this study…"))
        self._desk.change(phase=Phase.ASKING, patient=_bar_of_series(series), primary=wait)
        self.ask()

    def leave(self) -> None:
        """The panel is about no study."""
        self._start_anew(Subject("", ""))

    def _start_anew(self, subject: Subject) -> None:
        self._known, self._desk.subject = None, subject
        kept = self._desk.state
        fresh = PanelState(capabilities=kept.capabilities, edge=kept.edge, unsent=kept.unsent)
        self._desk.change(**{field.name: getattr(fresh, field.name) for field in fields(fresh)})

    def ask(self) -> None:
        """Ask the edge what it knows."""
        uid = self._desk.subject.study_instance_uid
        self._desk.ask(lambda edge: known_of(edge, uid), self.show, self._failed)

    def show(self, known: Known, *, read: bool = False) -> None:
        """The edge knows the study. ``read``: read it at once if there is no choice to make."""
        self._known = known
        self._desk.change(patient=_bar_of_study(known.study), suggestions=known.suggestions, card=None)
        if not self.same_patient(known.study.patient.patient_id):
            return
        chosen = _first(known.suggestions)
        self._desk.change(chosen=chosen.bundle if chosen else "")
        if known.job and known.job.state in (JobState.WAITING, JobState.RUNNING):
            self._follow(known.job)
        elif known.job and known.job.state is JobState.DONE and self._open_at_once:
            self._open_result(known.job.job_id)
        else:
            self.offer()
            if read and sum(s.fits for s in known.suggestions) == 1:
                self.press()

    def same_patient(self, patient_id: str) -> bool:
        """Whether the viewer and the edge speak of one patient; if not, a card says so and nothing goes on."""
        ours = self._desk.subject.patient_id
        if not ours or ours == patient_id:
            return True
        what = say(
            "The viewer shows patient {ours}; the edge has this study under {theirs}.", ours=ours, theirs=patient_id
        )
        todo = say(
            "Nothing is read or decided. Have it put right (wetread studies correct), then open the study again."
        )
        self._desk.change(
            phase=Phase.STUDY_OPEN,
            primary=Action(say("Read"), enabled=False, why_not=what),
            card=Card(what, todo, f"study: {self._desk.subject.study_instance_uid}", (CardAction.RELOAD,)),
        )
        return False

    def choose(self, bundle: str) -> None:
        """Another bundle than the suggested one."""
        if self._known is None or self._desk.state.phase is not Phase.STUDY_OPEN:
            return
        self._desk.change(chosen=bundle)
        latest = next((s.latest_job for s in self._known.suggestions if s.bundle == bundle), "")
        self._known = Known(self._known.study, self._known.suggestions, None)
        self.offer()
        if latest:
            self._desk.ask(lambda edge: edge.job(latest), self._latest)

    def offer(self) -> None:
        """Show the one button: read, or see what was read; and why the study was not read, if it was not."""
        known, chosen = self._known, self._chosen()
        action = Action(say("Read"), enabled=False, why_not=say("No bundle fits this study."))
        if known and known.job and known.job.state is JobState.DONE:
            action = Action(say("Show the findings of {time}", time=clock_time(known.job.finished_at)))
        elif chosen is not None:
            why: Sentence = "" if chosen.fits else chosen.reason or say("This bundle does not fit this study.")
            action = Action(say("Read with {title}", title=chosen.about.title), enabled=chosen.fits, why_not=why)
        found = self._not_read()
        card = found.card(chosen.about.title) if found and chosen else None
        self._desk.change(phase=Phase.STUDY_OPEN, primary=action, progress=None, card=card)

    def outside_use(self) -> OutsideUse | None:
        """What a reader has to know before the study is read outside the intended use; none where it cannot be."""
        found, chosen, patient = self._not_read(), self._chosen(), self._desk.state.patient
        if found is None or chosen is None or patient is None or not found.reasons:
            return None
        return outside_use(patient, chosen, found)

    def read_outside(self) -> None:
        """Read although the bundle was not made for this study; the reader was told what that means."""
        if self._desk.state.phase is Phase.STUDY_OPEN and self.outside_use() is not None:
            self._submit(outside=True)

    def press(self) -> None:
        """The one button."""
        known = self._known
        if not self._desk.state.primary.enabled:
            return
        if known and known.job and known.job.state is JobState.DONE:
            self._desk.change(primary=Action(self._desk.state.primary.label, enabled=False), card=None)
            self._open_result(known.job.job_id)
        else:
            self._submit(outside=False)

    def _submit(self, *, outside: bool) -> None:
        uid, bundle = self._desk.subject.study_instance_uid, self._desk.state.chosen
        self._desk.change(primary=Action(self._desk.state.primary.label, enabled=False), card=None)
        self._desk.ask(
            lambda edge: edge.submit(uid, bundle, outside_intended_use=outside), self._submitted, self._not_submitted
        )

    def _chosen(self) -> Suggestion | None:
        """The bundle that is chosen, beside this study."""
        known, chosen = self._known, self._desk.state.chosen
        return next((s for s in known.suggestions if s.bundle == chosen), None) if known else None

    def _not_read(self) -> NotRead | None:
        return not_read(self._chosen(), self._known.job if self._known else None)

    def read_ended(self, job: Job) -> None:
        """A read is over without a result: it may be asked for again."""
        if self._known is not None:
            self._known = Known(self._known.study, self._known.suggestions, job)
        self.offer()

    def _latest(self, job: Job) -> None:
        if self._known is not None and self._desk.state.chosen == job.bundle:
            self._known = Known(self._known.study, self._known.suggestions, job)
            if self._desk.state.phase is Phase.STUDY_OPEN:
                self.offer()

    def _submitted(self, job: Job) -> None:
        if job.state is JobState.DONE:
            self._open_result(job.job_id)
        else:
            self._follow(job)

    def _not_submitted(self, error: Exception) -> None:
        self.offer()
        self._desk.fail(error)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, NotHere):
            retry = Action(say("Read"), enabled=False, why_not=say("The edge has not answered."))
            self._desk.change(phase=Phase.STUDY_OPEN, primary=retry)
            self._desk.fail(error)
            return
        files = self._desk.host.source_instances(self._desk.subject.study_instance_uid)
        why = say("The edge does not have this study, and the viewer does not say where its files are.")
        send = Action(say_n("Send {n} image and read", "Send {n} images and read", len(files)))
        nothing = Action(say("Read"), enabled=False, why_not=why)
        self._desk.change(phase=Phase.STUDY_OPEN, primary=send if files else nothing)


def known_of(edge: Edge, study_instance_uid: str) -> Known:
    """All that is to be known before something is offered. Raises: ``EdgeError``."""
    study = edge.study(study_instance_uid)
    suggestions = edge.suggestions(study_instance_uid)
    chosen = _first(suggestions)
    return Known(study, suggestions, edge.job(chosen.latest_job) if chosen and chosen.latest_job else None)


def _first(suggestions: tuple[Suggestion, ...]) -> Suggestion | None:
    """The one to suggest: of those that fit, the first that has read the study already, else the first.

    Where none fits: the first that was asked all the same, else the one that could be.
    """
    ranked = sorted(suggestions, key=lambda s: (not s.fits, not s.latest_job, not s.outside))  # keeps the edge's order
    return ranked[0] if ranked else None


def _bar_of_series(series: SeriesHandle) -> PatientBar:
    return PatientBar(
        name=person_name(series.patient_name),
        patient_id=series.patient_id,
        birth_date=shown_date(series.birth_date),
        age_years=None,
        sex=series.sex,
        accession_number=series.accession_number,
        study=series.description,
    )


def _bar_of_study(study: Study) -> PatientBar:
    patient, line = study.patient, study.line
    return PatientBar(
        name=person_name(patient.name),
        patient_id=patient.patient_id,
        birth_date=shown_date(patient.birth_date),
        age_years=age_years(patient.birth_date, line.date),
        sex=patient.sex,
        accession_number=line.accession_number,
        study=", ".join(filter(None, (line.description, shown_date(line.date)))),
    )
