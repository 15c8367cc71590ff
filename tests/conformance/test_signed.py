"""Reports that a person signed: what they say, and that outside validators accept them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from bundles import THREE
from conformance.cases import CASES, Case, read_case, two_objects
from conformance.gate import Complaint, check_files
from conformance.tree import groups, items, name_of
from wetread.encode.read_back import read_segmentation
from wetread.encode.signed import encode_signed
from wetread.encode.signed_seg import encode_accepted
from wetread.findings.summary import summarize
from wetread.images.volume import read_volume
from wetread.records.result import EncodedResult, Rendition, ReportRef
from wetread.records.sign_off import ReviewedFinding, Signature

SIGNED_AT = datetime(2026, 5, 5, 7, 30, 0, 250000, tzinfo=UTC)
DOE = Signature("0d3b1c3e-9b53-4b0c-9d3c-0a9c1f5e7a10", "Doe^Jane", "Hospital of Examples", "jdoe", SIGNED_AT)


@dataclass(frozen=True)
class Signed:
    """A case of which some findings were accepted."""

    case: Case
    result: EncodedResult
    segmentation: EncodedResult | None
    """Of what was accepted."""
    accepted: frozenset[str]
    rejected: frozenset[str]

    @property
    def report(self) -> Dataset:
        return dcmread(self.result.path)

    @property
    def preliminary(self) -> Dataset:
        return dcmread(self.case.paths("SR")[0])

    def files(self) -> list[Path]:
        """All objects of the read: a report that was signed refers to the preliminary one."""
        return [*self.case.paths(), *self.new()]

    def new(self) -> list[Path]:
        """What came with the signature."""
        return [*([self.segmentation.path] if self.segmentation else []), self.result.path]


def signed(
    case: Case, *, keep: int | None = None, comment: str = "", signature: Signature = DOE, **more: object
) -> Signed:
    """Sign with the first ``keep`` findings accepted and the others rejected; all if it is None."""
    findings = summarize(case.context.reading, case.context.image)
    keep = len(findings) if keep is None else keep
    reviewed = [ReviewedFinding(f, k < keep, comment) for k, f in enumerate(findings)]
    uids = [f.tracking_uid for f in findings]
    accepted, folder = frozenset(uids[:keep]), case.results[0].path.parent
    (preliminary,) = (r for r in case.results if r.kind == "SR")
    masks = [r for r in case.results if r.kind == "SEG"]
    segments = encode_accepted(masks[0], accepted, signature, out=folder / "signed-seg.dcm") if masks else None
    more |= {"segments": segments, "out": folder / "signed.dcm"}
    result = encode_signed(preliminary, reviewed, signature, **more)  # type: ignore[arg-type]
    return Signed(case, result, segments.result if segments else None, accepted, frozenset(uids[keep:]))


def complaints_of(done: Signed) -> list[Complaint]:
    """Of the signed objects, and of the set; the other objects of every case are looked at in ``test_results_pass``."""
    return check_files(done.files(), done.case.sources, alone=done.new())


def tracked(report: Dataset) -> set[str]:
    return {str(i.UID) for group in groups(report) for i in group.ContentSequence if name_of(i)[0] == "112040"}


KINDS = (
    "oblique",
    "clinical",
    "second of three not found",
    "no finding",
    "overlap",
    "one called, one not",
    "boxes",
    "kanji",
)
"""One case of each kind of content; the groups are those of the preliminary report, tested with every case."""


@pytest.mark.parametrize("name", KINDS)
def test_signed_reports_give_validators_nothing_to_complain_about(name: str, tmp_path: Path) -> None:
    rendition = Rendition.MODERN if name == "oblique" else Rendition.COMMON
    done = signed(read_case(tmp_path, **CASES[name], rendition=rendition), comment="clear on the axial images")
    assert complaints_of(done) == []


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_what_was_not_accepted_is_not_in_the_signed_report(keep: int, tmp_path: Path) -> None:
    case = read_case(tmp_path, THREE, segment=two_objects)
    done = signed(case, keep=keep)
    assert complaints_of(done) == []
    assert tracked(done.report) == done.accepted & tracked(done.preliminary)
    text = "\n".join(str(i.get("TextValue", "")) for i in items(done.report))
    names = {f.tracking_uid: f.name for f in case.context.reading.findings}
    assert not [names[uid] for uid in done.rejected if names[uid] in text]
    assert f"{keep} of 3 findings accepted" in text


def test_signed_report_is_final_verified_and_names_its_predecessor_and_both_observers(tmp_path: Path) -> None:
    done = signed(read_case(tmp_path, THREE, segment=two_objects))
    report, before = done.report, done.preliminary
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == ("COMPLETE", "FINAL", "VERIFIED")
    (observer,) = report.VerifyingObserverSequence
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Doe^Jane", "Hospital of Examples")
    # 07:30 UTC in the zone of the report's other times, +0200.
    assert observer.VerificationDateTime == "20260505093000.250000+0200"
    reference = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert reference.SeriesInstanceUID == before.SeriesInstanceUID
    assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    types = [i.ConceptCodeSequence[0].CodeMeaning for i in report.ContentSequence if name_of(i)[0] == "121005"]
    assert types == ["Person", "Device"]
    assert report.SeriesInstanceUID != before.SeriesInstanceUID
    assert report.SeriesDescription.endswith(" - REVIEWED")
    assert (report.StudyInstanceUID, report.PatientID) == (before.StudyInstanceUID, before.PatientID)


def test_same_sign_off_gives_the_same_bytes_and_another_one_another_instance(tmp_path: Path) -> None:
    case = read_case(tmp_path, THREE, segment=two_objects)
    first = signed(case)
    content = first.result.path.read_bytes()
    again = signed(case)
    assert again.result == first.result
    assert again.result.path.read_bytes() == content
    other = Signature("7a0c2f0e-5a43-4a0e-8d3c-1a9c1f5e7a10", "Doe^Jane", "Hospital of Examples", "jdoe", SIGNED_AT)
    later = signed(case, signature=other)
    assert later.result.sop_instance_uid != first.result.sop_instance_uid
    assert later.result.series_instance_uid == first.result.series_instance_uid


def test_numbers_are_those_that_were_reviewed_and_references_those_of_what_was_accepted(tmp_path: Path) -> None:
    done = signed(read_case(tmp_path, THREE, segment=two_objects))
    (before,) = (r for r in done.case.results if r.kind == "SEG")
    assert done.segmentation is not None
    here, there = done.segmentation.sop_instance_uid, before.sop_instance_uid
    expected = [group.to_json().replace(there, here) for group in groups(done.preliminary)]
    assert [group.to_json() for group in groups(done.report)] == expected
    assert here in done.report.to_json()
    assert there not in done.report.to_json()
    nothing = signed(done.case, keep=0)
    assert nothing.segmentation is None
    assert not [uid for uid in (here, there) if uid in nothing.report.to_json()]


@pytest.mark.parametrize("rendition", list(Rendition))
@pytest.mark.parametrize("shape", [(12, 32, 24), (12, 31, 23)], ids=["whole bytes", "frames that share bytes"])
@pytest.mark.parametrize("keep", [[0], [1], [0, 1]], ids=["the first", "the second", "both"])
def test_segmentation_of_what_was_accepted_holds_it_voxel_for_voxel_and_nothing_else(
    tmp_path: Path, rendition: Rendition, shape: tuple[int, int, int], keep: list[int]
) -> None:
    case = read_case(tmp_path, THREE, segment=two_objects, rendition=rendition, shape=shape)
    (before,) = (r for r in case.results if r.kind == "SEG")
    segments = [s for s in dcmread(before.path).SegmentSequence if s.SegmentNumber]
    assert len(segments) == 2
    wanted = frozenset(str(segments[k].TrackingUID) for k in keep)
    taken = encode_accepted(before, wanted, DOE, out=tmp_path / "accepted.dcm")
    assert taken.result is not None
    held = dcmread(taken.result.path)
    assert {s.TrackingUID for s in held.SegmentSequence if s.SegmentNumber} == wanted
    volume = read_volume(case.phantom.series(), min_slices=2)
    there, here = (read_segmentation(path, volume).array for path in (before.path, taken.result.path))
    expected = np.zeros_like(there)
    for number, place in taken.numbers.items():
        expected[there == number] = place
    assert expected.any()
    assert np.array_equal(here, expected)
    assert check_files([taken.result.path], case.sources, alone=[taken.result.path]) == []


def test_reader_whose_name_the_source_cannot_express_is_written_in_utf_8(tmp_path: Path) -> None:
    wang = Signature(DOE.sign_off_id, "Wang^XiaoDong=王^小东", "示例医院", "", SIGNED_AT)
    done = signed(read_case(tmp_path, THREE, segment=two_objects), signature=wang, comment="左侧清晰")
    assert complaints_of(done) == []
    report = done.report
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert report.VerifyingObserverSequence[0].VerifyingObserverName.ideographic == "王^小东"


def test_earlier_signed_report_is_named_too(tmp_path: Path) -> None:
    case = read_case(tmp_path, THREE, segment=two_objects)
    earlier = ReportRef(case.results[0].sop_class_uid, "2.25.1", "2.25.2")
    done = signed(case, also_replaces=[earlier])
    complaints = complaints_of(done)
    assert [c.text for c in complaints if "2.25.1 " not in c.text] == []
    named = {
        str(o.ReferencedSOPInstanceUID)
        for s in done.report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
        for o in s.ReferencedSOPSequence
    }
    assert named == {"2.25.1", str(done.preliminary.SOPInstanceUID)}
