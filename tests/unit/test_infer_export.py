"""The exported graph: in which types it computes, and that it is only used when it says what the network says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.networks.nets import ViT
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.graph import export
from wetread.infer.graph.export import exported
from wetread.infer.graph.graph_check import Fingerprint
from wetread.infer.graph.onnx_check import allowed_difference, noise
from wetread.infer.graph.onnx_half import KEPT_IN_FLOAT32, in_half

SHAPE = (1, 1, 16, 16, 16)


class Norms(nn.Module):
    """Everything that must stay in float32, between convolutions that need not; with a resize and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 2, 1)
        self.norms = nn.Sequential(nn.InstanceNorm3d(8, affine=True), nn.GroupNorm(2, 8), nn.BatchNorm3d(8))
        self.layer_norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norms(torch.relu(self.first(x)))
        x = self.layer_norm(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        x = nn.functional.interpolate(x, scale_factor=0.5, mode="trilinear")
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return torch.softmax(self.last(x) * 2.5, dim=1)


class Recurrent(nn.Module):
    """A GRU over slices."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(16 * 16, 12, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x.flatten(3)[:, 0])[0].mean(1)


def _transformer() -> nn.Module:
    return ViT(1, (16, 16, 16), (8, 8, 8), hidden_size=24, mlp_dim=48, num_layers=2, num_heads=2, classification=True)


def _made(make: type[nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return make().eval()


class _First(nn.Module):
    """MONAI's ViT answers with a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = _transformer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.vit(x)[0]


def _plan(make: type[nn.Module], folder: Path) -> NetworkPlan:
    return NetworkPlan("net", key=make.__name__, make=lambda: _made(make), cache_folder=folder)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    return values | {i.name: i.data_type for i in inferred.initializer}


@pytest.mark.parametrize("make", [Norms, Recurrent, _First])
def test_half_graph_computes_in_half_but_for_norms_and_softmax(make: type[nn.Module], tmp_path: Path) -> None:
    model = onnx.load(exported(_plan(make, tmp_path), SHAPE, "f16").path)
    types = _types(model)
    seen = set()
    for node in model.graph.node:
        floats = {types[n] for n in node.output if types.get(n) in (TensorProto.FLOAT, TensorProto.FLOAT16)}
        if node.op_type in KEPT_IN_FLOAT32:
            seen.add(node.op_type)
            assert floats == {TensorProto.FLOAT}
        elif node.op_type != "Cast" and floats:
            assert floats == {TensorProto.FLOAT16}, node.op_type
    assert seen, "the network was chosen because it has norms"
    for value in (*model.graph.input, *model.graph.output):
        assert types[value.name] == TensorProto.FLOAT


@pytest.mark.parametrize(
    "kind", ["InstanceNormalization", "BatchNormalization", "LayerNormalization", "Softmax", "Conv", "Resize"]
)
def test_each_norm_is_in_float32_and_convolutions_are_not(kind: str, tmp_path: Path) -> None:
    model = onnx.load(exported(_plan(Norms, tmp_path), SHAPE, "f16").path)
    types = _types(model)
    found = {types[node.output[0]] for node in model.graph.node if node.op_type == kind}
    assert found == {TensorProto.FLOAT16 if kind in ("Conv", "Resize") else TensorProto.FLOAT}


@pytest.mark.parametrize("make", [Norms, Recurrent, _First])
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_graph_gives_the_answer_of_the_network_for_any_batch(
    make: type[nn.Module], precision: str, tmp_path: Path
) -> None:
    graph = exported(_plan(make, tmp_path), SHAPE, precision)  # type: ignore[arg-type]
    image = np.random.default_rng(3).normal(size=(3, *SHAPE[1:])).astype(np.float32)
    with torch.inference_mode():
        expected = _made(make)(torch.tensor(image)).numpy()
    session = onnxruntime.InferenceSession(graph.path, providers=["CPUExecutionProvider"])
    atol = allowed_difference(expected, precision)  # type: ignore[arg-type]
    np.testing.assert_allclose(session.run(None, {"input": image})[0], expected, atol=atol)
    assert graph.check.batch == 2
    assert graph.sha256 == export._digest(graph.path)


def test_half_of_a_network_is_about_half_as_large(tmp_path: Path) -> None:
    whole, half = (exported(_plan(Recurrent, tmp_path), SHAPE, p).path.stat().st_size for p in ("f32", "f16"))
    assert 0.45 < half / whole < 0.6


def test_constants_beyond_half_are_its_largest_and_infinities_stay() -> None:
    values = np.array([1e6, -1e6, np.inf, -np.inf, 0.1], np.float32)
    node = helper.make_node("Add", ["x", "c"], ["y"])
    vector = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", vector[:1], vector[1:], [numpy_helper.from_array(values, "c")])
    half = in_half(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    (constant,) = half.graph.initializer
    np.testing.assert_array_equal(
        numpy_helper.to_array(constant), np.array([65504, -65504, np.inf, -np.inf, 0.1], np.float16)
    )


def test_network_whose_values_are_too_large_for_half_is_refused_in_half_only(tmp_path: Path) -> None:
    """ONNX Runtime on the CPU computes half graphs in float32 and would not notice."""

    class Large(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 40_000 + 40_000) * 1e-5

    assert exported(_plan(Large, tmp_path), SHAPE).check.share_within == 1.0
    with pytest.raises(EngineDisagrees, match="in f16 is not the network"):
        exported(_plan(Large, tmp_path), SHAPE, "f16")


def test_half_is_rounded_between_nodes_when_checked(tmp_path: Path) -> None:
    """Weights that are whole halves leave only the rounding of what is between the layers."""

    class Thirds(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 0.5 + 1024.0) * 2.0 - 2048.0

    with pytest.raises(EngineDisagrees, match="in f16"):
        exported(_plan(Thirds, tmp_path), SHAPE, "f16")


def test_graph_with_a_loop_is_not_put_into_half(tmp_path: Path) -> None:
    class Looped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = torch.jit.script(_added)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.step(x)

    with pytest.raises(EngineUnavailable, match="branch or loop"):
        exported(_plan(Looped, tmp_path), SHAPE, "f16")


def _added(x: torch.Tensor) -> torch.Tensor:
    for _ in range(int(x.shape[0])):
        x = x + 1.0
    return x


def test_network_that_traces_wrongly_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    class Branching(nn.Module):
        """The trace keeps the branch that zeros take."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.abs().max()) == 0.0 else x * 2

    with pytest.raises(EngineDisagrees, match=r"exported graph of net in f32 is not the network: 0\.\d+% of"):
        exported(_plan(Branching, tmp_path), SHAPE)
    assert not list(tmp_path.rglob("*.onnx"))


def test_graph_for_one_image_only_is_refused(tmp_path: Path) -> None:
    class OneOnly(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(x.shape[0].__int__(), 1, -1).mean(-1, keepdim=True).expand(int(x.shape[0]), 1, 4)

    with pytest.raises(EngineUnavailable, match=r"2 images|answers with"):
        exported(_plan(OneOnly, tmp_path), SHAPE)


def test_network_that_answers_with_more_than_a_tensor_is_refused(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x * 2

    with pytest.raises(EngineUnavailable, match="answers with a tuple"):
        exported(_plan(Pair, tmp_path), SHAPE)


def test_missing_onnxruntime_is_engine_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match="onnxruntime, which checks exported graphs, is not installed"):
        exported(_plan(Norms, tmp_path), SHAPE)


def test_checked_graph_is_kept_and_one_without_its_check_is_made_anew(tmp_path: Path) -> None:
    plan = _plan(Recurrent, tmp_path)
    first = exported(plan, SHAPE)
    assert exported(replace(plan, make=_never), SHAPE) == first
    first.path.with_suffix(".json").write_text("{}")
    assert exported(plan, SHAPE).check.fingerprint == first.check.fingerprint


def _never() -> nn.Module:
    raise AssertionError("the network was built although its graph is there")


def test_fingerprint_knows_its_network_and_no_other(tmp_path: Path) -> None:
    print_of = exported(_plan(Norms, tmp_path), SHAPE).check.fingerprint
    with torch.inference_mode():
        answer = _made(Norms)(torch.tensor(noise(SHAPE))).numpy()
    assert print_of.problem(answer) == ""
    assert "sampled outputs are within" in print_of.problem(answer * 1.1)
    assert "not finite" in print_of.problem(answer * np.nan)
    assert "values" in print_of.problem(answer[:, :, :2])
    assert Fingerprint.model_validate_json(print_of.model_dump_json()) == print_of
