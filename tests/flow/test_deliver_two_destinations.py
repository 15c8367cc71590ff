"""Two real destinations at one time: a folder beside an archive that answers, and beside one that does not."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outboxes import PATIENT, Bed, write_object
from peers import HOST, Orthanc
from wetread.deliver.delivery import Delivery
from wetread.deliver.destination import DestinationSettings, PeerAbilities, open_destination
from wetread.deliver.witness import Silence, Witness
from wetread.dimse.scu import Remote, send_files

pytestmark = pytest.mark.peer

BOTH = ("pacs", "inbox")


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def inbox_beside(bed: Bed, port: int) -> Delivery:
    """The folder ``inbox``, which asks the archive at ``port`` whose study it is."""
    remote = Remote(HOST, port, "ORTHANC", timeout_s=1.0)
    archive = open_destination(DestinationSettings("pacs", "dicom", peer="pacs"), remote, PeerAbilities(query=True))
    assert archive.archive is not None
    folder = open_destination(DestinationSettings("inbox", "folder", path=str(bed.folder / "inbox")), None)
    return bed.delivery(folder, name="inbox", witnesses={"pacs": Witness(archive.archive, Silence(bed.hours.clock))})


def files(bed: Bed) -> set[str]:
    return {path.stem for path in (bed.folder / "inbox").glob("*.dcm")}


@contextmanager
def black_hole() -> Iterator[tuple[int, list[socket.socket]]]:
    """A port where connections are taken and nothing is ever said: the port, and the connections so far."""
    taken: list[socket.socket] = []
    with socket.create_server((HOST, 0)) as listening:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listening.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listening.getsockname()[1], taken
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
    for connection in taken:
        connection.close()


def test_folder_waits_for_a_silent_archive_once_and_not_with_each_study(bed: Bed) -> None:
    for n in range(20):
        bed.add_study(f"1.2.840.{n}", destinations=BOTH)
    with black_hole() as (port, taken):
        delivery = inbox_beside(bed, port)
        while delivery.deliver_due():
            pass
        assert len(files(bed)) == 20
        assert len(taken) == 1
    assert bed.states("inbox") == ["delivered"] * 20
    assert len(bed.events("not_asked")) == 20


def test_doubt_of_a_real_archive_holds_the_folder_too(bed: Bed, orthanc: Orthanc) -> None:
    orthanc.start()
    same = bed.add_study("1.2.840.1", destinations=BOTH)
    other = bed.add_study("1.2.840.2", destinations=BOTH)
    named = {same: PATIENT, other: dataclasses.replace(PATIENT, name="Somebody^Else")}
    for number, (study, patient) in enumerate(named.items()):
        write_object(bed.folder / f"{number}.dcm", study, f"1.2.840.77.{number}", patient=patient)
    images = [bed.folder / f"{number}.dcm" for number in range(2)]
    assert all(r.accepted for r in send_files(Remote(HOST, orthanc.dicom_port, "ORTHANC"), images))
    delivery = inbox_beside(bed, orthanc.dicom_port)
    while delivery.deliver_due():
        pass
    assert files(bed) == {"1.2.840.1"}
    assert bed.row("1.2.840.2", "inbox")["hold_reason"] == (
        "patient check: pacs has the study with another patient name"
    )
    assert bed.events("not_asked") == []
