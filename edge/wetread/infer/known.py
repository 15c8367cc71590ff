"""What this machine knows about a bundle's engines, from the files in the engine cache alone: torch is not imported."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from wetread import __version__
from wetread.bundles import Bundle
from wetread.infer.code import answer_code
from wetread.infer.gate.certificate import CERTIFICATE, Certificate, Kind, read_certificate

FILES, REFERENCE, CERTIFIED, UNUSABLE = "files present", "reference checked", "certified", "not usable"
"""States of a bundle on this machine: its files are here and may run, nothing more is known; PyTorch gave the golden
case's answer; an engine was compiled and gave the reference's answer; something stands in the way."""
_REFERENCE_ENGINE = "torch"


@dataclass(frozen=True, slots=True)
class KnownEngine:
    """One engine that gave the reference's answer on this machine, as its certificate says."""

    engine: str
    precision: str
    device: str
    library: str
    """Its version."""
    certified_on: Kind
    measured: Mapping[str, float]
    """The worst of all labels or networks, by name, e.g. ``min_dice``."""
    certificate: str
    """Digest."""
    made_at: datetime
    changed: tuple[str, ...]
    """What is another than when it was certified, as far as files say: it is measured again before it serves."""


def known_engines(bundle: Bundle, cache_folder: Path) -> tuple[KnownEngine, ...]:
    """Every engine with a certificate for the bundle as it is now; those that hold first, then the newest."""
    digest = bundle.digest()
    kept = (read_certificate(path) for path in sorted(cache_folder.glob(f"*/{CERTIFICATE}")))
    found = [_known(certificate) for certificate in kept if certificate and certificate.subject.get("bundle") == digest]
    return tuple(sorted(found, key=lambda engine: (bool(engine.changed), -engine.made_at.timestamp())))


def state_of(engines: tuple[KnownEngine, ...]) -> str:
    """``FILES``, ``REFERENCE`` or ``CERTIFIED``, of a bundle whose files are here and may run."""
    holding = {engine.engine for engine in engines if not engine.changed}
    if holding - {_REFERENCE_ENGINE}:
        return CERTIFIED
    return REFERENCE if holding else FILES


def in_words(engines: tuple[KnownEngine, ...]) -> str:
    """Which engine in which precision on what, one after the other; what became of certificates that do not hold."""
    holding = [engine for engine in engines if not engine.changed]
    compiled = [e for e in holding if e.engine != _REFERENCE_ENGINE] or holding
    if compiled:
        return "; ".join(f"{e.engine} {e.precision} on {e.device}" for e in compiled)
    if engines:
        return (
            f"{engines[0].engine} {engines[0].precision} is measured again with the next read: {engines[0].changed[0]}"
        )
    return ""


def figures_in_words(measured: Mapping[str, float], *, certified_on: str) -> str:
    """The figures of a certificate for a person, e.g. ``golden case: Dice 0.99989, 99.9995 % the same``."""
    said = [words.format(measured[name]) for name, words in _FIGURES.items() if name in measured]
    return f"{_MEASURED_ON.get(certified_on, certified_on)}: {', '.join(said)}" if said else ""


_MEASURED_ON = {"golden": "golden case", "synthetic": "noise (synthetic)", "graph": "graph on noise"}
_FIGURES = {
    "min_dice": "Dice {:.5f}",
    "agreement": "{:.4%} the same",
    "max_volume_change": "volume within {:.3%}",
    "same_label": "{:.4%} of labels the same",
    "share_within": "{:.4%} of outputs within the limit",
    "max_difference": "largest difference {:.2g}",
    "score_difference": "scores within {:.2g}",
    "box_score_difference": "scores of boxes within {:.2g}",
}
"""By name in ``Agreement.figures`` and ``GraphCheck``; each is the worst that was found."""


def _known(certificate: Certificate) -> KnownEngine:
    subject = certificate.subject
    return KnownEngine(
        engine=subject.get("engine", ""),
        precision=subject.get("precision", ""),
        device=subject.get("device", ""),
        library=subject.get("library", ""),
        certified_on=certificate.kind,
        measured=certificate.measured.figures(),
        certificate=certificate.digest(),
        made_at=certificate.made_at,
        changed=tuple(changes(subject)),
    )


def changes(subject: Mapping[str, str]) -> list[str]:
    """What is another than in a certificate's subject, as far as files tell.

    No library is imported: a driver or another CPU is noticed when the bundle is opened.
    """
    now = {"wetread": __version__, "torch": torch_version(), **{name: _version(name) for name in ("monai", "scipy")}}
    changed = [
        f"{name} was {subject[name]}, is {version or 'not installed'}"
        for name, version in now.items()
        if name in subject and subject[name] != version
    ]
    if subject.get("code") != answer_code():
        changed.append("the code of Wetread that makes the answer was another")
    engine, library = subject.get("engine", ""), subject.get("library", "")
    if engine != _REFERENCE_ENGINE and (change := version_change(engine, library)):
        changed.append(change)
    if not subject.get("cpu", platform.machine()).startswith(platform.machine()):
        changed.append(f"it was another machine: {subject['cpu']}")
    return changed


def version_change(engine: str, library: str) -> str:
    """What became of an engine's library that was of version ``library``; '' when it is that one."""
    if find_spec(engine.replace("-", "_")) is None:
        return f"{engine} is not installed any more"
    return "" if library.startswith(_version(engine)) else f"{engine} was {library}, is {_version(engine)}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def torch_version() -> str:
    """As ``torch.__version__`` says it, with the build (``2.13.0+cpu``), which not every package's metadata have."""
    found = find_spec("torch")
    if found is None or not found.origin:
        return ""
    path = Path(found.origin).with_name("version.py")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    stated = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    return stated[1] if stated else _version("torch")
