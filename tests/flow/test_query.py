"""Asking a PACS by C-FIND: Orthanc, and peers that answer badly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from peers import HOST, Orthanc, free_port, storescu
from phantoms import write_series
from wetread.dimse.query import find_instances, find_series, find_studies
from wetread.dimse.scu import Remote
from wetread.errors import DestinationUnavailable

pytestmark = pytest.mark.peer

Answers = Iterator[tuple[int, Dataset | None]]


@contextmanager
def peer(
    answer: Callable[[Any], Answers],
    *,
    offers: str = StudyRootQueryRetrieveInformationModelFind,
    timeout_s: float = 4.0,
) -> Iterator[Remote]:
    """A query provider that answers as the test says."""
    ae = AE(ae_title="ODD")
    ae.add_supported_context(offers)
    server = ae.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    try:
        yield Remote(HOST, server.socket.getsockname()[1], "ODD", timeout_s=timeout_s)
    finally:
        server.shutdown()


def _study(uid: str, **attributes: object) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    ds.StudyInstanceUID = uid
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def test_orthanc_tells_patient_accession_and_counts(orthanc: Orthanc, tmp_path: Path) -> None:
    def mutate(ds: Dataset, _k: int) -> None:
        ds.AccessionNumber = "A-77"

    orthanc.start()
    one = write_series(tmp_path / "one", shape=(5, 16, 16), series_seed="one", mutate=mutate)
    two = write_series(tmp_path / "two", shape=(3, 16, 16), series_seed="two", mutate=mutate)
    other = write_series(tmp_path / "other", shape=(2, 16, 16), study_seed="other")
    assert storescu(orthanc.dicom_port, [*one.paths, *two.paths, *other.paths], called="ORTHANC").returncode == 0
    remote = Remote(HOST, orthanc.dicom_port, "ORTHANC")
    source = pydicom.dcmread(one.paths[0])

    (study,) = find_studies(remote, one.study_instance_uid)
    assert study.study_instance_uid == one.study_instance_uid
    assert (study.patient.patient_id, study.patient.name) == (source.PatientID, str(source.PatientName))
    assert (study.patient.birth_date, study.patient.sex) == (source.PatientBirthDate, source.PatientSex)
    assert study.accession_number == "A-77"
    assert (study.series, study.instances) == (2, 8)

    found = {s.series_instance_uid: (s.modality, s.instances) for s in find_series(remote, one.study_instance_uid)}
    second = pydicom.dcmread(two.paths[0])
    assert found == {source.SeriesInstanceUID: ("MR", 5), second.SeriesInstanceUID: ("MR", 3)}

    uids = {str(pydicom.dcmread(p).SOPInstanceUID) for p in two.paths}
    assert find_instances(remote, one.study_instance_uid, second.SeriesInstanceUID) == uids
    assert find_studies(remote, "1.2.3.4") == ()
    assert find_series(remote, "1.2.3.4") == ()


def test_what_a_peer_returns_of_other_studies_is_not_taken(tmp_path: Path) -> None:
    def everything(_event: Any) -> Answers:
        yield 0xFF00, _study("1.2.3", PatientID="A")
        yield 0xFF01, _study("1.2.4", PatientID="B")
        yield 0xFF00, _study("1.2.3", PatientID="C", NumberOfStudyRelatedInstances="7")

    with peer(everything) as remote:
        found = find_studies(remote, "1.2.3")
    assert [(s.patient.patient_id, s.instances) for s in found] == [("A", None), ("C", 7)]


def test_failure_status_is_told_in_the_peers_words() -> None:
    def busy(_event: Any) -> Answers:
        ds = Dataset()
        ds.Status = 0xA700
        ds.ErrorComment = "database is being repaired"
        yield ds, None  # type: ignore[misc]

    with peer(busy) as remote, pytest.raises(DestinationUnavailable, match="0xA700 database is being repaired"):
        find_studies(remote, "1.2.3")


def test_silent_peer_is_given_up_after_its_time_out() -> None:
    let_go = threading.Event()

    def hang(_event: Any) -> Answers:
        let_go.wait(30)
        yield 0x0000, None

    with peer(hang) as remote:
        try:
            with pytest.raises(DestinationUnavailable, match="gave no answer to a query within 4 s"):
                find_studies(remote, "1.2.3")
        finally:
            let_go.set()


def test_peer_that_never_stops_answering_is_given_up() -> None:
    ended = threading.Event()

    def endless(event: Any) -> Answers:
        while not (ended.is_set() or event.is_cancelled or not event.assoc.is_established):
            yield 0xFF00, _study("1.2.3")

    with peer(endless) as remote:
        try:
            with pytest.raises(DestinationUnavailable, match="still answering a query after 4 s"):
                find_studies(remote, "1.2.3")
        finally:
            ended.set()


def test_peer_without_query_service_is_named_as_such() -> None:
    with peer(lambda _e: iter(()), offers=Verification) as remote:
        expected = r"ODD at .* does not offer what was asked for \(Study Root Query/Retrieve.* FIND\)"
        with pytest.raises(DestinationUnavailable, match=expected):
            find_studies(remote, "1.2.3")


def test_peer_that_is_away_cannot_be_reached() -> None:
    with pytest.raises(DestinationUnavailable, match="cannot be reached"):
        find_studies(Remote(HOST, free_port(), "AWAY", timeout_s=1.0), "1.2.3")


def test_peer_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    with socket.socket() as mute:
        mute.bind((HOST, 0))
        mute.listen()
        with pytest.raises(DestinationUnavailable):
            find_studies(Remote(HOST, mute.getsockname()[1], "MUTE", timeout_s=1.0), "1.2.3")
