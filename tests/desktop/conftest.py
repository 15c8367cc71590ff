"""The tests in ``qt`` need a display and a Qt binding: ``make test-desktop`` gives them both, ``run.sh`` says how."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fake_edge import FakeEdge


@pytest.fixture
def edge() -> Iterator[FakeEdge]:
    """An edge over real HTTP; gone when the test ends."""
    fake = FakeEdge()
    yield fake
    fake.down()


def pytest_ignore_collect(collection_path: object, config: pytest.Config) -> bool | None:
    """Left out of a run that did not ask for Qt: it would load Qt into processes that test something else."""
    qt = config.pluginmanager.hasplugin("pytestqt.plugin")
    return True if str(collection_path).endswith("tests/desktop/qt") and not qt else None
