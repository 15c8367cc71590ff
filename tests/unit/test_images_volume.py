"""A series becomes a volume with every voxel at its place in the patient."""

from __future__ import annotations

import tarfile
from itertools import product
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from phantoms import Phantom, centroid_mm, write_series
from wetread.images.folder import scan_folder
from wetread.images.volume import read_volume
from wetread.records.volume import Volume

REAL_SERIES = Path(__file__).parents[3] / "shared" / "data" / "mr_t1_series" / "dicoms.tar.xz"


def read(phantom: Phantom) -> Volume:
    return read_volume(phantom.series(), min_slices=2)


@pytest.mark.parametrize(
    ("orientation", "reverse", "shuffle"),
    list(product(("axial", "coronal", "sagittal", "oblique"), (False, True), (False, True))),
)
def test_object_is_at_its_place_in_the_patient(tmp_path, orientation, reverse, shuffle):
    phantom = write_series(tmp_path, orientation=orientation, reverse=reverse, shuffle_instance_numbers=shuffle)
    volume = read(phantom)
    half_voxel_mm = min(volume.spacing_mm) / 2
    for value, centre in (
        (phantom.large_value, phantom.large_centre_mm),
        (phantom.small_value, phantom.small_centre_mm),
    ):
        found = centroid_mm(volume.array == value, volume.affine)
        assert np.linalg.norm(found - centre) < half_voxel_mm


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal", "oblique"])
def test_array_affine_and_instances_have_one_slice_order(tmp_path, orientation):
    phantom = write_series(tmp_path, orientation=orientation)
    volume = read(phantom)
    np.testing.assert_array_equal(volume.array, phantom.array)
    np.testing.assert_allclose(volume.affine, phantom.affine, atol=1e-6)
    assert tuple(instance.path for instance in volume.instances) == phantom.paths
    assert volume.array.dtype == np.float32
    assert volume.frame_of_reference_uid == phantom.frame_of_reference_uid
    assert volume.spacing_mm == pytest.approx((2.5, 0.9, 1.1))


def test_slices_are_ordered_along_row_cross_column(tmp_path):
    volume = read(write_series(tmp_path, orientation="oblique", reverse=True, shuffle_instance_numbers=False))
    first = pydicom.dcmread(volume.instances[0].path)
    last = pydicom.dcmread(volume.instances[-1].path)
    normal = np.cross(first.ImageOrientationPatient[:3], first.ImageOrientationPatient[3:])
    assert np.dot(np.subtract(last.ImagePositionPatient, first.ImagePositionPatient), normal) > 0
    assert first.InstanceNumber > last.InstanceNumber


def test_ct_values_are_hounsfield_units(tmp_path):
    volume = read(write_series(tmp_path, modality="CT"))
    assert sorted(np.unique(volume.array)) == [-1000, 40, 300, 800]


def test_every_slice_has_its_own_rescale(tmp_path):
    def own_slope(ds: Dataset, k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = str(0.5 + k), str(-3 * k)

    phantom = write_series(tmp_path, mutate=own_slope)
    factors = np.arange(24)[:, np.newaxis, np.newaxis]
    np.testing.assert_array_equal(read(phantom).array, phantom.array * (0.5 + factors) - 3 * factors)


def test_signed_values_below_sixteen_bits_keep_their_sign(tmp_path):
    def twelve_bits_signed(ds: Dataset, k: int) -> None:
        values = np.frombuffer(ds.PixelData, "<i2") - 1000
        ds.PixelRepresentation, ds.PixelData = 1, (values & 0x0FFF).astype("<u2").tobytes()

    phantom = write_series(tmp_path, mutate=twelve_bits_signed)
    np.testing.assert_array_equal(read(phantom).array, phantom.array - 1000)


def test_bits_above_bits_stored_are_not_part_of_the_value(tmp_path):
    def overlay_in_high_bits(ds: Dataset, k: int) -> None:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") | 0x9000).tobytes()

    phantom = write_series(tmp_path, mutate=overlay_in_high_bits)
    np.testing.assert_array_equal(read(phantom).array, phantom.array)


def test_eight_bit_images_are_read(tmp_path):
    def eight_bits(ds: Dataset, k: int) -> None:
        values = np.frombuffer(ds.PixelData, "<u2") // 4
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.PixelData = values.astype("u1").tobytes()

    phantom = write_series(tmp_path, mutate=eight_bits)
    np.testing.assert_array_equal(read(phantom).array, phantom.array // 4)


def test_padding_value_is_left_as_it_is(tmp_path):
    def padded(ds: Dataset, k: int) -> None:
        ds.PixelPaddingValue = 20

    phantom = write_series(tmp_path, mutate=padded)
    np.testing.assert_array_equal(read(phantom).array, phantom.array)


def test_slice_spacing_comes_from_positions_not_from_slice_thickness(tmp_path):
    def overlapping(ds: Dataset, k: int) -> None:
        ds.SliceThickness, ds.SpacingBetweenSlices = "5", "4"

    assert read(write_series(tmp_path, mutate=overlapping)).spacing_mm[0] == pytest.approx(2.5)


def test_positions_rounded_to_hundredths_are_still_even(tmp_path):
    def rounded(ds: Dataset, k: int) -> None:
        ds.ImagePositionPatient = [f"{float(value):.2f}" for value in ds.ImagePositionPatient]

    phantom = write_series(tmp_path, orientation="oblique", spacing_mm=(0.335, 0.5, 0.5), mutate=rounded)
    np.testing.assert_allclose(read(phantom).affine, phantom.affine, atol=0.011)


def test_rounded_direction_cosines_give_a_grid_with_right_angles(tmp_path):
    def rounded(ds: Dataset, k: int) -> None:
        ds.ImageOrientationPatient = [f"{float(value):.4f}" for value in ds.ImageOrientationPatient]

    in_plane = read(write_series(tmp_path, orientation="oblique", mutate=rounded)).affine[:3, 1:3]
    np.testing.assert_allclose(in_plane.T @ in_plane, np.diag([0.9**2, 1.1**2]), atol=1e-12)


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal", "oblique"])
def test_agrees_with_highdicom_voxel_for_voxel(tmp_path, orientation):
    phantom = write_series(tmp_path, orientation=orientation)
    check_against_highdicom(read(phantom))


@pytest.mark.shared_data
@pytest.mark.skipif(not REAL_SERIES.exists(), reason="the real oblique head MR is not beside this checkout")
def test_real_oblique_series_agrees_with_highdicom(tmp_path):
    with tarfile.open(REAL_SERIES) as archive:
        archive.extractall(tmp_path, filter="data")
    scan = scan_folder(tmp_path)
    assert scan.skipped == ()
    (study,) = scan.studies
    volume = read_volume(study.series[0], min_slices=100)
    assert volume.array.shape == (384, 384, 274)
    assert volume.spacing_mm == pytest.approx((0.6667, 0.6667, 0.7), abs=1e-3)
    check_against_highdicom(volume)


def check_against_highdicom(volume: Volume) -> None:
    """Every voxel must have the value that highdicom's own reader finds at the same point of the patient."""
    oracle = hd.get_volume_from_series([pydicom.dcmread(instance.path) for instance in reversed(volume.instances)])
    to_oracle = np.linalg.inv(oracle.affine) @ volume.affine
    indices = np.stack(np.meshgrid(*(range(0, n, 3) for n in volume.array.shape), indexing="ij")).reshape(3, -1)
    exact = to_oracle[:3, :3] @ indices + to_oracle[:3, 3:]
    nearest = np.rint(exact).astype(int)
    np.testing.assert_allclose(exact, nearest, atol=1e-3)
    np.testing.assert_allclose(oracle.array[tuple(nearest)], volume.array[tuple(indices)], rtol=1e-6)
