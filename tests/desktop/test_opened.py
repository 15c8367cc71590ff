"""Requests of other programs: what may be asked, in which words it is refused, and the files their viewers get."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from wetread_desktop.cli import integrate
from wetread_desktop.cli.main import run
from wetread_desktop.client.opened import OpenInvalid, OpenRequest, request_of_line, request_of_url

UID = "1.2.840.113619.2.55"


def test_request_goes_through_the_pipe_unchanged() -> None:
    request = OpenRequest(UID, UID + ".1", "A 1", "/data/Müller/寫")
    assert request_of_line(request.line()) == request


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"not json\n", "is not a request"),
        (b"[1]\n", "is not a request"),
        (b'{"study_uid": "1.2"}\n', "is not a request"),
        (b'{"version": 2}\n', "speaks version 1, the one that asks 2"),
        (b'{"version": 1, "run": "rm"}\n', "fields that are not known"),
        (b'{"version": 1, "study_uid": "1.2; rm"}\n', "is not a study UID"),
    ],
)
def test_pipe_takes_nothing_but_requests(line: bytes, sentence: str) -> None:
    with pytest.raises(OpenInvalid, match=sentence):
        request_of_line(line)


def test_address_names_a_study() -> None:
    url = f"wetread://open?v=1&studyUID={UID}&seriesUID={UID}.1"
    assert request_of_url(url) == OpenRequest(UID, UID + ".1")


@pytest.mark.parametrize(
    "url",
    [
        f"https://open?studyUID={UID}",
        f"wetread://run?studyUID={UID}",
        f"wetread://open?v=2&studyUID={UID}",
        "wetread://open?v=1&folder=/etc",
        "wetread://open?v=1&edge=https://elsewhere.example",
        f"wetread://open?v=1&studyUID={UID}&studyUID={UID}.9",
        "wetread://open?v=1&studyUID=../../etc",
        "wetread://open?v=1&studyUID=" + "1." * 40 + "1",
        f"wetread://open?v=1&seriesUID={UID}",
    ],
)
def test_web_page_can_name_no_folder_no_edge_and_no_nonsense(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OpenInvalid):
        request_of_url(url)
    assert run(["open", url]) == 2
    assert capsys.readouterr().err.startswith("wetread-desk: ")


@pytest.mark.parametrize("given", ["foo", "ftp://edge:1", "http://edge:abc"])
def test_edge_that_is_no_address_is_wrong_usage_and_one_that_is_silent_is_a_failure(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "--profile", str(tmp_path), "--edge", given]) == 2
    assert f"{given!r} is no address of an edge" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert run(["check", "--profile", str(tmp_path), "--edge", f"http://127.0.0.1:{port}"]) == 1
    assert capsys.readouterr().err.startswith("wetread-desk: ")


def test_token_that_cannot_be_read_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").mkdir()
    assert run(["check", "--profile", str(tmp_path), "--edge", "http://127.0.0.1:1"]) == 2
    assert f"the token in {tmp_path / 'token'} cannot be read" in capsys.readouterr().err


def test_launcher_hears_that_a_folder_is_missing_or_no_edge_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["open", "--folder", str(tmp_path / "missing")]) == 2
    assert "there is no such file or folder" in capsys.readouterr().err
    assert run(["open", "--profile", str(tmp_path), "--study-uid", UID]) == 2
    assert "no edge is set" in capsys.readouterr().err
    assert run(["open", "--profile", str(tmp_path), "--edge", "http://127.0.0.1:1", "--study-uid", UID]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_weasis_gets_one_placeholder_for_each_parameter_and_keeps_its_other_launchers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dicomLaunchers.json"
    other = {"name": "Other", "enable": True, "button": False, "configuration": {"launchType": "URI", "uri": "x:y"}}
    path.write_text(json.dumps([other]))
    for _again in range(2):
        assert run(["integrate", "weasis", "--out", str(path)]) == 0
    kept, ours = json.loads(path.read_text())
    assert kept == other
    assert (ours["name"], ours["enable"], ours["button"]) == ("Wetread", True, True)
    configuration = ours["configuration"]
    assert configuration["launchType"] == "Application"
    assert configuration["parameters"][0] == "open"
    assert all(p.count("{") <= 1 for p in configuration["parameters"])
    assert " " not in configuration["binaryPath"]
    assert run(["integrate", "weasis", "--folder", "--out", str(path)]) == 0
    assert json.loads(path.read_text())[1]["configuration"]["parameters"][-1] == "{dicom:selection.folder}"
    assert "written" in capsys.readouterr().out


def test_orthanc_explorer_gets_a_button_beside_what_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "orthanc.json"
    path.write_text(json.dumps({"Name": "X", "OrthancExplorer2": {"UiOptions": {"EnableApiViewMenu": True}}}))
    for _again in range(2):
        assert run(["integrate", "orthanc-explorer2", "--out", str(path)]) == 0
    document = json.loads(path.read_text())
    assert document["Name"] == "X"
    options = document["OrthancExplorer2"]["UiOptions"]
    assert options["EnableApiViewMenu"] is True
    (button,) = options["CustomButtons"]["study"]
    assert request_of_url(button["Url"].replace("{StudyInstanceUID}", UID)) == OpenRequest(UID)


def test_files_that_are_not_what_they_should_be_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.json"
    for text in ("{not json", '{"a": 1}'):
        path.write_text(text)
        assert run(["integrate", "weasis", "--out", str(path)]) == 1
        assert path.read_text() == text
        assert "left alone" in capsys.readouterr().err
    assert run(["integrate", "orthanc-explorer2", "--folder"]) == 2


def test_addresses_are_registered_for_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(integrate.sys, "platform", "linux")
    assert run(["integrate", "url-scheme"]) == 0
    entry = (tmp_path / "applications" / "wetread-desk.desktop").read_text()
    assert "MimeType=x-scheme-handler/wetread;" in entry
    assert " open %u\n" in entry
