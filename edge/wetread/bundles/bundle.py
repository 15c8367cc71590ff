"""A bundle on disk: a plain MONAI bundle folder plus ``configs/wetread.json``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wetread.bundles.manifest import Manifest, WeightsFile
from wetread.errors import BundleInvalid, UnknownBundle, WeightsMissing

TEMPLATE_NAME = "wetread.template.jsonc"
"""What ``wetread bundle check`` writes for a site to fill in and rename to ``wetread.json``."""
SIGNATURE = "signature.json"
"""Says something about the bundle and is no part of it: who signs it changes nothing that was measured or trusted."""
CONFIG_NAMES = ("inference.json", "inference.yaml", "inference.yml")

_NOT_PART_OF_IT = frozenset({"__pycache__", "eval", ".git", TEMPLATE_NAME})
_COMMENT_LINE = re.compile(r"^\s*//.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and whose manifest is valid; its weights may still be missing."""

    folder: Path
    name: str
    version: str
    task: str
    manifest: Manifest

    @property
    def config_path(self) -> Path:
        """The MONAI inference config."""
        return inference_config(self.folder, self.manifest.runtime.config)

    def digest(self) -> str:
        """SHA-256 (hex) over the relative path and content of every file of the bundle but its signature."""
        digest = hashlib.sha256()
        for path in sorted(_files(self.folder)):
            digest.update(path.relative_to(self.folder).as_posix().encode() + b"\0" + file_sha256(path).encode())
        return digest.hexdigest()

    def weights_digest(self) -> str:
        """SHA-256 (hex) over the digests of the weight files: changes exactly when the model is retrained."""
        return hashlib.sha256("".join(w.sha256 for w in self.manifest.weights).encode()).hexdigest()

    def check_weights(self) -> None:
        """Compare every weight file with the digest the manifest names.

        Raises: ``WeightsMissing``, naming the file and what to do.
        """
        for weights in self.manifest.weights:
            problem = self._weights_problem(weights)
            if problem:
                todo = f"run: wetread bundle install {self.name}" if weights.source else "put the right file there"
                raise WeightsMissing(f"bundle {self.name}: {problem}; {todo}")

    def _weights_problem(self, weights: WeightsFile) -> str:
        path = self.folder / weights.path
        if not path.is_file():
            return f"{weights.path} is not installed"
        found = file_sha256(path)
        if found != weights.sha256:
            return f"{weights.path} has SHA-256 {found[:16]}…, the manifest names {weights.sha256[:16]}…"
        return ""


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle folder.

    Raises: ``BundleInvalid`` with the file and the field when something is missing or not as the schema says.
    """
    metadata = _read_json(folder / "configs" / "metadata.json")
    for key in ("version", "monai_version", "task", "network_data_format"):
        if key not in metadata:
            raise BundleInvalid(f"{folder / 'configs' / 'metadata.json'}: the MONAI key {key!r} is missing")
    manifest_path = folder / "configs" / "wetread.json"
    try:
        manifest = Manifest.model_validate(_read_json(manifest_path, comments=True))
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {_what_is_wrong(e)}" for e in exc.errors())
        raise BundleInvalid(f"{manifest_path}: {problems}") from exc
    bundle = Bundle(folder.resolve(), folder.resolve().name, str(metadata["version"]), str(metadata["task"]), manifest)
    if not bundle.config_path.is_file():
        named = bundle.manifest.runtime.config
        why = "; the manifest's runtime.config names it" if named else ", and so are inference.yaml and inference.yml"
        raise BundleInvalid(f"{bundle.config_path} is missing{why}")
    return bundle


def inference_config(folder: Path, named: str = "") -> Path:
    """The inference config of a bundle folder: the file ``named``, else the first that exists of the usual three."""
    names = (named,) if named else CONFIG_NAMES
    paths = [folder / "configs" / name for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def list_bundles(folders: Iterable[Path]) -> Iterator[Path]:
    """Bundle folders below ``folders``: those with a ``configs/metadata.json``, sorted by name."""
    for folder in folders:
        if folder.is_dir():
            yield from sorted(p.parent.parent for p in folder.glob("*/configs/metadata.json"))


def find_bundle(name: str, folders: Iterable[Path]) -> Bundle:
    """The bundle called ``name``, or the one in the folder ``name`` if it is a path.

    Raises: ``UnknownBundle`` with the names that exist; ``BundleInvalid``.
    """
    return load_bundle(find_folder(name, folders))


def find_folder(name: str, folders: Iterable[Path]) -> Path:
    """The folder of the bundle called ``name``, or ``name`` itself; also of one that has no ``wetread.json`` yet.

    Raises: ``UnknownBundle`` with the names that exist.
    """
    folders, as_path = tuple(folders), Path(name)
    if (as_path / "configs" / "metadata.json").is_file():
        return as_path.resolve()
    known = {path.name: path for path in reversed(list(list_bundles(folders)))}
    if name in known:
        return known[name].resolve()
    if as_path.exists():
        raise UnknownBundle(f"{name} is no bundle: a MONAI bundle is a folder with configs/metadata.json")
    if len(as_path.parts) > 1:
        raise UnknownBundle(f"there is no folder {name}; expected a MONAI bundle, a folder with configs/metadata.json")
    have = ", ".join(sorted(known)) or "none"
    searched = ", ".join(dict.fromkeys(str(f) for f in folders))
    raise UnknownBundle(
        f"there is no bundle {name!r}; installed: {have} (searched: {searched}; [bundles] folders sets where)"
    )


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts != (SIGNATURE,) and not _NOT_PART_OF_IT.intersection(parts):
            yield path


_WORDS = {
    "string_too_short": "is empty, fill it in",
    "missing": "is missing",
    "extra_forbidden": "Wetread knows no such key here; packaging/docs/BUNDLES.md lists them",
}


def _what_is_wrong(error: ErrorDetails) -> str:
    return _WORDS.get(error["type"], error["msg"])


def _read_json(path: Path, *, comments: bool = False) -> dict[str, object]:
    """A JSON object; with ``comments``, whole lines that begin with ``//`` are left out."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(_COMMENT_LINE.sub("", text) if comments else text)
    except FileNotFoundError as exc:
        raise BundleInvalid(f"{path} is missing") from exc
    except OSError as exc:
        raise BundleInvalid(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise BundleInvalid(f"{path} is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise BundleInvalid(f"{path} must hold a JSON object, it holds a {type(content).__name__}")
    return content
