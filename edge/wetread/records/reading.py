"""A finished read: findings, answer and the identity of what made them. It is committed once and never recomputed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wetread.records.finding import Finding
from wetread.records.output import ModelOutput


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What computed the answer, exactly enough to compute it again."""

    name: str
    """``torch``, ``openvino``, ..."""
    precision: str
    """``f32``, ``bf16``, ..."""
    library_version: str
    device: str
    certificate: str
    """Digest of the parity certificate under which this engine serves."""
    tier: str = ""
    """How the bundle was driven: ``components``, ``evaluator`` or ``detector``."""
    shims: tuple[str, ...] = ()
    """What of the bundle was adapted to today's libraries, as sentences that begin with the shim's name."""


@dataclass(frozen=True, slots=True)
class AlgorithmIdentity:
    """The bundle and the engine behind a read; goes into every result object."""

    bundle_name: str
    bundle_version: str
    bundle_digest: str
    """SHA-256 (hex) over every file of the bundle."""
    weights_digest: str
    """SHA-256 (hex) over the weight files alone: it changes when the model is retrained."""
    title: str
    engine: EngineIdentity


OUTSIDE = "read outside the intended use"
"""So begins what a job's report says of such a read, before the reason."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Findings on one volume or film."""

    findings: tuple[Finding, ...]
    """Of one kind, that of ``output``."""
    output: ModelOutput
    algorithm: AlgorithmIdentity
    digest: str
    """SHA-256 (hex) over output, measurements and codes: two reads that say the same have the same digest."""
    decided_at: datetime
    """When the answer was computed, aware, UTC. Every time in the result objects comes from here."""
    outside: tuple[str, ...] = ()
    """Why the image lies outside the bundle's intended use, as sentences, where it was read all the same: then every
    object says so."""
