"""``wetread demo`` from the outside: as a new user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from wetread.bundles import load_bundle
from wetread.errors import WeightsMissing

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 540

pytestmark = [pytest.mark.weights, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    pytest.importorskip("nilearn", reason="the demo's head comes with nilearn: pip install -e '.[demo]'")
    try:
        load_bundle(REPOSITORY / "monai_bundles" / "mr_brain_extraction").check_weights()
    except WeightsMissing as exc:
        pytest.skip(f"the demo would have to download weights: {exc}")


def _command(out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "wetread", "demo", "--out", str(out), *arguments]


def _environment(temporary: Path) -> dict[str, str]:
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, Path]:
    """The demo's figures, its output folder, and the folder it had for temporary files."""
    base = tmp_path_factory.mktemp("demo")
    out, temporary = base / "out", base / "tmp"
    done = subprocess.run(
        _command(out, "--json"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=REPOSITORY,
        env=_environment(temporary),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout), out, temporary


def test_demo_reads_the_brain_and_says_how_long_it_took(run: tuple[dict[str, Any], Path, Path]) -> None:
    figures, _, _ = run
    assert figures["state"] == "done"
    ((finding),) = figures["findings"]
    assert (finding["name"], finding["measurement"], finding["unit"]) == ("Brain", "Volume", "mL")
    # The template's brain has 1887 mL; the network counts the fluid in the sulci in.
    assert 1800 < finding["value"] < 2050
    assert figures["results"] == {"SEG": 1, "SR": 1, "SC": 5}
    assert figures["last_instance_to_delivered_s"] > figures["quiet_s"]
    assert figures["beyond_quiet_s"] == pytest.approx(figures["last_instance_to_delivered_s"] - figures["quiet_s"])
    assert 100 < figures["peak_memory_mb"] < 3 * 1024
    times = list(figures["timeline_s"].values())
    assert times == sorted(times)


def test_demo_passes_over_localizer_and_t2_with_a_reason(run: tuple[dict[str, Any], Path, Path]) -> None:
    verdicts = "\n".join(run[0]["series"])
    assert "'Localizer': passed over for 'image', " in verdicts
    assert "'T2 TSE': passed over for 'image', " in verdicts
    assert verdicts.count("taken for") == 1


def test_demo_leaves_a_page_and_the_result_objects(run: tuple[dict[str, Any], Path, Path]) -> None:
    figures, out, _ = run
    page = (out / "index.html").read_text(encoding="utf-8")
    assert figures["page"] == str(out / "index.html")
    assert page.count("data:image/png;base64,") == 3 + figures["results"]["SC"]
    for part in ("not a medical device", "not a patient", "Axial plane", "Coronal plane", "Sagittal plane", "T2 TSE"):
        assert part in page
    kinds = [dcmread(p, stop_before_pixels=True).Modality for p in sorted((out / "results").iterdir())]
    assert kinds == ["OT"] * 5 + ["SEG", "SR"]


def test_demo_leaves_nothing_else_behind(run: tuple[dict[str, Any], Path, Path]) -> None:
    assert list(run[2].iterdir()) == []


def test_interrupted_demo_ends_what_it_started(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "tmp")
    with subprocess.Popen(
        _command(tmp_path / "out", "--engine", "torch"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    ) as demo:
        assert demo.stdout is not None
        assert any("Wetread WETREAD at" in line for line in demo.stdout)
        (service,) = _children(demo.pid)
        demo.send_signal(signal.SIGTERM)
        _, said = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "interrupted" in said
    assert str(tmp_path / "tmp") in said
    assert not Path(f"/proc/{service}").exists()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_demo_that_cannot_start_says_why(tmp_path: Path) -> None:
    blocked = tmp_path / "out"
    blocked.write_text("a file where the page's folder should be")
    done = subprocess.run(
        [sys.executable, "-m", "wetread", "demo", "--engine", "torch", "--json", "--out", str(blocked)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=REPOSITORY,
        env=_environment(tmp_path / "tmp"),
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "failed"
    assert "Traceback" not in done.stderr
