"""``wetread bundle export``: a bundle, with its ready engines if wanted, as one file for a box without internet."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wetread.bundles import Bundle
from wetread.bundles.archive import pack, plain_files
from wetread.bundles.signature import sign_files
from wetread.durable import write_atomically
from wetread.errors import Misconfigured

GRAPHS = "graphs"
"""Folder of exported graphs among the engines of an archive."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    size_bytes: int
    engines: int
    """Compiled for a GPU."""
    graphs: int = 0
    """Exported and checked: what OpenVINO compiles at each start, and engines are built from."""
    notes: tuple[str, ...] = ()
    """What a person should know besides, as sentences."""


def export(bundle: Bundle, out: Path, *, engine_cache: Path | None = None, key_file: Path | None = None) -> Exported:
    """Write ``bundle/<name>/…`` and, with ``engine_cache``, ``engines/<key>/…`` into the zip file ``out``, atomically.

    Exported graphs lie in ``engines/graphs/``. No certificate goes along: it is for the machine that was measured.
    The bundle keeps the signature it has. Engines are programs that its signature does not cover: with ``key_file``
    they are signed here; without, the other box takes them only with ``--trust-local``.
    Raises: ``Misconfigured`` when the file exists or cannot be written.
    """
    if out.exists():
        raise Misconfigured(f"{out} exists and is not overwritten")
    with tempfile.TemporaryDirectory(prefix="wetread-export-") as scratch:
        engines = Path(scratch) / "engines"
        count, graphs = _collect(bundle, engine_cache, engines) if engine_cache is not None else (0, 0)
        if (count or graphs) and key_file is not None:
            sign_files(engines, key_file, bundle=bundle.name, version=bundle.version)
        files = [(f"bundle/{bundle.name}/{name}", bundle.folder / name) for name, _ in plain_files(bundle.folder)]
        if count or graphs:
            files += [(f"engines/{name}", engines / name) for name, _ in plain_files(engines)]
        _write(files, out)
    notes = _notes(bundle, engine_cache, count, graphs) if engine_cache is not None else ()
    return Exported(out, out.stat().st_size, count, graphs, notes)


def _notes(bundle: Bundle, engine_cache: Path, engines: int, graphs: int) -> tuple[str, ...]:
    if engines:
        return ()
    if not graphs:
        return (f"{engine_cache} holds nothing of this bundle; first run wetread bundle compile {bundle.name}",)
    carried = "the exported graph is" if graphs == 1 else f"{graphs} exported graphs are"
    return (
        f"there is no compiled engine to carry: OpenVINO compiles at each start, on the machine itself; {carried} "
        "carried, so that the other box exports nothing; it compares with the reference once",
    )


def _collect(bundle: Bundle, engine_cache: Path, target: Path) -> tuple[int, int]:
    """Copies of the bundle's engines, with the build part of their certificates, and graphs; damaged ones stay here."""
    engines = graphs = 0
    for entry in _entries(bundle, engine_cache):
        folder = target / entry.name
        folder.mkdir(parents=True)
        for name in ("engine.bin", "build.json"):
            shutil.copyfile(entry / name, folder / name)
        engines += 1
    for path in _graphs(bundle, engine_cache):
        (target / GRAPHS).mkdir(parents=True, exist_ok=True)
        for part in (path, path.with_suffix(".json")):
            shutil.copyfile(part, target / GRAPHS / part.name)
        graphs += 1
    return engines, graphs


def _graphs(bundle: Bundle, engine_cache: Path) -> Iterator[Path]:
    from wetread.infer.configs.config import InferenceConfig
    from wetread.infer.graph.export import kept_graphs

    config = InferenceConfig(bundle)
    for weights in bundle.manifest.weights:
        yield from kept_graphs(engine_cache, network=config.network_key(weights))


def _entries(bundle: Bundle, engine_cache: Path) -> Iterator[Path]:
    from wetread.infer.configs.config import InferenceConfig
    from wetread.infer.engines.cache import entries

    config = InferenceConfig(bundle)
    for weights in bundle.manifest.weights:
        for entry in entries(engine_cache, network=config.network_key(weights)):
            if entry.engine_bytes() is not None:
                yield entry.folder


def _write(files: list[tuple[str, Path]], out: Path) -> None:
    try:
        write_atomically(out, lambda part: pack(files, part))
    except OSError as exc:
        raise Misconfigured(f"{out} cannot be written: {exc.strerror}") from exc
