"""Which code of ours decides a number: a digest over its sources, so that what was measured with other code is measured
again. A version number would not notice what changes between two releases.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
GRAPH = (
    "infer/configs",
    "infer/engines/plan.py",
    "infer/engines/tensorrt_build.py",
    "infer/graph",
    "infer/networks",
    "infer/plans.py",
    "infer/shapes.py",
)
"""From a bundle's config to the graph that engines compile, and to an engine of TensorRT."""
ANSWER = (
    "bundles/bundle.py",
    "bundles/manifest.py",
    "bundles/manifest_files.py",
    "bundles/manifest_inputs.py",
    "bundles/manifest_outputs.py",
    "bundles/manifest_terms.py",
    "infer",
    "nifti.py",
    "records/model_input.py",
    "records/output.py",
    "records/radiograph.py",
    "records/spread.py",
    "records/volume.py",
)
"""From an image in memory to the answer about it, and the comparison with the reference's."""
BESIDE = (
    "infer/benchmark.py",
    "infer/check.py",
    "infer/cleaning.py",
    "infer/compile.py",
    "infer/engines/cache.py",
    "infer/engines/uses.py",
    "infer/explain",
    "infer/files.py",
    "infer/forecast.py",
    "infer/install.py",
    "infer/keys.py",
    "infer/known.py",
    "infer/phantom.py",
    "infer/rebuild.py",
    "infer/standby.py",
)
"""In ``infer``, but no number of an answer comes from it: names and files, forecasts, reports, heat maps."""
_DIGITS = 16


@cache
def graph_code() -> str:
    """Digest (16 hex digits) of what makes graphs and engines."""
    return digest_of(_ROOT, GRAPH)


@cache
def answer_code() -> str:
    """Digest (16 hex digits) of what makes answers: part of every certificate's subject."""
    return digest_of(_ROOT, ANSWER, without=BESIDE)


def digest_of(root: Path, places: tuple[str, ...], *, without: tuple[str, ...] = ()) -> str:
    """SHA-256 over the sources in ``places`` (files, folders), by their names below ``root``; 16 hex digits of it."""
    digest = hashlib.sha256()
    for name in sorted(sources(root, places) - sources(root, without)):
        digest.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]


def sources(root: Path, places: tuple[str, ...]) -> set[str]:
    """The Python files in ``places``, by their names below ``root``."""
    found: set[str] = set()
    for place in places:
        path = root / place
        files = path.rglob("*.py") if path.is_dir() else [path] if path.is_file() else []
        found.update(file.relative_to(root).as_posix() for file in files)
    return found
