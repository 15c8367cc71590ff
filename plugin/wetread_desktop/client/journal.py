"""Decisions that the edge does not have yet, on disk before anything is shown as decided.

One append-only file for each edge, read and patient. Its first line says whose it is; a line that was cut by a power
failure is the last one and never happened. A decision leaves the file by a later line (``sent``, ``dropped``), and the
file goes when nothing is left in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from wetread.records.study import Patient
from wetread.review.decisions import Decision

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose decisions a journal holds."""

    edge: str
    """Address of the edge."""
    job_id: str
    study_instance_uid: str
    patient: str
    """Digest of who the study is about: a decision never goes to another patient, not even under the same job."""

    @property
    def file_name(self) -> str:
        """One for each owner; names nobody."""
        return hashlib.sha256("\n".join((self.edge, self.job_id, self.patient)).encode()).hexdigest()[:32] + ".jsonl"


NOBODY = Owner("", "", "", "")
"""Of a journal that does not say whose it is."""


def patient_digest(patient: Patient, study_instance_uid: str) -> str:
    """The same for the same patient of the same study, and nobody's name."""
    who = (study_instance_uid, patient.patient_id, patient.issuer, patient.birth_date, patient.sex)
    return hashlib.sha256("\n".join(who).encode()).hexdigest()


class JournalBusy(Exception):
    """Another window of this user reviews the same read."""


class JournalBroken(Exception):
    """A journal that is not one of ours; the message names the file and what is wrong with it."""


class Journal:
    """The decisions of one owner. Made, used and closed by any thread, one at a time."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        """Raises: ``JournalBusy``, ``JournalBroken``, ``OSError``."""
        self.owner = owner
        self.path = folder / owner.file_name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _opened(self.path)
        try:
            self._pending = self._load()
        except BaseException:  # also Ctrl-C: the lock goes with the file; raised again
            self._file.close()
            raise

    @property
    def pending(self) -> tuple[Decision, ...]:
        """What the edge does not have, in the order it was decided."""
        return tuple(self._pending.values())

    def add(self, decision: Decision) -> None:
        """Take a decision down; it is on disk when this returns. Raises: ``OSError``."""
        self._append({"decided": asdict(decision)})
        self._pending[decision.id] = decision

    def sent(self, ids: Iterable[str]) -> None:
        """The edge has these."""
        self._leave("sent", ids)

    def dropped(self, ids: Iterable[str], reason: str) -> None:
        """These will never be sent: the edge refused them, or the reader gave them up."""
        self._leave("dropped", ids, reason=reason)

    def close(self) -> None:
        """Let go; a journal with nothing in it is removed."""
        if self._file.closed:
            return
        if not self._pending:
            # Before the lock goes, so that nobody writes into a file without a name. Windows refuses: it stays, empty.
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._file.close()

    def _leave(self, how: str, ids: Iterable[str], **more: str) -> None:
        known = [one for one in ids if one in self._pending]
        if known:
            self._append({how: known} | more)
            for one in known:
                del self._pending[one]

    def _append(self, entry: dict[str, Any]) -> None:
        """Raises: ``OSError``; then the entry is not in the file, nor half of it, which would spoil the next line."""
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        before = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes went into {self.path}")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(before)
            raise

    def _load(self) -> dict[str, Decision]:
        """What is pending; a new file gets its first line."""
        self._file.seek(0)
        raw = self._file.read()
        whole, _, cut = raw.rpartition(b"\n")
        if cut:
            # A line without its end was being written when the power went: its decision was never shown as taken.
            self._file.truncate(len(raw) - len(cut))
        if not whole:
            self._append({"version": _VERSION, **asdict(self.owner)})
            _sync_folder(self.path.parent)
            return {}
        first, *others = [_object(line, self.path) for line in whole.split(b"\n")]
        if first != {"version": _VERSION, **asdict(self.owner)}:
            raise JournalBroken(f"{self.path} belongs to something else than its name says; it was left alone")
        return _replayed(others, self.path)


def unfinished(folder: Path) -> Iterator[tuple[Owner, int]]:
    """Owners of decisions that were not sent, with how many; a journal that cannot be read is one of ``unreadable``."""
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(OSError, JournalBroken):
            owner, count = _outline(path)
            if count:
                yield owner, count


def unreadable(folder: Path) -> Iterator[JournalBroken | OSError]:
    """Why each journal that may hold decisions cannot be read; the file is left alone."""
    for path in sorted(folder.glob("*.jsonl")):
        try:
            _outline(path)
        except FileNotFoundError:
            continue  # its last decision was sent just now
        except (JournalBroken, OSError) as error:
            yield error


def _outline(path: Path) -> tuple[Owner, int]:
    """Whose decisions, and how many are pending. Raises: ``JournalBroken``, ``OSError``."""
    whole = path.read_bytes().rpartition(b"\n")[0]
    if not whole:
        return NOBODY, 0  # made a moment ago, or left empty on Windows
    first, *others = [_object(line, path) for line in whole.split(b"\n")]
    if not {field.name for field in fields(Owner)} <= first.keys():
        raise JournalBroken(f"{path} does not say whose decisions it holds; it was left alone")
    return Owner(*(str(first[field.name]) for field in fields(Owner))), len(_replayed(others, path))


def _replayed(entries: Sequence[dict[str, Any]], path: Path) -> dict[str, Decision]:
    pending: dict[str, Decision] = {}
    for entry in entries:
        if "decided" in entry:
            try:
                decision = Decision(**entry["decided"])
            except TypeError:
                raise JournalBroken(f"{path} holds a decision that this version does not know") from None
            pending[decision.id] = decision
        for one in (*entry.get("sent", ()), *entry.get("dropped", ())):
            pending.pop(one, None)
    return pending


def _object(line: bytes, path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise JournalBroken(f"{path} holds a line that is no entry of a journal; it was left alone")
    return entry


def _opened(path: Path) -> BinaryIO:
    """The file of that name, locked: not one that somebody removed while we waited for the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        file: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            _lock(file, path)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass  # removed: the next round makes a new one
        except BaseException:  # also Ctrl-C: the lock goes with the file; raised again
            file.close()
            raise
        file.close()


def _lock(file: BinaryIO, path: Path) -> None:
    """One window at a time; the system lets go when the process ends, however it ends."""
    try:
        try:
            import fcntl
        except ImportError:
            import msvcrt

            # Beyond the end, because a locked range cannot be read by others on Windows.
            file.seek(1 << 30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise JournalBusy(f"another window has {path} open") from exc


def _sync_folder(folder: Path) -> None:
    """The file's name is on disk too; Windows has no such thing."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
