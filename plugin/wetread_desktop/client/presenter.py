"""The panel without its widgets: what the reader does comes in as calls, what is to be seen goes out as ``PanelState``.

::

    no study ──▶ asking ──▶ study open ──▶ (sending ──▶) reading ──▶ findings ──▶ reviewing ──▶ signed
                    └── was read already: straight to the findings ──────▲

From the moment a study is being sent or read, another study in the viewer does not replace it: the panel locks and says
so. Everything here is called on the thread of the viewer's GUI and returns at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wetread_desktop.client.backlog import Backlog, Unsent, view_of
from wetread_desktop.client.cards import Card, CardAction, card_of
from wetread_desktop.client.desk import Connect, Desk
from wetread_desktop.client.edge import Edge, Health
from wetread_desktop.client.errors import AnswerInvalid
from wetread_desktop.client.jobs import Job
from wetread_desktop.client.opening import Known, Opening
from wetread_desktop.client.outside import OutsideUse
from wetread_desktop.client.panel_state import Action, OverlayView, PanelState, Phase
from wetread_desktop.client.reading import Reading
from wetread_desktop.client.report_text import accepted_as_text
from wetread_desktop.client.results import Result
from wetread_desktop.client.reviewing import Reviewing
from wetread_desktop.client.reviews import ReviewDocument
from wetread_desktop.client.rows import about_result, rows_of
from wetread_desktop.client.sending import Sending
from wetread_desktop.client.settings import DeskSettings, SettingsFolder
from wetread_desktop.client.showing import Showing
from wetread_desktop.client.sign_off import SignOff, sign_off
from wetread_desktop.client.studies import StudyLine
from wetread_desktop.client.words import Catalog, Sentence, catalog, say
from wetread_desktop.host import Capability, HostEvent, LabelPicked, SeriesHandle, StudyShown, ViewerClosing, ViewerHost

_AT_STAKE = frozenset({Phase.SENDING, Phase.READING, Phase.FINDINGS, Phase.REVIEWING})


class Presenter:
    """One panel beside one viewer."""

    def __init__(self, host: ViewerHost, folder: SettingsFolder, connect: Connect) -> None:
        """``connect``: settings and token to an edge. Raises: ``SettingsInvalid``."""
        self.desk = Desk(host, folder, connect)
        self._reading = Reading(self.desk, done=self._open_result, ended=self._read_ended)
        self._opening = Opening(self.desk, follow=self._reading.follow, open_result=self._open_result)
        self._sending = Sending(self.desk, arrived=self._arrived, stopped=self._opening.ask)
        self._showing = Showing(self.desk, seen=self._refresh)
        self._reviewing = Reviewing(self.desk, refresh=self._refresh, left=self._look_back)
        self._backlog = Backlog(self.desk, is_open=self._reviewing.is_open, told=self._looked_back)
        self._left_behind: tuple[Unsent, ...] = ()
        self._leave = host.on(self._host_event)

    @property
    def state(self) -> PanelState:
        """What is on the screen."""
        return self.desk.state

    @property
    def words(self) -> Catalog:
        """Sentences in the language that is set."""
        return catalog(self.desk.settings.language)

    def on_change(self, listener: Callable[[PanelState], None]) -> Callable[[], None]:
        """Be told of each new state. Returns: how to be told no more."""
        return self.desk.on_change(listener)

    def start(self) -> None:
        """Begin with what the viewer shows."""
        self._shown(self.desk.host.active_series())
        self._backlog.start()

    def close(self) -> None:
        """The viewer is about to end: what was decided is on disk when this returns."""
        self._leave()
        self._reading.stop()
        self._backlog.close()
        self._reviewing.close()
        self.desk.close()

    # --- The study ---------------------------------------------------------------------------------------------------

    def press(self) -> None:
        """The one button: send, read, or show what was read."""
        if self.state.lock or not self.state.primary.enabled:
            return
        if self._opening.known is None:
            self._sending.begin()
        else:
            self._opening.press()

    def cancel(self) -> None:
        """End what is under way."""
        if self.state.phase is Phase.SENDING:
            self._sending.cancel()
        else:
            self._reading.cancel()

    def outside_use(self) -> OutsideUse | None:
        """What a reader has to know before the study is read outside the intended use; none where it cannot be."""
        return None if self.state.lock else self._opening.outside_use()

    def read_outside(self, use: OutsideUse) -> None:
        """Read what the bundle was not made for, as ``outside_use`` said; nothing if that changed meanwhile."""
        if self.outside_use() == use:
            self._opening.read_outside()

    def choose(self, bundle: str) -> None:
        """Another bundle than the suggested one."""
        if not self.state.lock:
            self._opening.choose(bundle)

    def open_study(self, study_instance_uid: str) -> None:
        """Have the viewer show a study of the list."""
        if Capability.OPEN_STUDY in self.state.capabilities:
            self.desk.host.open_study(study_instance_uid)

    def follow_viewer(self) -> None:
        """Leave the study of the panel for the one in the viewer. Nothing decided is lost."""
        self._begin(self.desk.host.active_series())

    def read_again(self) -> None:
        """Leave the findings and offer the bundles again."""
        series = self.desk.host.active_series()
        if not self.state.lock and series is not None:
            self._clear()
            self._opening.begin(series, open_at_once=False)

    # --- Findings ----------------------------------------------------------------------------------------------------

    def select(self, tracking_uid: str) -> None:
        """Look at this finding."""
        if not self.state.lock:
            self._showing.select(tracking_uid)

    def step(self, by: int) -> None:
        """Look at the next finding (1) or the one before (-1)."""
        uids = [row.tracking_uid for row in self.state.findings]
        if not uids or self.state.lock:
            return
        here = uids.index(self.state.selected) if self.state.selected in uids else -1 if by > 0 else len(uids)
        self._showing.select(uids[min(max(here + by, 0), len(uids) - 1)])

    def jump(self) -> None:
        """Show the place of the selected finding again."""
        if not self.state.lock:
            self._showing.jump()

    def toggle_overlay(self) -> None:
        """Overlay on or off."""
        self._showing.look(visible=not self.state.overlay.visible)

    def set_opacity(self, opacity: float) -> None:
        """0 to 1."""
        self._showing.look(opacity=min(max(opacity, 0.0), 1.0))

    def set_contour(self, contour: bool) -> None:
        """Outlines instead of filled structures."""
        self._showing.look(contour=contour)

    def show_class(self, label_value: int, visible: bool) -> None:
        """Draw one class, or not."""
        self._showing.show_class(label_value, visible)

    def only_class(self, label_value: int) -> None:
        """Draw one class alone; again: all."""
        self._showing.only_class(label_value)

    def toggle_heatmap(self) -> None:
        """The heat map of the selected finding on or off."""
        if not self.state.lock:
            self._showing.toggle_heatmap()

    # --- Review ------------------------------------------------------------------------------------------------------

    def accept(self, tracking_uids: Sequence[str]) -> None:
        """These findings are right; on to the next one."""
        if self._reviewing.decide(tracking_uids, "accept"):
            self._advance(tracking_uids)

    def reject(self, tracking_uids: Sequence[str], comment: str | None = None) -> None:
        """These findings are wrong; on to the next one."""
        if self._reviewing.decide(tracking_uids, "reject", comment):
            self._advance(tracking_uids)

    def comment(self, tracking_uid: str, text: str) -> None:
        """Say something about a finding; its state stays."""
        self._reviewing.decide([tracking_uid], "comment", text)

    def undo(self) -> None:
        """Take back what was decided last."""
        if uid := self._reviewing.undo():
            self._showing.select(uid)

    def sign_off(self) -> SignOff | None:
        """What is signed, to be read before it is; none while nothing can be signed."""
        result = self._reviewing.result
        if result is None or not self.state.sign.enabled or self.state.patient is None:
            return None
        return sign_off(self.state, result, self.desk.settings)

    def sign(self, *, undecided_ok: bool = False) -> None:
        """Sign what ``sign_off`` said."""
        self._reviewing.sign(undecided_ok=undecided_ok)

    def sign_shown(self, off: SignOff, *, undecided_ok: bool) -> None:
        """Sign what was read in the dialog; if something changed meanwhile, say so and sign nothing."""
        if self.sign_off() == off:
            self.sign(undecided_ok=undecided_ok)
            return
        todo = say("Look at the findings again; then sign.")
        what = say("The review changed while you were about to sign. Nothing was signed.")
        self.desk.show(Card(what, todo, ""))

    def accepted_text(self) -> str:
        """Accepted findings, to paste into the report; empty while there is no result."""
        result = self._reviewing.result
        if result is None:
            return ""
        return accepted_as_text(result, self.state.findings, self.words, self.desk.settings.reader)

    # --- Cards and settings ------------------------------------------------------------------------------------------

    def act(self, action: CardAction) -> None:
        """What a card offered; ``SETTINGS`` is the window's."""
        self.desk.show(None)
        calls: dict[CardAction, Callable[[], None]] = {
            CardAction.RETRY: self._retry,
            CardAction.RELOAD: self._reload,
            CardAction.TAKE_OVER: self._reviewing.take_over,
            CardAction.GIVE_UP_UNSENT: self._reviewing.give_up,
        }
        if action in calls:
            calls[action]()

    def forget_unsent(self) -> None:
        """Give up decisions on earlier reads that can never be sent."""
        self._backlog.forget(self._left_behind)

    def dismiss(self) -> None:
        """Put the card away."""
        self.desk.show(None)

    def apply(self, settings: DeskSettings, token: str) -> None:
        """Use and keep other settings. Raises: ``OSError`` when they cannot be kept."""
        before, known = self.desk.settings, self.desk.folder.token()
        self.desk.folder.save(settings)
        self.desk.folder.save_token(token)
        self.desk.settings = settings
        if (before.url, before.ca_file, before.reader, known) != (
            settings.url,
            settings.ca_file,
            settings.reader,
            token,
        ):
            self.desk.leave_edge()
            self._backlog.look()
            self._begin(self.desk.host.active_series())
        elif before.colours != settings.colours:
            self._showing.recolour()
            self._refresh()
        self.desk.change(edge=settings.url)
        self.desk.draw_again()

    def test_connection(self, settings: DeskSettings, token: str, tell: Callable[[Sentence], None]) -> None:
        """Whether an edge answers with these settings and takes the token; nothing is kept."""

        def ask() -> Health:
            edge = self.desk.connect(settings, token)
            health = edge.health()
            edge.studies(limit=1)
            return health

        def good(health: Health) -> None:
            tell(say("Wetread {version} answers and takes the token.", version=health.version))

        self.desk.background.run(ask, good, lambda error: tell(card_of(error, settings.url).what))

    def refresh_worklist(self) -> None:
        """Ask what studies the edge has."""
        self.desk.ask(lambda edge: edge.studies(limit=50), self._worklist)

    # --- Inside ------------------------------------------------------------------------------------------------------

    def _host_event(self, event: HostEvent) -> None:
        if isinstance(event, StudyShown):
            self._shown(event.series)
        elif isinstance(event, LabelPicked) and not self.state.lock:
            self._showing.select_label(event.overlay, event.label_value)
        elif isinstance(event, ViewerClosing):
            self.close()

    def _shown(self, series: SeriesHandle | None) -> None:
        uid = series.study_instance_uid if series else ""
        same = uid == self.desk.subject.study_instance_uid
        if self.state.phase in _AT_STAKE:
            self.desk.change(lock="" if same else _lock_text(series))
            self._reviewing.show()
        elif not same or self.state.phase is Phase.NO_STUDY:
            self._begin(series)

    def _begin(self, series: SeriesHandle | None) -> None:
        self._clear()
        if series is None:
            self._opening.leave()
            self.refresh_worklist()
        else:
            self._opening.begin(series)

    def _clear(self) -> None:
        self._sending.cancel()
        self._reading.stop()
        self._reviewing.end()
        self._showing.end()

    def _arrived(self, known: Known) -> None:
        self._opening.show(known, read=True)

    def _read_ended(self, job: Job) -> None:
        self._opening.read_ended(job)

    def _open_result(self, job_id: str) -> None:
        def both(edge: Edge) -> tuple[Edge, Result, ReviewDocument]:
            return edge, edge.result(job_id), edge.review(job_id)

        self.desk.ask(both, self._result_came, self._no_result)

    def _no_result(self, error: Exception) -> None:
        self._opening.offer()
        self.desk.fail(error)

    def _result_came(self, came: tuple[Edge, Result, ReviewDocument]) -> None:
        edge, result, review = came
        known = self._opening.known
        if result.study_instance_uid != self.desk.subject.study_instance_uid:
            self._no_result(AnswerInvalid("the result is of another study than was asked for"))
            return
        if known is not None and result.patient.patient_id != known.study.patient.patient_id:
            self._no_result(AnswerInvalid("the result is of another patient than the study"))
            return
        if not self._opening.same_patient(result.patient.patient_id):
            return
        shown = Action(say("Read again…"))
        caution = say("Read outside the intended use: nobody knows how good this is.") if result.outside else ""
        about = about_result(result)
        self.desk.change(phase=Phase.FINDINGS, progress=None, primary=shown, about=about, caution=caution, selected="")
        self._reviewing.begin(result, review, edge)
        self._showing.begin(result)
        self._refresh()

    def _refresh(self) -> None:
        result, session = self._reviewing.result, self._reviewing.session
        if result is not None and session is not None:
            self.desk.change(findings=rows_of(result, session, self._showing.seen, self.desk.settings.colours))

    def _advance(self, decided: Sequence[str]) -> None:
        """On to the next finding, after one that was decided alone."""
        if len(decided) == 1 and decided[0] == self.state.selected:
            self.step(1)

    def _retry(self) -> None:
        if self.state.phase in (Phase.FINDINGS, Phase.REVIEWING, Phase.SIGNED):
            self._reviewing.try_again()
        elif self.state.phase is Phase.NO_STUDY:
            self.refresh_worklist()
        else:
            self._opening.ask()

    def _reload(self) -> None:
        if self.state.phase in (Phase.FINDINGS, Phase.REVIEWING, Phase.SIGNED):
            self._reviewing.reload()
        else:
            self._opening.ask()

    def _look_back(self) -> None:
        self._backlog.look()

    def _looked_back(self, left: tuple[Unsent, ...], sent: frozenset[str]) -> None:
        """What of earlier windows is not sent; where it was sent under what is on the screen, that changed."""
        self._left_behind = left
        result = self._reviewing.result
        if result is not None and result.job.job_id in sent:
            self._reviewing.reload_quietly()
        self.desk.change(unsent=view_of(left))

    def _worklist(self, studies: tuple[StudyLine, ...]) -> None:
        if self.state.phase is Phase.NO_STUDY:
            self.desk.change(worklist=studies, card=None, overlay=OverlayView())


def _lock_text(series: SeriesHandle | None) -> Sentence:
    if series is None:
        return say("The viewer shows no study any more. Nothing can be decided here until it shows this one again.")
    return say(
        "The viewer now shows another study ({study}). Nothing can be decided here until it shows this one again.",
        study=series.description or series.patient_id or series.study_instance_uid,
    )
