"""The radiologist's button, from the upload to the signed report in the PACS: real service, real PACS, real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from conformance import own_checks
from conformance.gate import check_files
from peers import PLAIN, Orthanc, WetreadProcess
from phantoms import write_series
from reader import JOHN, ReadersProgram, decision
from waiting import until
from wetread.encode.read_back import read_segmentation
from wetread.images.volume import read_volume

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]
SEND = 'destinations = ["pacs"]\nresearch = true'


def test_uploaded_study_is_read_reviewed_signed_and_only_then_in_the_pacs(
    wetread: Start, orthanc: Orthanc, tmp_path: Path
) -> None:
    orthanc.start()
    phantom = write_series(tmp_path / "study", orientation="oblique")
    service = wetread(pacs_port=orthanc.dicom_port, mode="off", api=SEND)
    jane = ReadersProgram(service)
    study = jane.upload(phantom.paths)
    assert study == phantom.study_instance_uid
    fitting = jane.get(f"/studies/{study}/bundles")
    assert [(b["bundle"], b["fits"]) for b in fitting] == [("threshold", True)]
    job = jane.read(study)

    result = jane.result(job)
    assert (result["status"], result["patient"]["patient_id"]) == ("preliminary", dcmread(phantom.paths[0]).PatientID)
    (finding,) = result["findings"]
    labels = jane.labels(job)
    volume = read_volume(phantom.series(), min_slices=2)
    seg = next(o for o in jane.get(f"/jobs/{job}/objects") if o["kind"] == "SEG")
    path = tmp_path / "seg.dcm"
    path.write_bytes(jane.http.get(f"/jobs/{job}/objects/{seg['sop_instance_uid']}").content)
    assert np.array_equal(labels, read_segmentation(path, volume).array)  # one structure: its number is its value
    _check_place(finding, labels, result)
    assert orthanc.instances() == []

    assert jane.hold(job).status_code == 200
    assert jane.decide(job, decision(finding["tracking_uid"], "accept")).status_code == 200
    signed = jane.sign(job)
    assert signed.status_code == 201, signed.text
    until(lambda: orthanc.modalities() == {"SEG", "SR"}, what="segmentation and signed report are in Orthanc")
    service.wait_for_state("read")
    there = orthanc.fetch({"SEG", "SR"}, tmp_path / "pacs")
    assert len(there) == 2
    report = next(dcmread(p) for p in there if p.name.startswith("SR"))
    assert own_checks.is_signed(report)
    assert report.SOPInstanceUID in {r["sop_instance_uid"] for r in signed.json()["reports"]}
    before = jane.never_sent(job, report.SOPInstanceUID, tmp_path)
    assert check_files([*there, *before], list(phantom.paths)) == []
    assert jane.result(job)["status"] == "signed"


def test_routed_study_is_in_the_pacs_at_once_and_the_signed_report_follows_it(
    wetread: Start, orthanc: Orthanc, tmp_path: Path
) -> None:
    orthanc.start()
    phantom = write_series(tmp_path / "study")
    service = wetread(pacs_port=orthanc.dicom_port, api="")
    jane, john = ReadersProgram(service), ReadersProgram(service, JOHN)
    study = jane.upload(phantom.paths)
    job = jane.wait_for_job(study, of_route="t1")
    until(lambda: orthanc.modalities() >= {"SEG", "SR", "OT"}, what="the preliminary read is in Orthanc")
    # The button finds the read that is there.
    assert jane.http.post("/jobs", json={"study_instance_uid": study, "bundle": "threshold"}).json()["id"] == job

    uid = jane.result(job)["findings"][0]["tracking_uid"]
    jane.hold(job)
    assert john.hold(job).status_code == 409
    assert john.hold(job).json()["holder"]["reader"] == jane.reader
    refused = john.decide(job, decision(uid, "reject"))
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:wetread:problem:held-by-another")
    assert john.hold(job, take_over=True).status_code == 200
    assert jane.decide(job, decision(uid, "accept")).status_code == 409
    assert jane.sign(job).status_code == 409
    john.decide(job, decision(uid, "reject", "motion"))
    assert john.sign(job, headers={"If-Match": '"0"'}).status_code == 412
    assert john.sign(job).status_code == 201
    assert john.sign(job).status_code == 409
    until(lambda: len([i for i in orthanc.instances() if i["Modality"] == "SR"]) == 2, what="the signed report follows")
    reports = [dcmread(p) for p in orthanc.fetch({"SR"}, tmp_path / "pacs")]
    final = next(r for r in reports if r.PreliminaryFlag == "FINAL")
    assert uid not in final.to_json()
    review = john.get(f"/jobs/{job}/review")
    assert (review["state"], review["findings"][0]["comment"]) == ("signed", "motion")
    actions = [e["action"] for e in john.get(f"/studies/{study}")["timeline"]]
    assert actions.count("finding_rejected") == 1
    assert "signed" in actions


def test_revision_of_the_study_marks_what_was_signed_as_superseded(wetread: Start, tmp_path: Path) -> None:
    paths = list(write_series(tmp_path / "study").paths)
    service = wetread(mode="off", api="")
    jane = ReadersProgram(service)
    study = jane.upload(paths[:20])
    job = jane.read(study)
    jane.hold(job)
    assert jane.sign(job).json()["type"] == "urn:wetread:problem:undecided"
    assert jane.sign(job, undecided_ok=True).status_code == 201
    other = write_series(tmp_path / "other", series_seed="t2", series_number=4, description="T2 TSE").paths
    jane.upload(other)
    until(lambda: jane.get(f"/studies/{study}")["revision"] == 2, what="a second revision")
    assert jane.get(f"/jobs/{job}/review")["superseded"] is False, "what the bundle reads did not change"
    jane.upload(paths[20:])
    until(lambda: jane.get(f"/jobs/{job}/review")["superseded"], what="the signed read is superseded")
    assert jane.get(f"/jobs/{job}")["signed_superseded_at"]
    again = jane.read(study)
    assert again != job
    jane.hold(again)
    assert jane.sign(again, undecided_ok=True).status_code == 201
    signed = [o for o in jane.get(f"/jobs/{again}/objects") if o["signed"]]
    (tmp_path / "signed.dcm").write_bytes(
        jane.http.get(f"/jobs/{again}/objects/{signed[0]['sop_instance_uid']}").content
    )
    earlier = jane.get(f"/jobs/{job}/review")["signed"]["sop_instance_uid"]
    named = dcmread(tmp_path / "signed.dcm").PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    # A read that a person asked for anew takes no place by itself; the earlier report stays marked as superseded.
    assert earlier not in {str(o.ReferencedSOPInstanceUID) for s in named for o in s.ReferencedSOPSequence}


def test_private_service_for_one_reader_ends_with_its_parent(threshold_bundles: Path, tmp_path: Path) -> None:
    data = tmp_path / "home"
    data.mkdir()
    (data / "bundles").symlink_to(threshold_bundles)
    command = [sys.executable, *PLAIN, "serve", "--private", "--data", str(data)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    token_file = Path(ready["token_file"])
    assert token_file.stat().st_mode & 0o777 == 0o600
    service = WetreadProcess(tmp_path, "", api=ready["url"])
    jane = ReadersProgram(service, token=token_file.read_text().strip())
    job = jane.read(jane.upload(write_series(tmp_path / "study").paths))
    assert jane.result(job)["findings"]
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    process.stdout.close()


def _check_place(finding: dict[str, object], labels: np.ndarray, result: dict[str, object]) -> None:
    """A jump ends inside the finding, on its own slice."""
    place = finding["place"]
    affine = np.array(result["input"]["affine"])
    index = np.linalg.inv(affine) @ [*place["centre_mm"], 1.0]
    k, row, column = np.rint(index[:3]).astype(int)
    assert np.allclose(index[:3], [k, row, column], atol=1e-3)
    assert labels[k, row, column] == finding["label_value"]
    assert place["slice_number"] == k + 1
    assert result["input"]["sop_instance_uids"][k] == place["sop_instance_uid"]
