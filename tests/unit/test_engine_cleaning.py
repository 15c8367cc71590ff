"""The engine cache loses what nothing here can use, and never what a process uses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bundle_commands import Command, bundle_command
from network_bundles import threshold_bundle
from wetread.bundles import load_bundle
from wetread.cli.main import run
from wetread.config import Config
from wetread.infer import cleaning
from wetread.infer.cleaning import Cleaned, clean, old, survey
from wetread.infer.engines.uses import MARK, hold, nobody_uses, users
from wetread.infer.known import CERTIFIED, known_engines, state_of
from wetread.service.duties.engines import EngineCleaning
from wetread.service.engine_caches import service_cache

_OPEN = """
import sys
from pathlib import Path
from wetread.bundles import load_bundle
from wetread.infer.model import open_model
model = open_model(load_bundle(Path(sys.argv[1])), engine="openvino", cache_folder=Path(sys.argv[2]))
model.load()
print("open", flush=True)
sys.stdin.read()
"""
_YEAR_S = 366 * 86400.0


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``b``: a bundle, ``c``: the cache another process filled with its engine."""
    folder = tmp_path_factory.mktemp("filled")
    threshold_bundle(folder / "b")
    with Opened(folder / "b", folder / "c"):
        pass
    return folder


@pytest.fixture
def there(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "there")
    return tmp_path / "there"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return bundle_command(tmp_path, monkeypatch, capsys)


class Opened:
    """A process that has the bundle's engine open, until the block ends."""

    def __init__(self, bundle: Path, cache: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OPEN, str(bundle), str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self.process.stdout is not None
        said = self.process.stdout.read(4)
        assert said == b"open"
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def of(folder: Path) -> dict[str, str]:
    bundle = load_bundle(folder / "b")
    return {bundle.digest(): bundle.name}


def later() -> float:
    return time.time() + _YEAR_S


def test_what_a_bundle_here_can_use_is_not_old(there: Path) -> None:
    pieces = survey(there / "c", of(there))
    assert {piece.kind for piece in pieces} == {"certificate", "graph"}
    assert old(pieces) == ()
    assert clean(there / "c", of(there), unused_days=0, clock=later) == Cleaned((), (), ())
    assert state_of(known_engines(load_bundle(there / "b"), there / "c")) == CERTIFIED


def test_bundles_that_cannot_be_told_are_not_missed(there: Path) -> None:
    assert old(survey(there / "c", None)) == ()


def test_engine_of_a_bundle_that_is_gone_goes_with_its_graph_after_a_while(there: Path) -> None:
    cache = there / "c"
    assert clean(cache, {}, unused_days=30).removed == ()
    planned = clean(cache, {}, unused_days=30, dry_run=True, clock=later)
    assert len(survey(cache, {})) == len(planned.removed) > 0
    done = clean(cache, {}, unused_days=30, clock=later)
    assert {piece.why for piece in done.removed} == {"no bundle here is the one it was made for"}
    assert done.removed == planned.removed
    assert survey(cache, {}) == ()
    assert [path for path in cache.rglob("*") if path.is_file() and path.name != "building.lock"] == []


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("code", "0" * 16, "the code of Wetread that makes the answer was another"),
        ("library", "1.0", "openvino was 1.0, is "),
        ("torch", "1.0", "torch was 1.0, is "),
    ],
)
def test_certificate_of_other_code_or_libraries_is_old(there: Path, name: str, value: str, why: str) -> None:
    (path,) = (there / "c").glob("*/certificate.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "subject": {**content["subject"], name: value}}))
    (piece,) = old(survey(there / "c", of(there)))
    assert (piece.kind, piece.path) == ("certificate", path.parent)
    assert piece.why.startswith(why)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda recipe: recipe.replace("torch.onnx ", "torch.onnx 0"), "another PyTorch exported its graph"),
        (lambda recipe: recipe[:-1] + "x", "the code of Wetread that makes graphs was another"),
        (None, "an earlier version of Wetread made it"),
    ],
)
def test_graph_of_other_code_or_libraries_is_old(there: Path, change: Any, why: str) -> None:
    (mark,) = (there / "c" / "onnx").glob(f"*.{MARK}")
    if change is None:
        mark.unlink()
    else:
        ((bundle, recipe),) = users(mark)
        mark.write_text(json.dumps({"bundle": bundle, "recipe": change(recipe)}) + "\n")
    (piece,) = old(survey(there / "c", of(there)))
    assert (piece.kind, piece.why) == ("graph", why)


def test_what_a_running_process_uses_stays_until_it_is_killed(there: Path) -> None:
    cache = there / "c"
    with Opened(there / "b", cache) as process:
        done = clean(cache, {}, unused_days=0, clock=later)
        assert {reason for _, reason in done.left} == {"a running process uses it"}
        assert (done.removed, done.failed) == ((), ())
        assert state_of(known_engines(load_bundle(there / "b"), cache)) == CERTIFIED
        process.kill()
        process.wait()
        assert len(clean(cache, {}, unused_days=0, clock=later).removed) == len(done.left)
    with Opened(there / "b", cache):  # it is built anew
        assert state_of(known_engines(load_bundle(there / "b"), cache)) == CERTIFIED


_READER = """
import sys
from pathlib import Path
from wetread.infer.engines import uses
folder = Path(sys.argv[1]) / ("a" * 64)
broken = 0
for turn in range(3000):
    thing, mark = folder / "thing", folder / uses.MARK
    try:
        folder.mkdir(exist_ok=True)
        thing.touch()
    except OSError:  # removed between the two
        continue
    uses.hold(mark)
    held = mark in uses._held and uses._is(mark, uses._held[mark])
    if held and thing.exists():
        broken += sum(not thing.exists() for _ in range(20))
    uses._let_go(mark)
print(broken)
"""


def test_reader_beside_a_cleaning_never_loses_what_it_holds(tmp_path: Path) -> None:
    reader = subprocess.Popen([sys.executable, "-c", _READER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    removed = 0
    while reader.poll() is None:
        done = clean(tmp_path, {}, unused_days=0, clock=later)
        removed += len(done.removed)
        assert not [why for _, why in done.failed if why != "Directory not empty"]
    assert reader.stdout is not None
    assert (reader.stdout.read().strip(), reader.returncode) == ("0", 0)
    assert removed > 0


def test_cleaning_that_was_interrupted_leaves_nothing_that_is_found_and_is_finished_later(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = there / "c"

    def fails(*_: object, **given: object) -> None:
        if not given:
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(cleaning.shutil, "rmtree", fails)
        ((piece, reason),) = clean(cache, {}, unused_days=0, clock=later).failed
    assert (piece.kind, reason) == ("certificate", "Input/output error")
    assert known_engines(load_bundle(there / "b"), cache) == ()
    (leftover,) = clean(cache, {}, unused_days=0, clock=later).removed
    assert (leftover.kind, leftover.why) == ("leftover", "a cleaning was interrupted")
    assert not list(cache.glob("removed/*"))


def test_half_written_files_stay_for_a_day_whatever_is_asked_for(tmp_path: Path) -> None:
    half = tmp_path / "onnx" / ".graph.onnx.a1b2"
    half.parent.mkdir()
    half.write_bytes(b"half")
    assert clean(tmp_path, {}, unused_days=0).removed == ()
    assert half.exists()
    (removed,) = clean(tmp_path, {}, unused_days=0, clock=lambda: time.time() + 2 * 86400).removed
    assert (removed.path, half.exists()) == (half, False)


def test_mark_says_once_for_which_bundle(tmp_path: Path) -> None:
    for bundle in ("a", "b", "a"):
        hold(tmp_path / MARK, bundle=bundle, recipe="r")
    assert list(users(tmp_path / MARK)) == [("a", "r"), ("b", "r")]
    with nobody_uses(tmp_path / MARK) as free:
        assert not free


def test_commands_say_what_is_old_and_remove_it(filled: Path, tmp_path: Path, command: Command) -> None:
    cache = tmp_path / "cache" / "wetread" / "engines"
    shutil.copytree(filled / "c", cache)
    assert "2 old entries" in command("list", as_json=False)
    report = command("clean")
    assert (report["engine_cache"], report["unused_days"], report["removed"]) == (str(cache), 30.0, [])
    assert {piece["kind"] for piece in report["left"]} == {"certificate", "graph"}
    planned = command("clean", "--dry-run", "--unused-days", "0")
    assert len(planned["removed"]) == 2
    assert all(Path(piece["path"]).exists() for piece in planned["removed"])
    assert "2 old entries" in command("clean", "--unused-days", "0", as_json=False)
    assert not any(Path(piece["path"]).exists() for piece in planned["removed"])
    assert "nothing removed" in command("clean", as_json=False)
    assert "old entries" not in command("list", as_json=False)


def test_number_of_days_that_is_none_is_a_sentence(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["bundle", "clean", "--unused-days", "soon"])
    assert "got 'soon', expected a number of days from 0, e.g. 30" in capsys.readouterr().err


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path / "data")


def private(*arguments: str) -> Config:
    from wetread.cli.main import build_parser
    from wetread.cli.serve import _private_config

    return _private_config(build_parser().parse_args(["serve", "--private", *arguments]))


def test_private_service_uses_the_engines_of_this_users_commands(tmp_path: Path, command: Command) -> None:
    assert command("clean")["engine_cache"] == str(service_cache(private()).folder)
    (tmp_path / "wetread.toml").write_text('data_dir = "site"\n')
    assert service_cache(private()).folder == tmp_path / "site" / "engines"
    assert private().data_dir == tmp_path / "home" / ".local" / "share" / "wetread"
    apart = tmp_path / "apart"
    assert service_cache(private("--data", str(apart))).folder == apart / "engines"


def test_service_cleans_once_a_day_and_not_at_its_start(config: Config) -> None:
    now, cleaned = [0.0], []

    def once(given: Config) -> Cleaned:
        cleaned.append(given)
        return Cleaned((), (), ())

    duty = EngineCleaning(config, clean=once, clock=lambda: now[0])
    for hour in range(49):
        now[0] = hour * 3600.0
        duty.round()
        if duty._thread:
            duty._thread.join()
    assert cleaned == [config, config]
