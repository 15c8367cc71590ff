"""``wetread bundle`` for tests, as a user without configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wetread.cli.main import run

Command = Callable[..., Any]


def bundle_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``wetread bundle … --json`` in an empty folder of a user without configuration; what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")

    def bundle(*arguments: object, code: int = 0, as_json: bool = True) -> Any:
        capsys.readouterr()
        given = ["bundle", *map(str, arguments), *(["--json"] if as_json else [])]
        found = run(given)
        printed = capsys.readouterr()
        assert found == code, printed.err
        return json.loads(printed.out) if as_json else printed.out

    return bundle
