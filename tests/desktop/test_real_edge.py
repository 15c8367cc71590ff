"""The presenter against the real ``wetread serve``, started as a workstation without an edge starts it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fake_host import FakeHost
from phantoms import Phantom, write_series
from wetread_desktop.client.errors import NotHere, Unreachable
from wetread_desktop.client.grid import index_at
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.private_edge import Connector
from wetread_desktop.client.settings import DeskSettings, SettingsFolder
from wetread_desktop.client.words import catalog
from wetread_desktop.host import SeriesHandle

SERVE = (sys.executable, "-m", "wetread", "serve")
READER = DeskSettings(reader="Huber^Eva=胡^伊娃", organization="City Hospital", language="en")


@pytest.fixture(scope="module")
def private(threshold_bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connector]:
    data = tmp_path_factory.mktemp("private")
    (data / "bundles").symlink_to(threshold_bundles)
    connector = Connector(command=(*SERVE, "--private", "--data", str(data)))
    yield connector
    connector.close()


def desk(folder: Path, private: Connector, phantom: Phantom) -> tuple[Presenter, FakeHost]:
    kept = SettingsFolder(folder)
    kept.save(READER)
    series = SeriesHandle(
        "layer",
        phantom.study_instance_uid,
        phantom.series_instance_uid,
        patient_id="PH-0042",
        frame_of_reference_uid=phantom.frame_of_reference_uid,
    )
    host = FakeHost(series, files=phantom.paths)
    return Presenter(host, kept, private), host


def test_one_press_sends_reads_shows_and_the_decisions_are_signed(tmp_path: Path, private: Connector) -> None:
    phantom = write_series(tmp_path / "放射科 影像", orientation="oblique")
    presenter, host = desk(tmp_path / "profile", private, phantom)
    english, stages = catalog("en"), []
    presenter.on_change(lambda s: stages.append(english(s.progress.stage)) if s.progress else None)
    presenter.start()
    host.until(lambda: presenter.state.phase is Phase.STUDY_OPEN and presenter.state.primary.enabled, timeout_s=120)
    assert english(presenter.state.primary.label) == f"Send {len(phantom.paths)} images and read"
    presenter.press()
    host.until(lambda: presenter.state.findings and presenter.state.sign.enabled, timeout_s=240)
    assert presenter.state.patient is not None
    assert (presenter.state.patient.name, presenter.state.patient.birth_date) == ("Phantom, Petra", "1980-02-29")
    assert "Waiting in line" in stages or "Asked for" in stages

    _, labels, legend = host.until(lambda: next(iter(host.shown("overlay")), None), timeout_s=60)
    assert np.array_equal(labels.array() > 0, phantom.array > 500)
    assert np.allclose(labels.affine, phantom.affine, atol=1e-6)
    assert len(legend.entries) == 1

    presenter.step(1)
    place = host.calls[-1][1]
    where = tuple(round(i) for i in index_at(labels.affine, place.centre_mm))
    assert labels.array()[where] == legend.entries[0].label_value
    assert place.frame_of_reference_uid == phantom.frame_of_reference_uid

    uid = presenter.state.selected
    presenter.accept([uid])
    host.until(lambda: presenter.state.findings[0].state == "accepted" and presenter.state.sign.enabled, timeout_s=60)
    presenter.sign()
    host.until(lambda: presenter.state.phase is Phase.SIGNED, timeout_s=120)
    assert english(presenter.state.review.signed).startswith("Signed by 胡伊娃 (Huber, Eva)")
    presenter.close()


def test_study_that_was_signed_opens_signed_and_takes_no_decision(tmp_path: Path, private: Connector) -> None:
    """After the test above, in another window."""
    phantom = write_series(tmp_path / "study", orientation="oblique")
    presenter, host = desk(tmp_path / "profile", private, phantom)
    presenter.start()
    host.until(lambda: presenter.state.phase is Phase.SIGNED, timeout_s=120)
    presenter.reject([presenter.state.findings[0].tracking_uid])
    assert presenter.state.card is not None
    assert catalog("en")(presenter.state.card.todo) == "This read is signed."
    presenter.close()


def test_private_edge_that_was_killed_is_started_again_when_it_is_asked(tmp_path: Path, private: Connector) -> None:
    edge = private(READER, "")
    assert private._process is not None
    private._process.kill()
    private._process.wait()
    again = private(READER, "")
    assert again.address.url != edge.address.url
    with pytest.raises(NotHere):
        again.study("9.9")


def test_computer_without_an_edge_says_what_to_do() -> None:
    broken = Connector(command=(sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(Unreachable, match="set the address of an edge"):
        broken(DeskSettings(), "")
