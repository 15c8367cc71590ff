"""The reference engine: PyTorch in eager mode, on the GPU where there is one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wetread.errors import EngineUnavailable
from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.engine import FloatArray, checked_images, checked_input
from wetread.infer.engines.plan import NetworkPlan


class TorchEngine:
    """Runs the bundle's own module, in float32 whatever the plan allows: it is what the others are measured against."""

    name = "torch"
    precision = "f32"

    def __init__(self, plan: NetworkPlan) -> None:
        self.library_version = library_version()
        self.device = device()
        self.where = torch.device("cpu" if self.device == "CPU" else "cuda")
        self._threads = plan.threads
        _no_tf32()
        self._network: nn.Module | None = plan.make().eval().to(self.where)

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer, computed in inference mode."""
        # A copy: torch cannot take read-only memory, and a network may work in place.
        image = torch.from_numpy(checked_input(array).copy()).to(self.where)
        return self._answer(image).cpu().numpy()

    def on_device(self, images: Tensor) -> Tensor:
        """As a call, for a tensor where the network is."""
        return self._answer(checked_images(images, self.where).clone())

    def artefacts(self) -> dict[str, str]:
        """Nothing compiled is kept."""
        return {}

    def close(self) -> None:
        """Drop the module and its weights."""
        self._network = None

    def _answer(self, image: Tensor) -> Tensor:
        if self._network is None:
            raise RuntimeError("the torch engine is closed")
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                return self._network(image).contiguous()
        except torch.cuda.OutOfMemoryError as exc:
            raise EngineUnavailable(f"{self.device} has no memory for {tuple(image.shape)}: {exc}") from exc


def library_version() -> str:
    """PyTorch's version with its build, e.g. ``2.13.0+cpu``."""
    return str(torch.__version__)


def device() -> str:
    """Where it runs: the GPU's name, or ``CPU``."""
    return str(tensorrt_memory.this_gpu()) if torch.cuda.is_available() else "CPU"


def open_engine(plan: NetworkPlan) -> TorchEngine:
    """Build the module with its weights."""
    return TorchEngine(plan)


def _no_tf32() -> None:
    """PyTorch lets cuDNN round to ten bits of the mantissa by itself: that is not float32."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
