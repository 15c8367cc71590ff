"""Folders of DICOM in which SEG and SR objects say what is to be learned: by code, and only what a person vouches for.

Which SEG belongs to which series, and which report to which film, the objects say themselves; file names and the order
of segments mean nothing. Images that nobody said anything about are passed over.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.bundles.bundle import file_sha256
from wetread.bundles.manifest import LabelRule, Manifest
from wetread.encode.references import (
    Drawing,
    DrawnSegment,
    ReadReport,
    drawn_mask,
    read_drawing,
    read_report,
    same_term,
)
from wetread.errors import DataUnusable, WetreadError
from wetread.images.folder import scan_folder
from wetread.images.volume import read_volume
from wetread.learn.cases import Case
from wetread.learn.films import about_study, read_film
from wetread.records.coded import CodedTerm
from wetread.records.numbers import number_of
from wetread.records.sop_classes import is_film
from wetread.records.study import InstanceRef, SeriesRef, StudyRef
from wetread.records.volume import Volume

UNVERIFIED = "--unverified"
"""The option that takes what no person vouched for."""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class References:
    """What was found in a folder."""

    cases: tuple[Case, ...]
    sha256: str
    """Over every image, SEG and SR that a case was made of."""
    notes: tuple[str, ...]
    """What was passed over, and why."""


def read_references(folder: Path, manifest: Manifest, *, unverified: bool = False) -> References:
    """Cases of a folder with DICOM images and the SEG or SR objects about them, in any depth.

    Segmentations: the segments whose Segmented Property Type (and side) is that of the bundle's labels, drawn or
    changed by a person, or reported by a verified SR. Classifiers: what verified SR say is present or absent.
    ``unverified`` takes both without that.
    Raises: ``DataUnusable`` when no case can be made, or two objects contradict each other.
    """
    scan = scan_folder(folder)
    try:
        made = _Folder(manifest, unverified=unverified).read(scan.studies)
    except DataUnusable:
        raise
    except WetreadError as exc:
        raise DataUnusable(str(exc)) from exc
    if not made.cases:
        why = "; ".join(made.notes) or "no image in it has a SEG or a report about it"
        raise DataUnusable(f"nothing in {folder} can be learned from: {why}")
    return made


class _Folder:
    """Everything that was read so far."""

    def __init__(self, manifest: Manifest, *, unverified: bool) -> None:
        self._manifest, self._unverified = manifest, unverified
        self._digest = hashlib.sha256()
        self._passed: Counter[str] = Counter()

    def read(self, studies: Sequence[StudyRef]) -> References:
        cases: list[Case] = []
        for study in studies:
            reports = self._usable(_reports(study))
            if self._manifest.labels:
                cases += self._volumes(study, reports)
            else:
                cases += self._films(study, reports)
        notes = tuple(f"{count} times: {reason}" for reason, count in self._passed.most_common())
        if self._unverified:
            notes += (f"what no person verified was taken as reference, too: {UNVERIFIED}",)
        return References(tuple(cases), self._digest.hexdigest(), notes)

    def _usable(self, reports: Sequence[ReadReport]) -> list[ReadReport]:
        """The verified ones, without those that a verified one replaces."""
        verified = [report for report in reports if report.is_verified]
        replaced = frozenset[str]().union(*(report.replaces for report in verified))
        kept = []
        for report in reports:
            if report.sop_instance_uid in replaced:
                continue
            if report.is_verified or self._unverified:
                kept.append(report)
                continue
            author = "nobody verified it" if report.has_person else "a device wrote it and nobody verified it"
            self._pass(f"a report is no reference: {author} (to take it all the same: {UNVERIFIED})")
        return kept

    def _films(self, study: StudyRef, reports: Sequence[ReadReport]) -> Iterator[Case]:
        for film in _films_of(study):
            said = {rule.name: self._said(film, reports, rule.condition.term()) for rule in self._manifest.scores}
            unknown = [name for name, (present, _) in said.items() if present is None]
            if unknown:
                self._pass(f"a film is passed over: no verified report says whether there is {', '.join(unknown)}")
                continue
            image, patient, about = read_film(film.path)
            self._use(film.path, *(path for _, paths in said.values() for path in paths))
            targets = tuple(int(bool(present)) for present, _ in said.values())
            yield Case(_called(film.path), image, targets, patient=patient, about=about)

    def _said(
        self, film: InstanceRef, reports: Sequence[ReadReport], condition: CodedTerm
    ) -> tuple[bool | None, list[Path]]:
        """Whether the condition is there, and who says so; None when nobody does for certain."""
        found: dict[bool, list[Path]] = {}
        for report in reports:
            for statement in report.statements:
                about = statement.images or report.evidence
                if film.sop_instance_uid in about and same_term(statement.condition, condition):
                    if statement.present is None:
                        return None, []
                    found.setdefault(statement.present, []).append(report.path)
        if len(found) > 1:
            raise DataUnusable(
                f"{found[True][0].name} says that {condition.meaning} is present on {film.path.name}, "
                f"{found[False][0].name} that it is absent: take the one out that does not hold"
            )
        return next(iter(found.items()), (None, []))

    def _volumes(self, study: StudyRef, reports: Sequence[ReadReport]) -> Iterator[Case]:
        drawings = [read_drawing(path) for path in _paths(study, "SEG")]
        vouched = frozenset[tuple[str, int]]().union(*(report.segments for report in reports))
        for series in study.series:
            here = [drawing for drawing in drawings if series.series_instance_uid in drawing.series_instance_uids]
            wanted = self._wanted(series, here, vouched) if here else {}
            if not wanted:
                continue
            volume = read_volume(series, min_slices=1)
            mask = self._mask(volume, wanted)
            self._use(*(i.path for i in volume.instances), *(drawing.path for drawing, _ in wanted.values()))
            patient, about = about_study(study, series)
            yield Case(_called(volume.instances[0].path), volume.array, (), mask, volume.affine, patient, about)

    def _wanted(
        self, series: SeriesRef, drawings: Sequence[Drawing], vouched: frozenset[tuple[str, int]]
    ) -> dict[int, tuple[Drawing, list[int]]]:
        """Value in the bundle's label map → the segments that are that structure; empty when they are of no use."""
        found: dict[int, tuple[Drawing, list[int]]] = {}
        missing = []
        for rule in self._manifest.labels:
            matching = [(d, numbers) for d in drawings if (numbers := self._numbers(d, rule, vouched))]
            if len(matching) > 1:
                names = ", ".join(drawing.path.name for drawing, _ in matching[:_NAMED])
                raise DataUnusable(f"{series.label}: {rule.name} is drawn in {names}; one of them must be chosen")
            if matching:
                found[rule.bundle_value or rule.value] = matching[0]
            elif rule.role == "anatomy":
                missing.append(rule.name)
        if found and not missing:
            return found
        self._pass(
            f"a SEG is of no use: it has no {', '.join(missing or [rule.name for rule in self._manifest.labels])} "
            f"among {_drawn(drawings)}, by code and drawn or confirmed by a person"
        )
        return {}

    def _numbers(self, drawing: Drawing, rule: LabelRule, vouched: frozenset[tuple[str, int]]) -> list[int]:
        """Segment Numbers that are this structure and that a person stands for."""
        numbers = []
        for segment in drawing.segments:
            if not _is(segment, rule):
                continue
            if not segment.is_automatic or self._unverified or (drawing.sop_instance_uid, segment.number) in vouched:
                numbers.append(segment.number)
                continue
            self._pass(
                "a segment is no reference: an algorithm drew it (AUTOMATIC) and no verified report refers to it "
                f"(to take it all the same: {UNVERIFIED})"
            )
        return numbers

    def _mask(self, volume: Volume, wanted: dict[int, tuple[Drawing, list[int]]]) -> npt.NDArray[np.uint8]:
        mask: npt.NDArray[np.uint8] = np.zeros(volume.array.shape, np.uint8)
        for value, (drawing, numbers) in wanted.items():
            drawn = drawn_mask(drawing, numbers, volume)
            twice = int(np.count_nonzero(mask[drawn]))
            if twice:
                raise DataUnusable(
                    f"{drawing.path.name}: {number_of(twice, 'voxel belongs', 'voxels belong')} to two of the bundle's "
                    "structures; a label map cannot "
                    "say that"
                )
            mask[drawn] = value
        return mask

    def _use(self, *paths: Path) -> None:
        for path in paths:
            self._digest.update(file_sha256(path).encode())

    def _pass(self, reason: str) -> None:
        self._passed[reason] += 1


def _is(segment: DrawnSegment, rule: LabelRule) -> bool:
    """By type; by side where the bundle's label has one."""
    if not same_term(segment.type, rule.type.term()):
        return False
    if rule.laterality is None:
        return True
    return segment.laterality is not None and same_term(segment.laterality, rule.laterality.term())


def _called(path: Path) -> str:
    """A file with its folder: the files of many studies have the same names."""
    return f"{path.parent.name}/{path.name}"


def _reports(study: StudyRef) -> list[ReadReport]:
    return [read_report(path) for path in _paths(study, "SR")]


def _paths(study: StudyRef, modality: str) -> list[Path]:
    return sorted(i.path for series in study.series if series.modality == modality for i in series.instances)


def _films_of(study: StudyRef) -> Iterator[InstanceRef]:
    for series in study.series:
        yield from (i for i in series.instances if is_film(i.sop_class_uid))


def _drawn(drawings: Sequence[Drawing]) -> str:
    kinds = [segment.type for drawing in drawings for segment in drawing.segments]
    shown = ", ".join(str(kind) for kind in kinds[:_NAMED])
    return f"{shown}{', …' if len(kinds) > _NAMED else ''}" if kinds else "no segments"
