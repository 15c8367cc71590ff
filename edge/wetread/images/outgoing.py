"""Which files of a folder can be sent, and what is wrong with the others: nothing is left out without a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from wetread.dimse.attributes import text
from wetread.dimse.dataset import is_cut_short
from wetread.images.folder import SkippedFile, scan_headers
from wetread.records.study import InstanceRef

_META = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
_PREFIX_AT = 128


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The files below a folder, each in one of the three."""

    paths: tuple[Path, ...]
    """Fit to be sent, by study, series and Instance Number."""
    broken: tuple[SkippedFile, ...]
    """Meant to be instances, and no peer could use them."""
    skipped: tuple[SkippedFile, ...]
    """Not meant to be sent: no DICOM, a DICOMDIR, an exact copy of another file."""


def outgoing(folder: Path) -> Outgoing:
    """Look at every file below ``folder``, in every depth: its header, then all of it to its end.

    Raises: ``NotDicom`` when ``folder`` is not a folder.
    """
    found: list[Path] = []
    broken: list[SkippedFile] = []

    def seen(ds: Dataset, instance: InstanceRef) -> None:
        found.append(instance.path)
        problem = _problem(ds, instance.path)
        if problem:
            broken.append(SkippedFile(instance.path, problem))

    scan = scan_headers(folder, seen=seen)
    skipped: list[SkippedFile] = []
    for file in scan.skipped:
        reason = file.reason.removeprefix(f"{file.path.name}: ")
        (broken if _is_meant_to_be_dicom(file.path) else skipped).append(SkippedFile(file.path, reason))
    skipped += _others(folder, {*found, *(file.path for file in scan.skipped)})
    unfit = {file.path for file in broken}
    instances = (i.path for study in scan.studies for series in study.series for i in series.instances)
    return Outgoing(
        paths=tuple(path for path in instances if path not in unfit),
        broken=tuple(sorted(broken, key=lambda file: file.path)),
        skipped=tuple(sorted(skipped, key=lambda file: file.path)),
    )


def _problem(ds: Dataset, path: Path) -> str:
    """Why a file whose header can be read cannot be sent; empty when it can."""
    for keyword in _META:
        if not text(ds.file_meta, keyword):
            return f"its File Meta Information has no {keyword} (PS3.10 7.1)"
    return "ends within its pixel data: it was not written or copied completely" if is_cut_short(path) else ""


def _is_meant_to_be_dicom(path: Path) -> bool:
    """By its name or its prefix (PS3.10 7.1). A file that cannot be opened may be an instance."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(_PREFIX_AT + 4)[_PREFIX_AT:] == b"DICM"
    except OSError:
        return True


def _others(folder: Path, known: set[Path]) -> Iterator[SkippedFile]:
    """What a scan does not mention."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in known:
            yield SkippedFile(path, "is a DICOMDIR, or an exact copy of another file")
