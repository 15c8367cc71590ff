"""What may be learned from and measured on, and what is refused with one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, Orientationd, Spacingd

from bundles import KIDNEYS, manifest, scored
from learning import films, write_film, write_films, write_table
from phantoms import write_series
from wetread.bundles.manifest import Manifest
from wetread.errors import DataUnusable
from wetread.images.volume import read_volume
from wetread.infer.geometry import to_meta_tensor
from wetread.learn.cases import Case, check_part
from wetread.learn.datalist import as_dictionaries
from wetread.learn.npz import read_npz
from wetread.learn.sources import read_source
from wetread.learn.splits import check_leaks, fold_indices, split

ONE_SCORE = Manifest.model_validate(manifest(**scored(0.5)))
TWO_SCORES = Manifest.model_validate(manifest(**scored(0.5, 0.5)))
TWO_LABELS = Manifest.model_validate(manifest(*KIDNEYS))


def case(name: str, *, patient: str = "", target: int = 0, value: float | None = None) -> Case:
    """A film of one grey, unlike all others."""
    grey = hash(name) % 1000 / 1000 if value is None else value
    return Case(name, np.full((3, 4), grey, np.float32), (target,), patient=patient)


def test_archive_gives_its_parts_as_films_of_0_to_1(tmp_path: Path) -> None:
    parts = read_npz(write_films(tmp_path / "a.npz", train=4, val=2), scores=1)
    assert {part: len(cases) for part, cases in parts.items()} == {"train": 4, "val": 2}
    image = parts["train"][0].image
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, films(4, seed=0)[0][0] / 255.0, rtol=1e-6)
    assert [c.targets for c in parts["train"]] == [(0,), (1,), (0,), (1,)]


def test_sixteen_bits_are_taken_as_0_to_1_too(tmp_path: Path) -> None:
    images, labels = films(2, seed=0)
    np.savez(tmp_path / "a.npz", test_images=images.astype(np.uint16) * 257, test_labels=labels)
    film = read_npz(tmp_path / "a.npz", scores=1)["test"][1].image
    np.testing.assert_allclose(film, images[1] / 255.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"train_labels": np.array([0, 1, 2, 1])}, "train_labels holds 2; expected the numbers 0 .absent. and 1"),
        ({"train_labels": np.array([0, 1, -1, 1])}, "holds -1"),
        ({"train_labels": np.array([0, 1, 1])}, "3 entries for 4 images"),
        ({"train_labels": None}, "train_labels is missing"),
        ({"train_labels": np.zeros((4, 3))}, "expected one value for each of the bundle's 1 scores"),
        (
            {"train_labels": np.array(["healthy", "ill", "ill", "healthy"])},
            "train_labels holds text: 'healthy', 'ill'; expected the numbers 0 ",
        ),
        (
            {"train_labels": np.array(["0", "1", "1", "0"])},
            "train_labels holds text: '0', '1'; expected the numbers 0 ",
        ),
        ({"train_images": np.zeros((4, 8, 8, 3), np.uint8)}, "expected grey images"),
        ({"train_images": np.full((4, 8, 8), 3.0)}, "floats that all lie in 0 to 1"),
        ({"train_images": np.full((4, 8, 8), np.nan)}, "floats that all lie in 0 to 1"),
        ({"train_images": np.zeros((4, 8, 8), "U1")}, "expected uint8, uint16"),
        ({"train_patients": np.array(["a", "b"])}, "train_patients has 2 entries for 4 images"),
        ({"train_images": np.array([np.zeros((3, 3)), np.zeros((4, 4)), 1, 2], object)}, "mixed sizes"),
    ],
)
def test_archive_that_cannot_be_used_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    path = write_films(tmp_path / "a.npz", train=4, val=0, **more)
    with pytest.raises(DataUnusable, match=said):
        read_npz(path, scores=1)


def test_archive_without_any_part_or_no_archive_at_all_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=np.zeros(3))
    with pytest.raises(DataUnusable, match="has none of train_images"):
        read_npz(tmp_path / "a.npz", scores=1)
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(DataUnusable, match="cannot be read as a NumPy archive: it is none, or holds pickled objects"):
        read_npz(tmp_path / "b.npz", scores=1)


@pytest.mark.parametrize("target", [0, 1])
def test_part_of_one_class_is_refused(target: int) -> None:
    with pytest.raises(DataUnusable, match="all 2 cases of the val part are with"):
        check_part([case("a", target=target), case("b", target=target)], "val", ["Pneumonia"])


def test_empty_part_is_refused() -> None:
    with pytest.raises(DataUnusable, match="the train part holds no images"):
        check_part([], "train", ["Pneumonia"])


def test_patient_in_two_parts_is_refused_with_the_cases() -> None:
    parts: Any = {
        "train": (case("1.dcm", patient="A"), case("2.dcm", patient="B")),
        "val": (case("3.dcm", patient="C"),),
        "test": (case("4.dcm", patient="B"),),
    }
    with pytest.raises(DataUnusable, match=r"1 patient is in both the train and the test part, such as in 4\.dcm"):
        check_leaks(parts)


def test_image_in_two_parts_is_refused_even_without_patients() -> None:
    parts: Any = {"train": (case("1", value=0.5),), "val": (case("2", value=0.5),)}
    with pytest.raises(DataUnusable, match="1 image is in both the train and the val part, such as 2"):
        check_leaks(parts)


def test_unknown_patients_are_said() -> None:
    parts: Any = {"train": (case("1", patient="A"),), "val": (case("2"),)}
    assert check_leaks(parts) == (
        "1 case names no patient: that no patient is in two parts is not known, only that no image is",
    )


def test_folds_never_part_a_patient_and_balance_the_classes() -> None:
    cases = tuple(case(f"{p}-{n}", patient=str(p), target=p % 2) for p in range(20) for n in range(1 + p % 3))
    for train, val in fold_indices(cases, folds=5, seed=2):
        assert not {cases[i].patient for i in train} & {cases[i].patient for i in val}
        assert sorted([*train, *val]) == list(range(len(cases)))
        assert {cases[i].targets for i in val} == {(0,), (1,)}
    parts = split(cases, seed=2)
    assert not {c.patient for c in parts["train"]} & {c.patient for c in parts["val"]}


def test_films_of_unnamed_patients_that_look_alike_are_never_parted_by_the_folds() -> None:
    """Every film and one taken again: brighter, noisier, twice as large; a pair lies far apart in the list."""
    random = np.random.default_rng(0)
    first = random.random((30, 28, 28)).astype(np.float32)
    again = np.kron(0.3 + 0.6 * first + random.normal(0, 0.03, first.shape), np.ones((1, 2, 2))).astype(np.float32)
    cases = [Case(f"{n}", image, (n % 2,)) for n, image in enumerate(first)]
    cases += [Case(f"{n} again", image, (n % 2,)) for n, image in enumerate(again)]
    for train, val in fold_indices(cases, folds=5, seed=0):
        assert {n % 30 for n in train}.isdisjoint(n % 30 for n in val)


def test_too_few_patients_for_the_folds_are_refused() -> None:
    with pytest.raises(DataUnusable, match="of 1 patient cannot be split into 5 folds"):
        split(tuple(case(str(n), patient="A") for n in range(9)), seed=0)


def test_folder_of_dicom_with_a_table_gives_film_patient_and_groups(tmp_path: Path) -> None:
    from wetread.learn.films import read_film

    write_film(tmp_path / "one.dcm")
    image, patient, about = read_film(tmp_path / "one.dcm")
    assert image.shape == (24, 20)
    assert (image.min(), image.max()) == (0.0, 1.0)
    assert patient == "PAT1^SITE"
    assert about["sex"] == "F"
    assert about["age_years"] == "3"
    assert about["manufacturer"] == "Acme"
    write_table(tmp_path, [{"image": "one.dcm", "label": 1, "part": "test", "manufacturer": "Other"}])
    (only,) = read_source(tmp_path, ONE_SCORE).parts["test"]
    assert (only.targets, only.patient, only.about["manufacturer"]) == ((1,), "PAT1^SITE", "Other")


def write_volume(path: Path, array: np.ndarray) -> None:
    """NIfTI of ``(slice, row, column)``."""
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), np.eye(4)), path)


def test_folder_of_nifti_with_label_maps_gives_masks(tmp_path: Path) -> None:
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 2] = 2
    write_volume(tmp_path / "i.nii.gz", np.random.default_rng(0).random((3, 4, 5)).astype(np.float32))
    write_volume(tmp_path / "m.nii.gz", labels)
    write_table(tmp_path, [{"image": "i.nii.gz", "label": "m.nii.gz", "patient": "A"}])
    source = read_source(tmp_path, TWO_LABELS)
    (only,) = source.unsplit
    np.testing.assert_array_equal(only.mask, labels)
    assert only.image.shape == (3, 4, 5)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image": "none.nii.gz", "label": 1}, "row 2: there is no 'none.nii.gz'"),
        ({"image": "../x.nii.gz", "label": 1}, "row 2: '../x.nii.gz' lies outside of the folder"),
        ({"image": "i.nii.gz", "label": "yes"}, "row 2: label = 'yes', expected 0 .absent. or 1"),
        ({"image": "i.nii.gz", "label": 7}, "row 2 holds 7"),
        ({"image": "i.nii.gz", "label": 1, "part": "training"}, "row 2: part 'training', expected train, val, test"),
        ({"image": "i.nii.gz", "lable": 1}, "lacks the columns label"),
        ({"image": "i.nii.gz", "label": 1, "ward": "x"}, "has unknown columns ward"),
        ({"image": "note.txt", "label": 1}, "note.txt is neither a DICOM file nor NIfTI"),
    ],
)
def test_table_that_cannot_be_used_is_refused_with_the_row(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    write_volume(tmp_path / "i.nii.gz", np.zeros((2, 2, 2), np.float32))
    (tmp_path / "note.txt").write_text("no image" * 30)
    write_table(tmp_path, [row])
    with pytest.raises(DataUnusable, match=said):
        read_source(tmp_path, ONE_SCORE)


def test_label_map_of_another_grid_or_with_other_values_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "i.nii.gz", np.zeros((3, 4, 5), np.float32))
    write_volume(tmp_path / "small.nii.gz", np.zeros((3, 4, 4), np.uint8))
    write_volume(tmp_path / "wild.nii.gz", np.full((3, 4, 5), 9, np.uint8))
    for name, said in (("small.nii.gz", "the label map is .3, 4, 4., the image"), ("wild.nii.gz", r"holds \[9\]")):
        write_table(tmp_path, [{"image": "i.nii.gz", "label": name}])
        with pytest.raises(DataUnusable, match=said):
            read_source(tmp_path, TWO_LABELS)


def test_several_scores_have_a_column_each(tmp_path: Path) -> None:
    write_volume(tmp_path / "i.nii.gz", np.zeros((2, 2, 2), np.float32))
    names = [rule.name for rule in TWO_SCORES.scores]
    write_table(tmp_path, [{"image": "i.nii.gz", names[0]: 0, names[1]: 1}])
    assert read_source(tmp_path, TWO_SCORES).unsplit[0].targets == (0, 1)


def test_digest_changes_with_any_image(tmp_path: Path) -> None:
    write_volume(tmp_path / "i.nii.gz", np.zeros((2, 2, 2), np.float32))
    write_table(tmp_path, [{"image": "i.nii.gz", "label": 1}])
    before = read_source(tmp_path, ONE_SCORE).sha256
    write_volume(tmp_path / "i.nii.gz", np.ones((2, 2, 2), np.float32))
    assert read_source(tmp_path, ONE_SCORE).sha256 != before


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match="neither a NumPy archive"):
        read_source(tmp_path, ONE_SCORE)
    with pytest.raises(DataUnusable, match="there is no"):
        read_source(tmp_path / "nowhere", ONE_SCORE)
    with pytest.raises(DataUnusable, match="this bundle segments"):
        read_source(write_films(tmp_path / "a.npz"), TWO_LABELS)


def test_volume_is_turned_and_resampled_in_training_as_in_a_read(tmp_path: Path) -> None:
    """Orientationd and Spacingd go by the affine: the same voxels come out of the file's, and of the case's."""
    phantom = write_series(tmp_path, orientation="sagittal", shape=(8, 24, 20))
    volume = read_volume(phantom.series(), min_slices=2)
    mask = (volume.array > 500).astype(np.uint8)
    prepare = Compose(
        [
            EnsureChannelFirstd(keys=["image", "label"]),
            Orientationd(keys=["image", "label"], axcodes="RAS", labels=None),
            Spacingd(keys=["image", "label"], pixdim=(2.0, 2.0, 2.0), mode=["bilinear", "nearest"]),
        ]
    )
    (learned,) = as_dictionaries([Case("a", volume.array, (), mask, volume.affine)])
    labels = to_meta_tensor(replace(volume, array=mask.astype(np.float32)))
    read = prepare({"image": to_meta_tensor(volume), "label": labels})
    trained = prepare(learned)
    for key in ("image", "label"):
        np.testing.assert_allclose(trained[key].numpy(), read[key].numpy())
        np.testing.assert_allclose(trained[key].affine, read[key].affine)
