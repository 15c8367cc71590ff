"""The power goes at any moment, on a disk that keeps only what was synced: what was acknowledged is read, once.

Also the full disk: each write in turn is the one that fails, and everything goes on once there is room.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers import require
from powercut.replay import Disk, Operation, read_log
from powercut.scenario import MARKS, Marked
from wetread.db import now
from wetread.store.retention import Retention, RetentionSettings

HERE = Path(__file__).parents[1] / "powercut"
CUTS = int(os.environ.get("POWERCUT_CUTS", "30"))
"""How many moments; ``make soak`` takes them all, with several disks each."""
SEEDS = int(os.environ.get("POWERCUT_SEEDS", "1"))


@dataclass(frozen=True)
class Record:
    """One run of the scenario."""

    root: str
    operations: list[Operation]


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("layer") / "layer.so"
    command = [
        require("/usr/bin/gcc"),
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wno-format-truncation",
        "-o",
        str(library),
    ]
    subprocess.run([*command, str(HERE / "layer.c"), "-ldl", "-lpthread"], check=True)
    return library


class Scenarios:
    """Runs the scenario over and over: a process that has imported everything forks for each run."""

    def __init__(self, layer: Path) -> None:
        command = [sys.executable, str(HERE / "scenario.py"), "--many"]
        environment = {**os.environ, "LD_PRELOAD": str(layer)}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path, **settings: str) -> tuple[int, str]:
        """Exit code and what it said of errors."""
        (folder / "data").mkdir(parents=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(folder), {"POWERCUT_ROOT": str(folder / "data"), **settings}]), file=self._process.stdin)
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, (folder / "stderr").read_text()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture
def scenarios(layer: Path) -> Iterator[Scenarios]:
    scenarios = Scenarios(layer)
    yield scenarios
    scenarios.close()


def run_scenario(layer: Path, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": str(layer), "POWERCUT_ROOT": str(folder / "data"), **settings}
    (folder / "data").mkdir(parents=True)
    command = [sys.executable, str(HERE / "scenario.py"), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def record(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("recorded").resolve()
    log = folder / "operations"
    done = run_scenario(layer, folder, POWERCUT_LOG=str(log))
    assert done.returncode == 0, done.stderr
    return Record(str(folder / "data"), read_log(log))


def _marks(operations: list[Operation], marks_file: int) -> list[dict[str, str]]:
    return [json.loads(o.first) for o in operations if o.kind == "w" and o.inode == marks_file]


def _promises(record: Record, cut: int) -> tuple[set[str], dict[str, str]]:
    """Acknowledged SOP Instance UIDs, and the names of delivered files with their digests, before the cut."""
    (marks_file,) = {o.inode for o in record.operations if o.kind == "c" and o.path.endswith(MARKS)}
    marks = _marks(record.operations[:cut], marks_file)
    delivered = {m["name"]: m["sha256"] for m in marks if m["kind"] == "delivered"}
    return {m["uid"] for m in marks if m["kind"] == "acknowledged"}, delivered


def _go_on(box: Marked) -> None:
    """What the next start does, until nothing is left to do."""
    box.spool.discard_unfinished()
    box.queue.recover()
    Retention(box.db, box.folder, RetentionSettings()).recover()
    box.take_in()
    box.revisions.lose_associations(before=now())
    box.complete()
    box.read()
    box.deliver()


def _faults(record: Record, cut: int, seed: int | None, folder: Path) -> list[str]:
    """What is not as it was promised, after the power went there and the next start did what it does."""
    disk = Disk(record.root)
    for operation in record.operations[:cut]:
        disk.do(operation)
    (folder / "data").mkdir(parents=True)
    disk.cut(folder / "data", seed=seed)
    acknowledged, delivered = _promises(record, cut)
    box = Marked(folder / "data")
    _go_on(box)
    known = {r["sop_instance_uid"] for r in box.db.fetch("SELECT sop_instance_uid FROM instances")}
    indexed = box.db.fetch("SELECT path FROM instances WHERE removed_at IS NULL")
    sent = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in box.out.rglob("*") if p.is_file()}
    states = box.states()
    box.db.close()
    results = sent.keys() | delivered.keys()
    found = {
        "acknowledged and lost": acknowledged - known,
        "indexed without a file": {r["path"] for r in indexed if not (box.spool.folder / r["path"]).is_file()},
        "stuck": [state for state in states if state != "read"],
        "sent again with other content": {name for name in sent if delivered.get(name, sent[name]) != sent[name]},
        "fewer results than studies": (len(results), len(states)) if len(results) < len(states) else None,
    }
    at = f"cut {cut} of {len(record.operations)} ({record.operations[cut - 1]}), seed {seed}"
    return [f"{fault}: {what}; {at}" for fault, what in found.items() if what]


def _cuts(record: Record) -> list[int]:
    every = list(range(1, len(record.operations) + 1))
    # Around each promise is where a lie would be; the rest at random.
    syncs = [i for i, o in enumerate(record.operations, start=1) if o.kind in "sdr"]
    chosen = random.Random(20261122).sample(syncs, min(CUTS, len(syncs)))
    return every if len(every) <= CUTS else sorted(chosen)


def test_nothing_acknowledged_is_lost_whenever_the_power_goes(
    record: Record, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    cuts = _cuts(record)
    for cut in cuts:
        for seed in (None, *range(cut * 100, cut * 100 + SEEDS)):
            assert _faults(record, cut, seed, tmp_path / f"{cut}-{seed}") == []
    record_testsuite_property("power cuts", len(cuts) * (1 + SEEDS))


def test_record_without_syncs_loses_what_was_acknowledged(record: Record, tmp_path: Path) -> None:
    """The control: if the program had synced nothing, the test above would see it."""
    careless = Record(record.root, [o for o in record.operations if o.kind not in "sd"])
    first = _faults(careless, len(careless.operations), None, tmp_path / "careless")[0]
    assert first.startswith("acknowledged and lost: {'")


def _growths(record: Record) -> int:
    return sum(o.kind in "cw" for o in record.operations)


def test_full_disk_at_any_write_loses_nothing_and_goes_on_when_there_is_room(
    scenarios: Scenarios, record: Record, tmp_path: Path
) -> None:
    every = range(0, _growths(record), max(1, _growths(record) * 4 // CUTS))
    for first in every:
        folder = tmp_path / str(first)
        marks = folder / "marks"
        settings = {"POWERCUT_FULL_AT": str(first), "POWERCUT_FULL_FOR": "3", "POWERCUT_MARKS": str(marks)}
        code, errors = scenarios.run(folder, **settings)
        assert code == 0, f"write {first}: {errors[-2000:]}"
        promised = [json.loads(line) for line in marks.read_text().splitlines()]
        assert promised[-1]["kind"] == "end"
        box = Marked(folder / "data")
        known = {r["sop_instance_uid"] for r in box.db.fetch("SELECT sop_instance_uid FROM instances")}
        assert {m["uid"] for m in promised if m["kind"] == "acknowledged"} == known
        assert box.states() == ["read"] * 3
        digests: dict[str, set[str]] = {}
        for m in promised:
            if m["kind"] == "delivered":
                digests.setdefault(m["name"], set()).add(m["sha256"])
        assert [len(found) for found in digests.values()] == [1, 1, 1]
        box.db.close()
