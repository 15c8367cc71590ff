"""What the engine cache still holds of bundles, code and libraries of before, and taking it away.

Old is what no bundle here can use with the code and the libraries of today. It goes when nobody has used it for a while
and no process holds its mark (``engines/uses.py``); another Wetread may share the cache. Torch is not imported.

Removing is one step that a reader sees as absent (rename, or unlink of the record), then the rest: a crash leaves
something that nobody finds and the next cleaning removes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wetread.infer.code import graph_code
from wetread.infer.engines.cache import read_entry
from wetread.infer.engines.uses import MARK, nobody_uses, users
from wetread.infer.gate.certificate import CERTIFICATE, read_certificate
from wetread.infer.gate.refusal import REFUSAL, read_refusal
from wetread.infer.known import changes, torch_version, version_change

Kind = Literal["certificate", "graph", "engine", "leftover"]
Installed = Mapping[str, str]
"""Bundles here: digest → name."""

_DAY_S = 86400.0
_LEFTOVER_DAYS = 1.0
"""Something half made may still be in the making, whatever else is asked for."""
_REMOVED = "removed"
"""Folder in the cache; no reader looks two levels below it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing in the cache."""

    kind: Kind
    path: Path
    """A folder, or the file of a graph."""
    mark: Path
    size_bytes: int
    used_at: float
    """Seconds since 1970."""
    why: str
    """Why nothing here can use it; empty for what may be used."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one cleaning did, or would do."""

    removed: tuple[Piece, ...]
    left: tuple[tuple[Piece, str], ...]
    """Old, and not removed, with the reason."""
    failed: tuple[tuple[Piece, str], ...]


def survey(cache: Path, installed: Installed | None) -> tuple[Piece, ...]:
    """Everything in the cache. ``None`` for ``installed``: which bundles are here cannot be told, so none is missed."""
    found: list[Piece] = []
    for look in (_certificates, _graphs, _engines, _leftovers):
        with suppress(FileNotFoundError):  # removed or replaced while we looked
            found.extend(look(cache, installed))
    return tuple(found)


def old(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Those that nothing here can use."""
    return tuple(piece for piece in pieces if piece.why)


def clean(
    cache: Path,
    installed: Installed | None,
    *,
    unused_days: float,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
) -> Cleaned:
    """Remove what is old, was not used for ``unused_days`` and is not held by any process."""
    removed: list[Piece] = []
    left: list[tuple[Piece, str]] = []
    failed: list[tuple[Piece, str]] = []
    for piece in old(survey(cache, installed)):
        least = max(unused_days, _LEFTOVER_DAYS) if piece.kind == "leftover" else unused_days
        try:
            with nobody_uses(piece.mark) as free:
                days = (clock() - _used_at(piece.mark, piece.path)) / _DAY_S
                if not free:
                    left.append((piece, "a running process uses it"))
                elif days < least:
                    left.append((piece, f"it was used {max(days, 0.0):.1f} days ago, less than {least:g}"))
                else:
                    if not dry_run:
                        _remove(piece, cache)
                    removed.append(piece)
        except FileNotFoundError:  # another cleaning was here
            continue
        except OSError as exc:
            failed.append((piece, exc.strerror or str(exc)))
    return Cleaned(tuple(removed), tuple(left), tuple(failed))


def _remove(piece: Piece, cache: Path) -> None:
    if piece.path.parent == cache / _REMOVED:
        shutil.rmtree(piece.path)
    elif piece.path.is_dir():
        gone = cache / _REMOVED / piece.path.name
        gone.parent.mkdir(exist_ok=True)
        shutil.rmtree(gone, ignore_errors=True)
        piece.path.rename(gone)
        shutil.rmtree(gone)
    else:
        if piece.kind == "graph":
            piece.path.with_suffix(".json").unlink(missing_ok=True)  # without it the graph counts as absent
            piece.mark.unlink(missing_ok=True)
        piece.path.unlink()


def _certificates(cache: Path, installed: Installed | None) -> Iterator[Piece]:
    for folder in sorted(p for p in cache.glob("*") if len(p.name) == 64 and p.is_dir()):
        noted = read_certificate(folder / CERTIFICATE) or read_refusal(folder / REFUSAL)
        if noted is None:
            yield _piece("leftover", folder, "nothing says what it was made for")
            continue
        why = next(iter(changes(noted.subject)), "") or _no_bundle({noted.subject.get("bundle", "")}, installed)
        yield _piece("certificate", folder, why)


def _graphs(cache: Path, installed: Installed | None) -> Iterator[Piece]:
    for path in sorted((cache / "onnx").glob("*.onnx")):
        known = set(users(graph_mark(path)))
        why = "an earlier version of Wetread made it" if not known else ""
        why = why or next((_recipe_change(recipe) for _, recipe in known), "")
        yield _piece("graph", path, why or _no_bundle({bundle for bundle, _ in known}, installed))


def _engines(cache: Path, installed: Installed | None) -> Iterator[Piece]:
    for folder in sorted(p for p in (cache / "engines").glob("*") if p.is_dir()):
        entry = read_entry(folder)
        if entry is None:
            yield _piece("leftover", folder, "it is no whole engine")
            continue
        what, known = entry.record.what, {bundle for bundle, _ in users(folder / MARK)}
        why = _recipe_change(what.get("graph", "")) or version_change(*what.get("backend", " ").split(" ", 1))
        # One that came from another machine and has not run yet has no user: it waits for its first.
        yield _piece("engine", folder, why or (_no_bundle(known, installed) if known else ""))


def _leftovers(cache: Path, _installed: Installed | None) -> Iterator[Piece]:
    for folder in sorted((cache / _REMOVED).glob("*")):
        yield _piece("leftover", folder, "a cleaning was interrupted")
    for pattern in ("*/.?*", "engines/*/.?*"):  # as ``write_atomically`` names what it has not finished
        for path in sorted(p for p in cache.glob(pattern) if p.is_file()):
            yield _piece("leftover", path, "writing it was interrupted")


def graph_mark(graph: Path) -> Path:
    """Where the mark of a graph is."""
    return graph.with_suffix(f".{MARK}")


def _piece(kind: Kind, path: Path, why: str) -> Piece:
    mark = graph_mark(path) if kind == "graph" else (path if path.is_dir() else path.parent) / MARK
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return Piece(kind, path, mark, sum(p.stat().st_size for p in files), _used_at(mark, path), why)


def _used_at(mark: Path, path: Path) -> float:
    """When it was used last; what has no mark, when it was written."""
    with suppress(FileNotFoundError):
        return mark.stat().st_mtime
    if not path.is_dir():
        return path.stat().st_mtime
    return max((p.stat().st_mtime for p in path.rglob("*")), default=path.stat().st_mtime)


def _recipe_change(recipe: str) -> str:
    if not recipe.startswith(f"torch.onnx {torch_version()} "):
        return "another PyTorch exported its graph"
    return "" if recipe.endswith(f"code {graph_code()}") else "the code of Wetread that makes graphs was another"


def _no_bundle(bundles: set[str], installed: Installed | None) -> str:
    if installed is None or bundles & set(installed):
        return ""
    return "no bundle here is the one it was made for"
