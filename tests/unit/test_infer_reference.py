"""The evidence: networks, masks and volumes are those of the deepbet package, whatever the engine."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import torch

from wetread.bundles import Bundle, load_bundle
from wetread.errors import WeightsMissing
from wetread.images.folder import scan_folder
from wetread.images.volume import read_volume
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.gate.compare import compare
from wetread.infer.gate.golden import golden_labels, golden_volume
from wetread.infer.geometry import monai_affine
from wetread.infer.model import open_model
from wetread.records.volume import Volume

REPOSITORY = Path(__file__).parents[2]
REAL_SERIES = REPOSITORY.parent / "shared" / "data" / "mr_t1_series" / "dicoms.tar.xz"
ENGINES = ("openvino", pytest.param("torch", marks=pytest.mark.soak))
"""The engine's answer is checked against that of torch whenever it is built; and torch's network, below, to 1e-6."""

pytestmark = [pytest.mark.weights, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    loaded = load_bundle(REPOSITORY / "monai_bundles" / "mr_brain_extraction")
    try:
        loaded.check_weights()
    except WeightsMissing as exc:
        pytest.skip(str(exc))
    return loaded


@pytest.fixture(scope="module")
def deepbet() -> Any:
    return pytest.importorskip("deepbet.bet", reason="the package deepbet, the reference, is not installed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def template() -> Volume:
    datasets = pytest.importorskip("nilearn.datasets")
    data = Path(datasets.__file__).parent / "data"
    return golden_volume(data / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")


@pytest.fixture(scope="module")
def real_head(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    if not REAL_SERIES.is_file():
        pytest.skip("the real head MR (shared data beside the checkout) is not here")
    folder = tmp_path_factory.mktemp("series")
    with tarfile.open(REAL_SERIES) as archive:
        archive.extractall(folder, filter="data")
    (study,) = scan_folder(folder).studies
    return read_volume(study.series[0], min_slices=60)


def _reference_mask(deepbet: Any, volume: Volume) -> npt.NDArray[np.uint8]:
    """What the package itself makes of the volume, ``(slice, row, column)``."""
    image = nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), monai_affine(volume.affine))
    _, mask, _ = deepbet.BrainExtraction(no_gpu=True).run(image)
    return np.asarray(mask.dataobj).astype(np.uint8).transpose(2, 1, 0)


@pytest.fixture(scope="module")
def template_mask(deepbet: Any, template: Volume) -> npt.NDArray[np.uint8]:
    return _reference_mask(deepbet, template)


@pytest.fixture(scope="module")
def real_mask(deepbet: Any, real_head: Volume) -> npt.NDArray[np.uint8]:
    return _reference_mask(deepbet, real_head)


@pytest.mark.parametrize(("network", "file"), [("network_def", "model.pt"), ("box_network_def", "bbox_model.pt")])
def test_network_is_that_of_the_publisher(bundle: Bundle, deepbet: Any, network: str, file: str) -> None:
    published = torch.jit.load(Path(deepbet.DATA_PATH) / "models" / file, map_location="cpu").eval()
    weights = next(w for w in bundle.manifest.weights if w.network == network)
    ours = InferenceConfig(bundle).make_network(weights)
    image = torch.randn((2, 1, 64, 96, 32), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        difference = (ours(image) - published(image)).abs().max()
    assert float(difference) <= 1e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_mask_of_an_average_head_is_that_of_deepbet(
    bundle: Bundle, cache: Path, template: Volume, template_mask: npt.NDArray[np.uint8], engine: str
) -> None:
    _assert_agrees(bundle, cache, template, template_mask, engine)


@pytest.mark.shared_data
@pytest.mark.parametrize("engine", ENGINES)
def test_mask_of_a_real_oblique_dicom_series_is_that_of_deepbet(
    bundle: Bundle, cache: Path, real_head: Volume, real_mask: npt.NDArray[np.uint8], engine: str
) -> None:
    _assert_agrees(bundle, cache, real_head, real_mask, engine)


def _assert_agrees(bundle: Bundle, cache: Path, volume: Volume, expected: npt.NDArray[np.uint8], engine: str) -> None:
    model = open_model(bundle, engine=engine, cache_folder=cache)
    measured = compare(model.run({"image": volume}).array, expected)
    model.close()
    print(f"{engine}: Dice {measured.dice[1]:.6f}, volume {measured.volume_change[1]:+.4%}")  # noqa: T201 (shown by -rP)
    assert measured.dice[1] >= 0.999
    assert abs(measured.volume_change[1]) <= 0.001


def test_monai_runs_the_bundle_without_wetread_and_writes_the_mask(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("fire")
    pytest.importorskip("ignite")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    done = subprocess.run(
        [*command, "--output_dir", str(tmp_path)], cwd=bundle.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = tmp_path.rglob("*.nii.gz")
    golden = bundle.manifest.golden
    assert golden is not None
    assert written.name == "input_brain.nii.gz"
    np.testing.assert_array_equal(golden_labels(written), golden_labels(bundle.folder / golden.output))
    np.testing.assert_allclose(nibabel.load(written).affine, nibabel.load(bundle.folder / golden.input).affine)
