"""The right patient: results go where the archive says the same about the study, or wait for a person."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from outboxes import PATIENT, Bed, Memory, Peer, write_object
from wetread.deliver.delivery import DeliveryPolicy
from wetread.deliver.destination import StudyIdentity
from wetread.deliver.right_patient import differences, identity_of
from wetread.deliver.witness import SILENCE_S, Silence, Witness
from wetread.errors import DestinationUnavailable

OURS = StudyIdentity(PATIENT, "A1")


def theirs(accession_number: str = "A1", **patient: str) -> StudyIdentity:
    return StudyIdentity(dataclasses.replace(PATIENT, **patient), accession_number)


@pytest.mark.parametrize(
    "same",
    [
        theirs(),
        theirs(name="MUSTER^ANNA"),
        theirs(name="Muster^Anna^^^"),
        theirs(name="Muster^Anna^^Dr.^"),
        theirs(name="  Muster ^ Anna"),
        theirs(name="Muster^Anna=山田^花子"),
        theirs(name="=山田^花子"),
        theirs(name="Muster"),
        theirs(name=""),
        theirs(name="Muster^Anna"),
        theirs(birth_date="1970.01.31"),
        theirs(birth_date="1970-01-31"),
        theirs(birth_date=""),
        theirs(sex="f"),
        theirs(sex=""),
        theirs(issuer=""),
        theirs(patient_id=" P1 "),
        theirs(patient_id=""),
        theirs(accession_number=""),
        theirs(accession_number="A1 "),
    ],
    ids=lambda i: f"{i.patient.name}-{i.patient.birth_date}-{i.patient.patient_id}",
)
def test_writing_it_differently_is_no_difference(same: StudyIdentity) -> None:
    assert differences(OURS, same) == ()
    assert differences(same, OURS) == ()


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (theirs(name="Muster^Berta"), "patient name"),
        (theirs(name="Master^Anna"), "patient name"),
        (theirs(name="Müster^Anna"), "patient name"),
        (theirs(patient_id="P2"), "patient ID"),
        (theirs(patient_id="p1"), "patient ID"),
        (theirs(patient_id="0P1"), "patient ID"),
        (theirs(issuer="CLINIC"), "issuer of patient ID"),
        (theirs(birth_date="19700130"), "birth date"),
        (theirs(sex="M"), "sex"),
        (theirs(accession_number="A2"), "accession number"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_each_attribute_counts(other: StudyIdentity, name: str) -> None:
    assert differences(OURS, other) == (name,)
    assert differences(other, OURS) == (name,)


def test_ideographic_names_are_compared_with_ideographic_names() -> None:
    one, other = theirs(name="Yamada^Tarou=山田^太郎"), theirs(name="YAMADA^TAROU=山本^太郎")
    assert differences(one, other) == ("patient name",)


def test_identity_is_read_from_the_object_that_will_be_sent(tmp_path: Path) -> None:
    patient = dataclasses.replace(PATIENT, name="Übel^Ägid=山田")
    write_object(tmp_path / "a.dcm", "1.2.3", "1.5", patient=patient)
    assert identity_of(tmp_path / "a.dcm") == StudyIdentity(patient, "A1")


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_another_patient_in_the_archive_holds_the_results_and_nothing_is_sent(bed: Bed) -> None:
    study = bed.add_study("1.5", "1.6")
    other = bed.add_study("1.7")
    archive = Memory({study: (theirs(patient_id="P2", birth_date="19800101"),), other: (theirs(),)})
    peer = Peer(archive=archive)
    delivery = bed.delivery(peer)
    while delivery.deliver_due() and archive.asked < 20:
        pass
    assert peer.has == ["1.7"]
    assert bed.states() == ["held", "held", "delivered"]
    reason = "patient check: pacs has the study with another birth date, patient ID"
    assert bed.row("1.5")["hold_reason"] == reason
    (state, shown) = bed.db.fetch("SELECT state, reason FROM study_status WHERE id = 1")[0]
    assert (state, shown) == ("result held", reason)
    (event,) = bed.events("result_held")
    assert event == f"results for pacs: {reason}"
    for value in ("P2", "P1", "1980", "Muster"):
        assert value not in event


def test_what_one_archive_doubts_is_held_at_every_destination_of_the_job(bed: Bed) -> None:
    study = bed.add_study("1.5", destinations=("pacs", "inbox"))
    archive = Memory({study: (theirs(name="Other^Anna"),)})
    inbox = Peer()
    delivery = bed.delivery(inbox, name="inbox", witnesses={"pacs": archive, "research": Memory(failure=OSError("no"))})
    delivery.deliver_due()
    assert (inbox.has, bed.states("inbox")) == ([], ["held"])
    assert bed.row("1.5", "inbox")["hold_reason"] == "patient check: pacs has the study with another patient name"
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'pending', confirmed = hold_reason, hold_reason = ''")
    delivery.deliver_due()
    assert inbox.has == ["1.5"]


def test_archive_that_is_away_stops_no_other_destination(bed: Bed) -> None:
    bed.add_study("1.5", destinations=("pacs", "inbox"))
    inbox = Peer()
    away = Memory(failure=DestinationUnavailable("gave no answer to a query"))
    bed.delivery(inbox, name="inbox", witnesses={"pacs": away}).deliver_due()
    assert inbox.has == ["1.5"]


def test_silent_archive_is_asked_once_a_minute_for_others_and_what_goes_without_it_says_so_once(bed: Bed) -> None:
    studies = [bed.add_study(f"1.5{n}", f"1.6{n}", destinations=("pacs", "inbox")) for n in range(5)]
    away = Memory(failure=DestinationUnavailable("gave no answer to a query"))
    silence = Silence(bed.hours.clock)
    inbox = Peer()
    witnesses = {"pacs": Witness(away, silence)}
    delivery = bed.delivery(inbox, name="inbox", witnesses=witnesses)
    while delivery.deliver_due():
        pass
    assert (len(inbox.has), away.asked) == (10, 1)
    said = "results for inbox: pacs gives no answer, so it was not asked whose study it is"
    assert bed.events("not_asked") == [said] * 5
    away.failure = None
    away.known = {study: (theirs(name="Other^Anna"),) for study in (*studies, "1.2.6", "1.2.7")}
    bed.add_study("1.57", destinations=("pacs", "inbox"))
    delivery.deliver_due()
    assert (inbox.has[-1], away.asked) == ("1.57", 1), "still within the minute"
    bed.hours.passed_s += SILENCE_S + 1.0
    bed.add_study("1.58", destinations=("pacs", "inbox"))
    delivery.deliver_due()
    assert (away.asked, bed.row("1.58", "inbox")["state"]) == (2, "held")


def test_confirmed_difference_is_sent_and_another_one_is_held_again(bed: Bed) -> None:
    study = bed.add_study("1.5")
    archive = Memory({study: (theirs(name="Other^Anna"),)})
    peer = Peer(archive=archive)
    delivery = bed.delivery(peer)
    delivery.deliver_due()
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'pending', confirmed = hold_reason, hold_reason = ''")
    archive.known[study] = (theirs(name="Other^Anna", patient_id="P9"),)
    delivery.deliver_due()
    assert bed.states() == ["held"]
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'pending'")
    archive.known[study] = (theirs(name="Other^Anna"),)
    delivery.deliver_due()
    assert peer.has == ["1.5"]


def test_study_the_archive_has_for_two_patients_is_held(bed: Bed) -> None:
    study = bed.add_study("1.5")
    archive = Memory({study: (theirs(), theirs(patient_id="P2"))})
    bed.delivery(Peer(archive=archive)).deliver_due()
    assert bed.states() == ["held"]
    assert "it has 2 studies with this UID" in bed.row("1.5")["hold_reason"]


def test_study_the_archive_does_not_have_is_sent_or_held_as_configured(bed: Bed) -> None:
    bed.add_study("1.5", destinations=("pacs", "strict"))
    bed.delivery(Peer(archive=Memory(holds={"1.5"}))).deliver_due()
    strict = DeliveryPolicy(unknown_study="hold")
    bed.delivery(Peer(archive=Memory()), name="strict", policy=strict).deliver_due()
    assert (bed.states("pacs"), bed.states("strict")) == (["delivered"], ["held"])
    assert bed.row("1.5", "strict")["hold_reason"] == "strict does not have the study"


def test_archive_that_cannot_be_asked_gets_nothing_until_it_can(bed: Bed) -> None:
    study = bed.add_study("1.5")
    archive = Memory({study: (theirs(),)}, failure=DestinationUnavailable("gave no answer to a query"))
    peer = Peer(archive=archive)
    delivery = bed.delivery(peer, first_delay_s=5.0)
    delivery.deliver_due()
    assert (bed.states(), peer.calls) == (["pending"], [])
    assert bed.row("1.5")["last_error"] == "gave no answer to a query"
    archive.failure = None
    bed.hours.passed_s += 6.0
    delivery.deliver_due()
    assert peer.has == ["1.5"]


def test_stale_result_is_held_for_a_person(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer()
    delivery = bed.delivery(peer, stale_after_h=4.0)
    bed.hours.passed_s = 4 * 3600.0 + 1.0
    delivery.deliver_due()
    assert (bed.states(), peer.has) == (["held"], [])
    assert bed.row("1.5")["hold_reason"] == "stale: not sent within 4 h after the last image"
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'pending', confirmed = hold_reason")
    delivery.deliver_due()
    assert peer.has == ["1.5"]


def test_result_in_time_is_not_stale(bed: Bed) -> None:
    bed.add_study("1.5")
    bed.hours.passed_s = 4 * 3600.0 - 1.0
    bed.delivery(Peer(), stale_after_h=4.0).deliver_due()
    assert bed.states() == ["delivered"]


def test_rest_of_a_result_that_was_begun_in_time_is_not_stale(bed: Bed) -> None:
    """Half a result in the PACS is worse than a late one."""
    from wetread.deliver.destination import Answer, Outcome

    bed.add_study("1.5", "1.6")
    peer = Peer(lambda uid: Answer(Outcome.TAKEN if uid == "1.5" else Outcome.FAILED, "busy"))
    delivery = bed.delivery(peer, stale_after_h=4.0)
    delivery.deliver_due()
    bed.hours.passed_s = 5 * 3600.0
    peer.answer = lambda _uid: Answer(Outcome.TAKEN)
    delivery.deliver_due()
    assert bed.states() == ["delivered", "delivered"]
