"""What is said of a bundle's engines on this machine is what their certificates say, and no more."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from network_bundles import threshold_bundle
from wetread.infer.known import (
    CERTIFIED,
    FILES,
    REFERENCE,
    KnownEngine,
    figures_in_words,
    in_words,
    known_engines,
    state_of,
)
from wetread.infer.model import open_model


def opened(tmp_path: Path, *engines: str, golden: bool = True) -> tuple[KnownEngine, ...]:
    bundle = threshold_bundle(tmp_path / "b", golden=golden)
    for engine in engines:
        open_model(bundle, engine=engine, cache_folder=tmp_path / "c").close()
    return known_engines(bundle, tmp_path / "c")


def changed(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> tuple[KnownEngine, ...]:
    """With another content of every certificate."""
    bundle = threshold_bundle(tmp_path / "b")
    open_model(bundle, engine="openvino", cache_folder=tmp_path / "c").close()
    for path in (tmp_path / "c").glob("*/certificate.json"):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return known_engines(bundle, tmp_path / "c")


def test_bundle_that_was_never_opened_is_only_files(tmp_path: Path) -> None:
    engines = opened(tmp_path)
    assert (engines, state_of(engines), in_words(engines)) == ((), FILES, "")


def test_reference_that_gave_the_golden_answer_is_no_compiled_engine(tmp_path: Path) -> None:
    engines = opened(tmp_path, "torch")
    assert (state_of(engines), in_words(engines)) == (REFERENCE, "torch f32 on CPU")


def test_reference_without_a_golden_case_was_checked_by_nothing(tmp_path: Path) -> None:
    assert state_of(opened(tmp_path, "torch", golden=False)) == FILES


@pytest.mark.parametrize("golden", [True, False])
def test_compiled_engine_is_named_with_its_precision_and_figures(tmp_path: Path, golden: bool) -> None:
    engines = opened(tmp_path, "torch", "openvino", golden=golden)
    assert (state_of(engines), in_words(engines)) == (CERTIFIED, "openvino f32 on CPU")
    (engine,) = [e for e in engines if e.engine == "openvino"]
    assert engine.certified_on == ("golden" if golden else "synthetic")
    figures = {"agreement": 1.0, "min_dice": 1.0, "max_volume_change": 0.0} if golden else {"agreement": 1.0}
    assert figures.items() <= dict(engine.measured).items()
    assert ("max_difference" in engine.measured) != golden


@pytest.mark.parametrize("library", ["torch", "monai", "scipy", "wetread", "library"])
def test_certificate_of_another_library_is_not_called_valid(tmp_path: Path, library: str) -> None:
    engines = changed(tmp_path, lambda content: content["subject"].update({library: "0.0.1"}))
    assert state_of(engines) == FILES
    name = "openvino" if library == "library" else library
    assert in_words(engines).startswith(f"openvino f32 is measured again with the next read: {name} was 0.0.1, is ")


def test_certificate_of_other_code_is_not_called_valid_even_between_releases(tmp_path: Path) -> None:
    for change in (lambda subject: subject.update(code="other"), lambda subject: subject.pop("code")):
        engines = changed(tmp_path, lambda content, change=change: change(content["subject"]))  # type: ignore[misc]
        assert state_of(engines) == FILES
        assert in_words(engines).endswith("the code of Wetread that makes the answer was another")
        shutil.rmtree(tmp_path / "b")


def test_certificate_of_an_engine_that_is_gone_is_not_called_valid(tmp_path: Path) -> None:
    engines = changed(tmp_path, lambda content: content["subject"].update(engine="tensorrt-that-was"))
    assert state_of(engines) == FILES
    assert in_words(engines).endswith("tensorrt-that-was is not installed any more")


def test_certificate_of_another_bundle_or_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    assert changed(tmp_path / "1", lambda content: content["subject"].update(bundle="0" * 64)) == ()
    assert changed(tmp_path / "2", lambda content: content.pop("measured")) == ()


def test_figures_are_words_with_what_was_asked() -> None:
    measured = {"agreement": 0.999995, "min_dice": 0.99989, "max_volume_change": 0.00018}
    words = figures_in_words(measured, certified_on="golden")
    assert words == "golden case: Dice 0.99989, 99.9995% the same, volume within 0.018%"
    assert figures_in_words({"agreement": 1.0, "max_difference": 3e-5}, certified_on="synthetic") == (
        "noise (synthetic): 100.0000% the same, largest difference 3e-05"
    )
    assert figures_in_words({}, certified_on="golden") == ""


def test_list_of_bundles_imports_no_torch(tmp_path: Path) -> None:
    opened(tmp_path, "openvino")
    code = (
        "import sys; from wetread.cli.main import run; code = run(['bundle', 'list', '--json']); "
        "print([m for m in ('torch', 'monai', 'openvino') if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.strip() == "[]"
    assert json.loads(done.stdout)
