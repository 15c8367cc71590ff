"""Completeness in any order of arrivals, ends of associations, counts, pauses, restarts and a person's decisions.

Every revision holds all instances that were there, none comes before its evidence, and no study stays open for ever.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from phantoms import write_series
from stored import SETTINGS, StoredFromPeers
from wetread.dimse.query import StudyCount
from wetread.store.requests import StudyRequests

INSTANCES = 6
LONG_S = 200.0
"""Longer than every wait there is."""


class AtOnce:
    """A pool whose threads are infinitely fast."""

    def submit(self, function: Any, *arguments: object) -> Future[StudyCount | None]:
        future: Future[StudyCount | None] = Future()
        future.set_result(function(*arguments))
        return future

    def shutdown(self, **_options: object) -> None:
        """Nothing runs."""


class CompletenessMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        phantom = write_series(Path(self.folder.name) / "images", shape=(INSTANCES, 16, 16))
        self.paths, self.uid = phantom.paths, phantom.study_instance_uid
        self.store = StoredFromPeers(Path(self.folder.name) / "data")
        self._fast()
        self.here: set[int] = set()
        self.new: dict[str, str] = {}  # association that brought what no revision holds: its peer
        self.ended: dict[str, str] = {}
        self.changed_at = self.store.clock.at
        self.revisions: list[frozenset[int]] = []
        self.held = self.hold_was_seen = False
        self.corrections = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._settle()
            self.store.db.close()
            self.folder.cleanup()

    @rule(n=st.integers(0, INSTANCES - 1), peer=st.sampled_from(["ct1", "pacs", "other"]), slot=st.integers(0, 2))
    def send(self, n: int, peer: str, slot: int) -> None:
        association = f"{peer}-{slot}"
        if association in self.ended:
            association += f"-{len(self.ended)}"
        self.store.send(self.paths[n], peer=peer, association=association)
        if n not in self.here:
            self.here.add(n)
            self.new[association] = peer
            self.changed_at = self.store.clock.at
        elif self._state() == "receiving":
            self.changed_at = self.store.clock.at
        self._look()

    @precondition(lambda self: self.new)
    @rule(data=st.data(), ended=st.sampled_from(["released", "released", "aborted", "lost"]))
    def end(self, data: st.DataObject, ended: str) -> None:
        association = data.draw(st.sampled_from(sorted(self.new)))
        if association not in self.ended:
            self.store.end(association, ended=ended, peer=self.new[association])
            self.ended[association] = ended
        self._look()

    @rule(count=st.none() | st.integers(1, INSTANCES + 2))
    def pacs_counts(self, count: int | None) -> None:
        self.store.pacs.answer = None if count is None else StudyCount(count, ())

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 5.0, 30.0, 65.0]))
    def wait(self, seconds: float) -> None:
        self.store.clock.at += seconds
        self._look()

    @rule()
    def restart(self) -> None:
        self.store.open()
        self._fast()
        self.changed_at = self.store.clock.at
        self._look()

    @precondition(lambda self: self.here and not self.held)
    @rule()
    def hold(self) -> None:
        self._ask().hold(self.uid, "r")
        self.held, self.hold_was_seen = True, False

    @precondition(lambda self: self.held)
    @rule()
    def release(self) -> None:
        self._ask().release(self.uid)
        self.held = False
        if self.hold_was_seen:  # one that is taken back before any round saw it leaves the quiet time as it was
            self.changed_at = self.store.clock.at
        self._look()

    @precondition(lambda self: self.here)
    @rule()
    def correct(self) -> None:
        self.corrections += 1
        at_once = self._state() == "complete"
        self._ask().correct(self.uid, {"patient_id": f"P-{self.corrections}"}, "r")
        if at_once:
            self._revision("person")
        self._look()

    @invariant()
    def what_is_known_is_kept(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self._kept() == self.revisions
        if self.here and self._state() == "complete":
            assert self.revisions[-1] == frozenset(self.here)

    def _look(self) -> None:
        """The coordinator's round; a new revision must have its evidence."""
        self.hold_was_seen = self.hold_was_seen or self.held
        if self.store.after(0.0):
            self._revision(self.store.evidence()[-1][0])

    def _revision(self, evidence: str) -> None:
        assert self._kept()[-1] == frozenset(self.here), "a revision holds all that was there"
        if evidence != "person":
            self._check(evidence, self.store.clock.at - self.changed_at)
        self.revisions.append(frozenset(self.here))
        self.new.clear()

    def _check(self, evidence: str, quiet_s: float) -> None:
        assert not self.held
        assert quiet_s >= SETTINGS.settle_s
        open_ct1 = [a for a, peer in self.new.items() if peer == "ct1" and a not in self.ended]
        released = self.new and all(p == "ct1" and self.ended.get(a) == "released" for a, p in self.new.items())
        if evidence == "release":
            assert released
        elif evidence == "pacs-count":
            assert not released
            assert "pacs" in self.new.values()
            assert self.store.pacs.answer is not None
        else:
            assert evidence == "quiet"
            assert not released
            assert quiet_s >= SETTINGS.quiet_s
            assert not open_ct1 or quiet_s >= SETTINGS.wait_for_release_s

    def _settle(self) -> None:
        """Whatever happened: once nothing more comes, everything that is here is in the last revision."""
        if self.held:
            self.release()
        for _ in range(3):
            self.store.clock.at += LONG_S
            self._look()
        if self.here:
            assert self._state() == "complete"
            assert self.revisions[-1] == frozenset(self.here)

    def _kept(self) -> list[frozenset[int]]:
        rows = self.store.db.fetch(
            "SELECT r.number, i.instance_number FROM revisions r JOIN revision_instances ri ON ri.revision_id = r.id"
            " JOIN instances i ON i.id = ri.instance_id"
        )
        found: dict[int, set[int]] = {}
        for row in rows:
            found.setdefault(row["number"], set()).add(self._place(row["instance_number"]))
        return [frozenset(found[number]) for number in sorted(found)]

    def _place(self, instance_number: int) -> int:
        if not hasattr(self, "_places"):
            import pydicom

            self._places = {int(pydicom.dcmread(p).InstanceNumber): n for n, p in enumerate(self.paths)}
        return self._places[instance_number]

    def _state(self) -> str:
        rows = self.store.db.fetch("SELECT state FROM studies")
        return str(rows[0]["state"]) if rows else ""

    def _ask(self) -> StudyRequests:
        return StudyRequests(self.store.db, self.store.revisions, who="tester")

    def _fast(self) -> None:
        self.store.revisions._receiving._counting._pool = AtOnce()  # type: ignore[assignment]


TestCompleteness = CompletenessMachine.TestCase
TestCompleteness.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
