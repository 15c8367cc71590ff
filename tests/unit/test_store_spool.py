"""The spool keeps what it acknowledges, under its own names, with its provenance."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from phantoms import write_series
from received import PROVENANCE, received
from wetread.errors import InstanceRefused, SpoolUnavailable
from wetread.records.notes import AssociationEnd, note_from_json
from wetread.store.part10 import provenance_of
from wetread.store.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_series(tmp_path / "series", shape=(3, 16, 16)).paths[0]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_data_set_is_kept_bit_for_bit_with_its_provenance(spool: Spool, tmp_path: Path, syntax: str) -> None:
    source = write_series(tmp_path / "other", shape=(3, 16, 16), transfer_syntax=syntax).paths[0]
    path = spool.keep(received(source))
    assert path.read_bytes().endswith(received(source).dataset)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert provenance_of(path) == PROVENANCE


def test_only_the_owner_may_read(spool: Spool, source: Path) -> None:
    path = spool.keep(received(source))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_file_name_owes_nothing_to_the_peer(spool: Spool, source: Path) -> None:
    path = spool.keep(received(source))
    assert str(pydicom.dcmread(source).SOPInstanceUID) not in path.name


@pytest.mark.parametrize("uid", ["", "../evil", "1.2.3/..", "1" * 65, "1.2.x", "1..2", " "])
def test_unusable_sop_instance_uid_is_refused(spool: Spool, source: Path, uid: str) -> None:
    with pytest.raises(InstanceRefused, match="not a valid UID"):
        spool.keep(received(source, uid=uid))
    assert list(spool.waiting()) == []


def test_request_and_data_set_must_agree(spool: Spool, source: Path) -> None:
    with pytest.raises(InstanceRefused, match="differ"):
        spool.keep(received(source, uid="1.2.3"))
    with pytest.raises(InstanceRefused, match="differ"):
        spool.keep(received(source, sop_class="1.2.840.10008.5.1.4.1.1.2"))


def test_instance_without_a_study_is_refused(spool: Spool, tmp_path: Path) -> None:
    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        del ds.StudyInstanceUID

    orphan = write_series(tmp_path / "orphan", shape=(3, 16, 16), mutate=mutate).paths[0]
    with pytest.raises(InstanceRefused, match="StudyInstanceUID is missing"):
        spool.keep(received(orphan))


def test_low_disk_refuses_and_keeps_nothing(tmp_path: Path, source: Path) -> None:
    spool = Spool(tmp_path / "full", reserve_bytes=2**62)
    with pytest.raises(SpoolUnavailable, match="kept in reserve"):
        spool.keep(received(source))
    assert list(spool.waiting()) == []


def test_failed_write_leaves_no_part_behind(spool: Spool, source: Path) -> None:
    target = spool.incoming
    target.rmdir()
    target.write_text("a file where the folder should be")
    with pytest.raises((SpoolUnavailable, OSError)):
        spool.keep(received(source))


def test_parts_of_a_crash_are_never_shown_and_removed_at_start(spool: Spool, source: Path) -> None:
    spool.keep(received(source))
    (spool.incoming / ".half.dcm").write_bytes(b"half")
    assert len(list(spool.waiting())) == 1
    assert spool.discard_unfinished() == 1
    assert sorted(os.listdir(spool.incoming)) == [p.name for p in spool.waiting()]


def test_notes_travel_with_the_instances_in_order(spool: Spool, source: Path) -> None:
    first = spool.keep(received(source))
    end = AssociationEnd("a1", "ct1", "released", 1, "2026-03-14T15:09:26.000+00:00")
    note = spool.note(end)
    assert list(spool.waiting()) == [first, note]
    assert note_from_json(note.read_text()) == end
