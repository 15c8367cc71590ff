"""A study goes in by C-STORE and a coded read comes back: real sender, real service, real PACS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from peers import Orthanc, WetreadProcess, storescu
from phantoms import write_series
from waiting import until

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]
RESULTS = {"SEG", "SR", "OT"}


def _localizer(ds: pydicom.Dataset, _k: int) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def write_study(folder: Path, **options: object) -> list[Path]:
    """A study as a scanner sends it: the T1 series, a localizer and a T2 series."""
    t1 = write_series(folder / "t1", series_seed="t1", **options)
    small = {"shape": (3, 32, 32), "modality": "MR"}
    localizer = write_series(
        folder / "loc", series_seed="loc", series_number=1, description="T1 localizer", mutate=_localizer, **small
    )
    t2 = write_series(folder / "t2", series_seed="t2", series_number=4, description="T2 TSE")
    return [*localizer.paths, *t1.paths, *t2.paths]


@pytest.mark.network
def test_study_sent_by_dcmtk_comes_back_to_orthanc_once(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    """Even though Orthanc holds the study too, and routes it, with our results, back to us whenever it is stable."""
    service = wetread(pacs_port=orthanc.dicom_port)
    orthanc.routes_to = service.port
    orthanc.start()
    paths = write_study(tmp_path / "study", orientation="oblique")
    for port, called in ((service.port, "WETREAD"), (orthanc.dicom_port, "ORTHANC")):
        sent = storescu(port, paths, called=called)
        assert sent.returncode == 0, sent.stderr
    study = service.wait_for_state("read")
    until(lambda: orthanc.modalities() >= RESULTS, what="SEG, SR and SC are in Orthanc")
    results = [i for i in orthanc.instances() if i["Modality"] in RESULTS]

    def came_back() -> int:
        return sum(series["instances"] for series in service.only_study()["series"] if series["role"] == "own")

    until(lambda: came_back() >= len(results), what="Orthanc sent our results back")
    study = service.wait_for_state("read")
    assert [job["state"] for job in study["jobs"]] == ["done"]
    assert study["revision"] == 1
    assert study["instances"] == len(paths)
    assert {s["role"] for s in study["series"] if s["modality"] != "MR"} == {"own"}
    verdicts = "\n".join(study["decisions"][0]["verdicts"])
    assert "'T1 MPRAGE': taken" in verdicts
    assert "'T1 localizer': passed over for 'image', Image Type is LOCALIZER" in verdicts
    assert "'T2 TSE': passed over" in verdicts
    assert len([i for i in orthanc.instances() if i["Modality"] in RESULTS]) == len(results)


def test_shadow_route_reads_and_sends_nothing(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port, mode="shadow")
    storescu(service.port, write_series(tmp_path / "study").paths)
    study = service.wait_for_state("read")
    job = service.overview.job(study["jobs"][0]["id"])
    assert {r["kind"] for r in job["results"]} == {"SEG", "SR", "SC"}
    assert job["deliveries"] == []
    assert orthanc.instances() == []


def test_results_wait_for_a_pacs_that_is_away(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    service = wetread(pacs_port=orthanc.dicom_port)
    storescu(service.port, write_series(tmp_path / "study").paths)
    study = service.wait_for_state("delivering")
    job_id = study["jobs"][0]["id"]
    until(lambda: service.overview.job(job_id)["deliveries"][0]["attempts"] >= 2, what="two failed deliveries")
    assert "cannot be reached" in service.overview.job(job_id)["deliveries"][0]["last_error"]
    orthanc.start()
    service.wait_for_state("read")
    assert orthanc.modalities() == RESULTS


def test_late_instances_make_one_more_read_and_duplicates_none(
    wetread: Start, tmp_path: Path, orthanc: Orthanc
) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port)
    paths = list(write_series(tmp_path / "study").paths)
    storescu(service.port, paths[:20])
    service.wait_for_state("read")
    storescu(service.port, paths[:20])
    storescu(service.port, paths[20:])
    until(lambda: len(service.only_study()["jobs"]) == 2, what="a second read")
    study = service.wait_for_state("read")
    assert study["revision"] == 2
    assert study["instances"] == len(paths)
    assert [job["state"] for job in study["jobs"]] == ["done", "done"]


def test_two_patients_in_one_study_are_held_and_never_read(wetread: Start, tmp_path: Path) -> None:
    def other_patient(ds: pydicom.Dataset, k: int) -> None:
        if k == 5:
            ds.PatientID = "SOMEBODY-ELSE"

    service = wetread()
    storescu(service.port, write_series(tmp_path / "study", mutate=other_patient).paths)
    study = service.wait_for_state("held")
    assert "two patients" in study["reason"]
    assert study["jobs"] == []


def test_refused_sender_is_told_and_listed(wetread: Start, tmp_path: Path) -> None:
    service = wetread(mode="off")
    paths = write_series(tmp_path / "study", shape=(3, 16, 16)).paths
    stranger = storescu(service.port, paths, calling="STRANGER")
    wrong = storescu(service.port, paths, called="OTHER")
    assert "Calling AE Title Not Recognized" in stranger.stderr
    assert "Called AE Title Not Recognized" in wrong.stderr
    until(lambda: len(service.overview.refusals()) == 2)
    details = " ".join(r["reason"] for r in service.overview.refusals())
    assert "'STRANGER' belongs to no peer" in details
    assert "'OTHER' is not ours" in details
    assert service.overview.studies() == []


@pytest.mark.parametrize(
    ("damage", "code", "sentence"),
    [
        ("missing-slice", "missing-slice", "missing"),
        ("no-pixels", "no-pixels", "no Pixel Data"),
        ("truncated", "truncated-pixels", "bytes"),
    ],
)
def test_bad_study_is_rejected_with_the_reason(
    wetread: Start, orthanc: Orthanc, tmp_path: Path, damage: str, code: str, sentence: str
) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port)

    def mutate(ds: pydicom.Dataset, k: int) -> None:
        if damage == "no-pixels" and k == 7:
            del ds.PixelData
        if damage == "truncated" and k == 7:
            ds.PixelData = ds.PixelData[:100]

    paths = list(write_series(tmp_path / "study", mutate=mutate).paths)
    if damage == "missing-slice":
        del paths[9]
    sent = storescu(service.port, paths)
    assert sent.returncode == 0, sent.stderr
    study = service.wait_for_state("rejected")
    job = service.overview.job(study["jobs"][0]["id"])
    assert (job["state"], job["code"]) == ("rejected", code)
    assert sentence in job["reason"]
    assert job["attempts"] == 1
    assert orthanc.instances() == []
    assert study["instances"] == len(paths)


def test_hold_stops_and_release_lets_go_on(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    from wetread.cli.main import run

    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port, quiet_s=2.0)
    phantom = write_series(tmp_path / "study")
    storescu(service.port, phantom.paths)
    until(lambda: service.states() == ["receiving"])
    uid = str(phantom.study_instance_uid)
    assert run(["studies", "hold", uid, "--reason", "name is being corrected", "--config", str(service.config)]) == 0
    service.wait_for_state("held")
    assert run(["studies", "release", uid, "--config", str(service.config)]) == 0
    study = service.wait_for_state("read")
    assert "held" in [e["action"] for e in study["timeline"]]


def test_stored_bit_for_bit_with_provenance(wetread: Start, tmp_path: Path) -> None:
    from wetread.store.part10 import provenance_of

    service = wetread(mode="shadow")
    phantom = write_series(tmp_path / "study", transfer_syntax=pydicom.uid.RLELossless)
    sent = storescu(service.port, phantom.paths, options=["-xr"])
    assert sent.returncode == 0, sent.stderr
    service.wait_for_state("read")
    stored = {
        str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID): p
        for p in (service.data / "spool" / "studies").rglob("*.dcm")
    }
    assert len(stored) == len(phantom.paths)
    for path in phantom.paths:
        original = pydicom.dcmread(path)
        mine = stored[str(original.SOPInstanceUID)]
        assert mine.name.find(str(original.SOPInstanceUID)) == -1
        kept = pydicom.dcmread(mine)
        assert kept.PixelData == original.PixelData
        assert kept.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
        provenance = provenance_of(mine)
        assert provenance is not None
        assert (provenance.peer, provenance.calling_ae_title, provenance.address) == ("ct1", "CT1", "127.0.0.1")


@pytest.mark.network
def test_logs_hold_no_patient_data(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port)
    storescu(service.port, write_series(tmp_path / "study").paths)
    storescu(service.port, write_series(tmp_path / "bad", study_seed="bad", shape=(4, 16, 16)).paths)
    until(lambda: sorted(service.states()) == ["read", "rejected"])
    service.stop()
    events = json.dumps(
        [e for s in service.overview.studies() for e in service.overview.study(s["study_instance_uid"])["timeline"]]
    )
    for secret in ("Phantom", "Petra", "PH-0042", "19800229"):
        assert secret not in service.log()
        assert secret not in events
