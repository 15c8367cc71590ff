"""PyTorch module → ONNX file, once for each network and shape."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch

from wetread.infer.files import write_atomically
from wetread.infer.plan import NetworkPlan

OPSET = 17
EXPORTER = f"torch.onnx {torch.__version__} trace, opset {OPSET}"
"""Part of every certificate's key: another exporter may write another graph."""


def exported(plan: NetworkPlan, shape: tuple[int, ...]) -> Path:
    """The ONNX file of the network for inputs of ``shape`` ``(batch, channel, *spatial)``; the batch stays free.

    Made on first use and kept in ``plan.cache_folder``; a file that lost its noted digest is made anew.
    """
    path = plan.cache_folder / "onnx" / f"{_name(plan, shape)}.onnx"
    note = path.with_suffix(".sha256")
    if not _intact(path, note):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda target: _export(plan, shape, target))
        write_atomically(note, lambda target: target.write_text(_digest(path)))
    return path


def _export(plan: NetworkPlan, shape: tuple[int, ...], target: Path) -> None:
    torch.set_num_threads(plan.threads)
    with torch.inference_mode(), warnings.catch_warnings():
        # The tracing exporter needs no further package; the newer one would need onnxscript and more memory.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            plan.make(),
            (torch.zeros(1, *shape[1:]),),
            str(target),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _name(plan: NetworkPlan, shape: tuple[int, ...]) -> str:
    recipe = hashlib.sha256(f"{plan.key} {EXPORTER}".encode()).hexdigest()[:24]
    return f"{recipe}-{'x'.join(map(str, shape[1:]))}"


def _intact(path: Path, note: Path) -> bool:
    return path.is_file() and note.is_file() and note.read_text() == _digest(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
