"""A presenter with its viewer and its edge, and what a reader would do with them."""

from __future__ import annotations

from pathlib import Path

import desk_documents as documents
from fake_edge import TOKEN, FakeEdge, FakeJob
from fake_host import FakeHost
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.settings import DeskSettings, SettingsFolder

READER = "Huber^Eva"


def profile(folder: Path, edge: FakeEdge, **settings: object) -> SettingsFolder:
    """Settings of a reader who is all set."""
    kept = SettingsFolder(folder)
    usual = {"url": edge.url, "reader": READER, "organization": "City Hospital", "language": "en"}
    kept.save(DeskSettings(**(usual | settings)))  # type: ignore[arg-type]
    kept.save_token(TOKEN)
    return kept


def connect(settings: DeskSettings, token: str) -> Edge:
    """Short patience: tests take down edges."""
    return Edge(settings.address(token), timeout_s=5.0)


class DeskUnderTest:
    """One window."""

    def __init__(self, folder: Path, edge: FakeEdge, host: FakeHost | None = None, **settings: object) -> None:
        self.edge, self.host = edge, host or FakeHost(documents.handle())
        self.presenter = Presenter(self.host, profile(folder, edge, **settings), connect)
        self.presenter.start()

    @property
    def state(self) -> object:
        return self.presenter.state

    def until(self, phase: Phase) -> None:
        """Until the panel is in this phase."""
        self.host.until(lambda: self.presenter.state.phase is phase)

    def review_findings(self) -> None:
        """Until the findings are there and may be decided on."""
        self.host.until(lambda: self.presenter.state.findings and self.presenter.state.sign.enabled)

    def states(self) -> dict[str, str]:
        """The state of each finding by its name and number."""
        return {f"{r.tag} {r.name}": r.state.value for r in self.presenter.state.findings}


def edge_with_study(edge: FakeEdge) -> FakeEdge:
    """It knows the study, and one bundle that fits."""
    edge.add_study(documents.study(), [documents.suggestion(), documents.suggestion("brain", fits=False)])
    return edge


def edge_with_result(edge: FakeEdge) -> FakeJob:
    """It has read the study."""
    edge_with_study(edge)
    heat = bytes(range(120))
    job = FakeJob("job-1", documents.STUDY, "spleen", documents.result(), documents.labels(), {"2.25.2": heat})
    edge.add_job(job)
    edge.tell(job, state="done")
    return job
