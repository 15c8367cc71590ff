"""What turns images into a prediction: preprocessing, the inferer with its network, postprocessing. No files between.

This is the tier ``components``; ``tiers.py`` says which bundles need another.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImage, LoadImaged, MapTransform, SaveImage, SaveImaged, Transform
from torch import Tensor, nn

from wetread.errors import BundleInvalid, WetreadError
from wetread.infer.configs.in_memory import InMemory, InMemoryd
from wetread.infer.engines.engine import Engine, Masking, Resting

Step = Callable[[Any], Any]
Data = dict[str, Any]
"""MONAI's data dictionary."""
Images = Mapping[str, MetaTensor]
"""By key of the data dictionary, as MONAI's readers give them."""

logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


class Runnable(Protocol):
    """A bundle in one of its tiers, ready to answer."""

    def __call__(self, images: Images) -> Any:
        """What the bundle says: a tensor after postprocessing, or ``Detections``.

        Raises: ``BundleInvalid`` naming the stage in which the bundle's own code failed; errors of ours pass through.
        """
        ...


class EngineNetwork(nn.Module):
    """Stands in the config where the bundle's network stood; an engine answers."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.where = engine.where
        """Where images are best when they come: then nothing is copied to the engine and back."""

    def forward(self, x: Tensor, *more: object, **named: object) -> Tensor:
        """The engine's answer on the device of ``x``.

        Raises: ``BundleInvalid`` for anything besides the image, which an engine would leave out without a word.
        """
        given = [
            *(f"{value!r:.40}" for value in more if value is not None),
            *(k for k, v in named.items() if v is not None),
        ]
        if given:
            raise BundleInvalid(
                f"the network of this bundle is asked with more than the image ({', '.join(given)}); an engine runs "
                "networks of one image"
            )
        return self._engine.on_device(self._images(x)).to(x.device)

    def masks(self, x: Tensor) -> Tensor:
        """Where the second of the network's two channels is the larger: uint8 ``(batch, 1, *spatial)`` of 0 and 1.

        In host memory. Computed by the engine itself where it can: a byte for each voxel instead of two floats.
        """
        images = self._images(x)
        if isinstance(self._engine, Masking):
            return self._engine.masks(images).cpu()
        answer = self._engine.on_device(images)
        return (answer[:, 1:] > answer[:, :1]).to(torch.uint8).cpu()

    def rest(self) -> None:
        """Let the engine give back what it keeps only to be faster the next time."""
        if isinstance(self._engine, Resting):
            self._engine.rest()

    def _images(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x).detach().as_subclass(Tensor).to(self.where, torch.float32)


def where(network: nn.Module) -> torch.device:
    """Where the network's images are best; host memory for one that does not say."""
    found = getattr(network, "where", None)
    return found if isinstance(found, torch.device) else torch.device("cpu")


Tail = Callable[["Program", Data, Images], Tensor]
"""From preprocessed data to the finished prediction; the images are those that came in, with the source grid."""


@dataclass(frozen=True, slots=True)
class Program:
    """Standard components, driven one after the other."""

    preprocessing: Compose
    inferer: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
    network: nn.Module
    postprocessing: Compose
    input_key: str
    """Where the network's input is after preprocessing."""
    output_key: str
    tail: Tail | None = None
    """Runs instead of the inferer and postprocessing, and gives what they would: the seam for bounded memory.

    ``dataclasses.replace(program, tail=...)`` puts it in; it finds the components in the program it is handed.
    """

    def __call__(self, images: Images) -> Tensor:
        """Images without a channel → prediction after postprocessing, ``(channel, i, j, k)``."""
        with torch.inference_mode():
            data = self.prepared(images)
            return self.tail(self, data, images) if self.tail else self.finished(data)

    def prepared(self, images: Images) -> Data:
        """The data dictionary after preprocessing."""
        with stage("preprocessing"):
            return applied(self.preprocessing, dict(images), self.input_key)

    def finished(self, data: Data) -> Tensor:
        """The prediction: inferer, then postprocessing. ``data`` is changed."""
        prepared = network_input(data, self.input_key)
        with stage("the inferer"):
            answer = self._inferred(plain(prepared)[None])[0].cpu()
        data[self.output_key] = MetaTensor(answer, meta=dict(getattr(prepared, "meta", {})))
        del prepared, answer
        return self._postprocessed(data)

    def finished_each(self, data: Data, images: Tensor) -> list[Tensor]:
        """The prediction for each of ``images`` ``(image, channel, *spatial)``, which take the place of the network's
        input and are asked in one batch. ``data`` is not changed.

        For scores: answers go into postprocessing without MONAI's metadata, which takes longer than a small network.
        """
        with stage("the inferer"):
            answers = self._inferred(images).cpu()
        forms = zip(images, answers, strict=True)
        return [self._postprocessed({**data, self.input_key: i, self.output_key: a}) for i, a in forms]

    def _postprocessed(self, data: Data) -> Tensor:
        with stage("postprocessing"):
            return applied(self.postprocessing, data, self.output_key)[self.output_key]

    def _inferred(self, image: Tensor) -> Tensor:
        """What the inferer makes of the image where the network is; in host memory when there is no room for that."""
        try:
            return self.inferer(image.to(where(self.network)), self.network)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
        return self.inferer(image, self.network)


def network_input(data: Data, key: str) -> Tensor:
    """What the network is given. Raises: ``BundleInvalid`` when preprocessing leaves nothing under ``key``."""
    if key not in data:
        raise BundleInvalid(
            f"after preprocessing the data dictionary has {sorted(map(str, data))}, not {key!r}: set runtime.input_key"
        )
    return data[key]


def plain(image: Tensor) -> Tensor:
    """The tensor without its metadata: inferers and engines compute faster on it."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def applied(transforms: Compose, data: Data, key: str) -> Data:
    """``data`` after transforms for dictionaries, or after transforms for arrays applied to what lies under ``key``."""
    if not _take_arrays(transforms):
        return dict(transforms(data))
    result = transforms(data[key])
    return {**data, key: result[0] if isinstance(result, tuple) else result}


def _take_arrays(transforms: Compose) -> bool:
    known = [t for t in transforms.transforms if isinstance(t, Transform)]
    return bool(known) and not any(isinstance(t, MapTransform) for t in known) and _is_array_transform(known[0])


def _is_array_transform(transform: Transform) -> bool:
    return isinstance(transform, InMemory) or type(transform).__module__.endswith(".array")


def in_memory(transforms: Any) -> Compose:
    """The transforms in one flat Compose, without those that read or write files.

    Config files name most readers and writers, and there they are replaced; this is for those that expressions make.
    """
    return Compose([_without_file(transform) for transform in _flat(transforms)])


def _without_file(transform: Step) -> Step:
    if isinstance(transform, (SaveImage, SaveImaged)):
        return lambda data: data
    if isinstance(transform, LoadImaged):
        return InMemoryd(transform.keys, transform._loader.ensure_channel_first)
    if isinstance(transform, LoadImage):
        return InMemory(transform.ensure_channel_first)
    return transform


def _flat(transforms: Any) -> Iterator[Step]:
    """The single transforms of a list or Compose, or one alone; nested ones unfolded."""
    if type(transforms) is Compose:  # a subclass (OneOf, ...) is not the row of its transforms
        transforms = transforms.transforms
    if isinstance(transforms, Iterable) and not isinstance(transforms, Transform):
        for transform in transforms:
            yield from _flat(transform)
    elif transforms is not None:
        yield transforms


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Translate what a bundle's own code raises; our own errors come out as they are, from inside MONAI's too.

    Raises: ``BundleInvalid`` naming the stage.
    """
    try:
        yield
    except WetreadError:
        raise
    except Exception as exc:  # a bundle's transforms and networks are foreign code and may raise anything
        causes = list(_causes(exc))
        ours = next((cause for cause in causes if isinstance(cause, WetreadError)), None)
        if ours is not None:
            raise ours from exc
        said = ": ".join(dict.fromkeys(f"{type(c).__name__}: {c}".splitlines()[0] for c in causes))
        said = _ADDRESS.sub(r"\g<name>", said)
        raise BundleInvalid(f"{name} of this bundle fails on this image: {said}") from exc


_ADDRESS = re.compile(r"<(?:\w+\.)*(?P<name>\w+) object at 0x[0-9a-f]+>")
"""MONAI names transforms as Python prints objects; the class is enough."""


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__
