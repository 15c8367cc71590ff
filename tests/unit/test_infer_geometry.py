"""Our volumes and MONAI's tensors speak of the same points, and an answer that breaks its declaration is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from bundles import BRAIN
from network_bundles import OPTIONAL_BRAIN, oblique_volume
from wetread.bundles.manifest import LabelRule
from wetread.errors import OutputInvalid
from wetread.infer.geometry import to_label_map, to_meta_tensor

REQUIRED = (LabelRule.model_validate(BRAIN),)
OPTIONAL = (LabelRule.model_validate(OPTIONAL_BRAIN),)
VOLUME = oblique_volume((4, 6, 5))
INDICES = st.tuples(*(st.integers(0, n - 1) for n in VOLUME.array.shape))


@given(INDICES)
def test_voxel_has_the_same_value_and_place_in_both(index: tuple[int, int, int]) -> None:
    tensor = to_meta_tensor(VOLUME)
    reverse = index[::-1]
    lps = VOLUME.affine @ [*index, 1]
    ras = tensor.affine.numpy() @ [*reverse, 1]
    assert float(tensor[reverse]) == VOLUME.array[index]
    np.testing.assert_allclose(ras[:3], lps[:3] * (-1, -1, 1), atol=1e-9)


@given(st.tuples(*[st.integers(1, 4)] * 3), st.booleans())
def test_tensor_is_a_copy_in_its_own_order(shape: tuple[int, int, int], fortran: bool) -> None:
    """Transforms of a bundle may work in place, and may count on contiguous memory."""
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape, order="F" if fortran else "C")
    volume = replace(VOLUME, array=array.copy(order="K"))
    tensor = to_meta_tensor(volume).as_tensor()
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor.numpy(), array.transpose(2, 1, 0))
    tensor.fill_(-1)
    np.testing.assert_array_equal(volume.array, array)


def _answer() -> MetaTensor:
    tensor = to_meta_tensor(VOLUME)
    return MetaTensor((tensor > 0.5)[None].float(), meta=tensor.meta)


def test_answer_comes_back_on_the_source_grid() -> None:
    label_map = to_label_map(_answer(), VOLUME, REQUIRED)
    assert label_map.array.dtype == np.uint8
    assert label_map.array.flags.c_contiguous
    np.testing.assert_array_equal(label_map.array, VOLUME.array > 0.5)
    np.testing.assert_array_equal(label_map.affine, VOLUME.affine)


def test_answer_on_another_grid_is_refused() -> None:
    with pytest.raises(OutputInvalid, match=r"shape \(1, 5, 6, 3\), expected .*\(1, 5, 6, 4\)"):
        to_label_map(_answer()[..., :3], VOLUME, OPTIONAL)


def test_answer_with_several_channels_is_refused() -> None:
    with pytest.raises(OutputInvalid, match=r"shape \(2, 5, 6, 4\)"):
        to_label_map(torch.cat([_answer(), _answer()]), VOLUME, OPTIONAL)


def test_answer_that_lies_elsewhere_is_refused() -> None:
    answer = _answer()
    answer.affine[0, 3] += 0.5
    with pytest.raises(OutputInvalid, match=r"up to 0\.5 off"):
        to_label_map(answer, VOLUME, OPTIONAL)


@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), "not finite"), (2.0, "holds 2; declared are"), (0.4, r"holds 0\.4")]
)
def test_answer_with_a_value_that_means_nothing_is_refused(value: float, message: str) -> None:
    answer = _answer()
    answer[0, 0, 0, 0] = value
    with pytest.raises(OutputInvalid, match=message):
        to_label_map(answer, VOLUME, OPTIONAL)


def test_empty_answer_is_refused_only_where_the_label_is_required() -> None:
    empty = torch.zeros_like(_answer())
    assert not to_label_map(empty, VOLUME, OPTIONAL).array.any()
    with pytest.raises(OutputInvalid, match="no brain found"):
        to_label_map(empty, VOLUME, REQUIRED)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_values_of_the_bundle_become_those_of_the_manifest(dtype: torch.dtype) -> None:
    labels = (LabelRule.model_validate({**OPTIONAL_BRAIN, "value": 3, "bundle_value": 4}),)
    answer = (_answer().as_tensor() * 4).to(dtype)
    answer[0, 0, 0, 0] = 7
    label_map = to_label_map(answer, VOLUME, labels, ignored=(7,))
    assert label_map.array[0, 0, 0] == 0
    np.testing.assert_array_equal(label_map.array.flat[1:], ((VOLUME.array > 0.5) * 3).flat[1:])
    with pytest.raises(OutputInvalid, match=r"holds 7; declared are \[0, 4\]"):
        to_label_map(answer, VOLUME, labels)


def test_one_structure_from_border_to_border_is_refused() -> None:
    with pytest.raises(OutputInvalid, match="fills the whole image"):
        to_label_map(torch.ones_like(_answer()), VOLUME, OPTIONAL)
