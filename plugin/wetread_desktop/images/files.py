"""A folder or a zip of DICOM files, opened as studies. No Qt."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from wetread.images.folder import FolderScan, SkippedFile, scan_headers
from wetread.records.sop_classes import is_derived
from wetread.records.study import SeriesRef, StudyRef
from wetread_desktop.host import SeriesHandle
from wetread_desktop.images.headers import Headers

_LARGEST_ZIP = 20 * 2**30
_LARGEST_RATIO = 200
"""Pixels of one value shrink by more only in files made to fill a disk."""


class CannotOpen(Exception):
    """What was asked for is not a study; the message is a sentence for the reader."""


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """What was found."""

    studies: tuple[StudyRef, ...]
    skipped: tuple[SkippedFile, ...]
    unpacked: TemporaryDirectory[str] | None = None
    """Where a zip was unpacked; goes with this object's ``close``."""

    def close(self) -> None:
        """Remove what was unpacked."""
        if self.unpacked is not None:
            self.unpacked.cleanup()


def open_path(
    path: Path, headers: Headers | None = None, *, stopped: Callable[[], bool] = lambda: False
) -> OpenedFiles:
    """Studies in a folder, a zip, or the folder of one file. Raises: ``CannotOpen``.

    ``headers`` gets what was learned of each slice. ``stopped`` is asked before each file; what was found before it
    said yes is not the whole.
    """
    look = partial(scan_headers, seen=(Headers() if headers is None else headers).see, stopped=stopped)
    if path.is_dir():
        return _scanned(look(path), path)
    if not path.is_file():
        raise CannotOpen(f"{path}: there is no such file or folder")
    if not zipfile.is_zipfile(path):
        return _scanned(look(path.parent), path)
    unpacked = TemporaryDirectory(prefix="wetread-desk-")
    try:
        _unpack(path, Path(unpacked.name))
        return replace(_scanned(look(Path(unpacked.name)), path), unpacked=unpacked)
    except BaseException:  # also Ctrl-C: nothing of the study stays behind; raised again
        unpacked.cleanup()
        raise


def image_series(study: StudyRef) -> tuple[SeriesRef, ...]:
    """Its series of images, as they are numbered; results and other derived objects are not among them."""
    kept = [s for s in study.series if not any(is_derived(uid) for uid in s.sop_class_uids)]
    return tuple(sorted(kept, key=lambda s: (s.number is None, s.number or 0, s.series_instance_uid)))


def handle_of(study: StudyRef, series: SeriesRef) -> SeriesHandle:
    """What the panel needs to know of a series."""
    return SeriesHandle(
        key=f"{study.study_instance_uid}/{series.series_instance_uid}",
        study_instance_uid=study.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        modality=series.modality,
        description=series.description,
        patient_id=study.patient.patient_id,
        patient_name=study.patient.name,
        birth_date=study.patient.birth_date,
        sex=study.patient.sex,
        accession_number=study.accession_number,
    )


def _scanned(scan: FolderScan, asked: Path) -> OpenedFiles:
    if not scan.studies:
        why = f"; the first of {len(scan.skipped)} other files: {scan.skipped[0].reason}" if scan.skipped else ""
        raise CannotOpen(f"{asked}: holds no DICOM images{why}")
    return OpenedFiles(scan.studies, scan.skipped)


def _unpack(path: Path, folder: Path) -> None:
    """File by file under names of ours: what the zip calls them is nobody's path."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            total = sum(m.file_size for m in members)
            packed = sum(m.compress_size for m in members)
            free = shutil.disk_usage(folder).free
            if total > min(_LARGEST_ZIP, free) or total > _LARGEST_RATIO * max(packed, 1):
                raise CannotOpen(f"{path}: says it unpacks to {total // 2**20} MB, which is more than is allowed here")
            for number, member in enumerate(members):
                _unpack_one(archive, member, folder / f"{number:06d}")
    except CannotOpen:
        raise
    except Exception as exc:  # zipfile raises whatever the damage leads to, zlib.error too; the reader is told
        raise CannotOpen(f"{path}: cannot be unpacked ({exc})") from exc


def _unpack_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with archive.open(member) as source, target.open("wb") as out:
        left = member.file_size
        while chunk := source.read(min(1 << 20, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise CannotOpen(f"{archive.filename}: {member.filename} is longer than it says")
            out.write(chunk)
