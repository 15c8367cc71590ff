"""What is on disk after a power cut, from the record of file operations that ``layer.c`` wrote.

The model is that of POSIX, not of a friendly file system: the content of a file is what it was at its last ``fsync``; a
new name, a rename or a removal lasts only once its folder was synced. Between the two extremes (nothing unsynced
survives; everything does) a disk may keep anything, so ``seed`` picks how much of what was not synced
got there: writes in any order and perhaps in part, names in order.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("<cQQII")


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded call; ``first`` and ``second`` are paths or data, as the kind has it."""

    kind: str
    inode: int
    offset: int
    first: bytes
    second: bytes

    @property
    def path(self) -> str:
        return self.first.decode()


def read_log(log: Path) -> list[Operation]:
    """All operations, in order."""
    body, at = log.read_bytes(), 0
    found = []
    while at < len(body):
        kind, inode, offset, n, m = _HEAD.unpack_from(body, at)
        at += _HEAD.size
        found.append(Operation(kind.decode(), inode, offset, body[at : at + n], body[at + n : at + n + m]))
        at += n + m
    return found


@dataclass
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """``(offset, data)``; data None: cut to ``offset`` bytes."""


class Disk:
    """The disk after some operations."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: list[_File] = []
        self._present: dict[int, int] = {}
        """Inode number → place in ``_files``: the system uses a number again when its file is gone."""
        self._synced: dict[str, int | None] = {root: None}
        """Names that last, and their files; None for a folder."""
        self._changes: list[tuple[str, ...]] = []
        """Changes of names that no sync of a folder has made durable, in order."""

    def do(self, operation: Operation) -> None:
        """Let one operation happen."""
        getattr(self, f"_do_{operation.kind}")(operation)

    def cut(self, folder: Path, *, seed: int | None = None) -> None:
        """Write what a power cut leaves into ``folder``; without ``seed`` nothing that was not synced."""
        choose = random.Random(seed) if seed is not None else None
        names = dict(self._synced)
        for change in self._changes:
            if choose is None or choose.random() < 0.3:
                break  # names reach the disk in order: the rest did not
            _apply(names, change)
        for path, file in sorted(names.items()):
            parents = [str(p) for p in Path(path).parents if str(p).startswith(self._root)]
            if not all(parent in names for parent in parents):
                continue  # its folder never got there
            target = folder / path.removeprefix(self._root).lstrip("/")
            if file is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.write_bytes(_content(self._files[file], choose))

    def _do_c(self, operation: Operation) -> None:
        self._present[operation.inode] = len(self._files)
        self._changes.append(("add", operation.path, str(len(self._files))))
        self._files.append(_File())

    def _do_w(self, operation: Operation) -> None:
        self._file(operation.inode).pending.append((operation.offset, operation.first))

    def _do_t(self, operation: Operation) -> None:
        self._file(operation.inode).pending.append((operation.offset, None))

    def _do_s(self, operation: Operation) -> None:
        file = self._file(operation.inode)
        for offset, data in file.pending:
            _write(file.synced, offset, data)
        file.pending.clear()

    def _do_d(self, operation: Operation) -> None:
        """A folder was synced: what changed in it lasts, with the earlier changes it rests on."""
        paths: set[str] = set()
        lasting: list[tuple[str, ...]] = []
        for change in reversed(self._changes):
            touched = {path for path in change[1:] if path.startswith("/")}
            if touched & paths or any(str(Path(path).parent) == operation.path for path in touched):
                paths |= touched
                lasting.append(change)
        for change in reversed(lasting):
            self._changes.remove(change)
            _apply(self._synced, change)

    def _do_r(self, operation: Operation) -> None:
        self._changes.append(("move", operation.path, operation.second.decode()))

    def _do_u(self, operation: Operation) -> None:
        self._changes.append(("remove", operation.path))

    def _do_m(self, operation: Operation) -> None:
        self._changes.append(("folder", operation.path))

    def _file(self, inode: int) -> _File:
        return self._files[self._present[inode]]


def _apply(names: dict[str, int | None], change: tuple[str, ...]) -> None:
    kind, path, *more = change
    if kind == "add":
        names[path] = int(more[0])
    elif kind == "folder":
        names[path] = None
    elif kind == "remove":
        names.pop(path, None)
    else:
        for name in [n for n in names if n == path or n.startswith(path + "/")]:
            names[more[0] + name.removeprefix(path)] = names.pop(name)


def _content(file: _File, choose: random.Random | None) -> bytes:
    content = bytearray(file.synced)
    for offset, data in file.pending if choose is not None else ():
        assert choose is not None
        luck = choose.random()
        if luck < 0.3:
            continue  # writes that were not synced may get there in any order
        part = data if data is None or luck > 0.5 else data[: choose.randrange(len(data) + 1)]
        _write(content, offset, part)
    return bytes(content)


def _write(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data
