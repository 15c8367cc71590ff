"""Python that look-alike bundles bring in ``scripts/``: written by us in the manner of the zoo's."""

from __future__ import annotations

_CONCAT = '''
import torch
from monai.data import MetaTensor
from monai.transforms import Transform


class ConcatSeries(Transform):
    """Channels of several images in one."""

    def __init__(self, keys_merge, keys_out):
        self.keys_merge, self.keys_out = keys_merge, keys_out

    def __call__(self, data):
        merged = torch.cat([data[key].as_tensor() for key in self.keys_merge])
        return {**data, self.keys_out: MetaTensor(merged, meta=data[self.keys_merge[0]].meta)}
'''

_OLD_NUMPY = '''
import numpy as np
from torch import nn


class Plain(nn.Module):
    """One convolution, and a name that numpy 2 removed."""

    def __init__(self, kernel):
        super().__init__()
        self.taps = int(np.product(kernel))
        self.conv = nn.Conv3d(1, 3, tuple(kernel))

    def forward(self, x):
        return self.conv(x) * (self.taps / self.taps)
'''

_EVALUATOR = '''
import torch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer


class TwiceInferer(Inferer):
    """Asks for a prompt that only its own evaluator gives."""

    def __call__(self, inputs, network, *, classes):
        answer = network(inputs)
        return torch.stack([answer[:, 0], *(answer[:, c] for c in classes)], dim=1)


class PromptedEvaluator(SupervisedEvaluator):
    """Its iteration differs from MONAI's."""

    def __init__(self, *args, hyper_kwargs=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.hyper_kwargs = hyper_kwargs

    def _iteration(self, engine, batchdata):
        image = batchdata["image"].to(engine.state.device)
        engine.state.output = {"image": image}
        with engine.mode(engine.network):
            engine.state.output["pred"] = engine.inferer(image, engine.network, **self.hyper_kwargs)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
'''

_DETECTION = '''
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer


class BoxInferer(Inferer):
    """Hands the images to the detector."""

    def __init__(self, detector):
        self.detector = detector

    def __call__(self, inputs, network, *args, **kwargs):
        self.detector.network = network
        self.detector.training = network.training
        return self.detector(inputs, use_inferer=False)


class BoxEvaluator(SupervisedEvaluator):
    """Never reached: boxes are taken from the detector."""


class BoxSaver:
    """A handler that postprocesses and writes a file."""

    def __init__(self, output_dir, output_transform):
        raise RuntimeError("the saver must not be made")
'''

SCRIPTS: dict[str, dict[str, str]] = {
    "concat": {"__init__.py": "", "concat.py": _CONCAT},
    "old numpy": {"__init__.py": "", "network.py": _OLD_NUMPY},
    "evaluator": {"__init__.py": "", "evaluator.py": _EVALUATOR},
    "detection": {"__init__.py": "", "detection.py": _DETECTION},
}
