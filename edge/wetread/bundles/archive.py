"""Zip files and folders that bundles come in: refused before anything is written when one entry is not a plain file."""

from __future__ import annotations

import os
import re
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wetread.bundles.bundle import TEMPLATE_NAME
from wetread.errors import BundleInvalid

LEFT_OUT = frozenset({"__pycache__", ".git", "eval", TEMPLATE_NAME})
"""What is no part of a bundle: not copied, not signed, not in its digest."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_CHUNK = 1 << 20
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What is still a bundle."""

    max_bytes: int = 4096 << 20
    """All files together, unpacked."""
    max_files: int = 20_000
    max_ratio: int = 200
    """Unpacked to packed, for entries of more than 1 MiB. Weights do not compress; zeros do."""


def unpack(archive: Path, target: Path, limits: Limits) -> None:
    """Extract a zip file into the new folder ``target``.

    Raises: ``BundleInvalid`` with the entry and the reason. Claims are checked before anything is written; an entry
    that turns out longer than it claims, or damaged, stops the extraction.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _checked(opened, limits)
            target.mkdir(parents=True)
            for entry in entries:
                _extract(opened, entry, target / entry.filename)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as exc:
        raise BundleInvalid(f"{archive.name} is not a usable zip file: {exc}") from exc


def copy_folder(source: Path, target: Path, limits: Limits) -> None:
    """Copy a folder to the new folder ``target``, plain files only; ``LEFT_OUT`` stays behind.

    Raises: ``BundleInvalid`` for links, devices, names no other system can keep, and more than ``limits``.
    """
    files = list(plain_files(source))
    _within(sum(size for _, size in files), len(files), limits, source.name)
    _unique([name for name, _ in files], source.name)
    target.mkdir(parents=True)
    for name, _ in files:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(source / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(descriptor, "rb") as stream, path.open("xb") as copy:
            shutil.copyfileobj(stream, copy, _CHUNK)


def plain_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Relative name and size of every file of a bundle's folder, sorted.

    Raises: ``BundleInvalid`` for links, devices and names that are refused in archives too.
    """
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if LEFT_OUT.intersection(relative.parts):
            continue
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "a link" if stat.S_ISLNK(mode) else "not a plain file"
            raise BundleInvalid(f"{folder.name}: {relative.as_posix()} is {kind}; a bundle holds plain files only")
        if problem := _name_problem(relative.as_posix()):
            raise BundleInvalid(f"{folder.name}: {problem}")
        if stat.S_ISREG(mode):
            yield relative.as_posix(), path.lstat().st_size


def pack(files: Iterable[tuple[str, Path]], out: Path) -> None:
    """Write a zip file of ``(name, file)``, stored, without times: the same files give the same bytes."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            with path.open("rb") as stream, archive.open(entry, "w", force_zip64=True) as copy:
                shutil.copyfileobj(stream, copy, _CHUNK)


def _checked(opened: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    entries = opened.infolist()
    name = Path(opened.filename or "the archive").name
    for entry in entries:
        problem = _name_problem(entry.orig_filename) or _entry_problem(entry, limits)
        if problem:
            raise BundleInvalid(f"{name}: {problem}; nothing was extracted")
    _within(sum(e.file_size for e in entries), len(entries), limits, name)
    _unique([e.filename.rstrip("/") for e in entries], name)
    return [e for e in entries if not e.is_dir() and not LEFT_OUT.intersection(PurePosixPath(e.filename).parts)]


def _name_problem(name: str) -> str:
    """Why a name would leave the folder, or mean something else on another system; empty when it is plain."""
    shown = repr(name)
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or ":" in name:
        return f"the name {shown} is absolute or names a drive"
    if any(p in ("", ".", "..") for p in parts):
        return f"the name {shown} leads out of the folder"
    if not name.isprintable() or len(name.encode("utf-8", "surrogateescape")) > 1024:
        return f"the name {shown} holds unprintable characters or is too long"
    if any(p.endswith((".", " ")) or _RESERVED.match(p) or len(p) > 200 for p in parts):
        return f"the name {shown} cannot be kept on every system"
    return ""


def _entry_problem(entry: zipfile.ZipInfo, limits: Limits) -> str:
    name = repr(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{name} is {'a symbolic link' if kind == stat.S_IFLNK else 'a special file'}"
    if not entry.orig_filename.isascii() and not entry.flag_bits & _UTF8_FLAG:
        return f"the name {name} is not UTF-8"
    if entry.flag_bits & _ENCRYPTED_FLAG:
        return f"{name} is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{name} is compressed with method {entry.compress_type}"
    if entry.file_size > _SMALL and entry.file_size > limits.max_ratio * max(entry.compress_size, 1):
        return f"{name} claims {entry.file_size >> 20} MiB from {entry.compress_size} bytes"
    return ""


def _within(size: int, count: int, limits: Limits, name: str) -> None:
    if size > limits.max_bytes or count > limits.max_files:
        raise BundleInvalid(
            f"{name} holds {count} files with {size >> 20} MiB; allowed are {limits.max_files} files with "
            f"{limits.max_bytes >> 20} MiB ([bundles] max_size_mb)"
        )


def _unique(names: list[str], archive: str) -> None:
    """Names that some file system takes for one: by case, or by Unicode normalization."""
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise BundleInvalid(f"{archive}: {name!r} and {seen[key]!r} would be one file; nothing was extracted")
        seen[key] = name


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(entry) as stream, path.open("xb") as copy:
        while chunk := stream.read(_CHUNK):
            written += len(chunk)
            if written > entry.file_size:
                raise BundleInvalid(f"{entry.filename!r} is longer than the {entry.file_size} bytes it claims")
            copy.write(chunk)
    if written != entry.file_size:
        raise BundleInvalid(f"{entry.filename!r} has {written} bytes and claims {entry.file_size}")
