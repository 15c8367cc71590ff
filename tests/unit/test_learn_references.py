"""What SEG and SR objects beside the images teach: by code, on the right pixels, and only what a person vouches for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.sr.coding import Code

from bundles import KIDNEYS, LESION, manifest, scored
from conformance.cases import read_case, two_objects
from conformance.test_signed import DOE
from drawn import ABSENT, KIDNEY, LEFT, LIVER, PNEUMONIA, PRESENT, RIGHT, UNDETERMINED, write_report, write_seg
from films import write_film
from network_bundles import threshold_bundle
from phantoms import Patient, Phantom, write_series
from wetread.bundles.manifest import Manifest
from wetread.cli.main import run
from wetread.encode.signed import encode_signed
from wetread.errors import DataUnusable
from wetread.findings.summary import summarize
from wetread.learn.references import read_references
from wetread.learn.sources import read_source
from wetread.records.sign_off import ReviewedFinding

TWO_KIDNEYS = Manifest.model_validate(manifest(*KIDNEYS))
LESIONS = Manifest.model_validate(manifest(LESION | {"bundle_value": 4}))
ONE_SCORE = Manifest.model_validate(manifest(**scored(0.5)) | {"scores": scored(0.5, 0.5, 0.5)["scores"][2:]})


@pytest.fixture
def phantom(tmp_path: Path) -> Phantom:
    return write_series(tmp_path / "data", orientation="oblique", shape=(8, 24, 20))


def large(phantom: Phantom) -> np.ndarray[Any, Any]:
    return np.asarray(phantom.array == phantom.large_value)


def small(phantom: Phantom) -> np.ndarray[Any, Any]:
    return np.asarray(phantom.array == phantom.small_value)


def both(phantom: Phantom) -> list[Any]:
    """The right kidney first: the bundle has it second."""
    return [(small(phantom), KIDNEY, RIGHT), (large(phantom), KIDNEY, LEFT)]


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "oblique"])
def test_segments_become_the_bundles_labels_by_code_and_not_by_order(tmp_path: Path, orientation: Any) -> None:
    phantom = write_series(tmp_path / "data", orientation=orientation, reverse=True, shape=(8, 24, 20))
    write_seg(tmp_path / "data" / "seg.dcm", phantom, *both(phantom))
    (case,) = read_references(tmp_path / "data", TWO_KIDNEYS).cases
    assert case.mask is not None
    assert case.affine is not None
    np.testing.assert_array_equal(case.mask, large(phantom) + 2 * small(phantom))
    np.testing.assert_allclose(case.image, phantom.array)
    np.testing.assert_allclose(case.affine, phantom.affine, atol=1e-6)
    assert case.patient == "PH-0042^"
    assert case.about["sex"] == "F"


def test_value_that_the_bundle_itself_writes_is_what_is_learned(phantom: Phantom) -> None:
    lesion = LESIONS.labels[0].type
    code = KIDNEY.__class__(lesion.value, lesion.scheme, lesion.meaning)
    write_seg(phantom.folder / "seg.dcm", phantom, (small(phantom), code, None))
    (case,) = read_references(phantom.folder, LESIONS).cases
    assert case.mask is not None
    assert set(np.unique(case.mask)) == {0, 4}


def test_drawing_on_a_few_slices_lies_where_they_lie(phantom: Phantom) -> None:
    write_seg(phantom.folder / "seg.dcm", phantom, *both(phantom), of=slice(2, 5))
    (case,) = read_references(phantom.folder, TWO_KIDNEYS).cases
    expected = (large(phantom) + 2 * small(phantom)).astype(np.uint8)
    expected[:2] = expected[5:] = 0
    assert case.mask is not None
    np.testing.assert_array_equal(case.mask, expected)


def test_drawing_on_one_slice_lies_where_it_lies(phantom: Phantom) -> None:
    write_seg(phantom.folder / "seg.dcm", phantom, *both(phantom), of=slice(3, 4))
    (case,) = read_references(phantom.folder, TWO_KIDNEYS).cases
    expected = np.zeros_like(phantom.array, np.uint8)
    expected[3] = (large(phantom) + 2 * small(phantom))[3]
    assert expected.any()
    assert case.mask is not None
    np.testing.assert_array_equal(case.mask, expected)


def test_drawing_on_another_grid_is_refused(phantom: Phantom) -> None:
    write_seg(phantom.folder / "seg.dcm", phantom, *both(phantom), shift_mm=0.4)
    with pytest.raises(DataUnusable, match=r"seg\.dcm does not lie on the grid of series 3 'T1 MPRAGE'.*resample"):
        read_references(phantom.folder, TWO_KIDNEYS)


def test_drawing_of_something_else_is_of_no_use_and_what_it_shows_is_named(phantom: Phantom) -> None:
    write_seg(phantom.folder / "seg.dcm", phantom, (large(phantom), LIVER, None), (small(phantom), KIDNEY, None))
    with pytest.raises(DataUnusable, match=r"no Left kidney, Right kidney among \(10200004, SCT, 'Liver'\), .*Kidney"):
        read_references(phantom.folder, TWO_KIDNEYS)


def test_two_drawings_of_one_structure_are_refused_by_name(phantom: Phantom) -> None:
    for name in ("ann.dcm", "bob.dcm"):
        write_seg(phantom.folder / name, phantom, *both(phantom))
    with pytest.raises(DataUnusable, match=r"Left kidney is drawn in ann\.dcm, bob\.dcm; one of them must be chosen"):
        read_references(phantom.folder, TWO_KIDNEYS)


def test_voxel_of_two_structures_is_refused(phantom: Phantom) -> None:
    write_seg(phantom.folder / "seg.dcm", phantom, (large(phantom), KIDNEY, LEFT), (large(phantom), KIDNEY, RIGHT))
    with pytest.raises(DataUnusable, match="voxels belong to two of the bundle's structures"):
        read_references(phantom.folder, TWO_KIDNEYS)


def test_what_an_algorithm_drew_is_no_reference_until_a_verified_report_refers_to_it(phantom: Phantom) -> None:
    seg = write_seg(phantom.folder / "seg.dcm", phantom, *both(phantom), algorithm="AUTOMATIC")
    with pytest.raises(DataUnusable, match=r"an algorithm drew it .AUTOMATIC. and no verified report refers to it"):
        read_references(phantom.folder, TWO_KIDNEYS)
    assert len(read_references(phantom.folder, TWO_KIDNEYS, unverified=True).cases) == 1
    write_report(phantom.folder / "ai.dcm", phantom.paths, verified=False, person=False, segments=(seg, (1, 2)))
    with pytest.raises(DataUnusable, match="a device wrote it and nobody verified it"):
        read_references(phantom.folder, TWO_KIDNEYS)
    write_report(phantom.folder / "signed.dcm", phantom.paths, segments=(seg, (1, 2)))
    assert len(read_references(phantom.folder, TWO_KIDNEYS).cases) == 1


def test_own_unreviewed_results_teach_nothing_and_signed_ones_what_was_accepted(tmp_path: Path) -> None:
    case = read_case(tmp_path, KIDNEYS, two_objects)
    data = case.phantom.folder
    for path in case.paths():
        shutil.copy(path, data / f"result-{path.name}")
    with pytest.raises(DataUnusable, match="no verified report refers to it"):
        read_references(data, TWO_KIDNEYS)
    (preliminary,) = (r for r in case.results if r.kind == "SR")
    findings = summarize(case.context.reading, case.context.image)
    half = [ReviewedFinding(f, k == 0, "") for k, f in enumerate(findings)]
    encode_signed(preliminary, half, DOE, out=data / "signed.dcm")
    with pytest.raises(DataUnusable, match="it has no Right kidney among"):
        read_references(data, TWO_KIDNEYS)
    encode_signed(preliminary, [ReviewedFinding(f, True, "") for f in findings], DOE, out=data / "signed.dcm")
    (learned,) = read_references(data, TWO_KIDNEYS).cases
    assert learned.mask is not None
    np.testing.assert_array_equal(learned.mask, two_objects(case.phantom))


def film(folder: Path, name: str) -> Path:
    return write_film(folder / name, seed=name).path


def test_verified_reports_label_the_films_they_name(tmp_path: Path) -> None:
    ill, well, unread = (film(tmp_path, name) for name in ("ill", "well", "unread"))
    write_report(ill.parent / "sr.dcm", [ill], (PNEUMONIA, PRESENT))
    write_report(well.parent / "sr.dcm", [well], (PNEUMONIA, ABSENT), named="705057003")
    source = read_source(tmp_path, ONE_SCORE)
    assert [(c.name, c.targets, c.patient) for c in source.unsplit] == [
        ("ill/F1.dcm", (1,), "PH-0077^"),
        ("well/F1.dcm", (0,), "PH-0077^"),
    ]
    assert unread.is_file()
    assert source.notes == ("1 times: a film is passed over: no verified report says whether there is Pneumonia",)
    assert source.unsplit[0].about["age_years"] == "3"


def test_presence_of_something_else_in_the_group_says_nothing_of_its_finding(tmp_path: Path) -> None:
    ill = film(tmp_path, "ill")
    effusion = PNEUMONIA.__class__("60046008", "SCT", "Pleural effusion")
    write_report(ill.parent / "sr.dcm", [ill], (effusion, PRESENT))
    with pytest.raises(DataUnusable, match="no verified report says whether there is Pneumonia"):
        read_source(tmp_path, ONE_SCORE)


def test_uncertain_is_no_label(tmp_path: Path) -> None:
    ill = film(tmp_path, "ill")
    write_report(ill.parent / "sr.dcm", [ill], (PNEUMONIA, UNDETERMINED))
    with pytest.raises(DataUnusable, match=r"nothing in .* can be learned from: 1 times: a film is passed over"):
        read_source(tmp_path, ONE_SCORE)


def test_reports_that_contradict_each_other_are_refused_unless_one_replaces_the_other(tmp_path: Path) -> None:
    ill = film(tmp_path, "ill")
    first = write_report(ill.parent / "first.dcm", [ill], (PNEUMONIA, ABSENT))
    write_report(ill.parent / "second.dcm", [ill], (PNEUMONIA, PRESENT))
    with pytest.raises(DataUnusable, match=r"second\.dcm says that Pneumonia is present .* first\.dcm that it is abse"):
        read_source(tmp_path, ONE_SCORE)
    write_report(ill.parent / "second.dcm", [ill], (PNEUMONIA, PRESENT), replaces=first)
    assert [case.targets for case in read_source(tmp_path, ONE_SCORE).unsplit] == [(1,)]


def test_report_that_nobody_verified_is_taken_only_when_asked_for_and_the_card_will_say_so(tmp_path: Path) -> None:
    ill = film(tmp_path, "ill")
    write_report(ill.parent / "sr.dcm", [ill], (PNEUMONIA, PRESENT), verified=False, person=False)
    with pytest.raises(DataUnusable, match=r"a device wrote it and nobody verified it .to take it all the same: --unv"):
        read_source(tmp_path, ONE_SCORE)
    taken = read_source(tmp_path, ONE_SCORE, unverified=True)
    assert [case.targets for case in taken.unsplit] == [(1,)]
    assert taken.notes == ("what no person verified was taken as reference, too: --unverified",)


def test_other_label_is_another_source(tmp_path: Path) -> None:
    ill = film(tmp_path, "ill")
    report = write_report(ill.parent / "sr.dcm", [ill], (PNEUMONIA, PRESENT))
    first = read_source(tmp_path, ONE_SCORE).sha256
    assert read_source(tmp_path, ONE_SCORE).sha256 == first
    write_report(report, [ill], (PNEUMONIA, ABSENT))
    assert read_source(tmp_path, ONE_SCORE).sha256 != first


def test_dicom_with_its_seg_trains_a_version_and_measures_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = threshold_bundle(tmp_path / "threshold", golden=False)
    term = bundle.manifest.labels[0].type
    for number in range(5):
        patient = Patient(id=f"PAT-{number}")
        folder = tmp_path / "data" / str(number)
        spacing = (2.5 + 0.2 * number, 0.9, 1.1)  # no two volumes are the same
        given = {"shape": (8, 16, 16), "spacing_mm": spacing, "study_seed": str(number), "patient": patient}
        volume = write_series(folder, modality="CT", **given)  # type: ignore[arg-type]
        drawn = np.asarray(volume.array > 0.5)
        write_seg(volume.folder / "seg.dcm", volume, (drawn, Code(term.value, term.scheme, term.meaning), None))
    data = ["--data", str(tmp_path / "data")]
    assert run(["bundle", "evaluate", str(bundle.folder), *data, "--engine", "torch", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["n"], measured["dice"], measured["passed_over"]) == (5, 1.0, [])
    out = ["--out", str(tmp_path / "out"), "--epochs", "1", "--threads", "1", "--json"]
    assert run(["bundle", "train", str(bundle.folder), *data, *out]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert (trained["state"], trained["epochs"]) == ("trained", 1)
    assert (tmp_path / "out" / "threshold" / "models").is_dir()
