"""Pictures of the panel to look at: ``run.sh`` with ``--pictures FOLDER`` is not a test, it is for eyes.

``QT_API=pyside6 xvfb-run python tests/desktop/qt/pictures.py FOLDER``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "desktop")]

from desk_under_test import connect, edge_with_result, edge_with_study, profile  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication, QWidget  # noqa: E402

import desk_documents as documents  # noqa: E402
import waiting  # noqa: E402
from fake_edge import FakeEdge, FakeJob  # noqa: E402
from fake_host import FakeHost  # noqa: E402
from wetread_desktop.client.panel_state import Phase  # noqa: E402
from wetread_desktop.client.presenter import Presenter  # noqa: E402
from wetread_desktop.widgets.gui_thread import GuiThread  # noqa: E402
from wetread_desktop.widgets.panel import Panel  # noqa: E402
from wetread_desktop.widgets.settings_dialog import SettingsDialog  # noqa: E402
from wetread_desktop.widgets.sign_dialog import SignDialog  # noqa: E402


class Scene:
    """One panel on its way to be photographed."""

    def __init__(self, folder: Path, edge: FakeEdge, *series: object, **settings: object) -> None:
        self.caller = GuiThread()
        self.host = FakeHost(*(series or (documents.handle(),)), run_on_gui=self.caller.run)  # type: ignore[arg-type]
        self.presenter = Presenter(self.host, profile(folder, edge, **settings), connect)
        self.panel = Panel(self.presenter)
        self.panel.resize(430, 860)
        self.panel.show()
        self.presenter.start()

    def until(self, condition: Callable[[], object]) -> None:
        waiting.until(lambda: (QApplication.processEvents(), condition())[1])

    def take(self, path: Path, widget: QWidget | None = None) -> None:
        QTest.qWait(150)
        (widget or self.panel).grab().save(str(path))


def main(out: Path) -> None:
    """All scenes in light and dark, English and Chinese."""
    QApplication.instance() or QApplication([])
    out.mkdir(parents=True, exist_ok=True)
    for theme, language in (("light", "en"), ("dark", "en"), ("light", "zh_CN"), ("dark", "zh_CN")):
        with TemporaryDirectory() as folder:
            _scenes(out, Path(folder), f"{theme}-{language}", theme=theme, language=language)


def _scenes(out: Path, folder: Path, name: str, **settings: object) -> None:
    _before(out, folder, name, **settings)
    edge = FakeEdge()
    _review(out, folder, name, edge, **settings)
    _lists(out, folder, name, edge, **settings)
    edge.down()


def _before(out: Path, folder: Path, name: str, **settings: object) -> None:
    edge = edge_with_study(FakeEdge())
    scene = Scene(folder / "a", edge, **settings)
    scene.until(lambda: scene.presenter.state.phase is Phase.STUDY_OPEN)
    scene.take(out / f"{name}-1-open.png")
    scene.presenter.press()
    scene.until(lambda: edge.jobs and scene.presenter.state.progress)
    job = next(iter(edge.jobs.values()))
    edge.tell(job, state="running", stage="infer", percent=42, eta_s=75)
    scene.until(lambda: scene.presenter.state.progress and scene.presenter.state.progress.percent)
    scene.take(out / f"{name}-2-reading.png")
    scene.presenter.close()
    edge.down()


def _review(out: Path, folder: Path, name: str, edge: FakeEdge, **settings: object) -> None:
    job = edge_with_result(edge)
    scene = Scene(folder / "b", edge, **settings)
    scene.until(lambda: scene.presenter.state.sign.enabled)
    scene.presenter.step(1)
    scene.presenter.accept(["2.25.2"])
    scene.until(lambda: job.review.version == 1)
    scene.presenter.reject(["2.25.3"], "a vessel")
    scene.until(lambda: job.review.version == 2 and scene.presenter.state.sign.enabled)
    scene.panel.findings.setFocus()
    scene.take(out / f"{name}-3-review.png")
    scene.panel.open_sign_off()
    dialog = scene.panel.findChild(SignDialog)
    scene.take(out / f"{name}-4-sign.png", dialog)
    dialog.reject()
    scene.panel.open_settings()
    scene.take(out / f"{name}-5-settings.png", scene.panel.findChild(SettingsDialog))
    scene.panel.findChild(SettingsDialog).reject()
    scene.host.show(documents.handle(documents.OTHER_STUDY))
    scene.take(out / f"{name}-6-locked.png")
    scene.host.show(documents.handle())
    job.holder = "Keller^Urs"
    scene.presenter.accept(["2.25.1"])
    scene.until(lambda: scene.presenter.state.card)
    scene.take(out / f"{name}-7-card.png")
    scene.presenter.close()


def _lists(out: Path, folder: Path, name: str, edge: FakeEdge, **settings: object) -> None:
    many = [documents.finding(n, f"Structure {n}", role="anatomy") for n in range(1, 105)]
    edge.add_job(FakeJob("job-1", documents.STUDY, "spleen", documents.result(found=many), documents.labels()))
    edge.tell(edge.jobs["job-1"], state="done")
    scene = Scene(folder / "c", edge, **(settings | {"colours": "safe"}))
    scene.until(lambda: scene.presenter.state.sign.enabled)
    scene.presenter.step(1)
    scene.take(out / f"{name}-8-many.png")
    scene.presenter.close()
    scene = Scene(folder / "d", edge, **settings)
    scene.host.active = None
    scene.presenter.follow_viewer()
    scene.until(lambda: scene.presenter.state.worklist)
    scene.take(out / f"{name}-9-worklist.png")
    scene.presenter.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
