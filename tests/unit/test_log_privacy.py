"""What nobody foresaw is logged with its class and its places, never with a patient's name that a library quotes."""

from __future__ import annotations

import errno
import io
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pydicom
import pytest
from pydicom.valuerep import DSfloat

from listening import Listen, listeners
from outboxes import Bed, Peer
from peers import storescu
from phantoms import write_series
from queued import add_study, decision
from wetread import log
from wetread.db import Database
from wetread.deliver.decisions import Choice, Decisions
from wetread.deliver.destination import Answer
from wetread.jobs.queue import Queue, RetrySettings
from wetread.jobs.requests import Requests
from wetread.jobs.worker import outcome_of
from wetread.records.job import JobSpec
from wetread.records.study import Patient, StudyRef

NAME = "Sentinel^Sara"
Logged = Callable[[], str]


def quote(value: object = NAME) -> float:
    """As pydicom fails: its error quotes the value."""
    return float(DSfloat(str(value)))


class Quoting(Peer):
    """A destination that fails over what it finds in a file."""

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        try:
            quote(pydicom.dcmread(paths[0]).PatientName)
        except ValueError as exc:
            raise RuntimeError(f"cannot send the object of {NAME}") from exc
        return []


class QuotingList(list[object]):
    """Fails as a damaged instance would make a library fail."""

    def append(self, _item: object) -> None:
        quote()


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where the service writes its log."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def logged(stderr: io.StringIO) -> Logged:
    """What the service wrote to its log."""
    log.configure()
    return stderr.getvalue


@pytest.fixture
def listen() -> Iterator[Listen]:
    yield from listeners()


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    bed = Bed(tmp_path)
    bed.add_study("1.5", patient=Patient("P1", name=NAME))
    return bed


def test_failed_delivery_is_logged_with_its_causes_and_places(bed: Bed, logged: Logged) -> None:
    bed.delivery(Quoting()).deliver_due()
    said = logged()
    assert "Sentinel" not in said
    assert re.search(r"(?s)in deliver\n.*in quote\n.*ValueError\n.*in deliver\n.*RuntimeError", said)
    assert bed.row("1.5")["last_error"] == "internal error: RuntimeError"


def test_listener_that_fails_over_an_instance_says_where(listen: Listen, logged: Logged, tmp_path: Path) -> None:
    port, kept = listen()
    kept.instances = QuotingList()  # type: ignore[assignment]
    assert storescu(port, write_series(tmp_path / "study", shape=(1, 16, 16)).paths).returncode != 0
    said = logged()
    assert "storing an instance failed" in said
    assert "in quote" in said
    assert "Sentinel" not in said


def test_read_that_fails_names_class_and_place(tmp_path: Path, logged: Logged) -> None:
    db = Database(tmp_path / "wetread.db")
    queue = Queue(db, RetrySettings(), owner="me")
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("i")])
    job = queue.claim()
    assert job is not None
    spec = JobSpec(job.job_id, StudyRef("1.2", Patient("P", name=NAME), ()), (), tmp_path, "d", tmp_path)
    with pytest.raises(ValueError, match="Sentinel") as failed:
        quote()
    queue.finish(outcome_of(spec, failed.value), data_folder=tmp_path)
    (row,) = db.fetch("SELECT reason FROM jobs")
    assert re.fullmatch(r"ValueError in valuerep.py:\d+", row["reason"])
    said = logged()
    assert row["reason"] in said
    assert "Sentinel" not in said


def test_thread_that_ends_in_an_error_is_logged(logged: Logged) -> None:
    thread = threading.Thread(target=quote, name="reader")
    thread.start()
    thread.join()
    said = logged()
    assert "thread reader ended" in said
    assert "ValueError" in said
    assert "Sentinel" not in said


def test_log_that_cannot_be_written_does_not_print_the_error_elsewhere(
    bed: Bed, stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's logging prints what it was about when its stream fails, with all causes."""
    full = io.StringIO()
    monkeypatch.setattr(full, "write", _disk_full)
    monkeypatch.setattr(sys, "stderr", full)
    log.configure()
    monkeypatch.setattr(sys, "stderr", stderr)
    bed.delivery(Quoting()).deliver_due()
    assert "Sentinel" not in stderr.getvalue()
    assert bed.row("1.5")["last_error"] == "internal error: RuntimeError"


def _disk_full(_text: str) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_process_that_ends_in_an_error_is_logged() -> None:
    program = f"from wetread import log; log.configure(); raise ValueError({NAME!r})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "this process ends" in ended.stderr
    assert "ValueError" in ended.stderr
    assert "Sentinel" not in ended.stderr


def test_error_of_the_system_is_named() -> None:
    with pytest.raises(FileNotFoundError) as failed:
        Path("/nowhere/at-all").read_text()
    assert log.places_of(failed.value).endswith("FileNotFoundError: No such file or directory")
    assert re.fullmatch(r"FileNotFoundError in \w+\.py:\d+", log.place_of(failed.value))


def test_what_a_person_typed_is_kept_and_not_logged(bed: Bed, logged: Logged) -> None:
    requests = Requests(bed.db, "alice")
    requests.pause("route", "t1", f"{NAME} rang")
    requests.resume("route", "t1", f"{NAME} again")
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'held', hold_reason = 'too old'")
    choice = Choice("job1")
    Decisions(bed.db, "alice").release(choice, f"{NAME} waits")
    Decisions(bed.db, "alice").recall(choice, f"not {NAME}")
    said = logged()
    assert said.count("by alice") == 4
    assert "Sentinel" not in said
    kept = bed.db.fetch("SELECT action, detail FROM events ORDER BY id")
    assert [r["action"] for r in kept if "Sentinel" in r["detail"]] == [
        "paused",
        "resumed",
        "result_released",
        "recalled",
    ]
