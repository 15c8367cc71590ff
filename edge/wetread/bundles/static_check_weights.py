"""Weight files that would run code when loaded: found by reading the pickle's opcodes, never by unpickling.

``torch.load(weights_only=True)`` refuses the same ones; this says so before torch is even imported, and for every file
of the bundle, not only the one that is loaded today.
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from wetread.bundles.static_check import Finding
from wetread.errors import BundleInvalid

_PICKLED = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".th", ".joblib", ".dill"})
_LARGEST_PICKLE = 256 << 20
_LEGACY_PICKLES = 5
"""``torch.save`` before version 1.6: magic number, protocol, system, object, storage keys; then raw bytes."""
_GLOBALS = re.compile(
    r"""(collections\ (OrderedDict|Counter|defaultdict)
    |builtins\ (set|frozenset|bytearray|complex|int|float|bool|list|dict|tuple|str|bytes|slice)
    |__builtin__\ (set|frozenset|bytearray|complex|int|long|float|bool|list|dict|tuple|str|bytes|unicode|slice)
    |_codecs\ encode
    |torch\ (\w+Storage|Size|device|Tensor|dtype|float\d*|double|half|bfloat16|u?int\d*|long|short|bool|complex\d+)
    |torch\.storage\ (Untyped|Typed|_Legacy)Storage
    |torch\._utils\ _rebuild_\w+
    |torch\._tensor\ _rebuild_from_type_v2
    |torch\.nn\.parameter\ (Parameter|Buffer|UninitializedParameter)
    |torch\.serialization\ _get_layout
    |numpy\ (ndarray|dtype)|numpy\.(_core|core)\.multiarray\ (_reconstruct|scalar)
    |monai\.data\.meta_tensor\ MetaTensor|monai\.data\.meta_obj\ MetaObj|monai\.utils\.enums\ (MetaKeys|SpaceKeys))""",
    re.VERBOSE,
)
"""What tensors and containers need. NumPy's are never called: stand-ins take their place (``infer.configs.plain``)."""
_OTHER_WAYS_TO_CALL = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})


def examine_weights(folder: Path) -> list[Finding]:
    """TorchScript files, which are programs; lying there they are none: whether one is run says ``wetread.json``.

    At most their tensors are read (``infer.configs.torchscript``). Nothing else loads one: ``torch.load`` of a process
    that opens bundles refuses them.

    Raises: ``BundleInvalid`` for pickles that name anything but tensors and containers, and for files that are not what
    their name says. No trust makes these acceptable: ``weights_only`` and safetensors are all that is ever loaded.
    """
    findings: list[Finding] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        suffix = path.suffix.lower()
        if suffix == ".safetensors":
            _check_safetensors(path, name)
        elif suffix == ".ts" or (suffix in _PICKLED and _is_torchscript(path)):
            findings.append(Finding(name, "", "", "TorchScript is a program", for_reading=False))
        elif suffix in _PICKLED:
            _check_pickles(path, name)
    return findings


def _is_zip(path: Path) -> bool:
    """As torch decides it: by the first bytes.

    Raises: ``BundleInvalid`` for a file that only ends like a zip file: two programs would read two different things.
    """
    with path.open("rb") as stream:
        starts = stream.read(4) == b"PK\x03\x04"
    if starts != zipfile.is_zipfile(path):
        raise BundleInvalid(f"{path.name} is a zip file by one of its ends and not by the other; it is cut or forged")
    return starts


def _is_torchscript(path: Path) -> bool:
    if not _is_zip(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in n or n.endswith("/constants.pkl") for n in archive.namelist())


def _check_pickles(path: Path, name: str) -> None:
    try:
        for stream, count in _pickles(path, name):
            for _ in range(count):
                for found in _foreign(stream):
                    raise BundleInvalid(
                        f"{name} is a pickle that would call {found} when it is loaded; weights hold tensors and "
                        f"containers only. Convert it to safetensors on a machine you can lose"
                    )
    except (ValueError, EOFError, zipfile.BadZipFile, UnicodeDecodeError) as exc:
        raise BundleInvalid(f"{name} is not a PyTorch weight file: {exc}") from exc


def _pickles(path: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """The pickles of a file: members of the zip that ``torch.save`` writes, or the whole file in the legacy format."""
    if not _is_zip(path):
        with path.open("rb") as stream:
            legacy = stream.read(16).startswith((b"\x80\x02\x8a\x0a", b"\x80\x02\x8a\nl"))
            stream.seek(0)
            yield stream, _LEGACY_PICKLES if legacy else 1
        return
    with zipfile.ZipFile(path) as archive:
        if not any(n.endswith("data.pkl") for n in archive.namelist()):
            raise ValueError("a zip file without data.pkl")
        for member in archive.infolist():
            if not member.filename.endswith(".pkl"):
                continue
            if member.file_size > _LARGEST_PICKLE:
                raise BundleInvalid(
                    f"{name} claims a pickle of {member.file_size >> 20} MiB; weights lie outside of it"
                )
            yield BytesIO(archive.read(member)), 1


def _foreign(stream: BinaryIO) -> Iterator[str]:
    """What a pickle names or does that tensors and containers do not need."""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL" and not _GLOBALS.fullmatch(str(argument)):
            yield str(argument).replace(" ", ".")
        elif opcode.name in _OTHER_WAYS_TO_CALL:
            yield f"something by the opcode {opcode.name}"


def _check_safetensors(path: Path, name: str) -> None:
    """The header's claims against the file: 8 bytes of length, JSON, then exactly the bytes the tensors claim."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(size, 100_000_000):
            raise BundleInvalid(f"{name} claims a header of {length} bytes, the file has {size}")
        try:
            header = json.loads(stream.read(length))
            ends = [int(t["data_offsets"][1]) for key, t in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as exc:
            raise BundleInvalid(f"{name} is not a safetensors file: {exc}") from exc
    claimed = 8 + length + max(ends, default=0)
    if claimed != size:
        raise BundleInvalid(f"{name} claims {claimed} bytes, the file has {size}; it is cut or forged")
