"""Compiled engines on disk: found by everything that decides them, believed only if their digest is right.

``<cache>/engines/<key>/engine.bin`` with ``build.json`` (what was built, from which graph, how that graph compared with
the reference) and, once it ran on a device and gave the reference's answer, ``on_device.json``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.durable import write_atomically
from wetread.infer.graph.graph_check import GraphCheck
from wetread.infer.keys import key_of

_ENGINE, _BUILD, _ON_DEVICE = "engine.bin", "build.json", "on_device.json"


class BuildRecord(BaseModel):
    """The build part of an engine's certificate: the graph gave the reference's answer, and these bytes are its."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    what: Mapping[str, str]
    """Everything that decides the engine; the key is its digest."""
    engine_sha256: str
    size_bytes: int
    seconds: float
    """The build took."""
    graph: GraphCheck
    made_at: datetime


class DeviceRecord(BaseModel):
    """The on-device part: these bytes gave the reference's sampled outputs on this device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine_sha256: str
    device: str
    library_version: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine in the cache."""

    folder: Path
    record: BuildRecord

    @property
    def path(self) -> Path:
        """The engine's file."""
        return self.folder / _ENGINE

    def engine_bytes(self) -> bytes | None:
        """The engine, if the file still is what was built."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == self.record.engine_sha256 else None

    def on_device(self) -> DeviceRecord | None:
        """The on-device part for exactly these bytes; ``None``: not run."""
        try:
            noted = DeviceRecord.model_validate_json((self.folder / _ON_DEVICE).read_bytes())
        except (OSError, ValidationError):
            return None
        return noted if noted.engine_sha256 == self.record.engine_sha256 else None

    def note_on_device(self, device: str, library_version: str) -> None:
        """Keep that the engine gave the reference's answer on ``device``."""
        noted = DeviceRecord(
            engine_sha256=self.record.engine_sha256,
            device=device,
            library_version=library_version,
            made_at=datetime.now(UTC),
        )
        write_atomically(self.folder / _ON_DEVICE, lambda target: target.write_text(noted.model_dump_json(indent=2)))


def find_entry(cache_folder: Path, what: Mapping[str, str]) -> Entry | None:
    """The engine built for exactly ``what``; a record that is damaged or of another engine counts as absent."""
    entry = read_entry(_folder(cache_folder, what))
    return entry if entry and dict(entry.record.what) == dict(what) else None


def store_entry(
    cache_folder: Path, what: Mapping[str, str], engine: bytes, *, graph: GraphCheck, seconds: float
) -> Entry:
    """Keep a new engine; the record is written last, so that a half-written entry counts as absent."""
    folder = _folder(cache_folder, what)
    shutil.rmtree(folder, ignore_errors=True)
    record = BuildRecord(
        what=what,
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        size_bytes=len(engine),
        seconds=round(seconds, 3),
        graph=graph,
        made_at=datetime.now(UTC),
    )
    write_atomically(folder / _ENGINE, lambda target: target.write_bytes(engine))
    write_atomically(folder / _BUILD, lambda target: target.write_text(record.model_dump_json()))
    return Entry(folder, record)


def still_there(cache_folder: Path, artefacts: Mapping[str, str]) -> bool:
    """Whether every engine (key in the cache → digest) is the one it was; a rebuilt one has other bytes."""
    found = {key: read_entry(entry_folder(cache_folder, key)) for key in artefacts}
    return all(e is not None and e.record.engine_sha256 == artefacts[key] for key, e in found.items())


def entries(cache_folder: Path, *, network: str) -> Iterator[Entry]:
    """Every engine of one network (``NetworkPlan.key``), for export to another box and for messages."""
    for folder in sorted((cache_folder / "engines").glob("*")):
        entry = read_entry(folder)
        if entry and entry.record.what.get("network") == network:
            yield entry


def adopt(folder: Path, cache_folder: Path) -> Entry | None:
    """Take over an engine that another machine built; ``None`` when it is damaged or no engine.

    Its on-device part stays behind: it must be run here before the engine serves.
    """
    given = read_entry(folder)
    content = given.engine_bytes() if given else None
    if given is None or content is None:
        return None
    record = given.record
    return store_entry(cache_folder, record.what, content, graph=record.graph, seconds=record.seconds)


def entry_folder(cache_folder: Path, key: str) -> Path:
    """Where the engine of a key is."""
    return cache_folder / "engines" / key


def _folder(cache_folder: Path, what: Mapping[str, str]) -> Path:
    return entry_folder(cache_folder, key_of(what))


def read_entry(folder: Path) -> Entry | None:
    """The engine in one folder; ``None`` when its record is absent or damaged."""
    try:
        return Entry(folder, BuildRecord.model_validate_json((folder / _BUILD).read_bytes()))
    except (OSError, ValidationError):
        return None
