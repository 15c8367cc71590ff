"""What the parts of the presenter share: the state on the screen, the viewer, the edge, and how to ask it.

Everything here happens on the thread of the GUI, except the work that is handed to ``ask``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from wetread_desktop.client.background import Background
from wetread_desktop.client.cards import Card, card_of
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.panel_state import PanelState
from wetread_desktop.client.settings import DeskSettings, SettingsFolder
from wetread_desktop.host import ViewerHost

T = TypeVar("T")

Connect = Callable[[DeskSettings, str], Edge]
"""Settings and token to an edge; may take seconds. Raises: ``EdgeError``."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What the panel is about; another one each time, also for the same study."""

    study_instance_uid: str
    patient_id: str
    """As the viewer says; empty when it does not know."""


class Desk:
    """State and connections."""

    def __init__(self, host: ViewerHost, folder: SettingsFolder, connect: Connect) -> None:
        """Raises: ``SettingsInvalid``."""
        self.host = host
        self.folder = folder
        self.settings = folder.load()
        self.background = Background(host.run_on_gui)
        self.state = PanelState(capabilities=host.capabilities())
        self.subject = Subject("", "")
        self.connect = connect
        self._edge: Edge | None = None
        self._guard = threading.Lock()
        self._listeners: list[Callable[[PanelState], None]] = []

    def on_change(self, listener: Callable[[PanelState], None]) -> Callable[[], None]:
        """Be told of each new state. Returns: how to be told no more."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def change(self, **changes: Any) -> None:
        """Show something else than before."""
        fresh = replace(self.state, **changes)
        if fresh != self.state:
            self.state = fresh
            self.draw_again()

    def draw_again(self) -> None:
        """The same in another language or other colours."""
        for listener in tuple(self._listeners):
            listener(self.state)

    def show(self, card: Card | None) -> None:
        """Show a card, or none."""
        self.change(card=card)

    def fail(self, error: Exception) -> None:
        """Show what went wrong."""
        self.show(card_of(error, self.settings.url))

    def ask(
        self,
        work: Callable[[Edge], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Ask the edge on another thread; the answer comes here, unless the panel is about something else by then."""
        subject = self.subject

        def still(call: Callable[[Any], None]) -> Callable[[Any], None]:
            return lambda value: call(value) if self.subject is subject else None

        self.background.run(lambda: work(self.edge()), still(done), still(failed or self.fail))

    def edge(self) -> Edge:
        """The edge that is set. Not on the thread of the GUI: it may have to be started. Raises: ``EdgeError``."""
        with self._guard:
            if self._edge is None:
                self._edge = self.connect(self.settings, self.folder.token())
            return self._edge

    def leave_edge(self) -> None:
        """Ask it no more; the one that is set then is connected when it is asked next."""
        edge, self._edge = self._edge, None
        if edge is not None:
            edge.http.close()

    def close(self) -> None:
        """Nobody is told anything any more."""
        self.background.close()
        if self._edge is not None:
            self._edge.http.close()
