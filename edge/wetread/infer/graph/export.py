"""PyTorch module → ONNX graph with its types in it, once for each network, shape and precision, and checked."""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from pydantic import ValidationError
from torch import nn

from wetread.durable import write_atomically
from wetread.errors import EngineDisagrees, EngineNotReady, EngineUnavailable
from wetread.infer.code import graph_code
from wetread.infer.engines.engine import FloatArray
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.uses import MARK, hold
from wetread.infer.engines.wish import Precision
from wetread.infer.files import translated
from wetread.infer.graph.graph_check import GraphCheck
from wetread.infer.graph.onnx_check import check_graph
from wetread.infer.graph.onnx_half import POLICY, in_half

OPSET = 17
EXPORTER = f"torch.onnx {torch.__version__} trace, opset {OPSET}"
"""Part of every certificate's key: another exporter may write another graph."""
_FOLDER = "onnx"
_NAME = re.compile(r"[0-9a-f]{24}-\d+(x\d+)*-(f32|f16)\.onnx")
_PRECISIONS: tuple[Precision, ...] = ("f32", "f16")


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX file whose answer on the CPU was compared with the network's."""

    path: Path
    check: GraphCheck

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return self.check.sha256


def exported(plan: NetworkPlan, shape: tuple[int, ...], precision: Precision = "f32") -> Graph:
    """The network's graph for inputs of ``shape`` ``(batch, channel, *spatial)``; the batch stays free.

    ``f16`` is the whole graph in half with norms and softmax in float32, inputs and outputs float32. Made on first use
    and kept in ``plan.cache_folder``; a file that lost its noted digest is made anew.
    Raises: ``EngineUnavailable`` for a network that ONNX cannot express, ``EngineDisagrees`` when the graph does not
    give the network's answer, neither leaves a file; ``EngineNotReady`` where it may not be made.
    """
    path = plan.cache_folder / _FOLDER / f"{_name(plan, shape, precision)}.onnx"
    note = path.with_suffix(".json")
    mark = path.with_suffix(f".{MARK}")
    if note.is_file():
        hold(mark, bundle=plan.bundle, recipe=graph_recipe(precision))
    check = _kept(path, note)
    if check is None and not plan.may_build:
        what = f"the network {plan.name} is not exported for {'x'.join(map(str, shape[1:]))} yet"
        raise EngineNotReady(what, network=plan.name, shape=shape)
    if check is None:
        with translated(plan.cache_folder, "the engine cache"):
            check = _made(plan, shape, precision, path)
        hold(mark, bundle=plan.bundle, recipe=graph_recipe(precision))
    return Graph(path, check)


def hold_exported(plan: NetworkPlan) -> None:
    """Every graph of the network is used from now on: which of them, the shapes of the studies will say."""
    precisions: set[Precision] = {"f32", plan.precision}  # OpenVINO makes its own bf16 of the graph in float32
    for precision in precisions:
        for mark in (plan.cache_folder / _FOLDER).glob(f"{_stem(plan.key, precision)}-*.{MARK}"):
            hold(mark, bundle=plan.bundle, recipe=graph_recipe(precision))


def kept_graphs(cache_folder: Path, *, network: str) -> Iterator[Path]:
    """Every intact graph of one network (``NetworkPlan.key``) that the code of today would use, for another box."""
    for precision in _PRECISIONS:
        for path in sorted((cache_folder / _FOLDER).glob(f"{_stem(network, precision)}-*-{precision}.onnx")):
            if _kept(path, path.with_suffix(".json")) is not None:
                yield path


def adopt_graph(path: Path, cache_folder: Path) -> bool:
    """Take over a graph that another machine exported, with its check; False when it is damaged or no graph.

    No engine serves with it before it gave the reference's answer here.
    """
    note = path.with_suffix(".json")
    if _NAME.fullmatch(path.name) is None or _kept(path, note) is None:
        return False
    target = cache_folder / _FOLDER / path.name
    if _kept(target, target.with_suffix(".json")) is None:
        write_atomically(target, lambda part: shutil.copyfile(path, part))
        write_atomically(target.with_suffix(".json"), lambda part: shutil.copyfile(note, part))
    return True


def _made(plan: NetworkPlan, shape: tuple[int, ...], precision: Precision, path: Path) -> GraphCheck:
    network = plan.make().eval()
    write_atomically(path, lambda target: _write(plan, network, shape, precision, target))
    check = _checked(plan, network, shape, precision, path)
    write_atomically(path.with_suffix(".json"), lambda target: target.write_text(check.model_dump_json()))
    return check


def graph_recipe(precision: Precision) -> str:
    """What, besides network and shape, decides the graph, and our code that builds from it: in every engine's key."""
    return f"{EXPORTER}, {POLICY if precision == 'f16' else 'float32'}, code {graph_code()}"


def _write(plan: NetworkPlan, network: nn.Module, shape: tuple[int, ...], precision: Precision, target: Path) -> None:
    torch.set_num_threads(plan.threads)
    try:
        _trace(network, shape, target)
        if precision == "f16":
            onnx.save(in_half(onnx.load(target)), target)
    except (RuntimeError, TypeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise EngineUnavailable(f"the network {plan.name} cannot be exported to ONNX: {exc}") from exc


def _trace(network: nn.Module, shape: tuple[int, ...], target: Path) -> None:
    with torch.inference_mode(), warnings.catch_warnings():
        # The tracing exporter needs no further package; the newer one would need onnxscript and more memory.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, *shape[1:]),),
            str(target),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _checked(
    plan: NetworkPlan, network: nn.Module, shape: tuple[int, ...], precision: Precision, path: Path
) -> GraphCheck:
    def reference(image: FloatArray) -> FloatArray:
        with torch.inference_mode():
            answer = network(torch.tensor(image))
        if not isinstance(answer, torch.Tensor):
            raise EngineUnavailable(
                f"the network {plan.name} answers with a {type(answer).__name__}; only networks that answer with one "
                "tensor can be compiled, run it with --engine torch"
            )
        return np.asarray(answer.numpy())

    try:
        check = check_graph(
            path,
            shape,
            sha256=_digest(path),
            precision=precision,
            reference=reference,
            threads=plan.threads,
            judge=plan.judge if precision == "f16" else None,
        )
        problem = check.problem()
        if problem:
            raise EngineDisagrees(f"the exported graph of {plan.name} in {precision} is not the network: {problem}")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return check


def _name(plan: NetworkPlan, shape: tuple[int, ...], precision: Precision) -> str:
    return f"{_stem(plan.key, precision)}-{'x'.join(map(str, shape[1:]))}-{precision}"


def _stem(network: str, precision: Precision) -> str:
    return hashlib.sha256(f"{network} {graph_recipe(precision)}".encode()).hexdigest()[:24]


def _kept(path: Path, note: Path) -> GraphCheck | None:
    """The check kept beside an intact file; one that cannot be read counts as absent, because a new one is made."""
    try:
        check = GraphCheck.model_validate_json(note.read_bytes())
    except (OSError, ValidationError):
        return None
    return check if path.is_file() and check.sha256 == _digest(path) and not check.problem() else None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
