"""What a person decides about results: released, recalled, and told what cannot be taken back."""

from __future__ import annotations

import json
import os
import pwd
import re
from pathlib import Path

import pytest

from outboxes import PATIENT, Bed, Peer
from wetread.cli import main, studies
from wetread.deliver.decisions import Choice, Decisions
from wetread.deliver.destination import Answer, Outcome
from wetread.errors import Misconfigured

CONFIG = """
data_dir = "."
[[destinations]]
name = "pacs"
kind = "folder"
path = "/srv/in"
[[destinations]]
name = "cloud"
kind = "dicomweb"
url = "https://pacs.example.org/dicom-web"
"""


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    (tmp_path / "wetread.toml").write_text(CONFIG)
    return Bed(tmp_path)


def wetread(bed: Bed, *arguments: str) -> int:
    return main.run([*arguments, "--config", str(bed.folder / "wetread.toml")])


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
    assert "1 objects of series 1.2.9 lie in /srv/in and can be deleted there, if nobody took them on: 1.5.dcm" in out
    assert "1 objects of series 1.2.9 are in cloud. DICOM has no message to take them back" in out
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
    others = (("--state", "held"), ("--patient", "NOBODY"), ("--accession", "A8"), ("--limit", "0"))
    assert [listed(*which) for which in others] == [0, 0, 0, 0]
    assert wetread(bed, "studies", "list", "--patient", "NOBODY") == 0
    assert capsys.readouterr().out == "no such study\n"
    assert wetread(bed, "studies", "show", "1.2.1") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (f"patient name {PATIENT.name}", "patient id CORRECTED", "accession number A7"):
        assert words in shown


def test_every_state_a_study_can_be_in_can_be_asked_for(bed: Bed) -> None:
    (view,) = bed.db.fetch("SELECT sql FROM sqlite_master WHERE name = 'study_status'")
    shown = re.findall(r"(?:THEN|ELSE) '([a-z ]+)'", view["sql"].split("END AS state")[0])
    assert {"receiving", "held", *shown} == set(studies.STATES)


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
