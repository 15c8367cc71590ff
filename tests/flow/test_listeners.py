"""Several processes listen on one port; what happens to one of them concerns nobody else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peers import ECHOSCU, HOST, require, storescu
from phantoms import write_series
from raw_peer import RawPeer
from received import received
from waiting import until
from wetread.config import Config, load_config
from wetread.errors import Misconfigured
from wetread.service import listening
from wetread.service.coordinator import step_behind_listeners
from wetread.service.listening import Listeners
from wetread.store.spool import Spool

pytestmark = pytest.mark.peer

Start = Callable[..., tuple[Listeners, int]]

_TOML = """
data_dir = "data"
[api]
enabled = false
[listener]
host = "127.0.0.1"
port = {port}
processes = {processes}
max_associations = 3
[[listener.called]]
ae_title = "WETREAD"
[[peers]]
name = "ct1"
ae_title = "CT1"
networks = ["127.0.0.1/32"]
may_send = true
[spool]
reserve_mb = 64
"""


def _config(folder: Path, *, processes: int = 2, port: int = 0) -> Config:
    folder.mkdir(exist_ok=True)
    (folder / "wetread.toml").write_text(_TOML.format(processes=processes, port=port))
    (folder / "data").mkdir(exist_ok=True)
    return load_config(folder / "wetread.toml")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Listeners] = []

    def begin(**settings: int) -> tuple[Listeners, int]:
        listeners = Listeners(_config(tmp_path / "wetread", **settings))
        running.append(listeners)
        return listeners, listeners.start().plain_port

    yield begin
    for listeners in running:
        listeners.stop()


def test_killed_listener_is_started_again_and_nothing_acknowledged_is_lost(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "RESTART_S", 0.0)
    listeners, port = start()
    spool = Spool(tmp_path / "wetread" / "data" / "spool")
    first, second = write_series(tmp_path / "one").paths, write_series(tmp_path / "two", study_seed="2").paths
    assert storescu(port, first).returncode == 0
    before = listeners.pids
    assert len(set(before)) == 2
    for pid in before:  # both: callers wait in the port's queue until there is somebody again
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_alive(pid) for pid in before), what="both listeners are gone")
    with socket.create_connection((HOST, port)):
        until(lambda: _others_than(before, listeners), what="two others listen")  # a dead one may have threads left
    assert storescu(port, second).returncode == 0
    kept = {path.read_bytes()[-2000:] for path in spool.waiting() if path.suffix == ".dcm"}
    assert kept == {path.read_bytes()[-2000:] for path in (*first, *second)}


def test_listener_that_is_started_again_does_not_inherit_the_coordinators_lower_priority(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "RESTART_S", 0.0)
    listeners, _port = start()
    before = listeners.pids
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_alive(pid) for pid in before), what="both listeners are gone")
    with ThreadPoolExecutor(max_workers=1) as coordinator:
        coordinator.submit(step_behind_listeners).result()
        until(lambda: coordinator.submit(_others_than, before, listeners).result(), what="two others listen")
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in listeners.pids] == [here, here]


def test_limit_of_associations_holds_over_all_processes(start: Start, tmp_path: Path) -> None:
    _listeners, port = start()
    instance = received(write_series(tmp_path / "study", shape=(3, 16, 16)).paths[0])
    peers = [RawPeer(port, instance.sop_class_uid, instance.transfer_syntax_uid) for _ in range(3)]
    try:
        with pytest.raises(AssertionError):  # A-ASSOCIATE-RJ
            RawPeer(port, instance.sop_class_uid, instance.transfer_syntax_uid)
    finally:
        for peer in peers:
            peer.socket.close()
    until(lambda: _echo(port), what="places are free again")


def test_port_that_is_taken_is_an_error_for_a_person(start: Start) -> None:
    message = r"cannot listen on 127.0.0.1:\d+: .*another program"
    with socket.create_server((HOST, 0)) as other, pytest.raises(Misconfigured, match=message):
        start(port=other.getsockname()[1])


def test_stopped_listeners_free_the_port(start: Start) -> None:
    listeners, port = start()
    pids = listeners.pids
    listeners.stop()
    assert not any(_alive(pid) for pid in pids)
    with socket.create_server((HOST, port)):
        pass


def _others_than(before: list[int], listeners: Listeners) -> bool:
    listeners.keep_alive()
    return not set(before) & set(listeners.pids)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _echo(port: int) -> bool:
    command = [require(ECHOSCU), "-aet", "CT1", "-aec", "WETREAD", HOST, str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
