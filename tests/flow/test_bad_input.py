"""Bad input at every entrance of the command line: one sentence, the promised exit code, no traceback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from peers import WetreadProcess, config, free_port
from phantoms import write_series
from waiting import until
from wetread.cli.main import run

Start = Callable[..., WetreadProcess]


@pytest.fixture
def bundle(threshold_bundles: Path) -> str:
    return str(threshold_bundles / "threshold")


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *, code: int) -> str:
    """The sentence on stderr of a command that must fail with this exit code."""
    assert run(arguments) == code
    sentence = capsys.readouterr().err
    assert sentence.startswith("wetread: ")
    assert "Traceback" not in sentence
    return sentence


def test_misspelled_key_is_refused_with_the_nearest_known_one(
    tmp_path: Path, threshold_bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text(config(threshold_bundles).format(port=0).replace("quiet_s", "quite_s"))
    sentence = refused(capsys, ["serve", "--config", str(path)], code=2)
    assert "unknown key 'quite_s' in [completeness]; did you mean 'quiet_s'?" in sentence


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('bundle = "threshold"', 'bundle = "thresold"', "there is no bundle 'thresold'; installed: threshold"),
        ("study.modalities", "study.modalites", "there is no field 'modalites'; did you mean 'modalities'?"),
        ("research = true", "research = false", "is not for clinical use"),
        ('destinations = ["pacs"]', 'destinations = ["pac"]', "unknown destination 'pac'"),
        ('ae_title = "CT1"', 'ae_title = "A_TITLE_TOO_LONG_FOR_DICOM"', "is not an AE title"),
        ('"127.0.0.1/32"', '"127.0.0.1/99"', "is not a network"),
        ("quiet_s = 0.5", 'quiet_s = "soon"', "[completeness] quiet_s must be a number, got 'soon'"),
        ("[listener]", "[listener", "is not TOML"),
    ],
)
def test_wrong_configuration_is_refused_at_start(
    tmp_path: Path, threshold_bundles: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, expected: str
) -> None:
    path = tmp_path / "wetread.toml"
    text = config(threshold_bundles).format(port=0)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert expected in refused(capsys, ["serve", "--config", str(path)], code=2)


def test_port_in_use_is_said_at_start(tmp_path: Path, threshold_bundles: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = tmp_path / "wetread.toml"
        path.write_text(config(threshold_bundles).format(port=taken.getsockname()[1]))
        command = [sys.executable, "-m", "wetread", "serve", "--config", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "is another program using the port?" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_configuration_and_folder(tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "nowhere")
    assert "no configuration file" in refused(capsys, ["serve", "--config", missing], code=2)
    arguments = ["read", missing, "--bundle", bundle, "--out", str(tmp_path / "out")]
    assert "there is no" in refused(capsys, arguments, code=2)


def test_unknown_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["read", str(tmp_path), "--bundle", "liver", "--out", str(tmp_path / "out")]
    assert "there is no bundle 'liver'; installed: " in refused(capsys, arguments, code=2)


@pytest.mark.parametrize("content", [b"", b"not DICOM at all" * 20, b"\0" * 128 + b"DICM" + b"\xff" * 50])
def test_folder_without_dicom_is_rejected(
    tmp_path: Path, bundle: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "scan.dcm").write_bytes(content)
    arguments = ["read", str(folder), "--bundle", bundle, "--out", str(tmp_path / "out"), "--json"]
    assert run(arguments) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["code"] == "not-dicom"
    assert "no DICOM study in" in captured.err
    assert not (tmp_path / "out").exists()


def test_file_cut_in_its_pixels_is_rejected_by_name(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom = write_series(tmp_path / "study")
    victim = phantom.paths[4]
    victim.write_bytes(victim.read_bytes()[:-200])
    arguments = ["read", str(tmp_path / "study"), "--bundle", bundle, "--out", str(tmp_path / "out")]
    assert victim.name in refused(capsys, arguments, code=3)
    assert not list((tmp_path / "out").glob("*.dcm"))


def test_study_without_a_fitting_series_says_why_for_each(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "study", description="T2 FLAIR")
    arguments = ["read", str(tmp_path / "study"), "--bundle", bundle, "--out", str(tmp_path / "out")]
    sentence = refused(capsys, arguments, code=3)
    assert "series 3 'T2 FLAIR' ('T2 FLAIR' says none of: t1" in sentence


def test_nifti_that_is_none(tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "head.nii.gz"
    path.write_bytes(b"not a gzip file")
    arguments = ["read", str(path), "--bundle", bundle, "--out", str(tmp_path / "out")]
    assert "head.nii.gz cannot be read as NIfTI" in refused(capsys, arguments, code=3)


@pytest.mark.parametrize("out", ["/proc/results", "afile", "afile/below"])
def test_results_that_find_no_place_are_refused_before_anything_is_computed(
    tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bundle: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("in the way")
    monkeypatch.setattr("wetread.service.offline.read_folder", None)
    write_series(tmp_path / "study", shape=(8, 16, 16))
    arguments = ["read", str(tmp_path / "study"), "--bundle", bundle, "--out", out]
    assert "results cannot be written to" in refused(capsys, arguments, code=2)


def test_data_folder_that_cannot_be_made(
    tmp_path: Path, threshold_bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text(config(threshold_bundles).format(port=0).replace('"data"', '"/proc/wetread"'))
    assert "the data folder /proc/wetread cannot be used" in refused(capsys, ["serve", "--config", str(path)], code=2)


@pytest.mark.parametrize("title", ["", "A_TITLE_TOO_LONG_FOR_DICOM"])
def test_send_to_an_impossible_title(tmp_path: Path, title: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["send", str(tmp_path), "--to", "127.0.0.1:104", "--called", title]
    assert "an AE title has 1 to 16 characters" in refused(capsys, arguments, code=2)


def test_refused_sender_hears_why(wetread: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = wetread(mode="off")
    write_series(tmp_path / "study", shape=(3, 16, 16))
    arguments = ["send", str(tmp_path / "study"), "--to", f"127.0.0.1:{service.port}", "--called", "NOBODY"]
    assert "rejected the association: Called AE title not recognised" in refused(capsys, arguments, code=1)


def test_explain_says_what_the_header_already_tells(
    tmp_path: Path, threshold_bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text(config(threshold_bundles).format(port=0))
    write_series(tmp_path / "t1", shape=(10, 16, 16))
    write_series(tmp_path / "t2", shape=(10, 16, 16), description="T2 TSE")
    arguments = ["route", "explain", "--config", str(path)]
    assert run([*arguments, str(tmp_path / "t1")]) == 0
    assert "route t1 (live, bundle threshold): read" in capsys.readouterr().out
    assert run([*arguments, str(tmp_path / "t2")]) == 3
    assert "'T2 TSE' says none of: t1" in capsys.readouterr().out


def test_lists_fit_eighty_columns_and_keep_identifiers_whole(
    wetread: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = wetread()
    phantom = write_series(tmp_path / "study", shape=(4, 16, 16))
    for path in phantom.paths:
        ds = pydicom.dcmread(path)
        assert _store_raw(service.port, ds, str(ds.SOPInstanceUID)) == 0x0000
    service.wait_for_state("rejected")
    for arguments in (["studies", "list"], ["jobs", "list"], ["studies", "show", str(phantom.study_instance_uid)]):
        assert run([*arguments, "--config", str(service.config)]) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        if arguments[0] == "studies":
            assert str(phantom.study_instance_uid) in shown


def test_send_to_nobody_fails_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "study", shape=(3, 16, 16))
    arguments = ["send", str(tmp_path / "study"), "--to", f"127.0.0.1:{free_port()}", "--called", "PACS"]
    assert "cannot be reached" in refused(capsys, arguments, code=1)


@pytest.mark.parametrize("uid", ["../evil", "1." * 250 + "1", "", "1.2.840.junk"])
def test_instance_with_a_hostile_uid_is_refused_and_leaves_nothing(wetread: Start, tmp_path: Path, uid: str) -> None:
    """Sent by a scripted peer: no honest program would."""
    service = wetread(mode="off")
    ds = pydicom.dcmread(write_series(tmp_path / "study", shape=(3, 16, 16)).paths[0])
    ds.add_new("SOPInstanceUID", "UI", uid)
    status = _store_raw(service.port, ds, uid)
    assert status is None or status == 0xC000
    assert {p.parent.name for p in tmp_path.rglob("*.dcm")} == {"study"}
    assert service.overview.studies() == []
    good = pydicom.dcmread(write_series(tmp_path / "study2", shape=(3, 16, 16)).paths[0])
    assert _store_raw(service.port, good, str(good.SOPInstanceUID)) == 0x0000
    until(service.overview.studies, what="the listener still works")


def test_data_set_that_cannot_be_parsed_is_refused(wetread: Start, tmp_path: Path) -> None:
    service = wetread(mode="off")
    ds = pydicom.dcmread(write_series(tmp_path / "study", shape=(3, 16, 16)).paths[0])
    garbage = b"\x08\x00\x16\x00UI\xff\xff" + b"\x00" * 40
    assert _store_raw(service.port, ds, str(ds.SOPInstanceUID), body=garbage) == 0xC000
    assert service.overview.studies() == []


def test_data_set_that_ends_within_its_pixels_is_refused_before_and_after_the_whole_one(
    wetread: Start, tmp_path: Path
) -> None:
    service = wetread(mode="off")
    ds = pydicom.dcmread(write_series(tmp_path / "study", shape=(3, 16, 16)).paths[0])
    uid, body = str(ds.SOPInstanceUID), encode(ds, False, True)
    assert body is not None
    for cut in (200, 1, 0, 200):
        status = _store_raw(service.port, ds, uid, body=body[: len(body) - cut])
        assert status == (0xC000 if cut else 0x0000)
    until(service.overview.studies, what="the whole instance is indexed")
    assert "held" not in [study["state"] for study in service.overview.studies()]
    assert not list((service.data / "spool" / "unreadable").iterdir())


def _store_raw(port: int, ds: pydicom.Dataset, uid: str, *, body: bytes | None = None) -> int | None:
    """C-STORE exactly these bytes under exactly this UID; the status, None when the peer gave none."""
    from io import BytesIO

    ae = AE(ae_title="CT1")
    ae.dimse_timeout = 3
    ae.add_requested_context(ds.SOPClassUID, "1.2.840.10008.1.2.1")
    assoc = ae.associate("127.0.0.1", port, ae_title="WETREAD")
    assert assoc.is_established
    request = C_STORE()
    request.MessageID = 1
    request.Priority = 2
    request.AffectedSOPClassUID = ds.SOPClassUID
    request._affected_sop_instance_uid = pydicom.uid.UID(uid, validation_mode=0)
    encoded = body if body is not None else encode(ds, False, True)
    assert encoded is not None
    request.DataSet = BytesIO(encoded)
    context_id = assoc.accepted_contexts[0].context_id
    assoc._reactor_checkpoint.clear()
    until(lambda: assoc._is_paused)
    assoc.dimse.send_msg(request, context_id)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    assoc.release()
    return getattr(answer, "Status", None)


def test_values_of_hostile_headers_are_not_warned_about_on_the_console(tmp_path: Path, threshold_bundles: Path) -> None:
    """pydicom warns with the value it does not like; a UID may hold a name."""
    path = tmp_path / "wetread.toml"
    path.write_text(config(threshold_bundles).format(port=0))
    for victim in write_series(tmp_path / "study", shape=(10, 16, 16)).paths:
        uid = str(pydicom.dcmread(victim).SOPInstanceUID).encode()
        victim.write_bytes(victim.read_bytes().replace(uid, (b"../Petra" + b"1" * 64)[: len(uid)]))
    command = [sys.executable, "-m", "wetread", "route", "explain", str(tmp_path / "study"), "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Petra" not in done.stdout + done.stderr
    assert "arning" not in done.stderr
    assert "Traceback" not in done.stderr
