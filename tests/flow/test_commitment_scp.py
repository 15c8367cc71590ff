"""Storage commitment as its provider: a modality asks Wetread, which asks the archive; the modality hears the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pynetdicom import AE
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from listening import CT1, Listen, listeners
from peers import HOST, PLAIN, Orthanc, WetreadProcess, config, free_port, storescu
from phantoms import write_series
from waiting import until
from wetread.db import Database
from wetread.dimse.commitment import CommitmentRequest, ask_commitment
from wetread.dimse.scu import Remote, send_files
from wetread.errors import DestinationUnavailable
from wetread.receive.admission import Sender

CT = "1.2.840.10008.5.1.4.1.1.2"


class Site:
    """Orthanc as modality, Wetread, Orthanc as archive; each knows its neighbours."""

    def __init__(self, folder: Path, bundles: Path) -> None:
        port = free_port()
        self.archive = Orthanc(folder / "archive", knows=port)
        self.modality = Orthanc(folder / "modality", ae_title="CT1", knows=port)
        ct1 = f'host = "{HOST}"\nport = {self.modality.dicom_port}\ncommitment_through = "pacs"'
        toml = config(
            bundles, pacs_port=self.archive.dicom_port, mode="off", ct1=ct1, pacs="commitment = true", quiet_s=60.0
        )
        self.wetread = WetreadProcess(folder / "wetread", toml, port=port, program=PLAIN)

    def start(self) -> None:
        for part in (self.archive, self.modality, self.wetread):
            part.start()

    def stop(self) -> None:
        for part in (self.wetread, self.modality, self.archive):
            part.stop()

    def ask(self, paths: list[Path]) -> str:
        """The modality asks; the path of its question in its REST API."""
        headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in paths]
        named = [{"SOPClassUID": str(h.SOPClassUID), "SOPInstanceUID": str(h.SOPInstanceUID)} for h in headers]
        url = f"http://{HOST}:{self.modality.http_port}/modalities/wetread/storage-commitment"
        answer = requests.post(url, json={"DicomInstances": named}, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["Path"])

    def answer(self, question: str) -> dict[str, Any]:
        """What the modality heard, once it has heard something."""
        return until(
            lambda: next((a for a in [self.modality.get(question)] if a["Status"] != "Pending"), None),
            what="the modality hears the report",
        )


@pytest.fixture
def site(tmp_path: Path, threshold_bundles: Path) -> Iterator[Site]:
    site = Site(tmp_path, threshold_bundles)
    yield site
    site.stop()


@pytest.mark.peer
def test_modality_hears_success_for_what_the_archive_has_and_failure_for_the_rest(site: Site, tmp_path: Path) -> None:
    site.start()
    paths = list(write_series(tmp_path / "study", shape=(3, 16, 16)).paths)
    uids = [str(pydicom.dcmread(p).SOPInstanceUID) for p in paths]
    assert storescu(site.wetread.port, paths).returncode == 0, "Wetread has all three, which proves nothing"
    archive = Remote(HOST, site.archive.dicom_port, "ORTHANC")
    assert all(r.accepted for r in send_files(archive, paths[:2]))
    heard = site.answer(site.ask(paths))
    assert heard["Status"] == "Failure"
    assert {s["SOPInstanceUID"] for s in heard["Success"]} == set(uids[:2])
    assert [(f["SOPInstanceUID"], 0x0112 in f.values()) for f in heard["Failures"]] == [(uids[2], True)]
    assert send_files(archive, paths[2:])[0].accepted
    heard = site.answer(site.ask(paths))
    assert (heard["Status"], len(heard["Success"])) == ("Success", 3)
    until(lambda: _told(site.wetread.data)[-1:] == ["ct1 was told that pacs has committed to 3 of 3 instances"])


@pytest.mark.peer
def test_request_acknowledged_before_kill_is_answered_after_restart(site: Site, tmp_path: Path) -> None:
    for part in (site.modality, site.wetread):
        part.start()
    paths = list(write_series(tmp_path / "study", shape=(2, 16, 16)).paths)
    question = site.ask(paths)  # the archive is away
    site.wetread.kill()
    assert site.modality.get(question)["Status"] == "Pending"
    site.archive.start()
    archive = Remote(HOST, site.archive.dicom_port, "ORTHANC")
    assert all(r.accepted for r in send_files(archive, paths))
    site.wetread.start()
    assert site.answer(question)["Status"] == "Success"


def _told(data: Path) -> list[str]:
    database = Database(data / "wetread.db")
    rows = database.fetch("SELECT detail FROM events WHERE action = 'commitment_told' ORDER BY id")
    database.close()
    return [row["detail"] for row in rows]


@pytest.fixture
def listen() -> Iterator[Listen]:
    yield from listeners()


def test_peer_that_may_not_ask_is_refused(listen: Listen) -> None:
    port, kept = listen(senders=(CT1,))
    with pytest.raises(DestinationUnavailable, match="0x0124"):
        ask_commitment(Remote(HOST, port, "WETREAD", "CT1"), "1.2.3", [(CT, "1.5")], wait_s=0.0)
    assert kept.asked == []


@pytest.mark.parametrize("reader", ["blocking", "pynetdicom"])
def test_request_is_kept_with_the_name_of_its_peer_and_answered_by_no_report_yet(listen: Listen, reader: str) -> None:
    port, kept = listen(senders=(Sender("ct1", "CT1", ("127.0.0.1/32",), may_ask_commitment=True),), reader=reader)
    assert ask_commitment(Remote(HOST, port, "WETREAD", "CT1"), "1.2.3", [(CT, "1.5")], wait_s=0.0) is None
    assert kept.asked == [("ct1", CommitmentRequest("1.2.3", ((CT, "1.5"),)))]


@pytest.mark.parametrize(("action", "instances"), [(1, []), (2, [(CT, "1.5")])])
def test_request_without_instances_or_for_another_action_is_invalid(
    listen: Listen, action: int, instances: list[tuple[str, str]]
) -> None:
    port, kept = listen(senders=(Sender("ct1", "CT1", ("127.0.0.1/32",), may_ask_commitment=True),))
    ds = pydicom.Dataset()
    ds.TransactionUID = "1.2.3"
    ds.ReferencedSOPSequence = []
    for sop_class, uid in instances:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        ds.ReferencedSOPSequence.append(item)
    ae = AE(ae_title="CT1")
    ae.add_requested_context(StorageCommitmentPushModel)
    assoc = ae.associate(HOST, port, ae_title="WETREAD")
    status, _ = assoc.send_n_action(ds, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assoc.release()
    assert status.Status == 0x0115
    assert kept.asked == []


def test_request_that_cannot_be_written_is_not_accepted(listen: Listen) -> None:
    port, kept = listen(senders=(Sender("ct1", "CT1", ("127.0.0.1/32",), may_ask_commitment=True),))
    kept.full = True
    with pytest.raises(DestinationUnavailable, match="0x0213"):
        ask_commitment(Remote(HOST, port, "WETREAD", "CT1"), "1.2.3", [(CT, "1.5")], wait_s=0.0)
