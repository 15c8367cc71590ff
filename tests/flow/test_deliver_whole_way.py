"""Delivery in a running service: an archive that is asked first, takes the results, and commits to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from peers import HOST, Orthanc, WetreadProcess, free_port, storescu
from phantoms import write_series
from waiting import until
from wetread.cli import main
from wetread.dimse.scu import Remote, send_files

pytestmark = pytest.mark.peer


def _strict(process: WetreadProcess) -> None:
    """The archive is asked for the patient before and for commitment after."""
    before = 'name = "pacs"\nae_title = "ORTHANC"'
    assert process.toml.count(before) == 1
    process.toml = process.toml.replace(before, f"{before}\nquery = true\ncommitment = true")


@pytest.fixture
def pair(orthanc: Orthanc, wetread: Callable[..., WetreadProcess]) -> tuple[Orthanc, WetreadProcess]:
    """An archive that knows our port, and the service that knows its."""
    orthanc.knows = free_port()
    orthanc.start()
    process = wetread(pacs_port=orthanc.dicom_port)
    process.stop()
    _strict(process)
    process.port = orthanc.knows
    process.start()
    return orthanc, process


def test_results_are_committed_by_the_archive_or_wait_for_a_person(
    pair: tuple[Orthanc, WetreadProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orthanc, process = pair
    good = write_series(tmp_path / "good", study_seed="good").paths
    assert storescu(process.port, good).returncode == 0
    process.wait_for_state("read")
    uid = str(pydicom.dcmread(good[0]).StudyInstanceUID)

    def verified() -> set[str]:
        (job,) = process.overview.study(uid)["jobs"]
        return {d["verified"] for d in process.overview.job(job["id"])["deliveries"]}

    until(lambda: verified() == {"commitment"}, what="Orthanc has committed")

    def another_name(ds: pydicom.Dataset, _k: int) -> None:
        ds.PatientName = "Somebody^Else"

    other = write_series(tmp_path / "other", study_seed="other").paths
    renamed = write_series(tmp_path / "renamed", study_seed="other", mutate=another_name).paths
    archive = Remote(HOST, orthanc.dicom_port, "ORTHANC")
    assert all(r.accepted for r in send_files(archive, renamed[:1]))
    assert storescu(process.port, other).returncode == 0
    until(lambda: "result held" in process.states(), timeout_s=90.0, what="the result is held")
    held = next(s for s in process.overview.studies() if s["state"] == "result held")
    assert held["reason"] == "patient check: pacs has the study with another patient name"
    assert "Somebody" not in process.log()
    before = len(orthanc.instances())
    capsys.readouterr()
    arguments = ["results", "release", held["study_instance_uid"], "--reason", "asked", "--config", str(process.config)]
    assert main.run([*arguments, "--json"]) == 0
    released = json.loads(capsys.readouterr().out)["released"]
    until(lambda: len(orthanc.instances()) == before + released, what="the released results arrive")
