"""Resampling axis by axis against MONAI's own: same voxels, same trace, same way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, Spacing, Spacingd, SpatialResample
from scipy.spatial.transform import Rotation

from wetread.infer.streaming.spacing import SeparableResample, resample_axis_by_axis

TURN = Rotation.from_euler("xyz", [0.3, -0.2, 0.5]).as_matrix()


def _image(axes: Any, *, channels: int = 1) -> MetaTensor:
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.as_tensor(np.array(axes))
    affine[:3, 3] = torch.tensor([12.0, -7.0, 31.0])
    voxels = torch.rand((channels, 23, 31, 17), generator=torch.Generator().manual_seed(3)) * 2000 - 1000
    return MetaTensor(voxels, affine=affine)


def _chain(**more: Any) -> Compose:
    settings = {"pixdim": (1.5, 1.5, 2.0), "mode": "bilinear", **more}
    return Compose([Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", **settings)])


def _fast(chain: Compose) -> Compose:
    resample_axis_by_axis(chain.transforms)
    assert isinstance(chain.transforms[1].spacing_transform.sp_resample, SeparableResample)
    return chain


AXES = {
    "straight": np.diag([-0.8, 0.9, 2.5]),
    "oblique": TURN @ np.diag([0.8, -0.9, 2.5]),
    "turned about": np.diag([0.8, 0.9, 2.5])[:, [2, 0, 1]],
    "half-way": np.diag([0.75, 0.75, 1.0]),
    "same": np.diag([1.5, 1.5, 2.0]),
    "sheared": np.diag([0.8, 0.9, 2.5]) + np.array([[0, 0.3, 0], [0, 0, 0], [0, 0, 0]]),
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"align_corners": True, "scale_extent": True},
    {"mode": "nearest"},
    {"diagonal": True},
    {"padding_mode": "zeros"},
    {"mode": 3, "padding_mode": "nearest"},
    {"dtype": np.float32},
]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_voxels_grid_and_trace_are_those_of_monai(axes: str, settings: dict[str, Any]) -> None:
    image = _image(AXES[axes], channels=2)
    expected = _chain(**settings)({"image": image})["image"]
    answer = _fast(_chain(**settings))({"image": image})["image"]
    assert answer.dtype == expected.dtype
    # Positions in float32, where the bundle asks for them, are off by more than our positions in float64 are.
    slack = 0.1 if "dtype" in settings else 5e-4
    torch.testing.assert_close(answer.as_tensor(), expected.as_tensor(), atol=slack, rtol=0)
    assert torch.equal(answer.affine, expected.affine)
    for ours, theirs in zip(answer.applied_operations, expected.applied_operations, strict=True):
        for kept in ("orig_size", "extra_info", "tracing", "do_transforms"):
            assert str(ours[kept]) == str(theirs[kept])


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("nearest", [True, False])
@pytest.mark.parametrize("settings", SETTINGS[:3], ids=str)
def test_inverse_is_that_of_monai(axes: str, nearest: bool, settings: dict[str, Any]) -> None:
    image = _image(AXES[axes])
    answers = []
    for chain in (_chain(**settings), _fast(_chain(**settings))):
        data = chain({"image": image})
        prediction = (data["image"] > 0).float()
        inverted = Invertd("pred", chain, orig_keys="image", nearest_interp=nearest)({**data, "pred": prediction})
        answers.append(inverted["pred"])
    expected, answer = answers
    torch.testing.assert_close(answer.as_tensor(), expected.as_tensor(), atol=1e-5, rtol=0)
    torch.testing.assert_close(answer.affine, image.affine, atol=1e-9, rtol=0)
    assert answer.applied_operations == expected.applied_operations == []


def test_oblique_images_do_not_take_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = _fast(_chain())
    monkeypatch.setattr("monai.transforms.spatial.functional.AffineTransform", None)
    assert chain({"image": _image(AXES["oblique"])})["image"].shape[0] == 1
    with pytest.raises(RuntimeError, match="Spacingd"):
        chain({"image": _image(AXES["sheared"])})


def test_lazy_resampling_stays_lazy() -> None:
    spacing = Spacing((1.5, 1.5, 2.0))
    resample_axis_by_axis([spacing])
    assert spacing(_image(AXES["straight"]), lazy=True).pending_operations
    assert isinstance(spacing.sp_resample, SpatialResample)
