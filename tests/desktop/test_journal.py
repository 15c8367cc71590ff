"""Decisions that the edge does not have yet: on disk before they are shown, and never another patient's."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from wetread.records.study import Patient
from wetread.review.decisions import Decision
from wetread_desktop.client.journal import (
    Journal,
    JournalBroken,
    JournalBusy,
    Owner,
    patient_digest,
    unfinished,
    unreadable,
)

PATIENT = Patient("P-17", "", "Meier^Anna", "19500304", "F")
OWNER = Owner("http://127.0.0.1:1", "job-1", "1.2.3", patient_digest(PATIENT, "1.2.3"))


def decision(uid: str = "2.25.1", action: str = "accept") -> Decision:
    return Decision(str(uuid.uuid4()), uid, action, "血管 ü", "Huber^Eva", "2026-11-22T08:00:00Z")  # type: ignore[arg-type]


def test_decision_that_was_taken_down_is_there_after_a_kill(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
from test_journal import OWNER, decision
from pathlib import Path
from wetread_desktop.client.journal import Journal
journal = Journal(Path({str(tmp_path)!r}), OWNER)
for n in range(3):
    journal.add(decision(f"2.25.{{n}}"))
print("down", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"down\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    journal = Journal(tmp_path, OWNER)
    assert [d.tracking_uid for d in journal.pending] == ["2.25.0", "2.25.1", "2.25.2"]
    assert journal.pending[0].comment == "血管 ü"


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_line_that_was_cut_by_a_power_failure_never_happened(tmp_path: Path, kept: int) -> None:
    journal = Journal(tmp_path, OWNER)
    first = decision()
    journal.add(first)
    whole = journal.path.read_bytes()
    journal.add(decision("2.25.2"))
    journal.close()
    journal.path.write_bytes(journal.path.read_bytes()[: len(whole) + kept])
    again = Journal(tmp_path, OWNER)
    assert again.pending == (first,)
    again.add(decision("2.25.3"))
    again.close()
    assert [d.tracking_uid for d in Journal(tmp_path, OWNER).pending] == ["2.25.1", "2.25.3"]


def test_first_line_that_was_cut_begins_anew(tmp_path: Path) -> None:
    (tmp_path / OWNER.file_name).write_bytes(b'{"version": 1, "ed')
    journal = Journal(tmp_path, OWNER)
    journal.add(decision())
    journal.close()
    assert [n for _, n in unfinished(tmp_path)] == [1]


def test_order_is_kept_and_what_was_sent_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OWNER)
    taken = [decision(f"2.25.{n}") for n in range(5)]
    for one in taken:
        journal.add(one)
    journal.sent([taken[0].id, taken[2].id])
    journal.dropped([taken[4].id], "given up")
    journal.close()
    assert Journal(tmp_path, OWNER).pending == (taken[1], taken[3])


def test_journal_with_nothing_in_it_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OWNER)
    one = decision()
    journal.add(one)
    journal.sent([one.id])
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_other_patient_edge_or_job_is_another_journal(tmp_path: Path) -> None:
    Journal(tmp_path, OWNER).add(decision())
    corrected = patient_digest(Patient("P-18", "", "Meier^Anna", "19500304", "F"), "1.2.3")
    for other in (
        Owner(OWNER.edge, OWNER.job_id, OWNER.study_instance_uid, corrected),
        Owner("http://127.0.0.1:2", OWNER.job_id, OWNER.study_instance_uid, OWNER.patient),
        Owner(OWNER.edge, "job-2", OWNER.study_instance_uid, OWNER.patient),
    ):
        journal = Journal(tmp_path, other)
        assert journal.pending == ()
        journal.close()


def test_journal_under_anothers_name_is_refused_and_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OWNER)
    journal.add(decision())
    journal.close()
    other = Owner(OWNER.edge, "job-2", OWNER.study_instance_uid, OWNER.patient)
    content = journal.path.read_bytes()
    journal.path.rename(tmp_path / other.file_name)
    with pytest.raises(JournalBroken, match="belongs to something else"):
        Journal(tmp_path, other)
    assert (tmp_path / other.file_name).read_bytes() == content


def test_second_window_is_told_that_the_first_has_it(tmp_path: Path) -> None:
    first = Journal(tmp_path, OWNER)
    with pytest.raises(JournalBusy):
        Journal(tmp_path, OWNER)
    first.close()
    Journal(tmp_path, OWNER).close()


def test_journal_names_no_patient_and_is_for_this_user_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "unsent", OWNER)
    journal.add(decision())
    assert b"Meier" not in journal.path.read_bytes()
    assert "P-17" not in journal.path.name
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700


def test_every_decision_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    journal = Journal(tmp_path, OWNER)
    monkeypatch.setattr(os, "fsync", fsync)
    journal.add(decision())
    assert synced == [journal.path.stat().st_size]


def test_decision_that_does_not_fit_leaves_nothing_behind_and_the_next_one_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OWNER)
    first, refused, last = (decision(f"2.25.{n}") for n in range(3))
    journal.add(first)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 20, hard))
    try:
        with pytest.raises(OSError, match="only 20 of"):
            journal.add(refused)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    journal.add(last)
    journal.close()
    assert Journal(tmp_path, OWNER).pending == (first, last)


@pytest.mark.parametrize("broken", [b"no journal\n", b'{"version": 1}\n', b'{"version": 1, "edge": "x"}\n[]\n'])
def test_journal_that_cannot_be_read_is_named_and_one_that_is_empty_is_not(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "broken.jsonl").write_bytes(broken)
    (tmp_path / "empty.jsonl").touch()
    assert [str(tmp_path / "broken.jsonl") in str(error) for error in unreadable(tmp_path)] == [True]
    assert list(unfinished(tmp_path)) == []


def test_full_disk_is_an_error_and_the_decision_is_not_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, OWNER)

    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        journal.add(decision())
    assert journal.pending == ()
    journal.close()
    assert list(unfinished(tmp_path)) == [], "what was refused does not come back"
