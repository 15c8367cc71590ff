"""Renditions at real peers: what an association accepts decides; an archive takes both and gives them back equal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest

from bundles import KIDNEYS
from conformance.cases import CASES, read_case
from peers import HOST, Orthanc, WetreadProcess, free_port, require, storescu
from phantoms import write_series
from waiting import until
from wetread.db import Database
from wetread.deliver.rendition import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, LABEL_MAP_SEGMENTATION, SEGMENTATION
from wetread.dimse.scu import Remote, accepted_classes, echo, send_files
from wetread.encode.read_back import read_segmentation
from wetread.errors import DestinationUnavailable
from wetread.records.result import Rendition

pytestmark = pytest.mark.peer

ALL = frozenset({LABEL_MAP_SEGMENTATION, COMPREHENSIVE_3D_SR, SEGMENTATION, COMPREHENSIVE_SR})


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    """DCMTK's storage SCP, which knows the classes of its year; ``-pm`` takes any."""
    folder.mkdir()
    port = free_port()
    command = [require("/usr/bin/storescp"), *options, "-aet", "ORTHANC", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, env={"TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), what="storescp answers")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _answers(port: int) -> bool:
    try:
        echo(Remote(HOST, port, "ORTHANC", timeout_s=5.0))
    except DestinationUnavailable:
        return False
    return True


def _classes(folder: Path) -> set[str]:
    files = [path for path in folder.iterdir() if path.is_file()]
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID) for path in files}


def test_association_tells_which_classes_a_peer_accepts(tmp_path: Path) -> None:
    with storescp(tmp_path / "old") as port:
        assert accepted_classes(Remote(HOST, port, "ORTHANC"), ALL) == ALL - {LABEL_MAP_SEGMENTATION}
    with storescp(tmp_path / "any", "-pm") as port:
        assert accepted_classes(Remote(HOST, port, "ORTHANC"), ALL) == ALL
    with pytest.raises(DestinationUnavailable):
        accepted_classes(Remote(HOST, port, "ORTHANC"), ALL)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        pytest.param([], {SEGMENTATION, COMPREHENSIVE_SR}, id="refuses label maps"),
        pytest.param(["-pm"], {LABEL_MAP_SEGMENTATION, COMPREHENSIVE_3D_SR}, id="accepts label maps"),
    ],
)
def test_results_arrive_in_the_rendition_that_the_peer_accepts_and_in_no_other(
    wetread: Callable[..., WetreadProcess], tmp_path: Path, options: Sequence[str], wanted: set[str]
) -> None:
    taken = tmp_path / "taken"
    with storescp(taken, *options) as port:
        process = wetread(pacs_port=port)
        assert storescu(process.port, write_series(tmp_path / "study").paths).returncode == 0
        process.wait_for_state("read")
    assert _classes(taken) & ALL == wanted


def test_peer_is_asked_while_its_first_study_comes_and_no_other_rendition_is_encoded(
    wetread: Callable[..., WetreadProcess], tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "study").paths
    with storescp(tmp_path / "taken") as port:
        process = wetread(pacs_port=port, quiet_s=60.0, ct1="complete_on_release = true")
        database = Database(process.data / "wetread.db")
        asked = "SELECT 1 FROM events WHERE action = 'negotiated'"
        # After the first of its instances, in the middle of the association.
        reports = send_files(
            Remote(HOST, process.port, "WETREAD", "CT1"),
            paths,
            on_report=lambda _report: until(lambda: database.fetch(asked), what="the PACS was asked"),
        )
        assert all(report.accepted for report in reports)
        study = process.wait_for_state("read")
    (job,) = study["jobs"]
    assert {r["rendition"] for r in process.overview.job(job["id"])["results"]} == {"common"}


@pytest.mark.parametrize("rendition", Rendition)
def test_orthanc_takes_and_gives_back_every_object_of_a_rendition(
    rendition: Rendition, orthanc: Orthanc, tmp_path: Path
) -> None:
    """Label maps are younger than Debian's Orthanc: it takes them when told to take classes it does not know."""
    orthanc.unknown_classes = rendition is Rendition.MODERN
    orthanc.start()
    case = read_case(tmp_path, KIDNEYS, rendition=rendition)
    remote = Remote(HOST, orthanc.dicom_port, "ORTHANC")
    assert [r.answer for r in send_files(remote, case.paths(), in_order=True)] == [""] * len(case.paths())
    (back,) = orthanc.fetch({"SEG"}, tmp_path / "back")
    found = read_segmentation(back, case.context.image)
    assert np.array_equal(found.array, case.context.reading.output.array)
    assert str(pydicom.dcmread(back).SOPClassUID) == case.results[0].sop_class_uid


@pytest.mark.parametrize("rendition", Rendition)
@pytest.mark.parametrize("name", ["axial", "oblique", "reversed"])
def test_mask_is_read_back_voxel_for_voxel_from_either_rendition(
    name: str, rendition: Rendition, tmp_path: Path
) -> None:
    case = read_case(tmp_path, KIDNEYS, **CASES[name], rendition=rendition)
    found = read_segmentation(case.paths("SEG")[0], case.context.image)
    assert np.array_equal(found.array, case.context.reading.output.array)
