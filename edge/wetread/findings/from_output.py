"""A model's answer, of whatever kind, becomes coded findings. A new kind is a file and one line in ``_findings``."""

from __future__ import annotations

from datetime import datetime

from wetread.bundles import Bundle
from wetread.bundles.manifest import Manifest
from wetread.errors import OutputInvalid
from wetread.findings.digest import digest_of
from wetread.findings.from_boxes import read_boxes
from wetread.findings.from_labels import read_labels
from wetread.findings.from_masks import read_masks
from wetread.findings.from_scores import read_scores
from wetread.records.finding import Finding
from wetread.records.model_input import ModelInput
from wetread.records.output import Boxes, Masks, ModelOutput, Scores
from wetread.records.radiograph import Radiograph
from wetread.records.reading import AlgorithmIdentity, EngineIdentity, Reading
from wetread.records.volume import LabelMap


def read_output(
    output: ModelOutput,
    image: ModelInput,
    *,
    bundle: Bundle,
    engine: EngineIdentity,
    decided_at: datetime,
    outside: tuple[str, ...] = (),
) -> Reading:
    """Measure and code what the model said about ``image``; the answer itself is kept as it is.

    ``outside``: why the image lies outside the bundle's intended use and was read all the same.
    What was looked for and not found gives a finding that says so: an answer and not silence.

    Raises: ``OutputInvalid`` when it breaks what the bundle declares.
    """
    expected = _declared(bundle.manifest)
    if not isinstance(output, expected):
        found = type(output).__name__
        raise OutputInvalid(f"bundle {bundle.name} answered with {found}, its manifest declares {expected.__name__}")
    findings = _findings(output, image, bundle)
    return Reading(
        findings=findings,
        output=output,
        algorithm=_identity(bundle, engine),
        digest=digest_of(findings, output, outside),
        decided_at=decided_at,
        outside=outside,
    )


def read_nothing(reason: str, *, bundle: Bundle, engine: EngineIdentity, decided_at: datetime) -> Reading:
    """The reading of what was not read: no finding, also none that was looked for."""
    output = Scores(())
    digest = digest_of((), output, (f"not read: {reason}",))
    return Reading(
        findings=(), output=output, algorithm=_identity(bundle, engine), digest=digest, decided_at=decided_at
    )


def _declared(manifest: Manifest) -> type[LabelMap | Masks | Scores | Boxes]:
    if manifest.scores:
        return Scores
    if manifest.boxes:
        return Boxes
    return Masks if manifest.overlapping else LabelMap


def _findings(output: ModelOutput, image: ModelInput, bundle: Bundle) -> tuple[Finding, ...]:
    if isinstance(output, Scores):
        return read_scores(output, image, bundle)
    if isinstance(image, Radiograph):
        raise OutputInvalid(f"bundle {bundle.name} answered with {type(output).__name__}, of a film scores are read")
    match output:
        case LabelMap():
            return read_labels(output, image, bundle)
        case Masks():
            return read_masks(output, image, bundle)
        case Boxes():
            return read_boxes(output, image, bundle)


def _identity(bundle: Bundle, engine: EngineIdentity) -> AlgorithmIdentity:
    return AlgorithmIdentity(
        bundle_name=bundle.name,
        bundle_version=bundle.version,
        bundle_digest=bundle.digest(),
        weights_digest=bundle.weights_digest(),
        title=bundle.manifest.title,
        engine=engine,
    )
