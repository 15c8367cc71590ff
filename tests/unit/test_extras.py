"""Advice about packages: from a checkout it names the checkout, for Wetread is on no package index."""

from __future__ import annotations

from pathlib import Path

from wetread.extras import how_to_install

ROOT = Path(__file__).parents[2]


def test_advice_of_a_checkout_names_its_folder() -> None:
    assert how_to_install("edge", "learn") == f"in {ROOT}: pip install -e '.[edge,learn]'"


def test_advice_of_an_installed_package_needs_no_sources(tmp_path: Path) -> None:
    assert how_to_install("tensorrt", checkout=tmp_path) == "pip install 'wetread[tensorrt]'"
