"""Backup and restore: everything comes back, nothing damaged is accepted, and nothing is delivered twice."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from received import received
from served import Served
from wetread.bundles.bundle import file_sha256
from wetread.cli.main import run
from wetread.durable import write_atomically
from wetread.errors import Misconfigured
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import EncodedResult, ResultFile
from wetread.service import backup
from wetread.service.backup import back_up, restore
from wetread.store import index
from wetread.store.requests import StudyRequests


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path / "data")


def restored(served: Served, archive: Path) -> Served:
    """The restored box beside the old one; both would deliver to one destination."""
    other = served.folder.parent / "restored"
    restore(archive, other)
    return Served(other)


def test_finished_studies_come_back_byte_for_byte_and_nothing_is_sent_again(served: Served, tmp_path: Path) -> None:
    served.whole_way("a")
    summary = back_up(served.folder, tmp_path / "b.tar")
    assert summary.files == 1 + 3 + 1
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    box = restored(served, tmp_path / "b.tar")
    names = [p.relative_to(served.folder) for p in served.folder.rglob("*.dcm")]
    assert len(names) == 4
    assert all((box.folder / n).read_bytes() == (served.folder / n).read_bytes() for n in names)
    assert box.states() == ["read"]
    assert box.delivery.deliver_due() is False
    assert box.actions()[-1] == "restored"


def test_both_renditions_signed_reports_and_files_for_viewers_come_back(served: Served, tmp_path: Path) -> None:
    served.receive(*served.images("a"))
    served.complete()
    job = served.queue.claim()
    assert job is not None
    folder = served.folder / "results" / job.job_id
    places = ("1/common/sr-1.dcm", "1/modern/sr-1.dcm", "signed/0b6f4c1e-7a52-4d4b-9a57-6f2f1f0f4c11/sr-common.dcm")
    results = tuple(_object(folder / place, n) for n, place in enumerate(places, start=1))
    labels, heatmap = (_viewer_file(folder / "1" / name) for name in ("labels.u8.gz", "heatmap-2.25.9.u8.gz"))
    files = (ResultFile("labels", *labels), ResultFile("heatmap", *heatmap, name="2.25.9"))
    outcome = JobOutcome(job.job_id, JobState.DONE, results=results, files=files)
    served.queue.finish(outcome, data_folder=served.folder)
    back_up(served.folder, tmp_path / "b.tar")
    box = restored(served, tmp_path / "b.tar")
    made = [p.relative_to(served.folder) for p in (served.folder / "results").rglob("*") if p.is_file()]
    assert len(made) == 5
    assert all((box.folder / name).read_bytes() == (served.folder / name).read_bytes() for name in made)


def _object(path: Path, number: int) -> EncodedResult:
    digest = _viewer_file(path)[1]
    return EncodedResult("SR", "1.2.840.10008.5.1.4.1.1.88.33", f"2.25.{number}", "2.25.7", "1.2.1", path, digest)


def _viewer_file(path: Path) -> tuple[Path, str]:
    write_atomically(path, lambda part: part.write_bytes(str(path).encode()))
    return path, file_sha256(path)


def test_result_that_was_pending_at_the_backup_is_held_and_not_sent_by_the_restored_box(
    served: Served, tmp_path: Path
) -> None:
    served.receive(*served.images("a"))
    served.complete()
    served.read()
    back_up(served.folder, tmp_path / "b.tar")
    assert served.deliver() == 1
    box = restored(served, tmp_path / "b.tar")
    assert box.delivery.deliver_due() is False
    assert box.states() == ["result held"]
    (held,) = box.db.fetch("SELECT hold_reason FROM outbox")
    assert "restored from the backup" in held["hold_reason"]


@pytest.mark.parametrize("running", [False, True])
def test_study_that_was_to_be_read_at_the_backup_is_held(served: Served, tmp_path: Path, *, running: bool) -> None:
    served.receive(*served.images("a"))
    served.complete()
    if running:
        assert served.queue.claim() is not None
    back_up(served.folder, tmp_path / "b.tar")
    box = restored(served, tmp_path / "b.tar")
    assert box.states() == ["held"]
    box.queue.recover()
    assert box.queue.claim() is None
    uid = str(box.db.fetch("SELECT study_instance_uid FROM studies")[0]["study_instance_uid"])
    StudyRequests(box.db, box.revisions, who="tester").release(uid)
    box.complete()
    assert box.queue.claim() is not None


def test_acknowledged_and_not_indexed_yet_comes_back_held(served: Served, tmp_path: Path) -> None:
    for path in served.images("a"):
        served.spool.keep(received(path))
    back_up(served.folder, tmp_path / "b.tar")
    box = restored(served, tmp_path / "b.tar")
    assert (box.source_files(), box.states()) == (3, ["held"])


def test_backup_while_instances_are_moved_loses_none(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index moves a study between the snapshot of the database and the copying of the files."""
    served.receive(*served.images("a"))
    for path in served.images("b"):
        served.spool.keep(received(path))
    members = backup._members

    def meanwhile(*args: Path) -> object:
        served.take_in()
        return members(*args)

    monkeypatch.setattr(backup, "_members", meanwhile)
    back_up(served.folder, tmp_path / "b.tar")
    box = restored(served, tmp_path / "b.tar")
    assert box.source_files() == 6


def test_instance_between_its_row_and_its_place_is_in_the_backup(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are committed before files are moved: here the snapshot is taken between the two."""
    with monkeypatch.context() as patched:
        patched.setattr(index, "move", lambda moves: moves.clear())
        for path in served.images("a"):
            served.spool.keep(received(path))
        served.take_in_what_is_listed()
    assert served.source_files() == 0
    back_up(served.folder, tmp_path / "b.tar")
    assert restored(served, tmp_path / "b.tar").source_files() == 3


def test_file_removed_by_retention_meanwhile_is_left_out(served: Served, tmp_path: Path) -> None:
    served.whole_way("a")
    next(served.spool.studies.rglob("*.dcm")).unlink()
    assert back_up(served.folder, tmp_path / "b.tar").files == 4


def _truncated(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def _flipped(archive: Path) -> None:
    body = bytearray(archive.read_bytes())
    body[body.index(b"DICM") + 600] ^= 1
    archive.write_bytes(body)


def _rewritten(archive: Path, name: str, body: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(archive, "a") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(body)
        entry.type = kind
        entry.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
        tar.addfile(entry, io.BytesIO(body))


def _newer(archive: Path) -> None:
    _rewritten(archive, "manifest.json", json.dumps({"format": 99, "sha256": {}}).encode())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncated, "not a whole Wetread backup"),
        (_flipped, "is damaged: 1 file differs"),
        (_newer, "backup format 99"),
        (lambda a: a.write_bytes(b"PK\x03\x04 not a tar"), "not a whole Wetread backup"),
        (lambda a: a.write_bytes(b""), "not a whole Wetread backup"),
        (lambda a: _rewritten(a, "../evil", b"x"), "which is not part of a Wetread backup"),
        (lambda a: _rewritten(a, "spool/studies/../../../evil", b"x"), "which is not part of a Wetread backup"),
        (lambda a: _rewritten(a, "results/1/../../../evil", b"x"), "which is not part of a Wetread backup"),
        (lambda a: _rewritten(a, "spool/incoming/x", b"", tarfile.SYMTYPE), "which is not part of a Wetread backup"),
        (lambda a: a.unlink(), "there is no backup"),
    ],
)
def test_what_is_not_a_whole_backup_is_refused_and_leaves_nothing(
    served: Served, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    served.whole_way("a")
    archive = tmp_path / "b.tar"
    back_up(served.folder, archive)
    damage(archive)
    with pytest.raises(Misconfigured, match=message):
        restore(archive, tmp_path / "restored")
    assert [p.name for p in (tmp_path / "restored").iterdir()] == ["lock"]
    assert not (tmp_path / "evil").exists()


def test_restore_never_overwrites_a_data_folder(served: Served, tmp_path: Path) -> None:
    served.whole_way("a")
    back_up(served.folder, tmp_path / "b.tar")
    with pytest.raises(Misconfigured, match="holds studies or results already"):
        restore(tmp_path / "b.tar", served.folder)
    for path in served.folder.glob("wetread.db*"):
        path.unlink()
    with pytest.raises(Misconfigured, match="holds studies or results already"):
        restore(tmp_path / "b.tar", served.folder)
    assert served.source_files() == 3


def test_interrupted_backup_leaves_no_file(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served.whole_way("a")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        back_up(served.folder, tmp_path / "b.tar")
    assert not list(tmp_path.glob("*b.tar*"))
    assert not list(served.folder.glob(".backup-*"))


def test_existing_file_is_not_overwritten(served: Served, tmp_path: Path) -> None:
    served.whole_way("a")
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(Misconfigured, match="is not overwritten"):
        back_up(served.folder, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "precious"


def _config(served: Served, folder: Path, name: str = "wetread.toml") -> str:
    path = served.folder.parent / name
    path.write_text(f'data_dir = "{folder}"\n', encoding="utf-8")
    return str(path)


def test_commands_back_up_restore_and_erase(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served.whole_way("a")
    uid = served.db.fetch("SELECT study_instance_uid FROM studies")[0]["study_instance_uid"]
    archive = str(tmp_path / "b.tar")
    old, new = _config(served, served.folder), _config(served, tmp_path / "new", "new.toml")
    assert run(["backup", archive, "--config", old, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 5
    assert run(["restore", archive, "--config", new]) == 0
    assert "5 files restored" in capsys.readouterr().out
    assert run(["restore", archive, "--config", new]) == 2
    assert run(["studies", "erase", uid, "--config", new]) == 2
    assert "--yes" in capsys.readouterr().err
    assert run(["studies", "erase", uid, "--config", new, "--yes"]) == 0
    assert not list((tmp_path / "new").rglob("*.dcm"))
    assert run(["backup", str(tmp_path / "no" / "such" / "b.tar"), "--config", old]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_cleaning_looks_again_at_once_while_there_is_something_and_then_after_a_minute(served: Served) -> None:
    from wetread.service.duties.cleaning import Cleaning
    from wetread.store.retention import Retention, RetentionSettings

    served.whole_way("a")
    served.whole_way("b")
    served.age(400)
    duty = Cleaning(Retention(served.db, served.folder, RetentionSettings(min_free_mb=0)), clock=served.clock)
    duty.recover()
    for left in (3, 0):
        duty.round()
        assert served.source_files() == left
    duty.round()
    duty.round()
    assert served.result_files() == 0
    duty.round()
    served.whole_way("c")
    served.age(400)
    duty.round()
    assert served.source_files() == 3
    served.clock.at += 60.0
    duty.round()
    assert served.source_files() == 0
