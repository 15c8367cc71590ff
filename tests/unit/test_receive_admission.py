"""Who is admitted, and what somebody refused is told to look at."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wetread.db import Database, Queries
from wetread.dimse.scp import CalledRefused, Caller, CallingRefused, Refused
from wetread.receive.admission import Admission, Sender
from wetread.receive.refusals import INTERVAL_S, Refusals
from wetread.records.notes import Note, Refusal
from wetread.service.overview import Overview
from wetread.store.notes import record

ADMIT = Admission(
    ["WETREAD", "WETREAD_NOW"],
    [
        Sender("ct1", "CT1", ("10.0.0.0/24",)),
        Sender("ct-annex", "CT1", ("10.0.1.0/24", "10.0.0.77/32")),
        Sender("us", "US 3", ("2001:db8::/32",)),
    ],
)


def refused(calling: str, called: str = "WETREAD", address: str = "10.0.0.5") -> Refused:
    with pytest.raises(Refused) as error:
        ADMIT(Caller(calling, called, address))
    return error.value


def test_peer_is_found_by_title_and_network() -> None:
    assert ADMIT(Caller("CT1", "WETREAD", "10.0.0.5")) == "ct1"
    assert ADMIT(Caller("CT1", "WETREAD_NOW", "10.0.1.5")) == "ct-annex"
    assert ADMIT(Caller("US 3", "WETREAD", "2001:db8::7")) == "us"


def test_narrowest_network_decides_between_peers_of_one_title() -> None:
    assert ADMIT(Caller("CT1", "WETREAD", "10.0.0.77")) == "ct-annex"


@pytest.mark.parametrize(
    ("calling", "hint"),
    [
        ("ct1", "differs from 'CT1' only in upper and lower case"),
        ("US3", "differs from 'US 3' only in blanks and signs"),
        ("CT_1", "differs from 'CT1' only in blanks and signs"),
        ("CT11", "nearly 'CT1'"),
        ("SOMEBODY", "from the address of ct1 (CT1)"),
    ],
)
def test_near_miss_of_the_calling_title_is_named(calling: str, hint: str) -> None:
    error = refused(calling)
    assert isinstance(error, CallingRefused)
    assert error.hint.startswith(hint)


def test_same_title_from_another_network_is_named() -> None:
    error = refused("CT1", address="10.9.9.9")
    assert str(error) == "CT1 called from 10.9.9.9, which is not in 10.0.0.0/24, 10.0.1.0/24, 10.0.0.77/32"
    assert error.hint == "if this is ct1, ct-annex: add 10.9.9.9/32 to its networks"


def test_called_title_nearly_ours_is_named() -> None:
    error = refused("CT1", called="wetread")
    assert isinstance(error, CalledRefused)
    assert error.hint == "differs from 'WETREAD' only in upper and lower case: correct it at the sender"
    assert refused("CT1", called="PACS").hint == ""


def test_stranger_gets_no_hint() -> None:
    assert refused("SOMEBODY", address="192.0.2.1").hint == ""


class Notes:
    """What was noted, and a clock for it."""

    def __init__(self) -> None:
        self.notes: list[Refusal] = []
        self.at = 100.0
        self.refusals = Refusals(self._note, clock=lambda: self.at)

    def _note(self, note: Note) -> None:
        assert isinstance(note, Refusal)
        self.notes.append(note)

    def add(self, calling: str = "CT9", reason: str = "unknown") -> None:
        self.refusals.add(calling, "WETREAD", "10.0.0.5", reason=reason, hint="")

    def counts(self) -> list[tuple[str, int, str]]:
        return [(n.calling, n.count, n.reason) for n in self.notes]


def test_first_refusal_is_noted_at_once_and_repeats_are_counted() -> None:
    notes = Notes()
    for _ in range(5):
        notes.add()
    assert notes.counts() == [("CT9", 1, "unknown")]
    notes.at += INTERVAL_S
    notes.add()
    assert notes.counts() == [("CT9", 1, "unknown"), ("CT9", 5, "unknown")]
    assert notes.notes[1].first_at <= notes.notes[1].last_at


def test_refusals_of_one_caller_are_told_apart_by_their_reason(tmp_path: Path) -> None:
    notes = Notes()
    for reason in ("a wrong token", "no token", "no token"):
        notes.add("", reason)
    notes.refusals.flush()
    assert sorted(notes.counts()) == [("", 1, "a wrong token"), ("", 1, "no token"), ("", 1, "no token")]
    db = Database(tmp_path / "wetread.db")
    with db.transaction() as tx:
        for note in notes.notes:
            record(tx, Queries("wetread.store"), note)
    kept = {row["reason"]: row["count"] for row in Overview(tmp_path).refusals()}
    assert kept == {"a wrong token": 1, "no token": 2}


def test_counts_in_memory_are_noted_at_the_end_and_by_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    for _ in range(3):
        notes.add()
    notes.refusals.flush()
    assert [n.count for n in notes.notes] == [1, 2]

    monkeypatch.setattr("wetread.receive.refusals.INTERVAL_S", 0.05)
    noted = threading.Event()
    refusals = Refusals(lambda note: noted.set() if isinstance(note, Refusal) and note.count == 2 else None)
    for _ in range(3):
        refusals.add("CT9", "WETREAD", "10.0.0.5", reason="unknown", hint="")
    assert noted.wait(10.0)
    refusals.flush()


def test_port_scan_with_many_titles_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wetread.receive.refusals._MAX_CALLERS", 10)
    notes = Notes()
    for number in range(100):
        notes.add(f"X{number}")
    notes.refusals.flush()
    assert len({n.calling for n in notes.notes}) == 11
    assert sum(n.count for n in notes.notes) == 100
    assert [n.count for n in notes.notes if n.calling == ""] == [1, 89]


def test_title_of_a_stranger_cannot_speak_to_the_terminal() -> None:
    notes = Notes()
    notes.add("\x1b[31mRED")
    assert notes.notes[0].calling == "?[31mRED"
