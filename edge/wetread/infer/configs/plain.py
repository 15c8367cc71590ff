"""Pickles of tensors, containers and plain NumPy arrays, read without running anything of them.

Some bundles keep arrays beside their weights (the architecture that a search found), and checkpoints hold NumPy numbers
beside the state dict. ``torch.load`` refuses both with ``weights_only``, and NumPy's own way to build arrays from a
pickle believes what the pickle says about memory. Here stand-ins take what NumPy's functions would have been given, and
an array is made of it only when type, shape and number of bytes fit together.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wetread.errors import BundleInvalid

_NUMBER = re.compile(r"b1|[iu][1248]|f[248]")
_MOST_AXES = 8
_DEEPEST = 20


class _Type:
    """In the place of ``numpy.dtype``: a name such as ``i8``, then the byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self._order = str(state[1])

    def made(self) -> np.dtype[Any]:
        """Raises: ``ValueError`` for anything but numbers."""
        if not isinstance(self._code, str) or not _NUMBER.fullmatch(self._code) or self._order not in "<>=|":
            raise ValueError(f"an array of {self._order}{self._code!r:.40}, which are no plain numbers")
        return np.dtype(self._order + self._code)


class _Array:
    """In the place of ``numpy.ndarray``: version, shape, type, whether in Fortran's order, the bytes."""

    def __init__(self) -> None:
        self._state: tuple[object, ...] = ()

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self._state = state

    def made(self) -> npt.NDArray[Any]:
        """Raises: ``ValueError`` when its parts do not fit together."""
        if len(self._state) != 5:
            raise ValueError(f"an array with {len(self._state)} parts, expected 5")
        _, shape, kind, fortran, content = self._state
        sides = isinstance(shape, tuple) and len(shape) <= _MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
        if not isinstance(shape, tuple) or not sides:
            raise ValueError(f"an array of the shape {shape!r:.60}")
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise ValueError("an array of something else than numbers")
        dtype = kind.made()
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"an array of {shape} {dtype} with {len(content)} bytes")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C").copy()


class _Scalar:
    """In the place of ``numpy.generic``: type and bytes."""

    def __init__(self, kind: object, content: object) -> None:
        self._array = _Array()
        self._array.__setstate__((1, (), kind, False, content))

    def made(self) -> Any:
        """Raises: as ``_Array.made``."""
        return self._array.made()[()]


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError(f"an array made as {kind!r:.60}")
    return _Array()


def _nothing() -> bytes:
    """In the place of ``bytes``, which a pickle calls without arguments for those of an empty array."""
    return b""


_STAND_INS = [
    *((stand_in, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core")
      for stand_in, name in ((_reconstruct, "_reconstruct"), (_Scalar, "scalar"))),
    (_nothing, "builtins.bytes"),
    (_nothing, "__builtin__.bytes"),
    (_Array, "numpy.ndarray"),
    (_Type, "numpy.dtype"),
]  # fmt: skip


def load_plain(path: Path | str) -> Any:
    """Tensors, containers, numbers and arrays of a file that ``torch.save`` wrote.

    Raises: ``BundleInvalid`` for a file that holds anything else, or none.
    """
    path = Path(path)
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        return _made(loaded, _DEEPEST)
    except pickle.UnpicklingError as exc:
        raise BundleInvalid(f"{path.name} holds more than tensors, so loading it would run code: {_why(exc)}") from exc
    except FileNotFoundError as exc:
        raise BundleInvalid(f"{path} is missing") from exc
    except Exception as exc:  # of a damaged file torch's reader raises what the damage makes of it: any type
        raise BundleInvalid(f"{path.name} is not a file of weights: {type(exc).__name__} {exc!s:.200}") from exc


_TORCHS_ADVICE = re.compile(r"\.? (was not an allowed global|Please use|This file can).*")


def _why(exc: pickle.UnpicklingError) -> str:
    """What torch found, without its advice to load the file all the same."""
    said = str(exc).rpartition("WeightsUnpickler error: ")[2].strip().splitlines()
    return _TORCHS_ADVICE.sub("", said[0]) if said else "it is no pickle of tensors"


def _made(value: Any, levels: int) -> Any:
    if isinstance(value, (_Array, _Scalar)):
        return value.made()
    if isinstance(value, _Type) or any(value is name for name in (_Array, _Scalar, _Type, _reconstruct)):
        raise ValueError("a type where a value should be")
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if levels == 0:
        raise ValueError(f"more than {_DEEPEST} levels")
    if isinstance(value, Mapping):
        made = {key: _made(item, levels - 1) for key, item in value.items()}
        return value if all(made[key] is item for key, item in value.items()) else made
    items = [_made(item, levels - 1) for item in value]
    return items if isinstance(value, list) else tuple(items)
