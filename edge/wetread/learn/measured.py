"""What every evaluation has in common, whatever the bundle answers with: what was measured, on what, with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import Misconfigured
from wetread.infer.model import Model, open_model
from wetread.learn.cases import Case, Cases, Part
from wetread.learn.datalist import one_part
from wetread.learn.measures import Figure
from wetread.learn.sources import Source, read_source
from wetread.progress import Progress, unheard
from wetread.records.reading import EngineIdentity


@dataclass(frozen=True, slots=True)
class HowRead:
    """With what a bundle reads the images that it is measured on."""

    cache_folder: Path
    """Of engines."""
    engine: str = "auto"
    trust: TrustPolicy | None = None
    threads: int | None = None
    """Default: all of the CPU."""
    progress: Progress = unheard

    def opened(self, bundle: Bundle) -> closing[Model]:
        """For a ``with`` statement. Raises: as ``open_model``."""
        model = open_model(
            bundle,
            engine=self.engine,
            cache_folder=self.cache_folder,
            trust=self.trust,
            progress=lambda what, _: self.progress(what, 0.0),
            threads=self.threads,
        )
        return closing(model)


PREFERRED: tuple[Part, ...] = ("test", "val")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One bundle on one part of some data."""

    bundle: Bundle
    engine: EngineIdentity
    source: Source
    part: str
    """``test``, ``val``, or ``all`` of a folder that makes no parts."""
    n: int
    """Images."""

    @property
    def engine_in_words(self) -> str:
        """Name, precision and version."""
        return f"{self.engine.name} {self.engine.precision} {self.engine.library_version}"

    def heading(self) -> dict[str, object]:
        """For ``--json``: how every document begins."""
        return {
            "bundle": self.bundle.name,
            "version": self.bundle.version,
            "digest": self.bundle.digest(),
            "engine": self.engine_in_words,
            "certificate": self.engine.certificate,
            "data": {"path": str(self.source.path), "sha256": self.source.sha256, "part": self.part},
            "n": self.n,
            "passed_over": list(self.source.notes),
        }

    def document(self) -> Mapping[str, object]:
        """For ``--json``."""
        raise NotImplementedError

    def in_words(self) -> Mapping[str, Sequence[str]]:
        """For people: what was measured, by name."""
        raise NotImplementedError

    def record(self, command: str) -> None:
        """Put the figures into the bundle's metrics file and model card. Raises: ``Misconfigured``."""
        raise Misconfigured(
            f"figures of classifiers are recorded in metrics and model card; of {self.bundle.name} keep the JSON "
            f"document of {command}"
        )


def measurable(
    bundle: Bundle, data: Path | Source, part: Part | None, *, answers: Sequence[object], kind: str
) -> tuple[Source, str, Cases]:
    """What the data are, the name of the part, and its cases.

    ``part``: default ``test`` if there is one, else ``val``, else everything that is in no part.
    Raises: ``DataUnusable``; ``Misconfigured`` for a bundle that has no such ``answers``, or reads several images at
    once.
    """
    if not answers or len(bundle.manifest.inputs) != 1:
        raise Misconfigured(f"bundle {bundle.name} is no {kind} of one image")
    source = read_source(data, bundle.manifest)
    return source, *_chosen(source, part)


def _chosen(source: Source, part: Part | None) -> tuple[str, Cases]:
    if part is None and not any(name in source.parts for name in PREFERRED) and source.unsplit:
        return "all", source.unsplit
    return one_part(dict(source.parts), (part,) if part else PREFERRED)


def told(cases: Sequence[Case], tell: Progress) -> Iterator[Case]:
    """Each case; told when it is done."""
    for number, case in enumerate(cases, start=1):
        yield case
        tell(f"reading {number} of {len(cases)}", number / len(cases))


def means(figures: Sequence[Mapping[str, Figure]]) -> dict[str, float]:
    """Of every figure that all have."""
    names = [name for name in figures[0] if all(name in each for each in figures)]
    return {name: float(np.mean([each[name].value for each in figures])) for name in names}
