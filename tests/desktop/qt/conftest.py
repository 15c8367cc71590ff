"""A panel in a window, beside a viewer that draws nothing and an edge over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_under_test import connect, profile
from pytestqt.qtbot import QtBot
from readers_desk import Desk

import desk_documents as documents
from fake_edge import FakeEdge
from fake_host import FakeHost
from peers import WetreadProcess
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.widgets.gui_thread import GuiThread
from wetread_desktop.widgets.panel import Panel

Make = Callable[..., "Window"]


class Window:
    """One panel on the screen."""

    def __init__(self, folder: Path, edge: FakeEdge, host: FakeHost, **settings: object) -> None:
        self.host, self.edge = host, edge
        self.presenter = Presenter(host, profile(folder, edge, **settings), connect)
        self.panel = Panel(self.presenter)
        self.panel.resize(430, 900)
        self.panel.show()
        self.panel.activateWindow()
        self.presenter.start()


@pytest.fixture
def window(qtbot, tmp_path: Path, edge: FakeEdge) -> Iterator[Make]:  # type: ignore[no-untyped-def]
    """Open a window; keywords are settings."""
    opened: list[Window] = []
    caller = GuiThread()

    def make(*series: object, **settings: object) -> Window:
        shown = series or (documents.handle(),)
        host = FakeHost(*shown, run_on_gui=caller.run)  # type: ignore[arg-type]
        made = Window(tmp_path / "profile", edge, host, **settings)
        qtbot.addWidget(made.panel)
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.presenter.close()


@pytest.fixture
def desk(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A window at a service; keywords are those of ``Desk``."""
    opened: list[Desk] = []

    def make(service: WetreadProcess, **options: Any) -> Desk:
        profile = options.pop("profile", tmp_path / f"profile{len(opened)}")
        made = Desk(qtbot, service, profile, **options)
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.close()
