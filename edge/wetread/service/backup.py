"""``wetread backup`` and ``restore``: one file with everything that cannot be computed again.

The file is a tar archive: the database as it was at one moment, the instances and results it names, the instances that
were acknowledged and not indexed yet, and, last, a manifest with the SHA-256 of each: an archive without it was not
finished. Compiled engines, bundles and the configuration are not in it.

A backup is old the moment it is made: the box went on reading and sending. So what a restored database believes to be
still open (results to deliver, studies to read) is held until a person releases it: nothing is delivered twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import wetread
from wetread.db import Database, Queries
from wetread.durable import sync_folder
from wetread.errors import Misconfigured, SpoolUnavailable
from wetread.records.numbers import number_of
from wetread.service.ownership import own
from wetread.store.index import Index
from wetread.store.spool import Spool

FORMAT = 1
_DATABASE = "wetread.db"
_MANIFEST = "manifest.json"
_MEMBER = re.compile(r"wetread\.db|(spool/(incoming|unreadable|comparing|studies/\w+)|results(/\w[\w.-]*)+)/\w[\w.-]*")
"""Below ``results`` any depth: a read in two renditions and a signed report have folders of their own."""
_CHUNK = 2**20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True, slots=True)
class Summary:
    """What went into a backup, or came out of one."""

    files: int
    size_bytes: int
    made_at: str
    held_results: int = 0
    held_studies: int = 0


def back_up(data_dir: Path, target: Path) -> Summary:
    """Write a backup of a data folder, whether the service runs or not.

    The file is complete or not there; mode 0600, because patients are in it.

    Raises: ``Misconfigured`` when there is nothing to back up or ``target`` exists; ``SpoolUnavailable`` when it cannot
    be written.
    """
    if not (data_dir / _DATABASE).is_file():
        raise Misconfigured(f"there is no Wetread database in {data_dir}; has wetread serve run with it?")
    if target.exists():
        raise Misconfigured(f"{target} exists and is not overwritten")
    part = target.with_name(f".{target.name}.part")
    try:
        with os.fdopen(os.open(part, _NEW_FILE, 0o600), "wb") as stream:
            summary = _write(data_dir, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(target)
        sync_folder(target.parent)
    except FileExistsError as exc:
        raise Misconfigured(f"{part} exists: another backup is being written there, or one was interrupted") from exc
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise SpoolUnavailable(f"the backup {target} cannot be written: {exc.strerror}") from exc
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return summary


def restore(archive: Path, data_dir: Path) -> Summary:
    """Put a backup into an empty data folder; everything that was open is held.

    Raises: ``Misconfigured`` when the folder has a database, the service runs, or the file is not a whole, undamaged
    backup; ``SpoolUnavailable`` when the disk is full.
    """
    with own(data_dir):
        if (data_dir / _DATABASE).exists() or any(_files_of(data_dir)):
            raise Misconfigured(f"{data_dir} holds studies or results already; restore into an empty data folder")
        staging = data_dir / ".restoring"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            manifest = _unpack(archive, staging)
            summary = _hold_what_is_open(staging, manifest)
            _put_in_place(staging, data_dir)
        except OSError as exc:
            raise SpoolUnavailable(f"the backup cannot be restored to {data_dir}: {exc.strerror}") from exc
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return summary


def _write(data_dir: Path, stream: IO[bytes]) -> Summary:
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    digests: dict[str, str] = {}
    size = 0
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".backup-") as scratch:
        snapshot = Path(scratch) / _DATABASE
        Database(data_dir / _DATABASE).copy_to(snapshot)
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, places in _members(data_dir, snapshot):
                added = _add(tar, name, places)
                if added is not None:  # None: removed by retention, or on its way to a place that comes later
                    digests[name], length = added
                    size += length
            manifest = {"format": FORMAT, "wetread": wetread.__version__, "made_at": made_at, "sha256": digests}
            body = json.dumps(manifest).encode()
            entry = tarfile.TarInfo(_MANIFEST)
            entry.size = len(body)
            tar.addfile(entry, BytesIO(body))
    return Summary(len(digests), size, made_at)


def _members(data_dir: Path, snapshot: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Names in the archive and where their files may be: the database, what it names, and what it does not name yet."""
    yield _DATABASE, (snapshot,)
    spool = data_dir / "spool"
    db = Database(snapshot)
    known = {f"spool/{r['path']}" for r in db.fetch("SELECT path FROM instances WHERE removed_at IS NULL")}
    known |= {f"spool/{r['path']}" for r in db.fetch("SELECT path FROM unreadable UNION SELECT path FROM recompressed")}
    known |= {r["path"] for r in db.fetch("SELECT path FROM results WHERE removed_at IS NULL")}
    known |= {r["path"] for r in db.fetch("SELECT path FROM result_files")}
    db.close()
    for name in sorted(known):
        # Rows are written first: the file may still lie in incoming/ under the same name, or be moved this moment.
        path = data_dir / name
        yield name, (path, spool / "incoming" / path.name, path)
    placed = {Path(name).name for name in known}
    yield from _unknown(spool / "incoming", placed)
    for folder in sorted((spool / "studies").glob("*")):
        yield from _unknown(folder, placed)


def _unknown(folder: Path, placed: set[str]) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Instances the snapshot does not know: they came after it, and come back as ones that wait to be indexed."""
    for path in sorted(folder.glob("[!.]*")):
        if path.name not in placed:
            yield f"spool/incoming/{path.name}", (path,)


def _add(tar: tarfile.TarFile, name: str, places: tuple[Path, ...]) -> tuple[str, int] | None:
    """Add the file that lies at the first of ``places`` that has one; its SHA-256 (hex) and length."""
    for path in places:
        try:
            source = path.open("rb")
        except FileNotFoundError:
            continue
        with source:
            entry = tarfile.TarInfo(name)
            entry.size = os.fstat(source.fileno()).st_size
            entry.mode = 0o600
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            tar.addfile(entry, source)
        return digest, entry.size
    return None


def _unpack(archive: Path, staging: Path) -> dict[str, Any]:
    found: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(archive, mode="r:") as tar:
            for entry in tar:
                source = tar.extractfile(entry) if entry.isfile() else None
                if source is None or not (entry.name == _MANIFEST or _MEMBER.fullmatch(entry.name)):
                    raise Misconfigured(f"{archive} holds {entry.name!r}, which is not part of a Wetread backup")
                if entry.name == _MANIFEST:
                    manifest = json.load(source)
                else:
                    found[entry.name] = _extract(source, staging / entry.name)
    except FileNotFoundError as exc:
        raise Misconfigured(f"there is no backup {archive}") from exc
    except (tarfile.TarError, json.JSONDecodeError, EOFError) as exc:
        raise Misconfigured(f"{archive} is not a whole Wetread backup ({exc})") from exc
    if manifest is None or _DATABASE not in found:
        raise Misconfigured(f"{archive} is not a whole Wetread backup: it ends before its manifest")
    if manifest.get("format") != FORMAT:
        raise Misconfigured(f"{archive} has backup format {manifest.get('format')!r}; this Wetread knows {FORMAT}")
    if found != manifest["sha256"]:
        damaged = sorted(n for n in {*found, *manifest["sha256"]} if found.get(n) != manifest["sha256"].get(n))
        differ = number_of(len(damaged), "file differs", "files differ")
        raise Misconfigured(f"{archive} is damaged: {differ} from its manifest, first {damaged[0]}")
    return manifest


def _extract(source: IO[bytes], target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, _NEW_FILE, 0o600), "wb") as stream:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _hold_what_is_open(staging: Path, manifest: dict[str, Any]) -> Summary:
    """In the restored database: hold results that were not delivered and studies that were not finished."""
    db = Database(staging / _DATABASE)
    spool = Spool(staging / "spool")
    index = Index(db, spool)
    while any(spool.waiting()):
        index.take_in()  # what waits would be read after the start: indexed now, it is held with the rest
    made_at = str(manifest["made_at"])
    reason = f"restored from the backup of {made_at}: it may have been done since"
    queries = Queries("wetread.service")
    with db.transaction() as tx:
        results = tx.run(queries["hold_restored_results"], {"reason": reason})
        studies = tx.fetch(queries["open_studies"])
        for study in studies:
            tx.run(queries["hold_restored_study"], {"study_id": study["id"], "reason": reason})
            tx.event("held", reason, study_id=study["id"])
        tx.event("restored", f"{number_of(len(manifest['sha256']), 'file')} of the backup of {made_at}")
    db.close()
    sizes = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    return Summary(len(manifest["sha256"]), sizes, made_at, held_results=results, held_studies=len(studies))


def _files_of(data_dir: Path) -> Iterator[Path]:
    for name in ("spool", "results"):
        yield from (path for path in (data_dir / name).rglob("*") if path.is_file())


def _put_in_place(staging: Path, data_dir: Path) -> None:
    """Folders first, the database last: with it, the data folder counts as restored."""
    for name in ("spool", "results"):
        if (staging / name).exists():
            if (data_dir / name).exists():
                shutil.rmtree(data_dir / name)
            (staging / name).rename(data_dir / name)
    sync_folder(data_dir)
    (staging / _DATABASE).rename(data_dir / _DATABASE)
    sync_folder(data_dir)
