# ruff: noqa: T201 (a script that prints its result)
"""``kill -9`` of the receiver while DCMTK sends: Wetread and, for reference, Orthanc's store.

    python tests/bench/bench_kill.py [--rounds 20] [--json FILE]

In each round a sender begins a study of 60 instances, the receiver is killed at a random moment, and started again on
the same data. Counted is what the sender was told (C-STORE-RSP Success) against what the receiver knows afterwards. The
page cache survives a killed process: this is not a power cut (``tests/flow/test_power_cut.py`` is).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers import HOST, STORESCU, Orthanc, WetreadProcess, config, require
from phantoms import write_series
from threshold_bundle import write_threshold_bundle
from waiting import until

INSTANCES = 60
_ANSWERED = re.compile(r"Received Store Response \(Success\)")


@dataclass
class Tally:
    """All rounds of one receiver."""

    receiver: str
    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    rounds_with_loss: int = 0


def send_and_kill(port: int, files: list[Path], kill: Callable[[], None], after_s: float) -> int:
    """How many instances the sender was told are stored, in the order of ``files``."""
    command = [require(STORESCU), "-v", "-aet", "CT1", "-aec", "WETREAD", HOST, str(port), *map(str, files)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as sender:
        timer = threading.Timer(after_s, kill)
        timer.start()
        said, _ = sender.communicate(timeout=120)
        timer.join()
    return len(_ANSWERED.findall(said))


def main() -> int:
    """Run, print, and write JSON if asked for."""
    parser = argparse.ArgumentParser(description="kill -9 of the receiver while DCMTK sends")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wetread-bench-") as name:
        folder = Path(name)
        found = [_wetread(folder, arguments.rounds), _orthanc(folder, arguments.rounds)]
    for tally in found:
        print(
            f"{tally.receiver:8} {tally.rounds} kills, {tally.acknowledged} instances acknowledged,"
            f" {tally.lost} of them lost (in {tally.rounds_with_loss} rounds)"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(t) for t in found], indent=2))
    return 1 if found[0].lost else 0


def _studies(folder: Path, rounds: int) -> list[list[Path]]:
    return [
        list(write_series(folder / f"{k}", study_seed=f"{folder.name}-{k}", shape=(INSTANCES, 64, 64)).paths)
        for k in range(rounds)
    ]


def _count(tally: Tally, acknowledged: int, here: int) -> None:
    lost = max(0, acknowledged - here)
    tally.rounds += 1
    tally.acknowledged += acknowledged
    tally.lost += lost
    tally.rounds_with_loss += lost > 0


def _wetread(folder: Path, rounds: int) -> Tally:
    write_threshold_bundle(folder / "bundles" / "threshold")
    service = WetreadProcess(folder / "wetread", config(folder / "bundles", mode="off", quiet_s=60.0))
    tally, chance = Tally("Wetread"), random.Random(1)
    service.start()
    try:
        before = 0
        for files in _studies(folder / "w", rounds):
            acknowledged = send_and_kill(service.port, files, service.kill, chance.uniform(0.02, 0.6))
            service.start()
            until(lambda: not any((service.data / "spool" / "incoming").glob("[!.]*")), what="everything is indexed")
            total = sum(s["instances"] for s in service.overview.studies(limit=1000))
            _count(tally, acknowledged, total - before)
            before = total
    finally:
        service.stop()
    return tally


def _orthanc(folder: Path, rounds: int) -> Tally:
    pacs = Orthanc(folder / "orthanc")
    tally, chance = Tally("Orthanc"), random.Random(1)

    def kill() -> None:
        assert pacs.process is not None
        pacs.process.kill()
        pacs.process.wait()

    pacs.start()
    try:
        before = 0
        for files in _studies(folder / "o", rounds):
            acknowledged = send_and_kill(pacs.dicom_port, files, kill, chance.uniform(0.02, 0.6))
            pacs.start()
            total = int(pacs.get("/statistics")["CountInstances"])
            _count(tally, acknowledged, total - before)
            before = total
    finally:
        pacs.stop()
    return tally


if __name__ == "__main__":
    sys.exit(main())
