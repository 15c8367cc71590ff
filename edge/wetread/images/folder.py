"""A folder of files becomes studies: the command line's entrance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from wetread.dimse.attributes import text
from wetread.dimse.dataset import build_study, content_digest, describe_instance, read_header, reference_of
from wetread.errors import NotDicom
from wetread.records.study import InstanceRef, StudyRef


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is not part of any study, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class FolderScan:
    """What lies in a folder."""

    studies: tuple[StudyRef, ...]
    """One Study UID with two patients gives two of them; see ``build_study``."""
    skipped: tuple[SkippedFile, ...]
    """Files that are not DICOM instances; a DICOMDIR and exact copies are not mentioned."""


def scan_folder(folder: Path) -> FolderScan:
    """Read the headers of all files below ``folder``, in every depth, and group them into studies.

    Raises: ``NotDicom`` when ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise NotDicom(f"{folder}: is not a folder, a folder of DICOM files was expected")
    items: list[tuple[Dataset, InstanceRef]] = []
    skipped: list[SkippedFile] = []
    seen: set[tuple[str, str]] = set()
    for path in _files(folder):
        try:
            if _is_directory_file(path):
                continue
            ds, instance = describe_instance(path)
        except NotDicom as exc:
            skipped.append(SkippedFile(path, str(exc)))
            continue
        if (instance.sop_instance_uid, instance.digest) not in seen:
            seen.add((instance.sop_instance_uid, instance.digest))
            items.append((ds, instance))
    return FolderScan(tuple(build_study(items)), tuple(skipped))


def scan_headers(
    folder: Path,
    *,
    seen: Callable[[Dataset, InstanceRef], None] = lambda _ds, _instance: None,
    stopped: Callable[[], bool] = lambda: False,
) -> FolderScan:
    """As ``scan_folder``, for looking only: no pixel data is read, and the instances have no digest.

    ``seen`` is handed each header with its instance, so that nobody has to read the file again; ``stopped`` is asked
    before each file: once it says yes, the rest is left out.
    Raises: ``NotDicom`` when ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise NotDicom(f"{folder}: is not a folder, a folder of DICOM files was expected")
    skipped: list[SkippedFile] = []

    def looked_at() -> Iterator[tuple[Dataset, InstanceRef]]:
        known: dict[str, list[Path]] = {}
        for path in _files(folder):
            if stopped():
                return
            try:
                found = _look(path, known)
            except NotDicom as exc:
                skipped.append(SkippedFile(path, str(exc)))
                continue
            if found is not None:
                seen(*found)
                yield found

    return FolderScan(tuple(build_study(looked_at())), tuple(skipped))


def _look(path: Path, known: dict[str, list[Path]]) -> tuple[Dataset, InstanceRef] | None:
    """One header; none of a DICOMDIR or of an exact copy of a file in ``known``, where the others go."""
    ds = read_header(path)
    if text(ds.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return None
    instance = reference_of(path, ds)
    same = known.setdefault(instance.sop_instance_uid, [])
    if same and content_digest(path)[0] in {content_digest(other)[0] for other in same}:
        return None
    same.append(path)
    return ds, instance


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.upper() != "DICOMDIR":
            yield path


def _is_directory_file(path: Path) -> bool:
    """Whether it is a DICOMDIR under another name (PS3.10 8.6)."""
    return text(read_header(path).file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
