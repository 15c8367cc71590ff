"""What every viewer and the panel rest on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from wetread_desktop.host import LabelVolume

ROOT = Path(__file__).parents[2]
AFFINE = ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def test_label_volume_is_seen_as_an_array_with_slices_first() -> None:
    labels = LabelVolume(bytes(range(24)), (2, 3, 4), AFFINE, "1.2.3")
    assert labels.array()[1, 2, 3] == 23
    assert not labels.array().flags.writeable
    assert labels.array().dtype == np.uint8


def test_label_volume_with_a_byte_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="23 bytes for a grid of 2×3×4"):
        LabelVolume(bytes(23), (2, 3, 4), AFFINE, "1.2.3")


def test_client_imports_nothing_but_the_standard_library_and_wetread() -> None:
    """3D Slicer gets a copy, and nothing is installed there."""
    code = """
import pkgutil, sys, importlib
before = set(sys.modules)
import wetread_desktop.client as client
for module in pkgutil.iter_modules(client.__path__):
    importlib.import_module(f"wetread_desktop.client.{module.name}")
others = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
wetread = {name for name in sys.modules if name.startswith("wetread.")}
wetread = {n for n in wetread if not n.startswith(("wetread.records", "wetread.review")) and n != "wetread.errors"}
print(sorted(others - {"wetread", "wetread_desktop"}), sorted(wetread))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[] []"


def test_help_of_the_desk_is_instant_and_imports_no_qt() -> None:
    code = """
import sys
from wetread_desktop.cli.main import build_parser
build_parser()
print([m for m in ("qtpy", "PySide6", "PyQt6", "numpy", "http.client", "ssl", "napari") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_napari_extra_brings_all_of_the_desktop_but_the_qt_binding_of_its_user() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {line for line in extras["desktop"] if not line.startswith("PySide6")}
    assert needed - set(extras["napari"]) == set()
