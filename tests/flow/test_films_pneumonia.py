"""The shipped pneumonia bundles read films through the real program: a child's to report and card, an adult's not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import ParametricMapStorage

from conformance.gate import check_files
from conformance.tree import items, texts
from films import Film, write_film
from learning import SHIPPED
from peers import Orthanc, WetreadProcess, config, storescu
from waiting import until
from wetread.cli.main import run

SURE = 0.97
"""What the CNN says about its golden film, to two digits."""


@pytest.fixture
def child(tmp_path: Path) -> Film:
    """The golden film of the bundles, of PneumoniaMNIST (CC BY 4.0), with the header of a child of 3 years."""
    picture = np.asarray(Image.open(SHIPPED / "cxr_pneumonia" / "golden" / "film.png"), np.float64) / 255
    return write_film(tmp_path / "child", upright=picture, orientation=("R", "F"), monochrome1=True)


def read(folder: Path, name: str, out: Path, *options: str) -> int:
    return run(["read", str(folder), "--bundle", str(SHIPPED / name), "--out", str(out), "--json", *options])


def certainty(report: Dataset) -> float:
    """Certainty of Finding (111012, DCM), 0 to 1."""
    (found,) = [i for i in items(report) if i.ValueType == "NUM" and i.ConceptNameCodeSequence[0].CodeValue == "111012"]
    return float(found.MeasuredValueSequence[0].NumericValue) / 100


@pytest.mark.parametrize("name", ["cxr_pneumonia", "cxr_pneumonia_vit", "cxr_pneumonia_pair"])
def test_childs_film_becomes_a_report_and_a_card_that_validators_accept(child: Film, name: str, tmp_path: Path) -> None:
    assert read(child.folder, name, tmp_path / "out") == 0
    paths = sorted((tmp_path / "out").glob("*.dcm"))
    assert [path.name for path in paths] == ["sc-1.dcm", "sr-1.dcm"]
    assert [str(c) for c in check_files(paths, [child.path])] == []
    card, report = map(dcmread, paths)
    (golden,) = json.loads((SHIPPED / name / "golden" / "scores.json").read_text())["scores"]
    assert certainty(report) == pytest.approx(golden, abs=0.002)
    assert "Slightly changed 16 times, the image scores" in texts(report)
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert all(result.SeriesDescription.endswith("NOT REVIEWED") for result in (card, report))


def test_adults_film_is_rejected_with_exit_code_3_and_the_reason(
    adult: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(adult.parent, "cxr_pneumonia", tmp_path / "out") == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["state"], said["code"]) == ("rejected", "no-suitable-series")
    assert "view is PA, expected AP" in said["reason"]
    assert not (tmp_path / "out").exists()


def test_adults_film_outside_the_intended_use_is_read_and_every_object_says_so(
    adult: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(adult.parent, "cxr_pneumonia", tmp_path / "out", "--outside-intended-use") == 0
    (said,) = json.loads(capsys.readouterr().out)["reads"]
    reasons = ("view is PA, expected AP", "the patient is 64 years old")
    assert all(any(reason in warning for warning in said["warnings"]) for reason in reasons)
    card, report = map(dcmread, sorted((tmp_path / "out").glob("*.dcm")))
    assert all(result.SeriesDescription.endswith("OUTSIDE INTENDED USE") for result in (card, report))
    assert all(reason in texts(report) for reason in reasons)


@pytest.mark.peer
def test_childs_film_sent_by_dcmtk_comes_back_to_orthanc_as_report_card_and_parametric_map(
    child: Film, orthanc: Orthanc, tmp_path: Path
) -> None:
    orthanc.start()
    toml = config(SHIPPED, pacs_port=orthanc.dicom_port, route="parametric_maps = true")
    toml = toml.replace('bundle = "threshold"', 'bundle = "cxr_pneumonia"')
    service = WetreadProcess(tmp_path / "wetread", toml.replace('"MR" in', '"CR" in'))
    service.start()
    try:
        sent = storescu(service.port, [child.path])
        assert sent.returncode == 0, sent.stderr
        assert [job["state"] for job in service.wait_for_state("read")["jobs"]] == ["done"]
        until(lambda: len(orthanc.instances()) == 3, what="report, card and map are in Orthanc")
    finally:
        service.stop()
    results = orthanc.fetch({"SR", "OT"}, tmp_path / "fetched")
    assert [str(c) for c in check_files(results, [child.path])] == []
    (report,) = [ds for ds in map(dcmread, results) if ds.Modality == "SR"]
    assert certainty(report) == pytest.approx(SURE, abs=0.01)
    (found,) = [ds for ds in map(dcmread, results) if ds.SOPClassUID == ParametricMapStorage]
    film = dcmread(child.path)
    assert (found.Rows, found.Columns) == (film.Rows, film.Columns)
    assert np.frombuffer(found.FloatPixelData, np.float32).max() == 1.0
