"""The outbox: nothing is lost, nothing blocks what it need not block, nothing is sent twice with other content."""

from __future__ import annotations

from pathlib import Path

import pytest

from outboxes import Bed, Peer
from wetread.db import now
from wetread.deliver.destination import Answer, DestinationSettings, Outcome, open_destination
from wetread.deliver.pace import DeliverySettings, Pace
from wetread.errors import DestinationUnavailable
from wetread.jobs.requests import PauseKind, Requests

TAKEN = Answer(Outcome.TAKEN)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def away(_uid: str) -> Answer:
    raise DestinationUnavailable("nobody there")


def test_keeps_what_was_not_taken_and_forgets_what_was(bed: Bed) -> None:
    bed.add_study("1.5")
    target = bed.folder / "target"
    target.write_text("in the way")
    delivery = bed.delivery(
        open_destination(DestinationSettings("pacs", "folder", path=str(target)), None), first_delay_s=0.0
    )
    assert delivery.deliver_due()
    assert bed.states() == ["pending"]
    assert "cannot be written" in bed.row("1.5")["last_error"]
    target.unlink()
    assert delivery.deliver_due()
    row = bed.row("1.5")
    assert (row["state"], row["verified"], row["last_error"]) == ("delivered", "digest", "")
    assert not delivery.deliver_due()


def test_changed_result_file_is_never_sent_and_stops_nothing(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    path = bed.folder / "results" / "1.5.dcm"
    path.write_bytes(path.read_bytes() + b"\0")
    peer = Peer()
    bed.delivery(peer).deliver_due()
    assert bed.states() == ["pending", "delivered"]
    assert "is not what was committed" in bed.row("1.5")["last_error"]
    assert peer.has == ["1.6"]


def test_failure_is_one_event_for_each_try_not_for_each_object(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    delivery = bed.delivery(Peer(away), first_delay_s=0.0)
    for _ in range(2):
        delivery.deliver_due()
    assert [e.partition(":")[0] for e in bed.events("not_delivered")] == [
        "2 objects to pacs, try 1",
        "2 objects to pacs, try 2",
    ]


def test_result_about_to_be_superseded_waits(bed: Bed) -> None:
    bed.add_study("1.5")
    delivery = bed.delivery(Peer())
    with bed.db.transaction() as tx:
        tx.run(
            "INSERT INTO revisions (id, study_id, number, digest, reason, created_at, routed_at)"
            " VALUES (2, 1, 2, 'e', 'quiet', :now, :now)",
            {"now": now()},
        )
        tx.run(
            "INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version,"
            " bundle_digest, bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)"
            " SELECT 'k', 1, 2, route, mode, destinations, bundle, bundle_version, bundle_digest, bundle_folder,"
            " chosen, 'y', '', 'running', available_at, created_at FROM jobs"
        )
    assert not delivery.deliver_due()
    with bed.db.transaction() as tx:
        tx.run("UPDATE jobs SET state = 'rejected' WHERE id = 'k'")
    assert delivery.deliver_due()


def test_held_study_is_not_sent(bed: Bed) -> None:
    bed.add_study("1.5")
    with bed.db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held'")
    assert not bed.delivery(Peer()).deliver_due()


@pytest.mark.parametrize(("kind", "name"), [("all", ""), ("route", "r"), ("bundle", "b")])
def test_paused_result_waits_and_others_go(bed: Bed, kind: PauseKind, name: str) -> None:
    bed.add_study("1.5")
    bed.add_study("1.6")
    with bed.db.transaction() as tx:
        tx.run("UPDATE jobs SET route = 'other', bundle = 'other' WHERE id = 'job2'")
    person = Requests(bed.db)
    person.pause(kind, name, "looks wrong")
    peer = Peer()
    delivery = bed.delivery(peer)
    while delivery.deliver_due():
        pass
    assert peer.has == ([] if kind == "all" else ["1.6"])
    person.resume(kind, name)
    while delivery.deliver_due():
        pass
    assert sorted(peer.has) == ["1.5", "1.6"]


def test_pause_of_one_route_holds_back_its_results_of_a_study_another_route_read_too(bed: Bed) -> None:
    bed.add_study("1.5")
    with bed.db.transaction() as tx:
        tx.run(
            "INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version,"
            " bundle_digest, bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)"
            " SELECT 'k', study_id, revision_id, 'other', mode, destinations, bundle, bundle_version, bundle_digest,"
            " bundle_folder, chosen, input_digest, '', 'done', available_at, created_at FROM jobs"
        )
    path = bed.folder / "results" / "1.5.dcm"
    other = path.with_name("1.6.dcm")
    other.write_bytes(path.read_bytes())
    bed.add_result("k", "1.6", other, 0)
    Requests(bed.db).pause("route", "r", "looks wrong")
    peer = Peer()
    delivery = bed.delivery(peer)
    while delivery.deliver_due():
        pass
    assert peer.has == ["1.6"]


def test_destination_away_for_72_hours_gets_everything_once_and_is_not_hammered(bed: Bed) -> None:
    studies = [bed.add_study(f"1.{n}.1", f"1.{n}.2") for n in range(3, 8)]
    assert len(studies) == 5
    peer = Peer(away)
    delivery = bed.delivery(peer, first_delay_s=5.0, max_delay_s=600.0)
    while bed.hours.passed_s < 72 * 3600:
        delivery.deliver_due()
        bed.hours.passed_s += 5.0
    tries = len(peer.calls)
    assert 72 * 6 <= tries <= 72 * 6 + 10  # six an hour, for all studies together
    assert set(bed.states()) == {"pending"}
    peer.answer = lambda _uid: TAKEN
    back = bed.hours.passed_s
    while "pending" in bed.states():
        delivery.deliver_due()
        bed.hours.passed_s += 1.0
        assert bed.hours.passed_s - back <= 600.0 + 20.0
    assert sorted(peer.has) == sorted(f"1.{n}.{k}" for n in range(3, 8) for k in (1, 2))


def test_a_study_that_fails_each_time_does_not_stop_the_others(bed: Bed) -> None:
    bed.add_study("1.3.1", "1.3.2")
    bed.add_study("1.4.1")
    bed.add_study("1.5.1")
    peer = Peer(lambda uid: Answer(Outcome.FAILED, "aborted") if uid == "1.3.1" else TAKEN)
    delivery = bed.delivery(peer)
    for _ in range(3):
        assert delivery.deliver_due()
    assert bed.states() == ["pending", "pending", "delivered", "delivered"]


def test_a_failing_destination_does_not_delay_another(bed: Bed) -> None:
    bed.add_study("1.5", destinations=("pacs", "other"))
    bed.delivery(Peer(away)).deliver_due()
    assert bed.delivery(Peer(), name="other").deliver_due()
    assert (bed.states("pacs"), bed.states("other")) == (["pending"], ["delivered"])


def test_order_within_a_study_is_kept_while_an_earlier_object_waits(bed: Bed) -> None:
    """A later job of the study must not overtake the segmentation its predecessor still owes."""
    bed.add_study("1.5", "1.6")
    failing = True
    peer = Peer(lambda _uid: Answer(Outcome.FAILED, "busy") if failing else TAKEN)
    delivery = bed.delivery(peer, first_delay_s=60.0)
    assert delivery.deliver_due()
    path = bed.folder / "results" / "1.7.dcm"
    path.write_bytes((bed.folder / "results" / "1.6.dcm").read_bytes())
    bed.add_result("job1", "1.7", path, 2)
    assert not delivery.deliver_due()
    failing = False
    bed.hours.passed_s += 61.0
    assert delivery.deliver_due()
    assert peer.has == ["1.5", "1.6", "1.7"]


def test_study_that_waits_for_its_order_does_not_stop_another(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer(lambda uid: Answer(Outcome.FAILED, "busy") if uid == "1.5" else TAKEN)
    delivery = bed.delivery(peer, first_delay_s=60.0)
    delivery.deliver_due()
    path = bed.folder / "results" / "1.7.dcm"
    path.write_bytes((bed.folder / "results" / "1.5.dcm").read_bytes())
    bed.add_result("job1", "1.7", path, 2)
    bed.add_study("1.8")
    assert delivery.deliver_due()
    assert peer.has == ["1.8"]


def test_order_within_a_study_survives_jitter(bed: Bed) -> None:
    bed.add_study("1.5", "1.6", "1.7")
    failing = True
    peer = Peer(lambda _uid: Answer(Outcome.FAILED, "busy") if failing else TAKEN)
    chances = iter([0.1, 0.9, 0.5, 0.2, 0.8, 0.3])
    delivery = bed.delivery(peer, jitter=lambda: next(chances), first_delay_s=60.0)
    delivery.deliver_due()
    assert len({bed.row(uid)["available_at"] for uid in ("1.5", "1.6", "1.7")}) == 1


def test_refused_object_is_visible_stops_nothing_and_is_tried_again_after_its_own_delay(bed: Bed) -> None:
    bed.add_study("1.5", "1.6", "1.7")
    no = Answer(Outcome.REFUSED, "does not accept SOP class")
    peer = Peer(lambda uid: no if uid == "1.6" else TAKEN)
    delivery = bed.delivery(peer, refused_delay_s=3600.0)
    assert delivery.deliver_due()
    assert bed.states() == ["delivered", "pending", "delivered"]
    row = bed.row("1.6")
    assert (row["refused"], row["last_error"]) == (1, "does not accept SOP class")
    bed.hours.passed_s += 3599.0
    assert not delivery.deliver_due()
    bed.hours.passed_s += 2.0
    peer.answer = lambda _uid: TAKEN
    assert delivery.deliver_due()
    assert (bed.row("1.6")["state"], bed.row("1.6")["refused"]) == ("delivered", 0)


def test_object_after_a_refused_one_is_sent_though_the_refused_one_waits(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer(lambda _uid: Answer(Outcome.REFUSED, "no"))
    delivery = bed.delivery(peer)
    delivery.deliver_due()
    peer.answer = lambda _uid: TAKEN
    path = bed.folder / "results" / "1.6.dcm"
    path.write_bytes((bed.folder / "results" / "1.5.dcm").read_bytes())
    bed.add_result("job1", "1.6", path, 1)
    assert delivery.deliver_due()
    assert peer.has == ["1.6"]


def test_warning_of_a_peer_that_took_the_object_is_kept(bed: Bed) -> None:
    bed.add_study("1.5")
    bed.delivery(Peer(lambda _uid: Answer(Outcome.TAKEN, warning="0xB000 coerced"))).deliver_due()
    assert (bed.row("1.5")["state"], bed.row("1.5")["warning"]) == ("delivered", "0xB000 coerced")
    assert "0xB000 coerced" in bed.events("delivered")[0]


def test_delivery_started_again_sends_the_same_bytes(bed: Bed) -> None:
    """Killed between the peer's answer and our record of it: the object goes again, as it was."""
    bed.add_study("1.5")
    peer = Peer()
    bed.delivery(peer).deliver_due()
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'pending'")
    bed.delivery(peer).deliver_due()
    assert peer.has == ["1.5", "1.5"]
    assert len(peer.bytes_of["1.5"]) == 1


def test_clock_set_back_by_a_year_does_not_stop_delivery(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer(lambda _uid: Answer(Outcome.FAILED, "busy"))
    delivery = bed.delivery(peer, first_delay_s=60.0)
    delivery.deliver_due()
    peer.answer = lambda _uid: TAKEN
    assert not delivery.deliver_due()
    bed.hours.set_back_s = 365 * 24 * 3600.0
    assert delivery.deliver_due()
    assert bed.states() == ["delivered"]


def test_object_recalled_while_it_was_on_its_way_says_that_it_arrived(bed: Bed) -> None:
    bed.add_study("1.5")

    def recalled_meanwhile(_uid: str) -> Answer:
        with bed.db.transaction() as tx:
            tx.run("UPDATE outbox SET state = 'withdrawn'")
        return TAKEN

    bed.delivery(Peer(recalled_meanwhile)).deliver_due()
    assert bed.states() == ["delivered"]
    assert "although it was withdrawn meanwhile" in bed.events("delivered")[0]


def test_object_recalled_while_it_failed_stays_withdrawn(bed: Bed) -> None:
    bed.add_study("1.5")

    def recalled_meanwhile(_uid: str) -> Answer:
        with bed.db.transaction() as tx:
            tx.run("UPDATE outbox SET state = 'withdrawn'")
        return Answer(Outcome.FAILED, "busy")

    bed.delivery(Peer(recalled_meanwhile)).deliver_due()
    assert bed.states() == ["withdrawn"]


@pytest.mark.parametrize(("failures", "whole_s"), [(0, 5.0), (1, 10.0), (3, 40.0), (10, 600.0), (5000, 600.0)])
def test_delay_doubles_to_its_limit_and_jitter_takes_at_most_half(failures: int, whole_s: float) -> None:
    delays = [Pace(DeliverySettings(), jitter=lambda j=j: j).delay_s(failures) for j in (0.0, 0.5, 1.0)]
    assert delays == [whole_s, whole_s * 0.75, whole_s * 0.5]


def test_jitter_is_chance() -> None:
    assert len({Pace(DeliverySettings()).delay_s(3) for _ in range(20)}) > 15
