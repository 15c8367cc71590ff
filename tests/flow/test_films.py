"""A film goes the whole way: from the folder or the modality to report and card; or is rejected, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from conformance.gate import check_files
from conformance.tree import items, texts
from film_bundle import write_film_bundle
from films import write_film
from peers import Orthanc, WetreadProcess, config, storescu
from waiting import until
from wetread.cli.main import run

CHILDREN = Path(__file__).parents[3] / "shared" / "data" / "pneumoniamnist" / "trainval.npz"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_film_bundle(folder / "film_reader")
    return folder


def named_film(result: Dataset) -> str:
    """SOP Instance UID of the film that a report or card is of."""
    if result.Modality == "SR":
        (image,) = [i for i in items(result) if i.ValueType == "IMAGE"]
        return str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    return str(result.SourceImageSequence[0].ReferencedSOPInstanceUID)


def codes(report: Dataset) -> set[str]:
    return {str(i.ConceptCodeSequence[0].CodeValue) for i in items(report) if i.ValueType == "CODE"}


def read(folder: Path, bundles: Path, out: Path, *options: str) -> int:
    return run(["read", str(folder), "--bundle", str(bundles / "film_reader"), "--out", str(out), *options])


def foreign_complaints(results: list[Path], source: Path) -> list[str]:
    """What the validators say about the results and not about the source already (its physician is called 'ward')."""
    return [str(c) for c in check_files(results, [source]) if "Referring Physician" not in str(c)]


def test_real_film_of_an_adult_is_rejected_with_the_reason(
    adult: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(adult.parent, bundles, tmp_path / "out", "--json") == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["state"], said["code"]) == ("rejected", "no-suitable-series")
    assert said["reason"].startswith(
        "the patient is 64 years old, the bundle was made for 1 to 5 years; no series fits"
    )
    assert "view is PA, expected AP" in said["reason"]
    assert not (tmp_path / "out").exists()


def test_real_film_of_an_adult_in_the_right_view_is_rejected_for_its_age(
    adult: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ds = dcmread(adult)
    ds.ViewPosition = "AP"
    ds.save_as(adult)
    assert read(adult.parent, bundles, tmp_path / "out") == 3
    assert "the patient is 64 years old, the bundle was made for 1 to 5 years" in capsys.readouterr().err


def test_rejection_becomes_a_coded_report_where_it_is_asked_for(
    adult: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(adult.parent, bundles, tmp_path / "out", "--report-rejection", "--json") == 3
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "rejected"
    (path,) = sorted((tmp_path / "out").glob("*.dcm"))
    report = dcmread(path)
    assert "111245" in codes(report)
    assert "view is PA, expected AP" in texts(report)
    assert foreign_complaints([path], adult) == []


def test_real_film_outside_the_intended_use_is_read_and_every_object_says_so(
    adult: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(adult.parent, bundles, tmp_path / "out", "--outside-intended-use", "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)["reads"]
    reasons = ("view is PA, expected AP", "the patient is 64 years old")
    assert all(any(reason in warning for warning in said["warnings"]) for reason in reasons)
    paths = sorted((tmp_path / "out").glob("*.dcm"))
    assert [path.name for path in paths] == ["sc-1.dcm", "sr-1.dcm"]
    card, report = map(dcmread, paths)
    for result in (card, report):
        assert result.SeriesDescription.endswith("NOT REVIEWED, OUTSIDE INTENDED USE")
    assert all(f"{reason}" in texts(report) for reason in reasons)
    assert foreign_complaints(paths, adult) == []
    # MONOCHROME1: the collimated corners are black, the spine is brighter than the lung beside it.
    grey = card.pixel_array[..., 0].astype(int)
    spine, lung = grey[250:400, 245:265].mean(), grey[180:260, 120:180].mean()
    assert spine > lung + 40


@pytest.mark.shared_data
@pytest.mark.skipif(not CHILDREN.is_file(), reason="the children's films are not beside the checkout")
def test_film_of_a_child_is_read_to_report_and_card(bundles: Path, tmp_path: Path) -> None:
    picture = np.load(CHILDREN)["val_images"][0] / 255.0
    film = write_film(tmp_path / "child", upright=picture, orientation=("R", "F"), bits=(8, 8), monochrome1=True)
    assert read(film.folder, bundles, tmp_path / "out") == 0
    paths = sorted((tmp_path / "out").glob("*.dcm"))
    assert [path.name for path in paths] == ["sc-1.dcm", "sr-1.dcm"]
    assert [str(c) for c in check_files(paths, [film.path])] == []
    assert "OUTSIDE" not in dcmread(paths[1]).SeriesDescription


def test_films_of_one_study_are_each_read_or_passed_over_with_the_reason(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them is cut short: that one is rejected, the others are read."""
    folder = tmp_path / "study"
    write_film(folder, number=1)
    write_film(folder, number=2, view="LL")
    write_film(folder, number=3)

    def cut(ds: Dataset) -> None:
        ds.PixelData = ds.PixelData[:500]

    write_film(folder, number=4, mutate=cut)
    assert read(folder, bundles, tmp_path / "out", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [r["state"] for r in said["reads"]] == ["done", "done", "rejected"]
    assert said["reads"][2]["code"] == "truncated-pixels"
    assert len({r["series"][0]["film"] for r in said["reads"]}) == 3
    assert len(said["passed_over"]) == 1
    assert "instance 2): passed over for 'film', view is LL, expected AP" in said["passed_over"][0]


def test_patient_of_unknown_age_is_read_only_where_that_is_accepted(bundles: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "study", birth_date="")
    assert read(film.folder, bundles, tmp_path / "out") == 3
    assert read(film.folder, bundles, tmp_path / "out", "--accept-unknown-age") == 0
    assert "OUTSIDE" not in dcmread(tmp_path / "out" / "sr-1.dcm").SeriesDescription


@pytest.fixture
def service(bundles: Path, orthanc: Orthanc, tmp_path: Path) -> Iterator[WetreadProcess]:
    """A route for chest films that also sends why it does not read one; the PACS runs."""
    orthanc.start()
    toml = config(bundles, pacs_port=orthanc.dicom_port, route="send_rejections = true")
    toml = toml.replace('bundle = "threshold"', 'bundle = "film_reader"').replace('"MR" in', '"CR" in')
    assert "film_reader" in toml
    process = WetreadProcess(tmp_path / "wetread", toml)
    process.start()
    yield process
    process.stop()


@pytest.mark.peer
def test_film_sent_by_dcmtk_comes_back_to_orthanc_as_report_and_card(
    service: WetreadProcess, orthanc: Orthanc, tmp_path: Path
) -> None:
    """Two films fit, one is a lateral view: two reads, each of its own film."""
    films = [write_film(tmp_path / "study", number=n, view="LL" if n == 2 else "AP").path for n in (1, 2, 3)]
    sent = storescu(service.port, films)
    assert sent.returncode == 0, sent.stderr
    study = service.wait_for_state("read")
    assert [job["state"] for job in study["jobs"]] == ["done", "done"]
    verdicts = "\n".join(study["decisions"][0]["verdicts"])
    assert "instance 2 (SOP Instance UID" in verdicts
    assert "passed over for 'film', view is LL, expected AP" in verdicts
    until(lambda: len(orthanc.instances()) == 4, what="two reports and two cards are in Orthanc")
    results = orthanc.fetch({"SR", "OT"}, tmp_path / "fetched")
    for film in (films[0], films[2]):
        of_film = [path for path in results if named_film(dcmread(path)) == str(dcmread(film).SOPInstanceUID)]
        assert sorted(dcmread(path).Modality for path in of_film) == ["OT", "SR"]
        assert [str(c) for c in check_files(of_film, [film])] == []


@pytest.mark.peer
def test_rejection_by_the_route_and_by_the_read_reach_the_pacs_as_reports(
    service: WetreadProcess, orthanc: Orthanc, tmp_path: Path
) -> None:
    view = write_film(tmp_path / "view", seed="view", view="PA")  # the route says no
    age = write_film(tmp_path / "age", seed="age", birth_date="19600101")  # the read says no
    storescu(service.port, [view.path, age.path])
    until(lambda: service.states() == ["rejected", "rejected"], timeout_s=90, what="both are rejected")
    until(lambda: len(orthanc.instances()) == 2, what="both reports are in Orthanc")
    fetched = orthanc.fetch({"SR"}, tmp_path / "fetched")
    reports = {str(dcmread(path).StudyInstanceUID): path for path in fetched}
    for film, reason in ((view, "view is PA, expected AP"), (age, "the patient is 66 years old")):
        path = reports[str(dcmread(film.path).StudyInstanceUID)]
        assert "111245" in codes(dcmread(path))
        assert reason in texts(dcmread(path))
        assert [str(c) for c in check_files([path], [film.path])] == []
