"""``wetread send`` to DCMTK's receiver: what is sent arrives, and what is not sent is named with the reason."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from peers import HOST, free_port, require
from phantoms import write_series
from waiting import until
from wetread.cli.main import run

pytestmark = pytest.mark.peer


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """DCMTK's ``storescp``: its port, and where it stores."""
    folder, port = tmp_path / "stored", free_port()
    folder.mkdir()
    with (tmp_path / "storescp.log").open("wb") as log:
        command = [require("/usr/bin/storescp"), "-od", str(folder), str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    until(lambda: _listens(port), what="storescp listens")
    yield port, folder
    process.terminate()
    process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """One good instance among what lies in the folders of people."""
    folder = tmp_path / "mixed"
    first, nameless, cut, unclassed = write_series(folder, shape=(4, 16, 16)).paths
    first.rename(folder / "good.dcm")
    ds = pydicom.dcmread(nameless)
    del ds.StudyInstanceUID
    ds.save_as(folder / "no_study")
    nameless.unlink()
    cut.rename(folder / "cut.dcm").write_bytes((folder / "cut.dcm").read_bytes()[:-100])
    ds = pydicom.dcmread(unclassed)
    del ds.file_meta.MediaStorageSOPClassUID
    ds.save_as(folder / "no_class.dcm", enforce_file_format=False)
    unclassed.unlink()
    (folder / "noise.dcm").write_bytes(random.Random(1).randbytes(3000))
    (folder / "empty.dcm").touch()
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text("call back")
    shutil.copy(folder / "good.dcm", folder / "sub" / "good.dcm")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    return folder


def send(folder: Path, port: int, *options: str) -> int:
    return run(["send", str(folder), "--to", f"{HOST}:{port}", "--called", "ARCHIVE", *options])


def test_every_file_that_is_not_sent_is_named_with_its_reason(
    archive: tuple[int, Path], mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port, stored = archive
    assert send(mixed, port) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "1 of 1 instance taken by ARCHIVE"
    assert lines == [
        "5 files were not sent:",
        "  cut.dcm: ends within its pixel data: it was not written or copied completely",
        "  empty.dcm: is not a DICOM file, it has no 'DICM' at byte 128 (PS3.10 7.1)",
        "  no_class.dcm: its File Meta Information has no MediaStorageSOPClassUID (PS3.10 7.1)",
        "  no_study: has no StudyInstanceUID, so it belongs to no study",
        "  noise.dcm: is not a DICOM file, it has no 'DICM' at byte 128 (PS3.10 7.1)",
        "3 other files skipped:",
        "  DICOMDIR: is a DICOMDIR, or an exact copy of another file",
        "  sub/a.txt: is not a DICOM file, it has no 'DICM' at byte 128 (PS3.10 7.1)",
        "  sub/good.dcm: is a DICOMDIR, or an exact copy of another file",
    ]
    (arrived,) = stored.iterdir()
    assert pydicom.dcmread(arrived).PixelData == pydicom.dcmread(mixed / "good.dcm").PixelData


def test_what_was_not_sent_stands_in_the_document(
    archive: tuple[int, Path], mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(mixed, archive[0], "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["sent"], document["failed"]) == (1, [])
    names = {key: [Path(f["file"]).name for f in document[key]] for key in ("not_sent", "skipped")}
    assert names["not_sent"] == ["cut.dcm", "empty.dcm", "no_class.dcm", "no_study", "noise.dcm"]
    assert names["skipped"] == ["DICOMDIR", "a.txt", "good.dcm"]
    assert all(file["reason"] for key in names for file in document[key])


def test_what_is_no_dicom_file_does_not_make_it_fail(
    archive: tuple[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "study", shape=(3, 16, 16))
    (tmp_path / "study" / "a.txt").write_text("call back")
    assert send(tmp_path / "study", archive[0]) == 0
    assert "1 other file skipped:\n  a.txt: is not a DICOM file" in capsys.readouterr().out


def test_folder_of_broken_files_alone_calls_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "empty.dcm").touch()
    assert send(tmp_path / "study", free_port()) == 1
    assert capsys.readouterr().out.startswith("1 file was not sent:\n  empty.dcm: ")
