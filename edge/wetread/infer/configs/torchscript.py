"""Tensors out of a TorchScript archive without running it: ``torch.jit.load`` compiles and may run what it finds.

An archive is a zip file: ``data.pkl`` (the tree of modules), ``data/N`` (raw storages), ``code/`` (programs, which are
read here as text and only for which attributes of a class are parameters and buffers).
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from wetread.errors import WeightsMissing

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
_LARGEST_TEXT = 16 << 20
"""Bytes of one file of code or of the pickle, unpacked."""
_CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  .*\n)*)", re.MULTILINE)
_NAMED = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)


def torchscript_tensors(archive: bytes) -> dict[str, Tensor]:
    """The state dict of a TorchScript archive: parameters and buffers by name, in no order. Nothing of it is run.

    Raises: ``WeightsMissing`` for anything that is not such an archive, or whose pickle names more than tensors,
    containers and its own modules.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            contents = _Contents(opened)
            root = _Unpickler(contents).load()
            if not isinstance(root, _Module):
                raise ValueError(f"data.pkl holds a {type(root).__name__}, not a module")
            return dict(_tensors(root, contents, prefix="", above=()))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, RecursionError) as exc:
        raise WeightsMissing(f"this is no TorchScript archive of weights: {exc}") from exc
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, OverflowError, MemoryError) as exc:
        raise WeightsMissing(f"this is no TorchScript archive of weights: {exc}") from exc


class _Module:
    """One module of the archive: its attributes, and the name of its class."""

    of = ""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{self.of} keeps a state of its own kind, which only its code could read")
        self.state = state


class _Contents:
    """The files of an archive, below the one folder that it has."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        (pickled,) = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")]
        self._root = pickled.partition("/")[0]
        names = set(archive.namelist())
        order = f"{self._root}/byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("its numbers are not little-endian")
        self._named: dict[str, frozenset[str]] = {}

    def pickle(self) -> bytes:
        return self._text("data.pkl")

    def storage(self, key: str, dtype: torch.dtype) -> Tensor:
        info = self._archive.getinfo(f"{self._root}/data/{key}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"storage {key} is packed, PyTorch writes none that is")
        return torch.frombuffer(bytearray(self._archive.read(info)), dtype=dtype)

    def state_of(self, module: str) -> frozenset[str]:
        """Names of the parameters and buffers of a class, e.g. ``__torch__.nets.UNet``, from the text of its code."""
        if module not in self._named:
            place, _, name = module.rpartition(".")
            text = self._text(f"code/{place.replace('.', '/')}.py").decode()
            bodies = [body for found, body in _CLASS.findall(text) if found == name]
            if len(bodies) != 1:
                raise ValueError(f"its code says nothing about {module}")
            self._named[module] = frozenset(re.findall(r'"([^"]*)"', " ".join(_NAMED.findall(bodies[0]))))
        return self._named[module]

    def _text(self, name: str) -> bytes:
        info = self._archive.getinfo(f"{self._root}/{name}")
        if info.file_size > _LARGEST_TEXT:
            raise ValueError(f"{name} claims {info.file_size >> 20} MiB")
        return self._archive.read(info)


class _Unpickler(pickle._Unpickler):  # the one in C takes memory for as many objects as the pickle claims
    def __init__(self, contents: _Contents) -> None:
        super().__init__(io.BytesIO(contents.pickle()))
        self._contents = contents
        self._classes: dict[str, type[_Module]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name. Raises: ``UnpicklingError`` for everything else."""
        if module.partition(".")[0] == "__torch__":
            return self._classes.setdefault(f"{module}.{name}", type("_Module", (_Module,), {"of": f"{module}.{name}"}))
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _type: value,
            **{("torch.jit._pickle", kind): list for kind in _LISTS},
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"its pickle would call {module}.{name}; nothing of it was run")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """``("storage", dtype, key, device, count)``."""
        _kind, dtype, key, _device, count = pid
        values = self._contents.storage(str(key), dtype)
        if len(values) != count:
            raise ValueError(f"storage {key} has {len(values)} values, {count} are claimed")
        return values


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_more: object) -> Tensor:
    tensor = torch.as_strided(storage, size, stride, offset)  # refuses what lies outside of the storage
    if tensor.numel() > storage.numel():
        raise ValueError(f"a tensor claims {tensor.numel()} values of a storage that has {storage.numel()}")
    return tensor


def _tensors(
    module: _Module, contents: _Contents, *, prefix: str, above: tuple[_Module, ...]
) -> Iterator[tuple[str, Tensor]]:
    if module in above:
        raise ValueError(f"{module.of} contains itself")
    for name, value in module.state.items():
        if isinstance(value, _Module):
            yield from _tensors(value, contents, prefix=f"{prefix}{name}.", above=(*above, module))
        elif isinstance(value, Tensor) and name in contents.state_of(module.of):
            yield f"{prefix}{name}", value
