"""The gate: an engine serves only after it gave the reference answer, and the certificate that says so."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import monai
import scipy
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from wetread import __version__
from wetread.bundles import Bundle
from wetread.bundles.bundle import file_sha256
from wetread.bundles.manifest import Golden, Tolerance
from wetread.errors import BundleInvalid, EngineDisagrees
from wetread.infer.compare import Agreement, compare
from wetread.infer.export import EXPORTER
from wetread.infer.files import write_atomically
from wetread.infer.golden import golden_labels, golden_volume
from wetread.records.volume import LabelMap, Volume

FORMAT_VERSION = 1
CERTIFICATE = "certificate.json"


class Certificate(BaseModel):
    """Under what an engine serves. Kept in ``<cache>/<key>/certificate.json``; its digest goes into every result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    kind: Literal["golden", "synthetic"]
    subject: Mapping[str, str]
    """What was certified: bundle, engine, versions, machine. The key is the digest of this."""
    golden: Mapping[str, str]
    """SHA-256 (hex) of the golden files; empty for a synthetic certificate."""
    measured: Agreement
    made_at: datetime

    def digest(self) -> str:
        """SHA-256 (hex) over the content."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def subject(bundle: Bundle, *, engine: str, precision: str, library_version: str) -> dict[str, str]:
    """Everything an engine's answer may depend on; change one and the gate runs again."""
    return {
        "format": str(FORMAT_VERSION),
        "bundle": bundle.digest(),
        "engine": engine,
        "precision": precision,
        "library": library_version,
        "exporter": EXPORTER,
        "torch": str(torch.__version__),
        "monai": str(monai.__version__),
        "scipy": str(scipy.__version__),
        "wetread": __version__,
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


def key_of(what: Mapping[str, str]) -> str:
    """SHA-256 (hex) of a certificate's subject."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def certify(
    bundle: Bundle, golden: Golden, what: Mapping[str, str], *, run: Callable[[Volume], LabelMap], cache_folder: Path
) -> Certificate:
    """The certificate from the bundle's golden case.

    Raises: ``EngineDisagrees`` with the figures when the answer is outside the bundle's tolerance.
    """
    files = {name: _existing_sha256(bundle.folder / name) for name in (golden.input, golden.output)}

    def measure() -> Agreement:
        answer = run(golden_volume(bundle.folder / golden.input))
        return compare(answer.array, golden_labels(bundle.folder / golden.output))

    return kept_or_made(
        bundle.name,
        what,
        kind="golden",
        files=files,
        tolerance=golden.tolerance,
        measure=measure,
        cache_folder=cache_folder,
    )


def kept_or_made(
    bundle_name: str,
    what: Mapping[str, str],
    *,
    kind: Literal["golden", "synthetic"],
    files: Mapping[str, str],
    tolerance: Tolerance,
    measure: Callable[[], Agreement],
    cache_folder: Path,
) -> Certificate:
    """The certificate for ``what``: the one in the cache if it still holds, else a new one from ``measure``.

    Raises: ``EngineDisagrees``; then no certificate is left in the cache.
    """
    path = cache_folder / key_of(what) / CERTIFICATE
    kept = _kept(path)
    if kept and (kept.subject, kept.golden, kept.kind) == (what, files, kind) and not kept.measured.problem(tolerance):
        return kept
    path.unlink(missing_ok=True)
    measured = measure()
    problem = measured.problem(tolerance)
    if problem:
        raise EngineDisagrees(
            f"engine {what['engine']} ({what['library']}) does not give the reference answer of bundle {bundle_name}: "
            f"{problem}"
        )
    made = Certificate(kind=kind, subject=what, golden=files, measured=measured, made_at=datetime.now(UTC))
    write_atomically(path, lambda target: target.write_text(made.model_dump_json(indent=2) + "\n"))
    return made


def _existing_sha256(path: Path) -> str:
    if not path.is_file():
        raise BundleInvalid(f"the golden file {path} is missing; the manifest names it")
    return file_sha256(path)


def _kept(path: Path) -> Certificate | None:
    """The certificate in the cache; one that cannot be read counts as absent, because the gate makes a new one."""
    try:
        return Certificate.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
