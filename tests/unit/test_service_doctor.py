"""The doctor: what is wrong has exit code 1 and says what to do; what is right is not called wrong."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from outboxes import Bed, Peer
from peers import config as config_text
from wetread.bundles import find_bundle
from wetread.cli.main import run
from wetread.config import load_config
from wetread.deliver.destination import Answer, Outcome
from wetread.infer.code import answer_code
from wetread.infer.gate.certificate import CERTIFICATE, Certificate
from wetread.infer.gate.compare import Agreement
from wetread.infer.keys import key_of
from wetread.service.check import Check
from wetread.service.doctor import examine
from wetread.service.ownership import own


@pytest.fixture
def path(tmp_path: Path, threshold_bundles: Path) -> Path:
    path = tmp_path / "wetread.toml"
    path.write_text(config_text(threshold_bundles).format(port=0))
    return path


def checks(path: Path, name: str) -> list[Check]:
    return [c for c in examine(load_config(path)) if c.name == name]


def test_service_that_should_run_and_does_not_is_a_finding_with_exit_code_1(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (check,) = checks(path, "service")
    assert (check.ok, check.advice) == (False, "start it: wetread serve --config FILE")
    assert run(["doctor", "--config", str(path)]) == 1
    assert "BAD service: wetread serve is not running" in capsys.readouterr().out
    with own(load_config(path).data_dir):
        (check,) = checks(path, "service")
        assert (check.ok, check.found) == (True, f"wetread serve runs as process {os.getpid()}")


def test_service_nobody_may_send_to_need_not_run(path: Path) -> None:
    path.write_text(path.read_text().replace("may_send = true", ""))
    (check,) = checks(path, "service")
    assert check.ok
    (check,) = checks(path, "peers")
    assert "nobody may send" in check.found


def test_address_that_is_not_this_machines_is_not_another_program(path: Path) -> None:
    path.write_text(path.read_text().replace('host = "127.0.0.1"', 'host = "192.0.2.7"', 1))  # TEST-NET-1, RFC 5737
    (service,) = checks(path, "service")
    assert service.found.startswith("wetread serve is not running, and cannot listen on 192.0.2.7:")
    assert "another program" not in service.found
    assert service.advice == "correct [listener] host and port"


def test_files_that_wait_for_a_service_are_counted(path: Path) -> None:
    incoming = load_config(path).data_dir / "spool" / "incoming"
    incoming.mkdir(parents=True)
    for name in ("a.dcm", "b.dcm", ".part"):
        (incoming / name).touch()
    assert "2 received files wait for it" in checks(path, "service")[0].found


def test_every_faulty_rule_is_told_although_the_bundle_is_missing(path: Path) -> None:
    """``serve`` and ``route replay`` ask the same, in the same order."""
    wrong = [
        f"""[[routes]]
name = "{name}"
bundle = "nowhere"
when = "study.{field} == 'x'"
"""
        for name, field in (("a1", "descripton"), ("a2", "accesion_number"))
    ]
    path.write_text("\n".join([path.read_text(), *wrong]))
    said = next(check.found for check in examine(load_config(path)) if check.name == "routes")
    assert "route 'a1': " in said
    assert "did you mean 'description'?; route 'a2': " in said


def test_doctor_makes_no_data_folder(path: Path) -> None:
    examine(load_config(path))
    assert not load_config(path).data_dir.exists()


def test_token_that_others_may_read_is_a_finding_about_stow_and_not_about_tls(path: Path) -> None:
    token = path.parent / "ris.token"
    token.write_text("0123456789abcdef" * 2)
    token.chmod(0o644)
    path.write_text(path.read_text() + '\n[[stow.clients]]\nname = "ris"\ntoken_file = "ris.token"\n')
    (check,) = checks(path, "stow")
    assert not check.ok
    assert "others may read the token file" in check.found
    assert checks(path, "tls") == []
    token.chmod(0o600)
    (check,) = checks(path, "stow")
    assert (check.ok, check.found) == (True, "1 client may send")


def test_peer_and_its_destination_that_do_not_answer_are_found(path: Path) -> None:
    (check,) = checks(path, "peer pacs")
    assert (check.ok, check.found) == (False, "ORTHANC at 127.0.0.1:1 cannot be reached")
    path.write_text(path.read_text().replace('name = "pacs"\nae_title', 'name = "pacs"\nquery = true\nae_title', 1))
    (check,) = checks(path, "destination pacs")
    assert (check.ok, check.found) == (False, "ORTHANC at 127.0.0.1:1 cannot be reached")


@pytest.mark.parametrize(("folder", "ok"), [("out", True), ("wetread.toml/out", False)])
def test_folder_that_cannot_be_written_is_found(path: Path, folder: str, ok: bool) -> None:
    more = f'[[destinations]]\nname = "inbox"\nkind = "folder"\npath = "{folder}"\n'
    path.write_text(path.read_text() + more)
    assert checks(path, "destination inbox")[0].ok is ok


def test_archive_over_the_web_that_is_away_is_found(path: Path) -> None:
    more = '[[destinations]]\nname = "web"\nkind = "dicomweb"\nurl = "http://127.0.0.1:1/dicom-web"\n'
    path.write_text(path.read_text() + more)
    (check,) = checks(path, "destination web")
    assert not check.ok
    assert "no connection" in check.found


def test_results_that_need_a_person_are_found(path: Path) -> None:
    bed = Bed(load_config(path).data_dir)
    bed.add_study("1.5", "1.6")
    bed.delivery(Peer(lambda _uid: Answer(Outcome.REFUSED, "too big"))).deliver_due()
    with bed.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'held', hold_reason = 'stale' WHERE sop_instance_uid = '1.6'")
    found = [(c.ok, c.found) for c in checks(path, "results for pacs")]
    assert found == [(False, "1 object is refused"), (False, "1 object is held")]


def test_bundle_says_which_engines_are_proved_here(path: Path) -> None:
    config = load_config(path)
    (check,) = checks(path, "bundle threshold")
    assert check.ok
    assert check.found.endswith("weights as the manifest names them; no engine was proved here yet")
    digest = find_bundle("threshold", config.bundle_folders).digest()
    cache = config.data_dir / "engines"
    made = _proved(cache, bundle=digest)
    assert checks(path, "bundle threshold")[0].found.endswith("engines proved here: torch f32 on CPU")
    _proved(cache, bundle="another bundle")
    assert checks(path, "engine cache")[0].found == (
        f"{cache}: 2 certificates; 1 old entry (0.0 MB) that no bundle here can use, removed 30 days after its last use"
    )
    made.unlink()
    _proved(cache, bundle=digest, code="other code")
    assert checks(path, "bundle threshold")[0].found.endswith(
        "torch f32 is measured again with the next read: the code of Wetread that makes the answer was another"
    )


def _proved(cache: Path, **subject: str) -> Path:
    """A certificate of the reference, as the gate writes it."""
    known = {"engine": "torch", "precision": "f32", "device": "CPU", "library": "", "code": answer_code()}
    certificate = Certificate(
        kind="golden",
        subject={**known, **subject},
        golden={},
        measured=Agreement(agreement=1.0),
        made_at=datetime.now(UTC),
    )
    path = cache / key_of(certificate.subject) / CERTIFICATE
    path.parent.mkdir(parents=True)
    path.write_text(certificate.model_dump_json())
    return path


def test_another_cache_that_commands_filled_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two caches, and which one counts: what a command without the configuration proved is not what the service has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert checks(path, "another engine cache") == []
    _proved(tmp_path / "home" / "wetread" / "engines", bundle="b")
    (other,) = checks(path, "another engine cache")
    assert other.ok
    assert other.found == (
        f"{tmp_path}/home/wetread/engines (of this user, used by commands without this configuration): 1 certificate; "
        "wetread serve does not look there"
    )
    assert other.advice == "prove engines as the account of wetread serve, with --config"
    run(["bundle", "list", "--config", str(path)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"engines: {load_config(path).data_dir}/engines (of wetread serve)" in said
    monkeypatch.chdir(tmp_path / "home")
    run(["bundle", "list"])
    said = f"engines: {tmp_path}/home/wetread/engines (of this user, because there is no configuration here)"
    assert said in " ".join(capsys.readouterr().out.split())


def test_bundle_that_may_not_run_is_found(path: Path) -> None:
    path.write_text(path.read_text().replace("[bundles]", '[bundles]\nuninstalled = "refuse"'))
    (check,) = checks(path, "bundle threshold")
    assert not check.ok
    assert check.advice == "see: wetread bundle check threshold"


def test_data_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "wetread.toml").write_text('data_dir = "file"\n')
    (tmp_path / "file").write_text("")
    found = examine(load_config(tmp_path / "wetread.toml"))
    (folder,) = [check for check in found if check.name == "data folder"]
    assert (folder.ok, folder.found) == (False, f"{tmp_path / 'file'} is not a folder")
    assert not [check for check in found if "Errno" in check.found]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
@pytest.mark.parametrize("command", [["studies", "list"], ["jobs", "retry", "x"], ["doctor"], ["studies", "reindex"]])
def test_data_folder_of_another_user_is_a_sentence(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as open_to_all:
        folder = Path(open_to_all)
        folder.chmod(0o755)
        (folder / "theirs").mkdir(mode=0o700)
        (folder / "wetread.toml").write_text('data_dir = "theirs/data"\n')
        (folder / "theirs" / "data").mkdir()
        os.seteuid(65534)
        try:
            code = run([*command, "--config", str(folder / "wetread.toml")])
        finally:
            os.seteuid(0)
    said = capsys.readouterr()
    assert code == (1 if command == ["doctor"] else 2)
    assert "ermission denied" in said.out + said.err or "may not write" in said.out
    assert "Errno" not in said.out + said.err
