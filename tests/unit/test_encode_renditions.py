"""Two renditions of one read: their classes, what refers to what, and when a label map is not possible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import segread
from pydicom import Dataset, dcmread

from bundles import KIDNEYS, TUMOUR
from conformance.cases import Case, overlapping, read_case
from phantoms import Phantom
from wetread.encode.encoder import EncodeContext, encode, remarks
from wetread.records.output import Masks
from wetread.records.result import EncodedResult, Rendition, ReportRef

LABEL_MAP, BINARY = "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.4"
SR, SR_3D = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.34"
CLASSES = {Rendition.MODERN: (LABEL_MAP, SR_3D), Rendition.COMMON: (BINARY, SR)}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return read_case(tmp_path_factory.mktemp("case"), KIDNEYS)


def _encode(case: Case, folder: Path, supersedes: tuple[ReportRef, ...] = ()) -> tuple[EncodedResult, ...]:
    spec = replace(case.context.spec, out_folder=folder, renditions=tuple(Rendition), supersedes=supersedes)
    return encode(replace(case.context, spec=spec))


def in_renditions(case: Case, *renditions: Rendition) -> EncodeContext:
    """The same read, wanted in these."""
    return replace(case.context, spec=replace(case.context.spec, renditions=renditions))


def _report(results: tuple[EncodedResult, ...], rendition: Rendition) -> Dataset:
    return dcmread(next(r.path for r in results if r.rendition == rendition and r.kind == "SR"))


def test_both_renditions_are_whole_and_share_no_uid(case: Case, tmp_path: Path) -> None:
    results = _encode(case, tmp_path)
    of = {rendition: [r for r in results if r.rendition == rendition] for rendition in Rendition}
    assert (
        [r.kind for r in of[Rendition.MODERN]]
        == [r.kind for r in of[Rendition.COMMON]]
        == [r.kind for r in case.results]
    )
    for rendition, (segmentation, report) in CLASSES.items():
        assert [r.sop_class_uid for r in of[rendition][:2]] == [segmentation, report]
    assert len({r.sop_instance_uid for r in results}) == len(results) == len({r.path for r in results})
    assert not {r.series_instance_uid for r in of[Rendition.MODERN]} & {
        r.series_instance_uid for r in of[Rendition.COMMON]
    }


def test_report_refers_to_the_segmentation_of_its_own_rendition(case: Case, tmp_path: Path) -> None:
    results = _encode(case, tmp_path)
    for rendition, (segmentation_class, _) in CLASSES.items():
        (study,) = _report(results, rendition).CurrentRequestedProcedureEvidenceSequence
        named = {
            (i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID)
            for series in study.ReferencedSeriesSequence
            for i in series.ReferencedSOPSequence
        }
        segmentations = {(r.sop_class_uid, r.sop_instance_uid) for r in results if r.kind == "SEG"}
        (found,) = named & segmentations
        assert found[0] == segmentation_class


def test_a_rendition_gives_the_same_bytes_alone_and_beside_the_other(case: Case, tmp_path: Path) -> None:
    both = {r.sop_instance_uid: r.sha256 for r in _encode(case, tmp_path)}
    assert {r.sop_instance_uid: r.sha256 for r in case.results}.items() <= both.items()


def test_new_report_names_the_delivered_one_of_its_own_rendition(case: Case, tmp_path: Path) -> None:
    old = (ReportRef(SR, "1.2.1", "1.2.10"), ReportRef(SR_3D, "1.2.2", "1.2.20"))
    results = _encode(case, tmp_path, old)
    for rendition, uid in ((Rendition.COMMON, "1.2.1"), (Rendition.MODERN, "1.2.2")):
        (study,) = _report(results, rendition).PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        assert [i.ReferencedSOPInstanceUID for i in series.ReferencedSOPSequence] == [uid]


def test_delivered_report_is_named_also_when_it_was_of_the_other_rendition(case: Case, tmp_path: Path) -> None:
    results = _encode(case, tmp_path, (ReportRef(SR, "1.2.1", "1.2.10"),))
    assert "PredecessorDocumentsSequence" in _report(results, Rendition.MODERN)


def test_structures_that_overlap_are_binary_in_the_modern_rendition_and_it_is_said(tmp_path: Path) -> None:
    case = read_case(tmp_path, TUMOUR, answer=overlapping(), manifest={"overlapping": True}, rendition=Rendition.MODERN)
    assert [r.sop_class_uid for r in case.results[:2]] == [BINARY, SR_3D]
    (sentence,) = remarks(in_renditions(case, Rendition.MODERN))
    assert "overlap" in sentence
    assert remarks(in_renditions(case, Rendition.COMMON)) == ()


def _apart(phantom: Phantom) -> Masks:
    small, large = phantom.array == phantom.small_value, phantom.array == phantom.large_value
    return Masks(np.stack([small, large, np.zeros_like(small)]), phantom.affine)


def test_masks_that_do_not_overlap_become_a_label_map_with_every_voxel(tmp_path: Path) -> None:
    manifest = {"overlapping": True}
    case = read_case(tmp_path, TUMOUR, answer=_apart, manifest=manifest, rendition=Rendition.MODERN)
    assert case.results[0].sop_class_uid == LABEL_MAP
    assert remarks(in_renditions(case, Rendition.MODERN)) == ()
    volume = segread(case.paths("SEG")[0]).get_volume(combine_segments=True)
    for number, mask in enumerate(_apart(case.phantom).array[:2], start=1):
        assert int((volume.array == number).sum()) == int(mask.sum()) > 0
