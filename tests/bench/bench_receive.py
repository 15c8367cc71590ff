# ruff: noqa: T201 (a script that prints its result)
"""Reception: Wetread's service against Orthanc and DCMTK's storescp --fork, the same files, interleaved runs.

    python tests/bench/bench_receive.py [--runs 5] [--small 1000] [--spooled 1000000] [--json FILE]

The sender is DCMTK's storescu with TCP_NODELAY=1. CT of 512 x 512 x 16 bit, 150 instances an association, one
association and four at once; instances are new in every run, and the disk is at rest before each. Wetread and
Orthanc sync every instance to disk before Success and index it meanwhile; storescp does neither.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import spooled

from peers import HOST, Orthanc, WetreadProcess, free_port, require
from phantoms import write_series
from waiting import until

STORESCU = "/usr/bin/storescu"
STORESCP = "/usr/bin/storescp"
INSTANCES = 150
PARALLEL = 20
WAITING = 20_000
"""Instances in ``incoming/`` at a start."""
TOML = """
data_dir = "data"
[listener]
host = "127.0.0.1"
port = {{port}}
max_associations = 25
{listener}
[[listener.called]]
ae_title = "WETREAD"
[[peers]]
name = "ct1"
ae_title = "CT1"
networks = ["127.0.0.1/32"]
may_send = true
[completeness]
quiet_s = 3600.0
"""


def main() -> int:
    """Measure, print and write the figures."""
    os.environ["TCP_NODELAY"] = "1"  # Orthanc answers through DCMTK, which waits 40 ms for each instance without it
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", type=int, default=1000, help="small instances for each of 20 associations; 0: none")
    parser.add_argument("--spooled", type=int, default=1_000_000, help="instances in the spool at start; 0: none")
    parser.add_argument("--listener", default="", help="more keys of [listener], for comparisons")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    memory = Path("/dev/shm")  # noqa: S108  what is sent comes from memory: reading must not compete with writing
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(dir=memory) as sent:
        bench = Bench(Path(name), Path(sent), arguments.listener.replace("\\n", "\n"))
        figures = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": {
                "cores": os.cpu_count(),
                "load": round(os.getloadavg()[0], 1),
                "python": platform.python_version(),
            },
            "reception": {str(n): bench.reception(n, arguments.runs) for n in (1, 4)} if arguments.runs else {},
            "small": bench.many_small(arguments.small) if arguments.small else {},
            "start": spooled.start_s(
                Path(name) / "spooled", arguments.spooled, TOML.format(listener=""), bench.small_series(WAITING)
            )
            if arguments.spooled
            else {},
        }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    return 0


class Bench:
    """The peers, and what is sent to them."""

    def __init__(self, folder: Path, sent: Path, listener: str) -> None:
        self._folder = folder
        self._sent = sent
        self._toml = TOML.format(listener=listener)
        self._count = 0

    def reception(self, associations: int, runs: int) -> dict[str, object]:
        """Seconds until all senders have ended, for each peer; the order of the peers changes from run to run."""
        peers = {"wetread": self._wetread, "orthanc": self._orthanc, "storescp": self._storescp}
        times: dict[str, list[float]] = {name: [] for name in peers}
        indexed: list[float] = []
        for run in range(runs):
            series = [self._series(512, INSTANCES) for _ in range(associations)]
            names = list(peers)
            for name in names[run % 3 :] + names[: run % 3]:
                with peers[name]() as (port, called, done):
                    os.sync()
                    times[name].append(_send_s(port, called, series))
                    if name == "wetread":
                        started = time.perf_counter()
                        done(associations * INSTANCES)
                        indexed.append(times[name][-1] + time.perf_counter() - started)
            for folder in series:
                shutil.rmtree(folder)
        medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
        total = associations * INSTANCES
        return {
            "median_s": medians,
            "instances_per_s": {name: round(total / value) for name, value in medians.items()},
            "times_orthanc": round(medians["orthanc"] / medians["wetread"], 2),
            "times_storescp": round(medians["storescp"] / medians["wetread"], 2),
            "indexed_after_s": round(statistics.median(indexed), 2),
            "all_s": {name: [round(v, 3) for v in values] for name, values in times.items()},
        }

    def many_small(self, each: int) -> dict[str, object]:
        """20 associations at once with small instances: failures, and what the listeners' memory does."""
        series = [self._series(64, each) for _ in range(PARALLEL)]
        with self._wetread() as (port, called, done):
            service = self._service
            _send_s(port, called, [_part(folder, 20) for folder in series])  # every thread and buffer once
            before = _listeners_mb(service)
            seconds = _send_s(port, called, series)
            after = _listeners_mb(service)
            started = time.perf_counter()
            done(PARALLEL * each)
            indexed_s = time.perf_counter() - started
        return {
            "sent": PARALLEL * each,
            "seconds": round(seconds, 2),
            "instances_per_s": round(PARALLEL * each / seconds),
            "listeners_mb_before": before,
            "listeners_mb_after": after,
            "all_indexed_s_later": round(indexed_s, 2),
            "indexed_per_s": round(PARALLEL * each / (seconds + indexed_s)),
        }

    def small_series(self, count: int) -> Path:
        """A folder with so many small instances."""
        return self._series(64, count)

    def _series(self, side: int, count: int) -> Path:
        """A folder with a CT series nobody has seen: one image, other UIDs (same length, so bytes can be exchanged)."""
        self._count += 1
        template = self._sent / f"template{side}"
        if not template.exists():
            write_series(template, shape=(3, side, side), modality="CT", mutate=_plain_uids)
        body = (template / "IM0001.dcm").read_bytes()
        folder = self._sent / f"s{self._count}"
        folder.mkdir()
        own = f"1{os.getpid() % 10**6:06d}{self._count:05d}".encode()
        for k in range(count):
            (folder / f"{k:05d}.dcm").write_bytes(body.replace(b"777777777777", own).replace(b"88888888", b"1%07d" % k))
        return folder

    @contextlib.contextmanager
    def _wetread(self) -> Iterator[tuple[int, str, Callable[[int], object]]]:
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            service = self._service = WetreadProcess(Path(name), self._toml)
            service.start()

            def indexed(count: int) -> None:
                until(lambda: _is_taken_in(service), what="everything is indexed", timeout_s=600)
                assert _indexed(service) == count

            try:
                yield service.port, "WETREAD", indexed
            finally:
                service.stop()

    @contextlib.contextmanager
    def _orthanc(self) -> Iterator[tuple[int, str, Callable[[int], object]]]:
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            pacs = Orthanc(Path(name))
            pacs.start()
            try:
                yield pacs.dicom_port, "ORTHANC", lambda count: None
            finally:
                pacs.stop()

    @contextlib.contextmanager
    def _storescp(self) -> Iterator[tuple[int, str, Callable[[int], object]]]:
        port = free_port()
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            command = [require(STORESCP), "--fork", "-od", name, "-aet", "STORESCP", str(port)]
            environment = {**os.environ, "TCP_NODELAY": "1"}
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                until(lambda: _answers(port), what="storescp answers")
                yield port, "STORESCP", lambda count: None
            finally:
                process.terminate()
                process.wait()


def _plain_uids(ds: object, k: int) -> None:
    ds.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.777777777777"  # type: ignore[attr-defined]
    ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.777777777777.1"  # type: ignore[attr-defined]
    ds.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.777777777777.1.88888888"  # type: ignore[attr-defined]


def _part(folder: Path, count: int) -> Path:
    """The first instances of a folder: sent twice, they are duplicates."""
    part = folder.parent / f"{folder.name}-part"
    part.mkdir()
    for path in sorted(folder.iterdir())[:count]:
        os.link(path, part / path.name)
    return part


def _send_s(port: int, called: str, folders: Sequence[Path]) -> float:
    """Send each folder over its own association, all at once; seconds until the last sender has ended."""
    command = [require(STORESCU), "-aet", "CT1", "-aec", called, "+sd", "-R", HOST, str(port)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    started = time.perf_counter()
    senders = [subprocess.Popen([*command, str(f)], env=environment, stderr=subprocess.PIPE) for f in folders]
    errors = [sender.communicate(timeout=600)[1].decode(errors="replace") for sender in senders]
    seconds = time.perf_counter() - started
    failed = [e for sender, e in zip(senders, errors, strict=True) if sender.returncode]
    assert not failed, f"{len(failed)} of {len(folders)} senders failed: {failed[0]}"
    return seconds


def _answers(port: int) -> bool:
    done = subprocess.run(["/usr/bin/echoscu", "-aec", "STORESCP", HOST, str(port)], capture_output=True, check=False)
    return done.returncode == 0


def _is_taken_in(service: WetreadProcess) -> bool:
    """Whether nothing waits in incoming/: asking the database would compete with who writes it."""
    with os.scandir(service.data / "spool" / "incoming") as entries:
        return next(entries, None) is None


def _indexed(service: WetreadProcess) -> int:
    return sum(int(study["instances"]) for study in service.overview.studies())


def _listeners_mb(service: WetreadProcess) -> list[int]:
    """Resident memory (MiB) of the processes that the service started, listeners among them; the largest first."""
    assert service.process is not None
    started = Path(f"/proc/{service.process.pid}/task").glob("*/children")  # by whichever thread
    status = [Path(f"/proc/{pid}/status").read_text() for path in started for pid in path.read_text().split()]
    lines = [line for text in status for line in text.splitlines() if line.startswith("VmRSS:")]
    return sorted((int(line.split()[1]) // 1024 for line in lines), reverse=True)


if __name__ == "__main__":
    sys.exit(main())
