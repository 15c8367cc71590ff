"""Weight files into networks: tensors only, never code; TorchScript that is to be run is the one exception."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from wetread.errors import BundleInvalid, WeightsMissing
from wetread.infer.configs.plain import load_plain
from wetread.infer.configs.torchscript import torchscript_tensors

_INSIDE = ("model", "state_dict", "network", "net", "model_state_dict")
"""Where checkpoints keep the state dict; MONAI's CheckpointSaver writes ``model``."""


def load_weights(network: nn.Module, path: Path, *, name: str) -> None:
    """Fill a network from a file, every parameter or none.

    Raises: ``BundleInvalid`` when the file holds code, or its tensors are not those of the network.
    """
    state = state_dict(path)
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as exc:
        problem = _misfit(network.state_dict(), state) or str(exc)[:600]
        raise BundleInvalid(f"the weights do not fit ({name}): {problem}") from exc


def load_program(path: Path) -> nn.Module:
    """A TorchScript archive as the network it is. This compiles its code and runs what it does while it is loaded:

    only for a bundle that somebody vouched for (``trust.admit``), in a process that has little to lose (decision 5).
    Raises: ``BundleInvalid``.
    """
    if not is_torchscript(path):
        raise BundleInvalid(f"{path.name} is no TorchScript archive, so it cannot be run as a program")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch 2.13 still loads what it no longer recommends
            loaded: nn.Module = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError, OSError) as exc:
        reason = next((line for line in reversed(str(exc).splitlines()) if line.strip()), type(exc).__name__)
        raise BundleInvalid(f"the TorchScript archive {path.name} cannot be loaded: {reason[:300]}") from exc
    return loaded


def _misfit(wanted: Mapping[str, Any], given: Mapping[str, Tensor]) -> str:
    """How the file differs from the network, with one example of each kind; empty when it does not."""
    lacking, foreign = [k for k in wanted if k not in given], [k for k in given if k not in wanted]
    other = [k for k, v in given.items() if isinstance(wanted.get(k), Tensor) and wanted[k].shape != v.shape]
    said = (
        [f"{len(lacking)} of the network's {len(wanted)} are not in the file, such as {lacking[0]}"] if lacking else []
    )
    said += [f"{len(foreign)} in the file are not the network's, such as {foreign[0]}"] if foreign else []
    if other:
        first = other[0]
        shapes = f"{tuple(given[first].shape)}, the network's {tuple(wanted[first].shape)}"
        said.append(f"{len(other)} have another shape, such as {first}: {shapes}")
    return "; ".join(said)


def state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, of a ``.pt`` file (a plain state dict or a checkpoint round one), or of a
    TorchScript archive, of which nothing is run.

    Raises: ``BundleInvalid``.
    """
    if path.suffix == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(path))
        except SafetensorError as exc:
            raise BundleInvalid(f"{path.name} is not a safetensors file: {exc}") from exc
    return _without_wrapping(_loaded(path), path)


def _loaded(path: Path) -> Any:
    if is_torchscript(path):
        try:
            return torchscript_tensors(path.read_bytes())
        except WeightsMissing as exc:
            raise BundleInvalid(f"{path.name}: {exc}") from exc
    return load_plain(path)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by what lies in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())


def _without_wrapping(loaded: Any, path: Path) -> dict[str, Tensor]:
    for key in _INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise BundleInvalid(f"{path.name} holds no state dict: expected names and tensors, or a checkpoint of them")
    prefix = "module."  # from DataParallel
    wrapped = bool(loaded) and all(str(key).startswith(prefix) for key in loaded)
    return {str(key)[len(prefix) if wrapped else 0 :]: value for key, value in loaded.items()}
