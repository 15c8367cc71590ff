"""An archive is refused before anything of it is written, or comes out as what it claims."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

import hostile_bundles as hostile
from threshold_bundle import write_threshold_bundle
from wetread.bundles.archive import Limits, copy_folder, pack, plain_files, unpack
from wetread.errors import BundleInvalid


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return hostile.zip_of(write_threshold_bundle(tmp_path / "source" / "threshold"), tmp_path / "b.zip")


def refused(archive: Path, tmp_path: Path, limits: Limits | None = None) -> str:
    """The reason; nothing was written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleInvalid) as problem:
        unpack(archive, tmp_path / "deep" / "target", limits or Limits())
    assert sorted(tmp_path.rglob("*")) == before
    return str(problem.value)


def test_honest_archive_comes_out_as_it_went_in(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "target", Limits())
    source = tmp_path / "source" / "threshold"
    assert list(plain_files(tmp_path / "target" / "threshold")) == list(plain_files(source))
    for name, _ in plain_files(source):
        assert (tmp_path / "target" / "threshold" / name).read_bytes() == (source / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "leads out of the folder"),
        ("threshold/../../evil", "leads out of the folder"),
        ("/etc/evil", "is absolute"),
        ("C:/evil", "names a drive"),
        ("C:evil", "names a drive"),
        ("..\\evil", "names a drive"),
        ("threshold//evil", "leads out of the folder"),
        ("./evil", "leads out of the folder"),
        ("evil\x07", "unprintable"),
        ("a" * 300, "cannot be kept on every system"),
        ("threshold/nul.txt", "cannot be kept on every system"),
        ("threshold/evil.", "cannot be kept on every system"),
    ],
)
def test_name_that_leads_elsewhere_is_refused(archive: Path, tmp_path: Path, name: str, reason: str) -> None:
    hostile.add_entry(archive, name)
    assert reason in refused(archive, tmp_path)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK | 0o777, "is a symbolic link"),
        (stat.S_IFIFO | 0o644, "is a special file"),
        (stat.S_IFCHR | 0o644, "is a special file"),
    ],
)
def test_entry_that_is_no_plain_file_is_refused(archive: Path, tmp_path: Path, mode: int, reason: str) -> None:
    hostile.add_entry(archive, "threshold/link", b"/etc/passwd", mode=mode)
    assert reason in refused(archive, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["threshold/configs/inference.json", "threshold/Configs/INFERENCE.json"])
def test_two_entries_for_one_file_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    hostile.add_entry(archive, name, b"{}")
    assert "would be one file" in refused(archive, tmp_path)


def test_name_in_an_unknown_character_set_is_refused(archive: Path, tmp_path: Path) -> None:
    hostile.add_entry(archive, "threshold/\N{LATIN SMALL LETTER U WITH DIAERESIS}.txt")
    content = bytearray(archive.read_bytes())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.rfind(magic)
        content[at + flags + 1] &= ~0x08  # bit 11: the name is UTF-8
    archive.write_bytes(content)
    assert "is not UTF-8" in refused(archive, tmp_path)


def test_bomb_is_refused_by_what_it_claims(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("threshold/models/zeros.bin", bytes(32 << 20))
    assert "claims 32 MiB from" in refused(archive, tmp_path)


def test_claim_of_ten_gigabytes_is_refused(archive: Path, tmp_path: Path) -> None:
    hostile.add_entry(archive, "threshold/models/w.bin", b"x" * 100)
    hostile.claim_size(archive, "threshold/models/w.bin", 10_000_000_000)
    assert "claims 9536 MiB from 100 bytes" in refused(archive, tmp_path)
    # Also where a ratio says nothing: the claim alone is too much.
    assert "with 9536 MiB; allowed are 20000 files with 4096 MiB" in refused(archive, tmp_path, Limits(max_ratio=10**9))


def test_entry_that_is_longer_than_it_claims_stops_the_extraction(archive: Path, tmp_path: Path) -> None:
    hostile.add_entry(archive, "threshold/models/w.bin", b"x" * 1000)
    hostile.claim_size(archive, "threshold/models/w.bin", 10)
    with pytest.raises(BundleInvalid, match=r"is not a usable zip file|is longer than|and claims 10"):
        unpack(archive, tmp_path / "target", Limits())


def test_too_many_files_are_refused(archive: Path, tmp_path: Path) -> None:
    assert "allowed are 3 files" in refused(archive, tmp_path, Limits(max_files=3))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing", b"\x1f\x8b\x08 a tar"])
def test_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    assert "is not a usable zip file" in refused(tmp_path / "b.zip", tmp_path)


def test_damaged_entry_is_refused(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.find(b"SlidingWindowInferer")] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BundleInvalid, match="is not a usable zip file: Bad CRC-32"):
        unpack(archive, tmp_path / "target", Limits())


@pytest.mark.parametrize("where", ["/etc/passwd", "configs/inference.json"])
def test_link_in_a_folder_is_refused(tmp_path: Path, where: str) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    (folder / "models" / "link").symlink_to(where)
    with pytest.raises(BundleInvalid, match="models/link is a link; a bundle holds plain files only"):
        copy_folder(folder, tmp_path / "target", Limits())
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    os.mkfifo(folder / "models" / "pipe")
    with pytest.raises(BundleInvalid, match="is not a plain file"):
        copy_folder(folder, tmp_path / "target", Limits())


def test_traces_of_earlier_runs_are_left_behind(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    for name in ("scripts/__pycache__/x.pyc", ".git/config", "eval/out.nii.gz"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x")
    copy_folder(folder, tmp_path / "target", Limits())
    assert len(list((tmp_path / "target").rglob("*.*"))) == 4


def test_same_files_make_the_same_archive(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    for name in ("one.zip", "two.zip"):
        pack([(n, folder / n) for n, _ in plain_files(folder)], tmp_path / name)
        os.utime(folder / "configs" / "inference.json", (1, 1))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
