"""Bundles that mean harm, one for each way we know. Each would touch a canary file if anything of it ran."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threshold_bundle import write_threshold_bundle

MODULE = "canary_of_wetread_tests"
"""A module beside the canary: importing it is enough to be noticed."""


def config_with(folder: Path, **entries: Any) -> Path:
    """A bundle that works, with more entries in its inference config."""
    write_threshold_bundle(folder)
    path = folder / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))
    return folder


def _touch(canary: Path) -> str:
    return f"touch {canary}"


EXPRESSIONS: dict[str, Callable[[Path], str]] = {
    "import": lambda canary: f"$__import__('os').system('{_touch(canary)}')",
    "imported os": lambda canary: f"$os.system('{_touch(canary)}')",
    "open": lambda canary: f"$open('{canary}', 'w')",
    "eval": lambda canary: f"$eval(\"open('{canary}', 'w')\")",
    "exec": lambda canary: f"$exec(\"open('{canary}', 'w')\")",
    "compile": lambda canary: f"$compile(\"open('{canary}', 'w')\", 'x', 'exec')",
    "dunder traversal": lambda _: "$().__class__.__base__.__subclasses__()",
    "dunder through a lambda": lambda _: "$(lambda x: x.__globals__)(torch.load)",
    "getattr": lambda canary: f"$getattr(torch, 'o' + 's').system('{_touch(canary)}')",
    "getattr on builtins": lambda _: "$getattr(__builtins__, 'ev' + 'al')('1')",
    "format string": lambda _: "$'{0.__class__.__init__.__globals__}'.format(torch.load)",
    "format map": lambda _: "$'{x.__class__}'.format_map({'x': 1})",
    "module through a module": lambda canary: f"$monai.data.image_reader.os.system('{_touch(canary)}')",
    "numpy's file functions": lambda canary: f"$numpy.save('{canary}', 1)",
    "method that writes": lambda canary: f"$numpy.zeros(3).tofile('{canary}')",
    "path that writes": lambda canary: f"$pathlib.Path('{canary}').write_text('x')",
    "module as a value": lambda canary: f"$[m.os.system('{_touch(canary)}') for m in [monai.data.image_reader]]",
    "module by its bare name": lambda _: "$[m.run() for m in [os]]",
    "builtin under another name": lambda canary: f"$(lambda eval: 0) or eval(\"open('{canary}', 'w')\")",
    "generator's frame": lambda _: "$(x for x in [1]).gi_frame.f_builtins",
    "assignment expression": lambda canary: f"$(o := open)('{canary}', 'w')",
    "references by their hidden name": lambda _: "$__local_refs['imports::0']",
    "reference to an imported module": lambda canary: f"$@imports::0.run('{_touch(canary)}')",
    "reference to all imports": lambda canary: f"$[m.run('{_touch(canary)}') for m in @imports]",
    "reference to the whole config": lambda _: "$@['imports'][0].run()",
    "relative reference to an import": lambda _: "$@###imports#0.run()",
    "unpickling": lambda canary: f"$torch.load('{canary}', weights_only=False)",
    "unpickling by a module": lambda canary: f"$torch.load('{canary}', pickle_module=json)",
    "TorchScript": lambda canary: f"$torch.jit.load('{canary}')",
    "MONAI's shell": lambda canary: f"$monai.utils.run_cmd(['touch', '{canary}'])",
    "MONAI's bundle runner": lambda _: "$monai.bundle.run(config_file='x.json')",
    "reader that is anything": lambda canary: f"$monai.transforms.LoadImage('os.system', '{canary}')",
    "scripts": lambda _: "$scripts.evil()",
    "not Python": lambda _: "$import os; os.system('x') +",
}

ENTRIES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "os.system": lambda canary: {"_target_": "os.system", "command": _touch(canary)},
    "builtins.eval": lambda canary: {"_target_": "builtins.eval", "source": f"open('{canary}', 'w')"},
    "a builtin by its short name": lambda canary: {"_target_": "open", "file": str(canary), "mode": "w"},
    "subprocess": lambda canary: {"_target_": "subprocess.run", "args": ["touch", str(canary)]},
    "computed target": lambda canary: {"_target_": "$'os' + '.system'", "command": _touch(canary)},
    "target by reference": lambda canary: {"_target_": "@where", "command": _touch(canary)},
    "module inside a module": lambda canary: {
        "_target_": "monai.data.image_reader.os.system",
        "command": _touch(canary),
    },
    "MONAI's shell": lambda canary: {"_target_": "run_cmd", "cmd_list": ["touch", str(canary)]},
    "imported reader": lambda _: {"_target_": "LoadImaged", "keys": "image", "reader": f"{MODULE}.Reader"},
    "reader by reference": lambda _: {"_target_": "LoadImaged", "keys": "image", "reader": "@where"},
    "imported writer": lambda _: {"_target_": "SaveImaged", "keys": "image", "writer": f"{MODULE}.Writer"},
    "imported merger": lambda _: {"_target_": "PatchInferer", "merger_cls": f"{MODULE}.Merger"},
    "reader for later": lambda _: {"_target_": "LoadImage", "_mode_": "callable"},
    "debugger": lambda _: {"_target_": "Compose", "_mode_": "debug"},
    "breakpoint": lambda _: {"_target_": "Compose", "_debug_": True},
    "scripts": lambda _: {"_target_": "scripts.evil.Evil"},
    "private part of MONAI": lambda _: {"_target_": "monai._extensions.load_module", "module_name": "x"},
    "our own installer": lambda _: {"_target_": "wetread.infer.install.install_weights"},
}


class Payload:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.canary), "w")


def evil_pickle(canary: Path, *, protocol: int = 2) -> bytes:
    """A pickle that opens the canary for writing."""
    return pickle.dumps({"state_dict": Payload(canary)}, protocol=protocol)


def evil_torch_file(path: Path, canary: Path) -> None:
    """As ``torch.save`` writes it, with a payload in ``data.pkl``."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", evil_pickle(canary))
        archive.writestr("model/version", "3\n")


def huge_safetensors() -> bytes:
    """A few bytes that claim 10 GB of weights."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2_500_000_000], "data_offsets": [0, 10_000_000_000]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 16


def zip_of(folder: Path, path: Path) -> Path:
    """An honest archive of a bundle."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")
    return path


def add_entry(path: Path, name: str, content: bytes = b"x", *, mode: int = 0o100644) -> zipfile.ZipInfo:
    """One more entry in an archive, whatever its name."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, content)
    return entry


def claim_size(path: Path, name: str, size: int) -> None:
    """Let the archive's directory claim another unpacked size for an entry."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo(name).file_size = size
        archive.writestr("one more entry", b"")  # or the directory would not be written again
