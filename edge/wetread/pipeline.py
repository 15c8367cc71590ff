"""The main path: a study goes in, encoded results come out. No network, no database. Start reading here.

images ─▶ guard ─▶ infer ─▶ findings ─▶ encode
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wetread.bundles import Bundle
from wetread.encode.encoder import EncodeContext, encode, remarks
from wetread.encode.view_files import encode_view_files
from wetread.findings.explained import heat_maps
from wetread.findings.from_output import read_output
from wetread.guard.guard import check_input
from wetread.images.model_input import read_image
from wetread.progress import Progress, StageClock
from wetread.records.heat_map import HeatMap
from wetread.records.job import JobSpec, StageTiming
from wetread.records.model_input import ModelInput
from wetread.records.reading import OUTSIDE, Reading
from wetread.records.result import EncodedResult, ResultFile

if TYPE_CHECKING:  # whoever hands in another reader needs no torch
    from wetread.infer.model import Reader

_SHARE = {"images": 0.0, "guard": 0.25, "infer": 0.3, "findings": 0.8, "explain": 0.82, "encode": 0.85}


@dataclass(frozen=True, slots=True)
class Read:
    """What one run of the pipeline gives."""

    reading: Reading
    shown: ModelInput
    """What results refer to."""
    results: tuple[EncodedResult, ...]
    timings: tuple[StageTiming, ...]
    warnings: tuple[str, ...]
    """What a person should know about the answer, as sentences."""
    files: tuple[ResultFile, ...]


def process(spec: JobSpec, bundle: Bundle, model: Reader, *, progress: Progress) -> Read:
    """Read one study with one bundle and write the result objects into ``spec.out_folder``.
    Raises: ``StudyRejected`` with the reason when the input is not what the bundle was made for.
    """
    clock = StageClock(progress, _SHARE)
    rules = {rule.name: rule for rule in bundle.manifest.inputs}
    with clock.stage("images"):
        images = {c.input_name: read_image(c.series, rules[c.input_name]) for c in spec.chosen}
    with clock.stage("guard"):
        outside = check_input(spec, bundle, images)
    with clock.stage("infer"):
        output = model.run(images)
    shown = images[bundle.manifest.inputs[0].name]  # what results refer to
    with clock.stage("findings"):
        reading = read_output(
            output, shown, bundle=bundle, engine=model.identity, decided_at=datetime.now(UTC), outside=outside
        )
    maps: tuple[HeatMap, ...] = ()
    if bundle.manifest.explain:
        with clock.stage("explain"):
            maps = heat_maps(reading, model.explain(images))
    with clock.stage("encode"):
        context = EncodeContext(spec=spec, manifest=bundle.manifest, image=shown, reading=reading, heat_maps=maps)
        results, files = encode(context), encode_view_files(context)
    progress("done", 1.0)
    said = tuple(f"{OUTSIDE}: {reason}" for reason in outside)
    return Read(reading, shown, results, tuple(clock.timings), said + remarks(context), files)
