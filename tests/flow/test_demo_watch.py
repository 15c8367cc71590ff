"""What the demo says of studies that a person sends to it while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from peers import WetreadProcess
from phantoms import write_series
from waiting import until
from wetread.cli.main import run
from wetread.demo.watch import Watch


def test_study_of_ones_own_is_followed_to_its_end_with_the_reason(
    wetread: Callable[..., WetreadProcess], tmp_path: Path
) -> None:
    service = wetread(mode="off")
    watch = Watch(service.overview)
    assert watch.news() == []
    phantom = write_series(tmp_path / "study", shape=(3, 16, 16))
    to = ["--to", f"127.0.0.1:{service.port}", "--called", "WETREAD"]
    assert run(["send", str(tmp_path / "study"), *to, "--calling", "CT1"]) == 0
    said: list[str] = []

    def ended() -> bool:
        said.extend(watch.news())
        return any(line.endswith("not read") or ": not read: " in line for line in said)

    until(ended, what="the end of the study was said")
    assert all(line.startswith(f"study {phantom.study_instance_uid} ") for line in said)
    assert len(said) == len(set(said))
    assert watch.news() == []


def test_caller_that_was_refused_is_named_with_the_reason(
    wetread: Callable[..., WetreadProcess], tmp_path: Path
) -> None:
    service = wetread(mode="off")
    watch = Watch(service.overview)
    write_series(tmp_path / "study", shape=(3, 16, 16))
    to = ["--to", f"127.0.0.1:{service.port}", "--called", "WETREAD"]
    assert run(["send", str(tmp_path / "study"), *to, "--calling", "NOBODY"]) == 1
    (line,) = until(watch.news, what="the refusal was said")
    assert line.startswith("refused 'NOBODY' at 127.0.0.1: ")
