"""One contract for every destination kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from peers import Orthanc, free_port
from phantoms import write_series
from wetread.deliver.destination import KINDS, Destination, DestinationSettings, open_destination
from wetread.dimse.scu import Remote
from wetread.errors import DestinationUnavailable


@dataclass
class Place:
    """A destination, how to make it unavailable, and what arrived there."""

    destination: Destination
    broken: Destination
    arrived: Callable[[], set[str]]


def _folder(tmp_path: Path) -> Iterator[Place]:
    target = tmp_path / "target"
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    yield Place(
        open_destination(DestinationSettings("f", "folder", path=str(target)), None),
        open_destination(DestinationSettings("f", "folder", path=str(in_the_way / "below")), None),
        lambda: {str(pydicom.dcmread(p).SOPInstanceUID) for p in target.glob("*.dcm")},
    )


def _dicom(tmp_path: Path) -> Iterator[Place]:
    orthanc = Orthanc(tmp_path / "orthanc")
    orthanc.start()
    settings = DestinationSettings("d", "dicom", peer="pacs")
    yield Place(
        open_destination(settings, Remote("127.0.0.1", orthanc.dicom_port, "ORTHANC")),
        open_destination(settings, Remote("127.0.0.1", free_port(), "ORTHANC", timeout_s=2.0)),
        lambda: {i["MainDicomTags"]["SOPInstanceUID"] for i in orthanc.instances()},
    )
    orthanc.stop()


def _dicomweb(tmp_path: Path) -> Iterator[Place]:
    orthanc = Orthanc(tmp_path / "orthanc", dicomweb=True)
    orthanc.start()
    nobody = f"http://127.0.0.1:{free_port()}/dicom-web"
    yield Place(
        open_destination(DestinationSettings("w", "dicomweb", url=orthanc.dicomweb_url), None),
        open_destination(DestinationSettings("w", "dicomweb", url=nobody), None),
        lambda: {i["MainDicomTags"]["SOPInstanceUID"] for i in orthanc.instances()},
    )
    orthanc.stop()


_MAKERS = {"folder": _folder, "dicom": _dicom, "dicomweb": _dicomweb}


def test_every_kind_is_under_contract() -> None:
    assert set(_MAKERS) == set(KINDS)


_PEER = pytest.mark.peer


@pytest.fixture(params=["folder", pytest.param("dicom", marks=_PEER), pytest.param("dicomweb", marks=_PEER)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield from _MAKERS[request.param](tmp_path)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return list(write_series(tmp_path / "series", shape=(3, 16, 16)).paths)


def _uids(paths: list[Path]) -> set[str]:
    return {str(pydicom.dcmread(p).SOPInstanceUID) for p in paths}


def test_accepted_means_arrived_and_again_is_harmless(place: Place, paths: list[Path]) -> None:
    for _ in range(2):
        answers = place.destination.deliver(paths)
        assert [a.accepted for a in answers] == [True] * len(paths)
        assert place.arrived() == _uids(paths)


def test_unavailable_is_raised_not_answered(place: Place, paths: list[Path]) -> None:
    with pytest.raises(DestinationUnavailable):
        place.broken.deliver(paths)


@pytest.mark.peer
def test_refused_sop_class_fails_only_its_own_objects(tmp_path: Path, paths: list[Path]) -> None:
    """Orthanc does not know Label Map Segmentation and refuses that context; the rest must still arrive."""

    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"

    unknown = write_series(tmp_path / "labelmap", shape=(2, 16, 16), series_seed="l", mutate=mutate).paths[0]
    for place in _dicom(tmp_path):
        answers = place.destination.deliver([unknown, *paths])
        assert [a.accepted for a in answers] == [False, True, True, True]
        assert "does not accept SOP class 1.2.840.10008.5.1.4.1.1.66.7" in answers[0].error
        assert place.arrived() == _uids(paths)


@pytest.mark.parametrize("host", ["no-such-host.invalid"])
def test_host_that_cannot_be_resolved_is_said(paths: list[Path], host: str) -> None:
    destination = open_destination(DestinationSettings("d", "dicom", peer="pacs"), Remote(host, 104, "PACS"))
    with pytest.raises(DestinationUnavailable, match="the host name cannot be resolved"):
        destination.deliver(paths)
