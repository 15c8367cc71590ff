"""From signature to withdrawal beside a running service: its signed read becomes training data, and is gone again."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from peers import WetreadProcess
from phantoms import Patient, write_series
from reader import HOSPITAL, JANE, ReadersProgram, decision
from wetread.cli.main import run

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]
PETRA = Patient(name="Secret^Petra", id="MRN-4711-X", birth_date="19311231", age="094Y")


def test_signed_read_of_a_running_service_is_exported_measured_and_withdrawn(
    wetread: Start, threshold_bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom = write_series(tmp_path / "study", orientation="oblique", patient=PETRA)
    service = wetread(api="", route="learn = true")
    jane = ReadersProgram(service)
    study = jane.upload(phantom.paths)
    job = jane.wait_for_job(study, of_route="t1")
    out = tmp_path / "out"
    command = ["learn", "export", "--out", str(out), "--config", str(service.config), "--json"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out) == {"exports": []}, "what nobody signed is not exported"

    jane.hold(job)
    jane.decide(job, decision(jane.result(job)["findings"][0]["tracking_uid"], "accept", "seen by the mayor"))
    assert jane.sign(job).status_code == 201
    assert run(command) == 0
    (done,) = json.loads(capsys.readouterr().out)["exports"]
    assert (done["bundle"], done["cases"], done["left_out"]) == ("threshold", 1, {})
    header = dcmread(phantom.paths[0])
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 4
    written = b"".join(gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files)
    who = ("MRN-4711-X", "Secret", "Petra", "19311231", "094Y", JANE, HOSPITAL, "mayor", header.StudyDate, study, job)
    more = (header.SeriesInstanceUID, header.SOPInstanceUID, header.FrameOfReferenceUID)
    names = "\n".join(map(str, files)).encode()
    assert [word for word in (*who, *more) if word.encode() in written + names] == []

    bundle = str(threshold_bundles / "threshold")
    assert run(["bundle", "evaluate", bundle, "--data", str(out / "threshold"), "--engine", "torch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dice"] == 1.0

    withdraw = ["learn", "withdraw", "--patient", PETRA.id, "--config", str(service.config), "--json"]
    assert run(withdraw) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(e["id"], e["cases"], e["deleted"]) for e in said["exports"]] == [(done["id"], 1, True)]
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["cases.csv", "export.json"]
    with (out / "threshold" / "cases.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == []
    assert run([*command[:3], str(tmp_path / "again"), *command[4:]]) == 0
    (again,) = json.loads(capsys.readouterr().out)["exports"]
    assert (again["cases"], again["left_out"]) == (0, {"withdrawn": 1})
    actions = [event["action"] for event in jane.get(f"/studies/{study}")["timeline"]]
    assert actions.count("learning_exported") == 1
