"""The first real bundle: its files fit together, and its rules take the series they should and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from wetread.bundles import Bundle, load_bundle
from wetread.infer.gate.golden import golden_labels, golden_volume

FOLDER = Path(__file__).parents[2] / "monai_bundles" / "mr_brain_extraction"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(FOLDER)


def _described(bundle: Bundle, description: str) -> bool:
    rule = bundle.manifest.inputs[0]
    wanted = any(p.found_in(description) for p in rule.description_any)
    return wanted and not any(p.found_in(description) for p in rule.description_none)


@pytest.mark.parametrize(
    "description",
    [
        "anat-T1w",
        "T1w",
        "t1_mprage_sag_p2_iso",
        "t1_mpr_sag_iso_1.0",
        "AX T1",
        "AXT1",
        "SAG 3D T1",
        "3DT1",
        "sT1W_3D_TFE",
        "WIP sT1W_3D_TFE SENSE",
        "MPRAGE",
        "MP-RAGE",
        "Sag IR-FSPGR",
        "AX FSPGR BRAVO",
        "tfl3d1_16ns",
        "T1 without contrast",
        "T1 pre",
    ],
)
def test_t1_weighted_series_is_taken(bundle: Bundle, description: str) -> None:
    assert _described(bundle, description)


@pytest.mark.parametrize(
    "description",
    [
        "",
        "ST12 study",
        "CT10",
        "T2w",
        "AX T2 FSE",
        "anat-T2w",
        "t2_tse_tra",
        "T1 FLAIR",
        "FLAIR",
        "ep2d_diff DWI",
        "ADC",
        "localizer",
        "AAHead_Scout",
        "3-plane loc T1",
        "Survey T1",
        "t1_mp2rage_sag_UNI",
        "T1 map",
        "T1rho",
        "AX T1 POST",
        "T1 +C",
        "T1 + Gd",
        "T1 with contrast",
        "T1_GD",
        "SAG T1 C-SPINE",
        "T1 neck",
        "SWI",
        "TOF MRA T1",
        "T1 pituitary",
        "PD T1",
        "Brain extraction (T1w MR)",
    ],
)
def test_other_series_is_not_taken(bundle: Bundle, description: str) -> None:
    assert not _described(bundle, description)


def test_only_weights_with_a_known_digest_and_source_are_named(bundle: Bundle) -> None:
    config = json.loads(bundle.config_path.read_text(encoding="utf-8"))
    assert {w.network for w in bundle.manifest.weights} == {"network_def", "box_network_def"} <= set(config)
    for weights in bundle.manifest.weights:
        assert weights.source is not None
        assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
        assert re.fullmatch(r"[0-9a-f]{64}", weights.source.sha256)


def test_bundle_promises_no_more_than_its_publisher(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert not manifest.clinical_use
    assert manifest.patient.age_years.min == 18
    assert manifest.inputs[0].contrast == "without"
    assert manifest.labels[0].required


def test_metadata_has_every_key_the_monai_specification_demands(bundle: Bundle) -> None:
    metadata = json.loads((bundle.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    demanded = (
        "version monai_version pytorch_version numpy_version required_packages_version task description authors "
        "copyright network_data_format"
    )
    assert set(demanded.split()) <= set(metadata)
    formats = metadata["network_data_format"]
    for tensor in (formats["inputs"]["image"], formats["outputs"]["pred"]):
        assert len(tensor["channel_def"]) == tensor["num_channels"]
        assert len(tensor["spatial_shape"]) == 3


def test_golden_case_is_a_whole_head_with_a_plausible_brain(bundle: Bundle) -> None:
    golden = bundle.manifest.golden
    assert golden is not None
    volume = golden_volume(bundle.folder / golden.input)
    labels = golden_labels(bundle.folder / golden.output)
    assert labels.shape == volume.array.shape
    assert np.unique(labels).tolist() == [0, 1]
    assert 1000 < labels.sum() * volume.voxel_volume_ml < 2500
    np.testing.assert_allclose(volume.spacing_mm, (3, 3, 3))
    affines = [nibabel.load(bundle.folder / name).affine for name in (golden.input, golden.output)]
    np.testing.assert_array_equal(*affines)
    assert sum((bundle.folder / n).stat().st_size for n in (golden.input, golden.output)) < 150_000


@pytest.mark.parametrize("notice", ["LICENSE", "docs/README.md", "docs/LICENSE-deepbet.txt", "docs/NOTICE-MNI152.txt"])
def test_licences_and_model_card_travel_with_the_bundle(bundle: Bundle, notice: str) -> None:
    assert (bundle.folder / notice).stat().st_size > 500
