"""The streamed chain against MONAI's own, for the two usual orders of postprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    CropForegroundd,
    EnsureTyped,
    Invertd,
    LabelFilterd,
    Orientationd,
    ScaleIntensityd,
    Spacingd,
    SpatialPadd,
)
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from wetread.errors import OutputInvalid
from wetread.infer.streaming.chain import Origin, Streaming, recognised
from wetread.infer.streaming.spacing import resample_axis_by_axis
from wetread.infer.windows.sliding import OtherGrid

SHAPE = (31, 26, 36)
TURN = Rotation.from_euler("xyz", [0.2, -0.35, 0.4]).as_matrix()
AFFINES = {
    "flipped": np.diag([-0.9, -1.1, 2.5]),
    "turned about": np.diag([0.9, 1.1, -2.5])[:, [2, 0, 1]],
    "oblique": TURN @ np.diag([0.9, -1.1, 2.5]),
    "oblique and turned about": TURN @ np.diag([-0.9, 1.1, 2.5])[:, [1, 2, 0]],
    "half-way": np.diag([-0.75, -0.75, 1.0]),
    "oblique half-way": TURN @ np.diag([0.75, 0.75, 1.0]),
}
ACTIVATION = Activationsd("pred", softmax=True)
ARGMAX = AsDiscreted("pred", argmax=True)


def _network(classes: int) -> nn.Module:
    torch.manual_seed(8)
    return UNet(spatial_dims=3, in_channels=1, out_channels=classes, channels=(4, 8), strides=(2,)).eval()


def _image(affine: Any) -> MetaTensor:
    coarse = torch.rand((1, 1, 7, 6, 9), generator=torch.Generator().manual_seed(1))
    voxels = nn.functional.interpolate(coarse, SHAPE, mode="trilinear")[0]
    voxels[:, :4] = 0
    whole = torch.eye(4, dtype=torch.float64)
    whole[:3, :3] = torch.as_tensor(np.array(affine))
    whole[:3, 3] = torch.tensor([-31.0, 17.5, 4.0])
    return MetaTensor(voxels, affine=whole)


def _preprocessing(*more: Any, crop: bool = False) -> Compose:
    spacing = Spacingd("image", pixdim=(1.5, 1.5, 2.0), mode="bilinear")
    cropping = [CropForegroundd("image", source_key="image", margin=0)] if crop else []
    return Compose(
        [Orientationd("image", axcodes="RAS", labels=None), spacing, ScaleIntensityd("image"), *cropping, *more]
    )


def _monai(
    image: MetaTensor, preprocessing: Compose, inferer: SlidingWindowInferer, network: nn.Module, after: list[Any]
) -> MetaTensor:
    data = preprocessing({"image": image})
    with torch.inference_mode():
        answer = inferer(data["image"].as_tensor()[None], network)[0]
    data["pred"] = MetaTensor(answer, meta=dict(data["image"].meta))
    return Compose(after)(data)["pred"]


def _streamed(
    image: MetaTensor, preprocessing: Compose, inferer: SlidingWindowInferer, network: nn.Module, after: list[Any]
) -> MetaTensor | None:
    streaming = recognised(inferer, after, input_key="image", output_key="pred")
    assert streaming is not None
    resample_axis_by_axis(preprocessing.transforms)
    data = preprocessing({"image": image})
    origin = Origin(tuple(image.shape[1:]), image.affine.numpy())
    with torch.inference_mode():
        labels = streaming(data["image"], network, origin)
    if labels is None:
        return None
    return Compose(list(streaming.rest))({**data, "pred": labels})["pred"]


def _after(order: str, preprocessing: Compose, *, nearest: bool) -> list[Any]:
    invert = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=nearest)
    return [ACTIVATION, ARGMAX, invert] if order == "argmax first" else [ACTIVATION, invert, ARGMAX]


@pytest.mark.parametrize("grid", AFFINES)
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("order", "nearest"), [("zoo", False), ("zoo", True), ("argmax first", True)])
def test_streamed_labels_are_those_of_monais_chain(grid: str, classes: int, order: str, nearest: bool) -> None:
    image, network = _image(AFFINES[grid]), _network(classes)
    inferer = SlidingWindowInferer((16, 16, 16), 4, 0.25, mode="gaussian")
    ours, theirs = _preprocessing(), _preprocessing()
    expected = _monai(image, theirs, inferer, network, _after(order, theirs, nearest=nearest))
    answer = _streamed(image, ours, inferer, network, _after(order, ours, nearest=nearest))
    assert answer is not None
    assert answer.shape == expected.shape == (1, *SHAPE)
    assert len(expected.unique()) == classes
    # Preprocessing rounds in another place, so two classes that are as good as equal may change places.
    assert (answer == expected).float().mean() >= 0.9999
    torch.testing.assert_close(answer.affine, expected.affine, atol=1e-9, rtol=0)


def test_same_input_gives_the_same_voxels_where_classes_differ() -> None:
    """Without resampling before, only ties between classes could differ; there are none."""
    image, network = _image(np.eye(3)), _network(4)
    inferer = SlidingWindowInferer((16, 16, 16), 2, 0.25)
    preprocessing = Compose([Orientationd("image", axcodes="LPS", labels=None)])
    after = _after("zoo", preprocessing, nearest=False)
    assert torch.equal(
        _streamed(image, preprocessing, inferer, network, after), _monai(image, preprocessing, inferer, network, after)
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_cropping_to_the_foreground_is_undone_too(classes: int) -> None:
    image, network = _image(AFFINES["oblique"]), _network(classes)
    inferer = SlidingWindowInferer((16, 16, 16), 1, 0.25)
    ours, theirs = _preprocessing(crop=True), _preprocessing(crop=True)
    expected = _monai(image, theirs, inferer, network, _after("zoo", theirs, nearest=False))
    answer = _streamed(image, ours, inferer, network, _after("zoo", ours, nearest=False))
    assert theirs({"image": image})["image"].shape != _preprocessing()({"image": image})["image"].shape
    assert (answer == expected).float().mean() >= 0.9999


def test_what_follows_the_argmax_runs_on_floats_as_before() -> None:
    image, network = _image(AFFINES["flipped"]), _network(3)
    inferer = SlidingWindowInferer((16, 16, 16), 2, 0.25)
    ours, theirs = _preprocessing(), _preprocessing()
    rest = LabelFilterd("pred", applied_labels=[2])
    expected = _monai(image, theirs, inferer, network, [*_after("zoo", theirs, nearest=False), rest])
    answer = _streamed(image, ours, inferer, network, [*_after("zoo", ours, nearest=False), rest])
    assert answer.dtype == expected.dtype
    assert (answer == expected).float().mean() >= 0.9999


def test_geometry_that_is_not_known_is_left_to_monai() -> None:
    image, network = _image(AFFINES["flipped"]), _network(2)
    preprocessing = _preprocessing(SpatialPadd("image", (64, 64, 64)))
    after = _after("zoo", preprocessing, nearest=False)
    assert _streamed(image, preprocessing, SlidingWindowInferer(16), network, after) is None


INVERT = Invertd("pred", Compose([]), orig_keys="image", nearest_interp=False)


@pytest.mark.parametrize(
    ("after", "invert", "rest"),
    [
        ([ACTIVATION, INVERT, ARGMAX], True, 0),
        ([ACTIVATION, Invertd("pred", Compose([]), orig_keys="image", nearest_interp=True), ARGMAX], False, 1),
        ([EnsureTyped("pred"), ACTIVATION, ARGMAX, INVERT], False, 1),
        ([INVERT, ARGMAX], True, 0),
        ([ARGMAX], False, 0),
    ],
)
def test_usual_orders_are_recognised(after: list[Any], invert: bool, rest: int) -> None:
    found = recognised(SlidingWindowInferer(16), after, input_key="image", output_key="pred")
    assert isinstance(found, Streaming)
    assert (found.invert is not None) is invert
    assert len(found.rest) == rest


@pytest.mark.parametrize(
    "after",
    [
        [],
        [ACTIVATION],
        [Activationsd("pred", sigmoid=True), INVERT, ARGMAX],
        [Activationsd("pred", softmax=True, dim=1), INVERT, ARGMAX],
        [ACTIVATION, INVERT, AsDiscreted("pred", threshold=0.5)],
        [ACTIVATION, INVERT, AsDiscreted("pred", argmax=True, to_onehot=3)],
        [ACTIVATION, INVERT, AsDiscreted("other", argmax=True)],
        [ACTIVATION, Invertd("pred", Compose([]), orig_keys="other"), ARGMAX],
        [ACTIVATION, LabelFilterd("pred", applied_labels=[1]), INVERT, ARGMAX],
    ],
)
def test_other_orders_are_not(after: list[Any]) -> None:
    assert recognised(SlidingWindowInferer(16), after, input_key="image", output_key="pred") is None


def test_answer_that_is_not_finite_is_refused() -> None:
    image = _image(AFFINES["flipped"])
    preprocessing = _preprocessing()

    def broken(windows: Tensor) -> Tensor:
        answer = torch.cat([windows, -windows], dim=1)
        answer[:, :, 3, 3, 3] = torch.nan
        return answer

    with pytest.raises(OutputInvalid, match="not finite"):
        _streamed(image, preprocessing, SlidingWindowInferer(16), broken, _after("zoo", preprocessing, nearest=False))


def test_network_on_another_grid_is_told() -> None:
    image, preprocessing = _image(AFFINES["flipped"]), _preprocessing()
    with pytest.raises(OtherGrid):
        _streamed(
            image, preprocessing, SlidingWindowInferer(16), nn.MaxPool3d(2), _after("zoo", preprocessing, nearest=False)
        )
