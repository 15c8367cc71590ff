"""Precision is a property of the graph: an ONNX network in float32 becomes one in half, norms staying behind.

TensorRT 11 has no precision flags any more, it computes in the types it finds; and a graph with its types in it can be
compared with the reference on a machine without a GPU.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wetread.errors import EngineUnavailable

KEPT_IN_FLOAT32 = frozenset(
    {
        # Norms and softmax overflow or lose everything in half: sums of squares, exponentials.
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LpNormalization",
        "LogSoftmax",
        "Softmax",
        # What norms are made of where the exporter writes them out, and long sums.
        "Exp",
        "GlobalAveragePool",
        "Pow",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        # No half in the ONNX specification.
        "NonMaxSuppression",
        "Range",
        "RoiAlign",
    }
)
POLICY = f"half, float32 in {','.join(sorted(KEPT_IN_FLOAT32))}"
"""Part of every engine's key: another policy is another engine."""

_FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs that are float32 by the ONNX specification: region and scales."""
_LARGEST = 65504.0
_HALF = "_f16"


def in_half(model: ModelProto) -> ModelProto:
    """A new model that computes in float16 outside ``KEPT_IN_FLOAT32``; its inputs and outputs stay float32.

    A float32 tensor keeps its name, its half twin is called ``<name>_f16``. Constants are rounded to the nearest half;
    those beyond its range become its largest number, infinities stay.
    Raises: ``EngineUnavailable`` for a graph with branches or loops, whose bodies this pass does not enter.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    rewritten = _Rewriting(inferred.graph).graph()
    result = helper.make_model(rewritten, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(result, full_check=True)
    return result


def emulated(model: ModelProto) -> ModelProto:
    """A half model written out in float32, every tensor rounded to half by two casts: for comparing on a CPU only.

    ONNX Runtime has hardly any half kernels there. Given the half model itself it computes in float32 and takes out the
    casts it put in between two nodes, so that no value would ever be rounded, or too large for half.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for initializer in graph.initializer:
        initializer.CopyFrom(_in_float(initializer))
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:], graph.value_info[:]
    for node in nodes:
        graph.node.extend(_with_rounding(node))
    onnx.checker.check_model(result, full_check=True)
    return result


def _with_rounding(node: NodeProto) -> list[NodeProto]:
    halves = [name for name in node.output if name.endswith(_HALF)]
    node.output[:] = [f"{name}_exact" if name in halves else name for name in node.output]
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        elif attribute.type == AttributeProto.TENSOR:
            attribute.t.CopyFrom(_in_float(attribute.t))
    rounding = []
    for name in halves:
        rounding.append(helper.make_node("Cast", [f"{name}_exact"], [f"{name}_rounded"], to=TensorProto.FLOAT16))
        rounding.append(helper.make_node("Cast", [f"{name}_rounded"], [name], to=TensorProto.FLOAT))
    return [node, *rounding]


def _in_float(tensor: TensorProto) -> TensorProto:
    if tensor.data_type != TensorProto.FLOAT16:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


class _Rewriting:
    """One pass over the nodes, which ONNX keeps in topological order."""

    def __init__(self, graph: GraphProto) -> None:
        self._old = graph
        self._constants = {i.name: i for i in graph.initializer}
        self._floats = _float_names(graph)
        self._ready = {v.name for v in graph.input} - self._constants.keys()
        """Names that exist in the new graph so far."""
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []

    def graph(self) -> GraphProto:
        for node in self._old.node:
            self._add(node)
        for output in self._old.output:
            self._wanted(output.name, half=False)
        # Old exporters list constants among the inputs as well.
        inputs = [v for v in self._old.input if v.name not in self._constants]
        return helper.make_graph(self._nodes, self._old.name, inputs, self._old.output, self._initializers)

    def _add(self, node: NodeProto) -> None:
        if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
            raise EngineUnavailable(f"the network has a branch or loop ({node.op_type}): it cannot be put into half")
        if node.op_type == "Constant":
            self._constants[node.output[0]] = _constant(node)
            return
        new = NodeProto()
        new.CopyFrom(node)
        half = not _stays(node)
        kept = _FLOAT32_INPUTS.get(node.op_type, ())
        new.input[:] = [self._wanted(name, half=half and k not in kept) for k, name in enumerate(node.input)]
        if half:
            new.output[:] = [self._named(name, half=True) for name in node.output]
            _make_half(new)
        self._nodes.append(new)
        self._ready.update(new.output)

    def _wanted(self, name: str, *, half: bool) -> str:
        """Name of the tensor in the wanted type; made if it is not there yet."""
        target = self._named(name, half=half)
        if name and target not in self._ready:
            if name in self._constants:
                tensor = self._constants[name]
                self._initializers.append(_half_constant(tensor, target) if target != name else tensor)
            else:
                source = name if target != name else name + _HALF
                to = TensorProto.FLOAT16 if target != name else TensorProto.FLOAT
                self._nodes.append(helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to))
            self._ready.add(target)
        return target

    def _named(self, name: str, *, half: bool) -> str:
        return name + _HALF if half and name in self._floats else name


def _float_names(graph: GraphProto) -> frozenset[str]:
    values = [*graph.input, *graph.output, *graph.value_info]
    typed = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    constants = {i.name for i in graph.initializer if i.data_type == TensorProto.FLOAT}
    return frozenset(typed | constants)


def _stays(node: NodeProto) -> bool:
    """Whether a node computes in float32; so do those that name the type they make themselves."""
    return node.op_type in KEPT_IN_FLOAT32 or any(a.name == "dtype" for a in node.attribute)


def _make_half(node: NodeProto) -> None:
    """Change the attributes that name or hold float32."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half_constant(attribute.t, attribute.t.name))


def _constant(node: NodeProto) -> TensorProto:
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.TENSOR:
        value.name = node.output[0]
        return value
    kinds = {AttributeProto.FLOAT: np.float32, AttributeProto.FLOATS: np.float32}
    return numpy_helper.from_array(np.asarray(value, kinds.get(attribute.type, np.int64)), node.output[0])


def _half_constant(tensor: TensorProto, name: str) -> TensorProto:
    array = numpy_helper.to_array(tensor)
    clipped = np.where(np.isfinite(array), np.clip(array, -_LARGEST, _LARGEST), array)
    return numpy_helper.from_array(clipped.astype(np.float16), name)
