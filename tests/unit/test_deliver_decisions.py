"""What a person decides about results: released, recalled, and told what cannot be taken back."""

from __future__ import annotations

import json
import os
import pwd
import re
from pathlib import Path

import pytest

from bed_commands import CONFIG, refusing, shown, wetread
from outboxes import PATIENT, Bed, Peer
from wetread.db import Queries
from wetread.deliver.decisions import Choice, Decisions
from wetread.deliver.destination import Answer, Outcome
from wetread.errors import DestinationUnavailable, Misconfigured
from wetread.records.states import STUDY_STATES


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    (tmp_path / "wetread.toml").write_text(CONFIG)
    return Bed(tmp_path)


def hold(bed: Bed, reason: str = "patient check: pacs has the study with another sex") -> None:
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'held', hold_reason = :reason WHERE state = 'pending'", {"reason": reason})


def test_release_lets_go_keeps_what_was_confirmed_and_is_audited_with_the_account(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.add_study("1.5", "1.6")
    hold(bed)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    assert wetread(bed, "results", "release", "job1", "--reason", "asked at the desk") == 0
    row = bed.row("1.5")
    assert (row["state"], row["hold_reason"]) == ("pending", "")
    assert row["confirmed"] == "patient check: pacs has the study with another sex"
    (event,) = bed.events("result_released")
    assert pwd.getpwuid(os.getuid()).pw_name in event
    assert "somebody-else" not in event
    assert "asked at the desk (was held: patient check: pacs has the study with another sex)" in event


def test_released_is_sent_though_it_is_stale(bed: Bed) -> None:
    bed.add_study("1.5")
    peer = Peer()
    delivery = bed.delivery(peer, stale_after_h=1.0)
    bed.hours.passed_s = 7200.0
    delivery.deliver_due()
    Decisions(bed.db, "me").release(Choice("1.2.1"), "still of use")
    bed.hours.set_back_s = -10 * 365 * 86400.0  # the released row is due by the real clock
    delivery.deliver_due()
    assert peer.has == ["1.5"]


def test_release_of_one_study_or_destination_leaves_the_others(bed: Bed) -> None:
    bed.add_study("1.5", destinations=("pacs", "cloud"))
    bed.add_study("1.6")
    hold(bed)
    assert Decisions(bed.db, "me").release(Choice("1.2.1", "pacs"), "r") == 1
    assert (bed.states("pacs"), bed.states("cloud")) == (["pending", "held"], ["held"])
    assert Decisions(bed.db, "me").release(Choice(""), "r") == 2


def test_release_needs_a_choice_and_something_held(bed: Bed) -> None:
    bed.add_study("1.5")
    assert wetread(bed, "results", "release", "--reason", "r") == 2
    assert wetread(bed, "results", "release", "job1", "--all", "--reason", "r") == 2
    with pytest.raises(Misconfigured, match="is held"):
        Decisions(bed.db, "me").release(Choice("job1"), "r")


def test_job_prefix_that_fits_several_changes_nothing(bed: Bed) -> None:
    bed.add_study("1.5")
    bed.add_study("1.6")
    hold(bed)
    with pytest.raises(Misconfigured, match="2 jobs begin with job"):
        Decisions(bed.db, "me").release(Choice("job"), "r")
    assert bed.states() == ["held", "held"]


def test_recall_withdraws_what_was_not_sent_and_says_what_can_be_done_about_the_rest(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    bed.add_study("1.5", "1.6", destinations=("pacs", "cloud"))
    taken = Peer(lambda uid: Answer(Outcome.TAKEN if uid == "1.5" else Outcome.REFUSED, "no"))
    bed.delivery(taken).deliver_due()
    bed.delivery(taken, name="cloud").deliver_due()
    capsys.readouterr()
    assert wetread(bed, "results", "recall", "job1", "--reason", "wrong side") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "2 objects that were not sent yet are withdrawn" in out
    assert "1 object of series 1.2.9 lie in /srv/in and can be deleted there, if nobody took them on: 1.5.dcm" in out
    assert "1 object of series 1.2.9 are in cloud. DICOM has no message to take them back" in out
    assert (bed.states("pacs"), bed.states("cloud")) == (["delivered", "withdrawn"],) * 2
    assert "wrong side (2 objects not sent, 2 had been delivered)" in bed.events("recalled")[0]


def test_recalled_is_never_sent(bed: Bed) -> None:
    bed.add_study("1.5")
    Decisions(bed.db, "me").recall(Choice("job1"), "r")
    peer = Peer()
    assert not bed.delivery(peer).deliver_due()
    assert peer.has == []


def test_list_and_show_tell_state_reason_proof_and_warning(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5", "1.6")
    bed.add_study("1.7")
    peer = Peer(
        lambda uid: Answer(Outcome.REFUSED, "too big") if uid == "1.6" else Answer(Outcome.TAKEN, warning="B000")
    )
    bed.delivery(peer).deliver_due()
    hold(bed, "stale: not sent within 4 h after the last image")
    capsys.readouterr()
    assert wetread(bed, "results", "list", "--json", "--state", "delivered") == 0
    (job,) = json.loads(capsys.readouterr().out)["results"]
    assert (job["job_id"], job["delivered"], job["verified"], job["held"]) == ("job1", 1, 1, 1)
    assert wetread(bed, "results", "show", "job1") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("verified by status", "B000", "too big", "stale: not sent within 4 h", "1.6", "held"):
        assert words in shown
    assert wetread(bed, "jobs", "show", "job1") == 0
    assert "verified by status" in capsys.readouterr().out
    assert wetread(bed, "studies", "list") == 0
    listed = capsys.readouterr().out
    assert "result held" in listed
    assert PATIENT.name not in listed


def test_result_of_a_held_or_corrected_study_says_so_and_not_what_the_last_try_ended_with(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    bed.add_study("1.5")
    bed.delivery(Peer(lambda _uid: Answer(Outcome.FAILED, "pacs cannot be reached"))).deliver_due()

    def said() -> set[str]:
        listed = shown(bed, capsys, "results", "list"), shown(bed, capsys, "results", "show", "job1")
        (row,) = bed.db.fetch(Queries("wetread.service")["deliveries_of_object"], {"sop_instance_uid": "1.5"})
        texts = (*listed, row["hold_reason"] + row["last_error"])
        sentences = ("pacs cannot be reached", "held by", "which patient?", "withdrawn: patient corrected")
        in_each = [{sentence for sentence in sentences if sentence in text} for text in texts]
        assert in_each[0] == in_each[1] == in_each[2]
        return in_each[0]

    assert said() == {"pacs cannot be reached"}
    assert wetread(bed, "studies", "hold", "1.2.1", "--reason", "which patient?") == 0
    assert said() == {"held by", "which patient?"}
    assert "next try" not in shown(bed, capsys, "results", "show", "job1")
    assert wetread(bed, "studies", "correct", "1.2.1", "--patient-id", "P2", "--reason", "asked") == 0
    assert said() == {"withdrawn: patient corrected"}


def test_studies_are_found_by_state_patient_and_order_and_shown_with_the_patient_a_person_must_compare(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    bed.add_study("1.5")
    with bed.db.transaction() as tx:
        tx.run(
            "UPDATE studies SET attributes = json_set(attributes, '$.accession_number', 'A7'),"
            " correction = json_object('serial', 1, 'patient_id', 'CORRECTED')"
        )

    def listed(*arguments: str) -> int:
        assert wetread(bed, "studies", "list", "--json", *arguments) == 0
        return len(json.loads(capsys.readouterr().out)["studies"])

    found = (("--state", "delivering"), ("--patient", PATIENT.patient_id), ("--patient", "CORRECTED"))
    assert [listed(*which) for which in (*found, ("--accession", "A7"))] == [1, 1, 1, 1]
    others = (("--state", "held"), ("--patient", "NOBODY"), ("--accession", "A8"))
    assert [listed(*which) for which in others] == [0, 0, 0]
    assert wetread(bed, "studies", "list", "--patient", "NOBODY") == 0
    assert capsys.readouterr().out == "no such study\n"
    assert wetread(bed, "studies", "show", "1.2.1") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (f"patient name {PATIENT.name}", "patient id CORRECTED", "accession number A7"):
        assert words in shown


def test_every_state_a_study_can_be_in_can_be_asked_for(bed: Bed) -> None:
    (view,) = bed.db.fetch("SELECT sql FROM sqlite_master WHERE name = 'study_status'")
    shown = re.findall(r"(?:THEN|ELSE) '([a-z ]+)'", view["sql"].split("END AS state")[0])
    assert {"receiving", "held", *shown} == set(STUDY_STATES)


def test_timeline_says_once_what_every_instance_says(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5")
    with bed.db.transaction() as tx:
        for detail in ["the header of pacs replaces that of ct1"] * 3 + ["another"]:
            tx.event("header_replaced", detail, study_id=1)
    assert wetread(bed, "studies", "show", "1.2.1") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "replaces that of ct1 (3 times)" in shown
    assert shown.count("header_replaced") == 2
    assert wetread(bed, "studies", "show", "1.2.1", "--json") == 0
    timeline = json.loads(capsys.readouterr().out)["timeline"]
    assert [event["action"] for event in timeline].count("header_replaced") == 4


def test_release_of_a_study_tells_whose_it_will_be(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5")
    with bed.db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held', reason = 'instances of two patients in one study'")
    assert wetread(bed, "studies", "release", "1.2.1") == 0
    assert f"results say patient ID '{PATIENT.patient_id}', name '{PATIENT.name}'" in capsys.readouterr().out


def test_refused_object_is_tried_at_once_when_a_person_asks(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5", "1.6")
    peer = refusing("1.5")
    delivery = bed.delivery(peer)
    delivery.deliver_due()
    due = bed.row("1.5")["available_at"]
    with bed.db.transaction() as tx:  # the bed's clock is not that of the command
        tx.run("UPDATE outbox SET available_at = '2999-01-01T00:00:00.000+00:00' WHERE state = 'pending'")
    told = shown(bed, capsys, "results", "show", "job1")
    assert "refused for what it is too big next try 2999-01-01 00:00:00+00:00; at once with: wetread results" in told
    assert due > bed.hours.clock.stamp()
    peer.answer = lambda _uid: Answer(Outcome.TAKEN)
    assert "1 object is tried now" in shown(bed, capsys, "results", "retry", "job1", "--object", "1.5")
    bed.hours.set_back_s = -10 * 365 * 86400.0  # due by the real clock
    delivery.deliver_due()
    assert sorted(peer.has) == ["1.5", "1.6"]
    assert "results for pacs, by " in bed.events("retry_asked")[0]


def test_asked_for_is_tried_once_though_nobody_answered_a_moment_ago(bed: Bed) -> None:
    studies = [bed.add_study(f"1.{n}") for n in (5, 6, 7)]
    tries: list[str] = []

    def away(uid: str) -> Answer:
        tries.append(uid)
        raise DestinationUnavailable("PACS cannot be reached")

    peer = Peer(away)
    delivery = bed.delivery(peer, first_delay_s=600.0)
    delivery.deliver_due()
    assert not delivery.deliver_due(), "left alone"
    bed.hours.set_back_s = -10 * 365 * 86400.0
    Decisions(bed.db, "me").retry(Choice("", "pacs"))
    assert delivery.deliver_due()
    assert not delivery.deliver_due(), "left alone again, with all that was asked for"
    assert len(tries) == 2
    peer.answer = lambda _uid: Answer(Outcome.TAKEN)
    Decisions(bed.db, "me").retry(Choice(studies[2]))
    while delivery.deliver_due():
        pass
    assert sorted(peer.has) == ["1.6", "1.7"], "it answers again: only what failed twice waits its own time"


def test_object_is_tried_with_what_has_to_go_before_it(bed: Bed) -> None:
    bed.add_study("1.5", "1.6", "1.7")
    delivery = bed.delivery(Peer(lambda _uid: Answer(Outcome.FAILED, "busy")), first_delay_s=600.0)
    delivery.deliver_due()
    assert Decisions(bed.db, "me").retry(Choice("job1"), "1.6") == 2
    assert [bed.row(uid)["asked_now"] for uid in ("1.5", "1.6", "1.7")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say which results"),
        (["--all", "--destination", "pacs"], "say which results"),
        (["job1", "--destination", "pacs"], "1 object is held: wetread results release"),
        (["job9"], "there are no results of job9"),
        (["--destination", "pcas"], "there are no results of any study for pcas"),
        (["job1", "--object", "9.9"], "nothing of object 9.9 of job1 waits to be sent"),
    ],
)
def test_what_cannot_be_tried_again_says_why(
    bed: Bed, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    bed.add_study("1.5")
    hold(bed)
    assert wetread(bed, "results", "retry", *arguments) == 2
    assert sentence in capsys.readouterr().err


def test_destination_that_is_away_says_why_and_when_it_is_tried_next(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(_uid: str) -> Answer:
        raise DestinationUnavailable("PACS cannot be reached")

    bed.add_study("1.5")
    bed.delivery(Peer(away)).deliver_due()
    with bed.db.transaction() as tx:  # the bed's clock is not that of the command
        tx.run("UPDATE outbox SET available_at = '2999-01-01T00:00:00.000+00:00' WHERE state = 'pending'")
    bed.add_study("1.6")
    told = shown(bed, capsys, "results", "destinations")
    assert "pacs folder 2 pending PACS cannot be reached; next try 2999-01-01 00:00:00+00:00 is asked" in told
    told = shown(bed, capsys, "results", "show", "job2")
    assert "waits for pacs, where others failed: next try 2999-01-01 00:00:00+00:00; at once with: wetread" in told


def test_destinations_tell_their_rendition_and_are_asked_again(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    with bed.db.transaction() as tx:
        tx.run(
            "INSERT INTO destination_renditions VALUES ('pacs', 'modern', 'setting', '2026-03-14T15:09:26.000+00:00'),"
            " ('cloud', 'common', 'negotiated', '2026-03-14T15:09:26.000+00:00')"
        )
    bed.add_study("1.5")
    bed.delivery(refusing("1.5")).deliver_due()
    told = shown(bed, capsys, "results", "destinations")
    assert "pacs folder 1 pending, 1 refused gets the modern rendition, by setting or kind" in told
    assert "cloud dicomweb nothing waits gets the common rendition, as it said when asked, 2026-03-14 15:09" in told
    told = shown(bed, capsys, "results", "negotiate", "cloud")
    assert "cloud dicomweb nothing waits is asked before its next object which rendition it takes" in told
    for name, sentence in (
        ("cloud", "it was not asked yet"),
        ("pacs", "is a setting"),
        ("clod", "did you mean 'cloud'"),
    ):
        assert wetread(bed, "results", "negotiate", name) == 2
        assert sentence in capsys.readouterr().err
