"""``wetread studies fetch``: a study or its prior comes from an archive through our own entrances."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from peers import HOST, Orthanc
from phantoms import write_series
from wetread.cli import main
from wetread.config import Config, load_config
from wetread.dimse.scu import Remote, send_files
from wetread.errors import DestinationUnavailable, Misconfigured
from wetread.receive.admission import Sender
from wetread.receive.listener import Callbacks, CalledAe, Listener, ListenerSettings
from wetread.service.fetch import fetch
from wetread.store.part10 import provenance_of
from wetread.store.spool import Spool

CONFIG = """
data_dir = "data"
[api]
enabled = false
[[peers]]
name = "pacs"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {port}
networks = ["127.0.0.1/32"]
query = true
may_send = true
"""


@dataclasses.dataclass
class Site:
    """A spool with a listener before it, and an archive that knows it."""

    folder: Path
    spool: Spool
    orthanc: Orthanc
    studies: int = 0

    def config(self, port: int = 0) -> Config:
        path = self.folder / "wetread.toml"
        path.write_text(CONFIG.format(port=port or self.orthanc.dicom_port))
        return load_config(path)

    def archive(self, name: str, **attributes: str) -> str:
        """A study of three images in the archive; its UID."""
        self.studies += 1
        uid = f"1.2.840.99.{self.studies}"

        def mutate(ds: Dataset, k: int) -> None:
            ds.StudyInstanceUID, ds.SeriesInstanceUID = uid, f"{uid}.1"
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1.{k}"
            ds.PatientID = "P1"
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)

        paths = write_series(self.folder / name, shape=(3, 16, 16), mutate=mutate).paths
        remote = Remote(HOST, self.orthanc.dicom_port, "ORTHANC")
        assert all(r.accepted for r in send_files(remote, paths))
        return uid

    def arrived(self) -> list[tuple[str, str]]:
        """``(Study Instance UID, entrance)`` of everything in the spool."""
        found = []
        for path in self.spool.waiting():
            if path.suffix == ".dcm":
                provenance = provenance_of(path)
                assert provenance is not None
                assert provenance.peer == "pacs"
                found.append((str(pydicom.dcmread(path).StudyInstanceUID), provenance.entrance))
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    spool = Spool(tmp_path / "data" / "spool")
    senders = (Sender("pacs", "ORTHANC", ("127.0.0.1/32",)),)
    callbacks = Callbacks(keep=spool.keep, note=lambda _note: None)
    listener = Listener(ListenerSettings(host=HOST, port=0, called=(CalledAe("WETREAD"),)), senders, callbacks)
    orthanc = Orthanc(tmp_path / "orthanc", knows=listener.start())
    orthanc.start()
    yield Site(tmp_path, spool, orthanc)
    orthanc.stop()
    listener.stop()


@pytest.mark.peer
def test_study_comes_through_the_listener(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    uid = site.archive("a")
    site.archive("b")
    site.config()
    capsys.readouterr()
    assert main.run(["studies", "fetch", uid, "--json", "--config", str(site.folder / "wetread.toml")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"study_instance_uid": uid, "peer": "pacs", "how": "C-MOVE", "completed": 3, "failed": 0}
    assert site.arrived() == [(uid, "c-store")] * 3


@pytest.mark.peer
def test_prior_is_the_latest_earlier_study_of_the_patient_with_the_same_modality(site: Site) -> None:
    now = site.archive("now", StudyDate="20260301")
    site.archive("later", StudyDate="20260401")
    site.archive("old", StudyDate="20200101")
    wanted = site.archive("wanted", StudyDate="20250101")
    site.archive("other-modality", StudyDate="20251201", Modality="CT")
    site.archive("other-patient", StudyDate="20251202", PatientID="P2")
    site.archive("other-birth-date", StudyDate="20251203", PatientBirthDate="19010101")
    site.archive("other-issuer", StudyDate="20251204", IssuerOfPatientID="ELSEWHERE")
    config = site.config()
    fetched = fetch(config, now, prior=True)
    assert (fetched.study_instance_uid, fetched.retrieved.completed) == (wanted, 3)
    assert site.arrived() == [(wanted, "c-store")] * 3
    with pytest.raises(Misconfigured, match="no earlier study of the patient"):
        fetch(config, site.archive("first", StudyDate="20190101"), prior=True)


@pytest.mark.peer
def test_study_nobody_has_is_said(site: Site) -> None:
    with pytest.raises(Misconfigured, match=r"none of pacs has study 1\.2\.3"):
        fetch(site.config(), "1.2.3")


@pytest.mark.peer
def test_archive_that_does_not_know_our_title_is_told_in_its_words(site: Site) -> None:
    uid = site.archive("a")
    site.orthanc.stop()
    site.orthanc.knows = 1  # nobody listens there
    site.orthanc.start()
    with pytest.raises(DestinationUnavailable, match="answered C-MOVE with status"):
        fetch(site.config(), uid)
    assert site.arrived() == []


def test_peer_that_offers_only_c_get_is_asked_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "data" / "spool")
    site = Site(tmp_path, spool, Orthanc(tmp_path / "unused"))
    paths = write_series(tmp_path / "series", shape=(3, 16, 16)).paths
    uid = str(pydicom.dcmread(paths[0]).StudyInstanceUID)
    with getting(paths) as port:
        fetched = fetch(site.config(port), uid)
    assert (fetched.retrieved.how, fetched.retrieved.completed, fetched.retrieved.failed) == ("C-GET", 3, 0)
    assert site.arrived() == [(uid, "c-get")] * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [("query = true", "nobody to ask"), ("may_send = true", r"may not send \(may_send\)")],
)
def test_peer_that_cannot_be_used_is_said_before_anything_is_asked(tmp_path: Path, line: str, message: str) -> None:
    paths = write_series(tmp_path / "series", shape=(1, 16, 16)).paths
    uid = str(pydicom.dcmread(paths[0]).StudyInstanceUID)
    with getting(paths) as port:
        path = tmp_path / "wetread.toml"
        path.write_text(CONFIG.format(port=port).replace(line, ""))
        with pytest.raises(Misconfigured, match=message):
            fetch(load_config(path), uid)


def test_unknown_peer_is_named(tmp_path: Path) -> None:
    site = Site(tmp_path, Spool(tmp_path / "data" / "spool"), Orthanc(tmp_path / "unused"))
    with pytest.raises(Misconfigured, match="no peer is called 'pax'; known: pacs"):
        fetch(site.config(1), "1.2.3", peer_name="pax")


@contextmanager
def getting(paths: tuple[Path, ...]) -> Iterator[int]:
    """An archive with C-FIND and C-GET, without C-MOVE."""

    def on_find(event: Any) -> Iterator[tuple[int, Dataset]]:
        ds = pydicom.dcmread(paths[0])
        answer = Dataset()
        answer.QueryRetrieveLevel = "STUDY"
        answer.StudyInstanceUID, answer.PatientID = ds.StudyInstanceUID, ds.PatientID
        yield 0xFF00, answer

    def on_get(event: Any) -> Iterator[Any]:
        yield len(paths)
        for path in paths:
            yield 0xFF00, pydicom.dcmread(path)

    ae = AE(ae_title="ORTHANC")
    ae.supported_contexts = [
        build_context(StudyRootQueryRetrieveInformationModelFind),
        build_context(StudyRootQueryRetrieveInformationModelGet),
    ]
    ae.add_supported_context(pydicom.dcmread(paths[0]).SOPClassUID, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get)]
    server = ae.start_server((HOST, 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        ae.shutdown()
