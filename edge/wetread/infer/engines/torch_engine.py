"""The reference engine: PyTorch in eager mode on the CPU."""

from __future__ import annotations

import torch
from torch import nn

from wetread.infer.engines.engine import FloatArray, checked_input
from wetread.infer.engines.plan import NetworkPlan


class TorchEngine:
    """Runs the bundle's own module, in float32 whatever the plan allows: it is what the others are measured against."""

    name = "torch"
    precision = "f32"
    device = "CPU"

    def __init__(self, plan: NetworkPlan) -> None:
        self.library_version = library_version()
        self._threads = plan.threads
        self._network: nn.Module | None = plan.make().eval()

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer, computed in inference mode."""
        if self._network is None:
            raise RuntimeError("the torch engine is closed")
        torch.set_num_threads(self._threads)
        # A copy: torch cannot take read-only memory, and a network may work in place.
        image = torch.from_numpy(checked_input(array).copy())
        with torch.inference_mode():
            answer = self._network(image)
        return answer.contiguous().numpy()

    def artefacts(self) -> dict[str, str]:
        """Nothing compiled is kept."""
        return {}

    def close(self) -> None:
        """Drop the module and its weights."""
        self._network = None


def library_version() -> str:
    """PyTorch's version with its build, e.g. ``2.13.0+cpu``."""
    return str(torch.__version__)


def device() -> str:
    """Where it runs."""
    return "CPU"


def open_engine(plan: NetworkPlan) -> TorchEngine:
    """Build the module with its weights."""
    return TorchEngine(plan)
