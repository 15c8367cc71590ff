"""What lists and tables of the commands show, and by which names things are found."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from bed_commands import CONFIG, refusing, shown, wetread
from outboxes import PATIENT, Bed


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    (tmp_path / "wetread.toml").write_text(CONFIG)
    return Bed(tmp_path)


def test_jobs_list_names_the_study_and_the_patient_only_if_asked(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5")
    told = shown(bed, capsys, "jobs", "list")
    assert "study 1 UID …1.2.1 accession A1" in told
    assert PATIENT.patient_id not in told
    assert f"patient {PATIENT.patient_id}" in shown(bed, capsys, "jobs", "list", "--patient", "--study", "1")
    for options, there in (([], False), (["--patient"], True)):
        capsys.readouterr()
        assert wetread(bed, "jobs", "list", "--json", *options) == 0
        (job,) = json.loads(capsys.readouterr().out)["jobs"]
        assert ("patient_id" in job) is there


def test_study_is_found_by_the_number_that_the_log_and_the_list_show(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    bed.add_study("1.5")
    assert "study 1 2026-03-01 08:00:00+00:00" in shown(bed, capsys, "studies", "list")
    assert "study instance uid 1.2.1" in shown(bed, capsys, "studies", "show", "1")
    assert "study 1.2.1 is held" in shown(bed, capsys, "studies", "hold", "1", "--reason", "r")
    assert wetread(bed, "studies", "show", "7") == 2
    assert "there is no study 7 here" in capsys.readouterr().err


def test_times_are_shown_in_the_zone_of_the_machine_which_they_say(
    bed: Bed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.add_study("1.5")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert "study 1 2026-03-01 13:30:00+05:30" in shown(bed, capsys, "studies", "list")
        assert "received at 2026-03-01 13:30:00+05:30" in shown(bed, capsys, "studies", "show", "1")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_correction_names_what_was_delivered_before(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5", "1.6")
    bed.delivery(refusing("1.6")).deliver_due()
    told = shown(bed, capsys, "studies", "correct", "1", "--sex", "M", "--reason", "r")
    assert "delivered before, with the former attributes; the new report will name the old one as predecessor" in told
    assert "1 object of series 1.2.9 lie in /srv/in and can be deleted there" in told
    assert bed.states() == ["delivered", "withdrawn"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("studies list --limit -1", "got '-1', expected a whole number from 1"),
        ("jobs list --limit 0", "got '0', expected a whole number from 1"),
        ("results list --limit x", "got 'x', expected a whole number from 1"),
        ("route replay --last -1", "got '-1', expected a whole number from 1"),
        ("results recall job1 --reason ''", "whoever looks at it later must know why"),
        ("results release job1 --reason ' '", "whoever looks at it later must know why"),
        ("route pause --all --reason ''", "whoever looks at it later must know why"),
        ("results recall '*' --reason r", "'*' is neither a job nor a study"),
        ("results show ''", "'' is no job id"),
        ("jobs cancel 'job?'", "'job?' is no job id"),
        ("studies show ''", "say which study"),
        ("studies fetch 1.2.3 --from nobody", "no peer is called 'nobody'"),
    ],
)
def test_bad_input_changes_nothing_and_says_what_was_expected(
    bed: Bed, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    bed.add_study("1.5")
    try:
        code = wetread(bed, *shlex.split(line))
    except SystemExit as exc:  # argparse
        code = int(str(exc.code))
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert bed.states() == ["pending"]
    assert bed.db.fetch("SELECT * FROM events") == []


def test_results_of_a_held_study_are_not_said_to_be_tried(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    bed.add_study("1.5")
    assert wetread(bed, "studies", "hold", "1", "--reason", "r") == 0
    assert wetread(bed, "results", "retry", "job1") == 2
    assert "is held, so nothing of it is sent: wetread studies release" in capsys.readouterr().err
