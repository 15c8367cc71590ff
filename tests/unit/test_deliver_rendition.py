"""A destination's rendition: set, or asked once before its first object, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outboxes import SECONDARY_CAPTURE, Bed, Peer, write_object
from wetread.deliver.destination import Answer, DestinationSettings, Outcome
from wetread.deliver.rendition import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    LABEL_MAP_SEGMENTATION,
    SEGMENTATION,
    fixed_rendition,
    note_settings,
)
from wetread.errors import DestinationUnavailable
from wetread.records.result import Rendition

OLD = frozenset({SEGMENTATION, COMPREHENSIVE_SR})
NEW = OLD | {LABEL_MAP_SEGMENTATION, COMPREHENSIVE_3D_SR}
AUTO = DestinationSettings("pacs", "dicom", peer="pacs")


@dataclass
class Negotiating:
    """Accepts these classes; counts how often it was asked."""

    classes: frozenset[str]
    failure: Exception | None = None
    asked: list[frozenset[str]] = field(default_factory=list)

    def accepted(self, sop_class_uids: frozenset[str]) -> frozenset[str]:
        self.asked.append(sop_class_uids)
        if self.failure:
            raise self.failure
        return self.classes & sop_class_uids


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    bed = Bed(tmp_path)
    note_settings(bed.db, [AUTO])
    return bed


def add_read(bed: Bed, *uids: str, renditions: Sequence[Rendition] = tuple(Rendition)) -> None:
    """A job whose common objects wait in the outbox; beside them ``1.9.<uid>``, the modern ones."""
    study = bed.add_study(*(f"1.2.{uid}" for uid in uids))
    (job,) = bed.db.fetch("SELECT id FROM jobs ORDER BY study_id DESC LIMIT 1")
    if Rendition.MODERN not in renditions:
        return
    for position, uid in enumerate(uids):
        path = bed.folder / "results" / f"1.9.{uid}.dcm"
        write_object(path, study, f"1.9.{uid}")
        bed.add_result(job["id"], f"1.9.{uid}", path, 10 + position, destinations=(), sop_class=SECONDARY_CAPTURE)
    with bed.db.transaction() as tx:
        tx.run("UPDATE results SET rendition = 'modern' WHERE sop_instance_uid LIKE '1.9.%'")


def kept(bed: Bed) -> str:
    (row,) = bed.db.fetch("SELECT rendition FROM destination_renditions WHERE destination = 'pacs'")
    return str(row["rendition"])


def test_peer_that_takes_label_maps_gets_the_modern_objects_in_their_order_and_no_other(bed: Bed) -> None:
    add_read(bed, "5", "6")
    peer = Peer(negotiator=Negotiating(NEW))
    delivery = bed.delivery(peer)
    while delivery.deliver_due():
        pass
    assert peer.has == ["1.9.5", "1.9.6"]
    assert bed.states() == ["delivered", "delivered"]
    assert kept(bed) == "modern"


def test_peer_that_refuses_label_maps_gets_the_common_objects_and_no_other(bed: Bed) -> None:
    add_read(bed, "5", "6")
    peer = Peer(negotiator=Negotiating(OLD | {COMPREHENSIVE_3D_SR}))
    delivery = bed.delivery(peer)
    while delivery.deliver_due():
        pass
    assert peer.has == ["1.2.5", "1.2.6"]
    assert kept(bed) == "common"
    (told,) = bed.events("negotiated")
    assert LABEL_MAP_SEGMENTATION in told


@pytest.mark.parametrize("missing", [LABEL_MAP_SEGMENTATION, COMPREHENSIVE_3D_SR, SEGMENTATION])
def test_modern_needs_every_class_it_may_hold(bed: Bed, missing: str) -> None:
    add_read(bed, "5")
    bed.delivery(Peer(negotiator=Negotiating(NEW - {missing}))).deliver_due()
    assert kept(bed) == "common"


def test_peer_is_asked_once_and_the_answer_outlives_a_restart_and_a_change_of_the_peer(bed: Bed) -> None:
    add_read(bed, "5")
    first = Peer(negotiator=Negotiating(OLD))
    bed.delivery(first).deliver_due()
    note_settings(bed.db, [AUTO])
    add_read(bed, "7")
    later = Negotiating(NEW)
    second = Peer(negotiator=later)
    bed.delivery(second).deliver_due()
    assert second.has == ["1.2.7"]
    assert later.asked == []
    assert kept(bed) == "common"


def test_peer_that_is_away_is_asked_when_it_is_back_and_gets_nothing_before(bed: Bed) -> None:
    add_read(bed, "5")
    negotiating = Negotiating(NEW, failure=DestinationUnavailable("away"))
    peer = Peer(negotiator=negotiating)
    delivery = bed.delivery(peer, first_delay_s=60.0)
    delivery.deliver_due()
    assert (peer.calls, kept(bed), bed.row("1.2.5")["last_error"]) == ([], "", "away")
    negotiating.failure = None
    bed.hours.passed_s += 3600.0
    delivery.deliver_due()
    assert peer.has == ["1.9.5"]
    assert bed.states() == ["delivered"]


def receive_a_study(bed: Bed) -> None:
    with bed.db.transaction() as tx:
        tx.run(
            "INSERT INTO studies (id, study_instance_uid, folder, attributes, state, created_at, updated_at)"
            " VALUES (99, '1.7', '1.7', '{}', 'receiving', 't', 't')"
        )


def test_peer_is_asked_while_the_first_study_comes_in_so_that_one_rendition_is_encoded(bed: Bed) -> None:
    negotiating = Negotiating(NEW)
    delivery = bed.delivery(Peer(negotiator=negotiating))
    delivery.deliver_due()
    assert negotiating.asked == [], "nothing comes: nobody is bothered"
    receive_a_study(bed)
    delivery.deliver_due()
    delivery.deliver_due()
    assert (len(negotiating.asked), kept(bed)) == (1, "modern")


@pytest.mark.parametrize("failure", [None, DestinationUnavailable("away")])
def test_peer_that_does_not_decide_is_not_asked_all_the_time_and_its_first_delivery_waits_for_nothing(
    bed: Bed, failure: Exception | None
) -> None:
    receive_a_study(bed)
    negotiating = Negotiating(frozenset(), failure)
    peer = Peer(negotiator=negotiating)
    delivery = bed.delivery(peer, first_delay_s=600.0)
    for passed_s in (0.0, 30.0, 59.0, 61.0):
        bed.hours.passed_s = passed_s
        delivery.deliver_due()
    assert len(negotiating.asked) == 2
    negotiating.classes, negotiating.failure = NEW, None
    add_read(bed, "5")
    delivery.deliver_due()
    assert (peer.has, kept(bed)) == (["1.9.5"], "modern")


def test_peer_that_accepts_nothing_has_decided_nothing(bed: Bed) -> None:
    add_read(bed, "5")
    peer = Peer(lambda _uid: Answer(Outcome.REFUSED, "no"), negotiator=Negotiating(frozenset()))
    bed.delivery(peer).deliver_due()
    assert (peer.calls, kept(bed), bed.states()) == ([["1.2.5"]], "", ["pending"])


def test_read_of_which_something_was_delivered_stays_in_its_rendition(bed: Bed) -> None:
    add_read(bed, "5", "6")
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'delivered', verified = 'status' WHERE sop_instance_uid = '1.2.5'")
    peer = Peer(negotiator=Negotiating(NEW))
    bed.delivery(peer).deliver_due()
    assert peer.has == ["1.2.6"]
    assert kept(bed) == "modern"


def test_read_that_was_encoded_in_one_rendition_is_sent_in_it(bed: Bed) -> None:
    add_read(bed, "5", renditions=(Rendition.COMMON,))
    peer = Peer(negotiator=Negotiating(NEW))
    bed.delivery(peer).deliver_due()
    assert peer.has == ["1.2.5"]


def test_what_a_person_has_to_release_is_exchanged_too_and_stays_held(bed: Bed) -> None:
    add_read(bed, "5")
    add_read(bed, "6")
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'held', hold_reason = 'x' WHERE sop_instance_uid = '1.2.5'")
    peer = Peer(negotiator=Negotiating(NEW))
    bed.delivery(peer).deliver_due()
    assert peer.has == ["1.9.6"]
    row = bed.row("1.9.5")
    assert (row["state"], row["hold_reason"]) == ("held", "x")


def test_setting_goes_before_the_answer_and_back_to_auto_asks_anew(bed: Bed) -> None:
    add_read(bed, "5")
    bed.delivery(Peer(negotiator=Negotiating(OLD))).deliver_due()
    note_settings(bed.db, [DestinationSettings("pacs", "dicom", peer="pacs", rendition="modern")])
    assert kept(bed) == "modern"
    note_settings(bed.db, [AUTO])
    assert kept(bed) == ""


@pytest.mark.parametrize(
    ("kind", "setting", "rendition"),
    [
        ("dicom", "auto", None),
        ("dicom", "common", Rendition.COMMON),
        ("dicomweb", "auto", Rendition.COMMON),
        ("dicomweb", "modern", Rendition.MODERN),
        ("folder", "auto", Rendition.MODERN),
        ("folder", "common", Rendition.COMMON),
    ],
)
def test_only_dicom_peers_without_a_setting_are_asked(kind: str, setting: str, rendition: Rendition | None) -> None:
    settings = DestinationSettings("x", kind, rendition=setting)  # type: ignore[arg-type]
    assert fixed_rendition(settings) is rendition
