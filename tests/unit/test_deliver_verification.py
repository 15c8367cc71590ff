"""Arrival is verified, and what a peer took and does not have is sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

from outboxes import Bed, Committing, Memory, Peer
from wetread.deliver.commitments import apply_report
from wetread.deliver.delivery import Delivery, DeliveryPolicy
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import DeliverySettings, Pace
from wetread.deliver.verification import Verify
from wetread.dimse.commitment import CommitmentReport
from wetread.errors import DestinationUnavailable

HOUR_S = 3600.0


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def run(bed: Bed, delivery: Delivery, seconds: float, step_s: float = 30.0) -> None:
    """Let this much time pass."""
    end = bed.hours.passed_s + seconds
    while bed.hours.passed_s < end:
        while delivery.deliver_due():
            pass
        bed.hours.passed_s += step_s


def report(bed: Bed, report: CommitmentReport) -> bool:
    """A report that came to the listener."""
    outbox = Outbox("pacs", bed.db, Pace(DeliverySettings(), bed.hours.clock))
    return apply_report(bed.db, report, outboxes={"pacs": outbox})


def test_status_alone_is_said_to_be_status_alone(bed: Bed) -> None:
    bed.add_study("1.5")
    run(bed, bed.delivery(Peer()), 60.0)
    assert (bed.row("1.5")["state"], bed.row("1.5")["verified"]) == ("delivered", "status")


def test_found_by_a_query(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    run(bed, bed.delivery(Peer(archive=Memory(holds={"1.5", "1.6"}))), 60.0)
    assert [bed.row(uid)["verified"] for uid in ("1.5", "1.6")] == ["query", "query"]


def test_object_a_peer_acknowledged_and_does_not_have_is_sent_again_and_says_so(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    archive = Memory(holds={"1.5"})
    peer = Peer(archive=archive)
    delivery = bed.delivery(peer, verify_patience_s=600.0)
    run(bed, delivery, 500.0)
    assert bed.states() == ["delivered", "delivered"]
    assert "does not show it yet" in bed.row("1.6")["last_error"]
    run(bed, delivery, 400.0, step_s=10.0)
    assert peer.has == ["1.5", "1.6", "1.6"]
    assert bed.row("1.5")["verified"] == "query"
    assert "took it and does not have it (by a query); it is sent again" in bed.events("missing")[0]
    archive.holds.add("1.6")
    run(bed, delivery, 900.0)
    assert bed.row("1.6")["verified"] == "query"


def test_peer_that_always_loses_objects_is_not_flooded(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer(archive=Memory())
    run(bed, bed.delivery(peer), 24 * HOUR_S, step_s=60.0)
    assert 40 < len(peer.has) < 160
    assert bed.row("1.5")["verified"] == ""


def test_archive_that_cannot_be_asked_leaves_it_open_then_falls_back_to_status_and_says_so(bed: Bed) -> None:
    """The check of the patient was possible when it was sent; the query service went away afterwards."""
    bed.add_study("1.5")
    archive = Memory()
    peer = Peer(archive=archive)
    delivery = bed.delivery(peer)
    assert delivery.deliver_due()
    archive.failure = DestinationUnavailable("no query service")
    run(bed, delivery, 300.0)
    assert bed.row("1.5")["verified"] == ""
    assert bed.row("1.5")["last_error"] == "not verified yet: no query service"
    run(bed, delivery, 900.0)
    assert bed.row("1.5")["verified"] == "status"
    assert "its answers alone (not verified yet: no query service)" in bed.events("verified")[0]
    assert len(peer.has) == 1


@pytest.mark.parametrize("verify", ["query", "commitment"])
def test_a_proof_that_is_insisted_on_is_never_replaced_by_a_weaker_one(bed: Bed, verify: Verify) -> None:
    bed.add_study("1.5")
    archive = Memory()
    peer = Peer(archive=archive, commitment=Committing(_refuse))
    delivery = bed.delivery(peer, policy=DeliveryPolicy(verify=verify))
    assert delivery.deliver_due()
    archive.failure = DestinationUnavailable("no query service")
    run(bed, delivery, 24 * HOUR_S, step_s=600.0)
    assert (bed.row("1.5")["state"], bed.row("1.5")["verified"]) == ("delivered", "")


def test_status_can_be_asked_for_though_more_is_possible(bed: Bed) -> None:
    bed.add_study("1.5")
    commitment = Committing()
    delivery = bed.delivery(Peer(commitment=commitment), policy=DeliveryPolicy(verify="status"))
    run(bed, delivery, 60.0)
    assert bed.row("1.5")["verified"] == "status"
    assert not commitment.asked


def test_commitment_reported_at_once(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    commitment = Committing(lambda transaction, uids: CommitmentReport(transaction, tuple(uids), ()))
    run(bed, bed.delivery(Peer(commitment=commitment)), 60.0)
    assert [bed.row(uid)["verified"] for uid in ("1.5", "1.6")] == ["commitment", "commitment"]
    assert len(commitment.asked) == 1


def test_commitment_reported_later_by_the_listener(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    commitment = Committing()
    delivery = bed.delivery(Peer(commitment=commitment))
    run(bed, delivery, 1800.0)
    ((transaction, uids),) = commitment.asked
    assert uids == ["1.5", "1.6"]
    assert report(bed, CommitmentReport(transaction, ("1.5", "1.6"), ()))
    assert bed.row("1.5")["verified"] == "commitment"
    assert not report(bed, CommitmentReport(transaction, ("1.5", "1.6"), ())), "the same report again"


def test_report_that_comes_before_the_answer_to_the_request_is_not_lost(bed: Bed) -> None:
    bed.add_study("1.5")

    def answer(transaction: str, uids: list[str]) -> None:
        assert report(bed, CommitmentReport(transaction, tuple(uids), ()))

    run(bed, bed.delivery(Peer(commitment=Committing(answer))), 60.0)
    assert bed.row("1.5")["verified"] == "commitment"


def test_what_a_report_says_is_not_there_is_sent_again(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    first = Committing(lambda t, uids: CommitmentReport(t, ("1.5",), (("1.6", 0x0112),)))
    peer = Peer(commitment=first)
    delivery = bed.delivery(peer)
    run(bed, delivery, 30.0)
    assert bed.row("1.5")["verified"] == "commitment"
    first.answer = lambda t, uids: CommitmentReport(t, tuple(uids), ())
    run(bed, delivery, 60.0)
    assert peer.has == ["1.5", "1.6", "1.6"]
    assert bed.row("1.6")["verified"] == "commitment"
    assert "storage commitment report" in bed.events("missing")[0]


def test_object_named_committed_and_failed_is_not_believed(bed: Bed) -> None:
    bed.add_study("1.5")
    commitment = Committing(lambda t, uids: CommitmentReport(t, ("1.5",), (("1.5", 0x0110),)))
    delivery = bed.delivery(Peer(commitment=commitment))
    delivery.deliver_due()
    delivery.deliver_due()
    assert bed.row("1.5")["verified"] == ""
    assert "0x0110 processing failure" in bed.row("1.5")["last_error"]


def test_object_a_report_does_not_name_is_asked_for_again(bed: Bed) -> None:
    bed.add_study("1.5", "1.6")
    commitment = Committing(lambda t, uids: CommitmentReport(t, (uids[0],), ()))
    run(bed, bed.delivery(Peer(commitment=commitment)), 60.0, step_s=5.0)
    assert [uids for _, uids in commitment.asked] == [["1.5", "1.6"], ["1.6"]]
    assert [bed.row(uid)["verified"] for uid in ("1.5", "1.6")] == ["commitment", "commitment"]


def test_stranger_in_a_report_changes_nothing(bed: Bed) -> None:
    bed.add_study("1.5")
    bed.add_study("1.7")
    commitment = Committing(lambda t, uids: CommitmentReport(t, ("1.5", "1.7"), ()))
    delivery = bed.delivery(Peer(commitment=commitment))
    delivery.deliver_due()
    delivery.deliver_due()
    delivery.deliver_due()
    assert [bed.row(uid)["verified"] for uid in ("1.5", "1.7")] == ["commitment", ""]
    assert not report(bed, CommitmentReport("1.2.3.4", ("1.7",), ()))


def test_report_of_another_peer_is_not_believed(bed: Bed) -> None:
    bed.add_study("1.5")
    commitment = Committing()
    run(bed, bed.delivery(Peer(commitment=commitment)), 60.0)
    ((transaction, _),) = commitment.asked
    assert not apply_report(bed.db, CommitmentReport(transaction, ("1.5",), ()), outboxes={})
    assert bed.row("1.5")["verified"] == ""


def test_report_that_never_comes_is_asked_for_again_and_then_replaced_by_a_query(bed: Bed) -> None:
    bed.add_study("1.5")
    commitment = Committing()
    peer = Peer(commitment=commitment, archive=Memory(holds={"1.5"}))
    delivery = bed.delivery(peer, commitment_wait_s=HOUR_S)
    run(bed, delivery, HOUR_S - 60.0)
    assert len(commitment.asked) == 1
    run(bed, delivery, 2 * HOUR_S)
    assert len(commitment.asked) == 3
    run(bed, delivery, 2 * HOUR_S)
    assert (len(commitment.asked), bed.row("1.5")["verified"]) == (3, "query")


def test_peer_that_refuses_the_request_is_queried_instead(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer(commitment=Committing(_refuse), archive=Memory(holds={"1.5"}))
    delivery = bed.delivery(peer, verify_patience_s=600.0)
    run(bed, delivery, 500.0)
    assert bed.row("1.5")["verified"] == ""
    run(bed, delivery, 700.0)
    assert bed.row("1.5")["verified"] == "query"
    assert bed.db.fetch("SELECT * FROM commitments") == []


def test_verification_of_one_study_does_not_stop_that_of_another(bed: Bed) -> None:
    bed.add_study("1.5")
    bed.add_study("1.6")
    run(bed, bed.delivery(Peer(archive=Memory(holds={"1.6"}))), 60.0)
    assert [bed.row(uid)["verified"] for uid in ("1.5", "1.6")] == ["", "query"]


def _refuse(_transaction: str, _uids: list[str]) -> CommitmentReport | None:
    raise DestinationUnavailable("answered the storage commitment request with 0x0110")
