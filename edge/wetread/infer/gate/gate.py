"""The gate: an engine serves only after it gave the reference answer, and the certificate that says so.

For an engine that was compiled ahead of time this is the on-device part: the build part (``cache.BuildRecord``) was
done where it was built, and a certificate is made only by running the engine here.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import monai
import scipy
import torch

from wetread import __version__
from wetread.bundles import Bundle
from wetread.bundles.bundle import file_sha256
from wetread.bundles.manifest import Golden
from wetread.durable import write_atomically
from wetread.errors import BundleInvalid, EngineDisagrees, EngineNotReady
from wetread.infer.code import answer_code
from wetread.infer.engines.cache import entry_folder, still_there
from wetread.infer.engines.engine import Engine
from wetread.infer.engines.uses import MARK, hold
from wetread.infer.engines.wish import Precision
from wetread.infer.gate.certificate import CERTIFICATE, FORMAT_VERSION, Certificate, Kind, read_certificate
from wetread.infer.gate.compare import Agreement, Limits, compare_outputs, limits
from wetread.infer.gate.golden import golden_answer, golden_images
from wetread.infer.graph.export import EXPORTER
from wetread.infer.keys import key_of
from wetread.records.model_input import ModelInput
from wetread.records.output import ModelOutput


def subject(
    bundle: Bundle, *, engine: str, precision: str, library_version: str, device: str = "CPU"
) -> dict[str, str]:
    """Everything an engine's answer may depend on; change one and the gate runs again."""
    return {
        "format": str(FORMAT_VERSION),
        "bundle": bundle.digest(),
        "engine": engine,
        "precision": precision,
        "library": library_version,
        "device": device,
        "exporter": EXPORTER,
        "torch": str(torch.__version__),
        "monai": str(monai.__version__),
        "scipy": str(scipy.__version__),
        "wetread": __version__,
        "code": answer_code(),
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


def certify(
    bundle: Bundle,
    golden: Golden,
    what: Mapping[str, str],
    *,
    run: Callable[[Mapping[str, ModelInput]], ModelOutput],
    engines: Mapping[str, Engine],
    cache_folder: Path,
    make: bool = True,
) -> Certificate:
    """The certificate from the bundle's golden case.

    Raises: ``EngineDisagrees`` with the figures when the answer is outside the bundle's tolerance; ``EngineNotReady``
    as in ``kept_or_made``.
    """
    files = {name: _existing_sha256(bundle.folder / name) for name in golden.files()}
    allowed = limits(golden.tolerance, precision_of(what))

    def measure() -> Agreement:
        images = golden_images(bundle, golden)
        stored = golden_answer(bundle, golden, images[bundle.manifest.inputs[0].name])
        return compare_outputs(run(images), stored, bundle.manifest, allowed)

    case = Case(bundle.name, "golden", files, allowed, measure)
    return kept_or_made(case, what, engines=engines, cache_folder=cache_folder, make=make)


@dataclass(frozen=True, slots=True)
class Case:
    """What an engine is measured on."""

    bundle_name: str
    kind: Kind
    files: Mapping[str, str]
    """SHA-256 (hex) of the golden files."""
    allowed: Limits
    measure: Callable[[], Agreement]


def kept_or_made(
    case: Case, what: Mapping[str, str], *, engines: Mapping[str, Engine], cache_folder: Path, make: bool = True
) -> Certificate:
    """The certificate for ``what``: the one in the cache if it still holds, else a new one from measuring.

    Raises: ``EngineDisagrees``; then no certificate is left in the cache. Without ``make``: ``EngineNotReady`` instead
    of measuring.
    """
    path = cache_folder / key_of(what) / CERTIFICATE
    if path.is_file():
        hold(path.with_name(MARK))  # before it is looked at: a cleaning beside us leaves it from here on
    kept = read_certificate(path)
    if kept and _holds(kept, case, what) and still_there(cache_folder, kept.artefacts):
        for key in kept.artefacts:
            hold(entry_folder(cache_folder, key) / MARK)
        return kept
    if not make:
        changed = "does not hold for the engine, bundle and libraries of today" if kept else "is not there yet"
        raise EngineNotReady(f"the certificate under which it would serve {changed}")
    path.unlink(missing_ok=True)
    measured = case.measure()
    problem = measured.problem(case.allowed)
    if problem:
        raise EngineDisagrees(
            f"engine {what['engine']} ({what['library']}) in {what['precision']} does not give the reference answer of "
            f"bundle {case.bundle_name}: {problem}"
        )
    made = Certificate(
        kind=case.kind,
        subject=what,
        golden=case.files,
        artefacts={key: sha for engine in engines.values() for key, sha in engine.artefacts().items()},
        measured=measured,
        made_at=datetime.now(UTC),
    )
    write_atomically(path, lambda target: target.write_text(made.model_dump_json(indent=2) + "\n"))
    hold(path.with_name(MARK))
    return made


def precision_of(what: Mapping[str, str]) -> Precision:
    """The precision in a certificate's subject."""
    return cast(Precision, what["precision"])


def _holds(kept: Certificate, case: Case, what: Mapping[str, str]) -> bool:
    same = (kept.subject, kept.golden, kept.kind) == (what, case.files, case.kind)
    return same and not kept.measured.problem(case.allowed)


def _existing_sha256(path: Path) -> str:
    if not path.is_file():
        raise BundleInvalid(f"the golden file {path} is missing; the manifest names it")
    return file_sha256(path)
