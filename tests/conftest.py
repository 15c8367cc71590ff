"""Fixtures every test may use."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from faketime import FakeTime
from peers import PLAIN, Orthanc, WetreadProcess, config
from threshold_bundle import write_threshold_bundle


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked ``soak`` runs where the variable ``SOAK`` is set, as by ``make soak``."""
    if not os.environ.get("SOAK"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="slow: run by make soak"))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that runs inside a test sets up logging for its whole process; the next test must not feel it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    hooks = sys.excepthook, threading.excepthook
    yield
    sys.excepthook, threading.excepthook = hooks
    logging.raiseExceptions = True
    logging.captureWarnings(False)
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def fake_time() -> Iterator[FakeTime]:
    """Both clocks of the queue."""
    time = FakeTime()
    with time.installed():
        yield time


@pytest.fixture(scope="session")
def threshold_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder with the bundle ``threshold``."""
    folder = tmp_path_factory.mktemp("bundles")
    write_threshold_bundle(folder / "threshold")
    return folder


@pytest.fixture
def adult(tmp_path: Path) -> Path:
    """A real PA film of a woman of 64 years, MONOCHROME1, alone in its folder."""
    found = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert found, "pydicom-data is not installed"
    (tmp_path / "adult").mkdir()
    return Path(shutil.copy(str(found), tmp_path / "adult"))


@pytest.fixture(scope="module")
def few_draws() -> Iterator[None]:
    """Intervals of figures are the business of test_learn_measures: elsewhere ten draws do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wetread.learn.measures.RESAMPLES", 10)
        yield


@pytest.fixture
def wetread(
    tmp_path: Path, threshold_bundles: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., WetreadProcess]]:
    """Start ``wetread serve``; keywords go into the configuration. Tests marked ``network`` get workers with torch."""
    started: list[WetreadProcess] = []
    program = WetreadProcess.program if request.node.get_closest_marker("network") else PLAIN

    def start(**settings: object) -> WetreadProcess:
        toml = config(threshold_bundles, **settings)
        process = WetreadProcess(tmp_path / f"wetread{len(started)}", toml, program=program)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A PACS, not started yet: a test may first need its ports."""
    pacs = Orthanc(tmp_path / "orthanc")
    yield pacs
    pacs.stop()
