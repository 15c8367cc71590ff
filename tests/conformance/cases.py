"""Phantom studies that were read and encoded: the objects that the validators get to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bundles import BRAIN, KIDNEYS, LESION, LUNG, THREE, TUMOUR, boxed, label, scored, write_bundle
from phantoms import Patient, Phantom, write_series
from wetread.encode.encoder import EncodeContext, encode
from wetread.findings.from_output import read_output
from wetread.images.volume import read_volume
from wetread.records.job import JobSpec
from wetread.records.output import Box, Boxes, Masks, ModelOutput, Scores
from wetread.records.reading import EngineIdentity
from wetread.records.result import EncodedResult, Rendition
from wetread.records.volume import LabelMap

ENGINE = EngineIdentity("torch", "f32", "2.13.0", "cpu", "reference")
DECIDED_AT = datetime(2026, 5, 4, 23, 2, 1, 123456, tzinfo=UTC)
UTC_OFFSET_MINUTES = 120

Segment = Callable[[Phantom], npt.NDArray[np.uint8]]
Answer = Callable[[Phantom], ModelOutput]


def two_objects(phantom: Phantom) -> npt.NDArray[np.uint8]:
    """1 in the large ellipsoid, 2 in the small one."""
    return ((phantom.array == phantom.large_value) + 2 * (phantom.array == phantom.small_value)).astype(np.uint8)


def large_object(phantom: Phantom) -> npt.NDArray[np.uint8]:
    """1 in the large ellipsoid."""
    return (phantom.array == phantom.large_value).astype(np.uint8)


def nothing(phantom: Phantom) -> npt.NDArray[np.uint8]:
    """Background everywhere."""
    return np.zeros(phantom.array.shape, np.uint8)


def first_and_third(phantom: Phantom) -> npt.NDArray[np.uint8]:
    """1 and 3: the second label of the bundle is not found."""
    labels = two_objects(phantom)
    labels[labels == 2] = 3
    return labels


def overlapping(*empty: int) -> Answer:
    """Three masks: small in large in whole, those in ``empty`` without any voxel."""

    def answer(phantom: Phantom) -> Masks:
        small = phantom.array == phantom.small_value
        large = phantom.array == phantom.large_value
        masks = np.stack([small, small | large, np.roll(large, 2, axis=1)])
        masks[list(empty)] = False
        return Masks(masks, phantom.affine)

    return answer


def scores(*values: float) -> Answer:
    """These scores, whatever the image."""
    return lambda phantom: Scores(values)


def boxes(*given: tuple[tuple[float, float, float], tuple[float, float, float], float, int]) -> Answer:
    """Boxes of ``(low, high, score, label)``, whatever the image."""
    return lambda phantom: Boxes(tuple(Box(*box) for box in given), phantom.affine)


def boxes_round_objects(phantom: Phantom) -> Boxes:
    """The boxes that hold every voxel of the small and of the large ellipsoid."""
    found = []
    for number, (value, score) in enumerate(((phantom.small_value, 0.62), (phantom.large_value, 0.911))):
        places = np.argwhere(phantom.array == value)
        low, high = places.min(axis=0) - 0.5, places.max(axis=0) + 0.5
        found.append(Box(tuple(low), tuple(high), score, number))
    return Boxes(tuple(found), phantom.affine)


EDGE = ((-3.0, -4.5, 33.2), (1.5, 6.25, 46.0), 0.87, 0)
"""Box beyond three sides of the phantom's image."""
ONE_PIXEL = ((11.5, 19.5, 9.5), (12.5, 20.5, 10.5), 0.35, 1)


def many_labels(count: int) -> tuple[dict[str, Any], ...]:
    """So many anatomical structures."""
    return tuple(
        label(value, f"Structure {value}", ("91723000", "Anatomical structure")) for value in range(1, count + 1)
    )


def stripes(count: int) -> Segment:
    """Every value from 1 to ``count``, in rows along the slices."""

    def segment(phantom: Phantom) -> npt.NDArray[np.uint8]:
        order = np.arange(phantom.array.size).reshape(phantom.array.shape) // 37
        return (order % (count + 1)).astype(np.uint8)

    return segment


@dataclass(frozen=True)
class Case:
    """One study that was read: what went in and what came out."""

    phantom: Phantom
    context: EncodeContext
    results: tuple[EncodedResult, ...]

    @property
    def sources(self) -> list[Path]:
        """The files of the series that was read."""
        return list(self.phantom.paths)

    def paths(self, kind: str | None = None) -> list[Path]:
        """The result files, all or of one kind."""
        return [r.path for r in self.results if kind in (None, r.kind)]


def read_case(
    folder: Path,
    labels: tuple[dict[str, Any], ...] = KIDNEYS,
    segment: Segment = two_objects,
    *,
    answer: Answer | None = None,
    manifest: dict[str, Any] | None = None,
    rendition: Rendition = Rendition.COMMON,
    **series: Any,
) -> Case:
    """Write a phantom into ``folder``, read it with a bundle of these labels and encode the answer.

    ``answer`` is for models that answer with something else than the label map of ``segment``.
    """
    phantom = write_series(folder / "sources", **series)
    study = phantom.study()
    volume = read_volume(phantom.series(), min_slices=2)
    bundle = write_bundle(folder / "phantom_reader", *labels, **(manifest or {}))
    output = answer(phantom) if answer else LabelMap(segment(phantom), volume.affine)
    reading = read_output(output, volume, bundle=bundle, engine=ENGINE, decided_at=DECIDED_AT)
    spec = JobSpec(
        job_id="job",
        study=study,
        chosen=(),
        bundle_folder=bundle.folder,
        bundle_digest=bundle.digest(),
        out_folder=folder / "results",
        utc_offset_minutes=UTC_OFFSET_MINUTES,
        renditions=(rendition,),
    )
    context = EncodeContext(spec=spec, manifest=bundle.manifest, image=volume, reading=reading)
    return Case(phantom, context, encode(context))


def encode_again(case: Case, folder: Path, **reading: Any) -> tuple[EncodedResult, ...]:
    """Encode the same read into another folder, with fields of the reading replaced."""
    context = case.context
    spec = replace(context.spec, out_folder=folder)
    return encode(replace(context, spec=spec, reading=replace(context.reading, **reading)))


def bare(ds: Any, k: int) -> None:
    """As real archives hold them: type 2 attributes absent, an invalid sex and age, no body part."""
    for keyword in ("AccessionNumber", "StudyID", "ReferringPhysicianName", "BodyPartExamined"):
        delattr(ds, keyword)
    ds.PatientSex, ds.PatientAge = "U", "42"
    del ds.SpecificCharacterSet


def _charset(*terms: str, name: str) -> Callable[[Any, int], None]:
    def mutate(ds: Any, k: int) -> None:
        ds.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]
        ds.PatientName = name

    return mutate


CASES: dict[str, dict[str, Any]] = {
    "axial": {},
    "coronal": {"orientation": "coronal"},
    "sagittal": {"orientation": "sagittal"},
    "oblique": {"orientation": "oblique"},
    "reversed": {"orientation": "oblique", "reverse": True},
    "ct": {"modality": "CT"},
    "one label": {"labels": (BRAIN,), "segment": large_object},
    "clinical": {"labels": (LESION,), "segment": large_object, "manifest": {"clinical_use": True}},
    "no finding": {"labels": (LESION,), "segment": nothing},
    "nothing found of three": {"labels": tuple(d | {"required": False} for d in THREE), "segment": nothing},
    "second of three not found": {"labels": THREE, "segment": first_and_third},
    "lesion with a site": {"labels": ({**LESION, "site": LUNG},), "segment": large_object},
    "overlap": {"labels": TUMOUR, "answer": overlapping(), "manifest": {"overlapping": True}},
    "overlap, one empty": {"labels": TUMOUR, "answer": overlapping(0), "manifest": {"overlapping": True}},
    "overlap, all empty": {"labels": TUMOUR, "answer": overlapping(0, 1, 2), "manifest": {"overlapping": True}},
    "105 labels": {"labels": many_labels(105), "segment": stripes(105)},
    "present and absent": {"manifest": scored(0.5, 0.5), "answer": scores(0.874, 0.0312)},
    "all absent": {"manifest": scored(0.5, 0.5, calibrated=True), "answer": scores(0.1, 0.2)},
    "no threshold": {"manifest": scored(None), "answer": scores(0.874)},
    "one called, one not": {"manifest": scored(0.5, None), "answer": scores(0.1, 0.9)},
    "boxes": {"manifest": boxed(), "answer": boxes_round_objects},
    "boxes, oblique": {"manifest": boxed(), "answer": boxes_round_objects, "orientation": "oblique", "reverse": True},
    "boxes at the edge": {"manifest": boxed(), "answer": boxes(EDGE, ONE_PIXEL), "modality": "CT"},
    "no box": {"manifest": boxed(), "answer": boxes()},
    "no box above the threshold": {"manifest": boxed(0.9), "answer": boxes(EDGE, ONE_PIXEL)},
    "umlauts": {"patient": Patient(name="Müller^Jörg")},
    "kanji": {"mutate": _charset("", "ISO 2022 IR 87", name="Yamada^Tarou=山田^太郎=やまだ^たろう")},
    "utf-8": {"mutate": _charset("ISO_IR 192", name="Wang^XiaoDong=王^小東")},
    "title beyond the source's characters": {
        "manifest": {"title": "Gehirn 山 \\ lesion – reader with a very long name"}
    },
}
"""Name of the case: arguments of ``read_case``. Every one must pass every validator."""
