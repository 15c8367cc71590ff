"""A config's file readers and writers, replaced: images are in memory before it runs, and answers stay there."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirst, MapTransform, Transform

from wetread.infer.configs.tree import Config, components, dictionary_names, short_name

_READERS = dictionary_names("LoadImage")
_WRITERS = dictionary_names("SaveImage") | dictionary_names("SaveClassification")
_SILENCED = frozenset(
    {"CheckpointLoader", "CheckpointSaver", "StatsHandler", "MetricsSaver", "MLFlowHandler", "LogfileHandler"}
    | {"TensorBoardStatsHandler", "TensorBoardImageHandler", "ClassificationSaver", "ValidationHandler"}
)
_HERE = __name__


def keep_in_memory(config: Config, *, drop: tuple[str, ...] = ()) -> list[str]:
    """Replace readers, writers, handlers that touch files, and the transforms in ``drop``; says which were dropped."""
    dropped = []
    for name, component in components(config):
        target = short_name(component)
        if target in _READERS:
            _replace_reader(component, dictionary=target != "LoadImage")
        elif target in _WRITERS or target in drop:
            _replace(component, "Unchanged")
            dropped += [f"{name}: {target} is not run"] if target in drop else []
        elif target in _SILENCED or (target.endswith("Saver") and "handler" in name.lower()):
            _replace(component, "Silent")
    return dropped


def _replace_reader(component: Config, *, dictionary: bool) -> None:
    """A reader's options about the file are gone (``ITKReader`` needs no itk); those about the image stay."""
    kept = ("keys", "ensure_channel_first", "image_only", "meta_key_postfix", "_disabled_")
    given = {key: component[key] for key in kept if key in component}
    component.clear()
    component.update(given, _target_=f"{_HERE}.{'InMemoryd' if dictionary else 'InMemory'}")


def _replace(component: Config, stand_in: str) -> None:
    disabled = {key: component[key] for key in ("_disabled_",) if key in component}
    component.clear()
    component.update(disabled, _target_=f"{_HERE}.{stand_in}")


class InMemory(Transform):
    """Stands where ``LoadImage`` stood: the image is there, and only what the reader did besides reading is done."""

    def __init__(self, ensure_channel_first: bool = False, image_only: bool = True, **_about_files: object) -> None:
        self.ensure_channel_first = ensure_channel_first
        self.image_only = image_only

    def __call__(self, data: MetaTensor) -> Any:
        """The image, with a channel if the reader was to see to it."""
        image = EnsureChannelFirst()(data) if self.ensure_channel_first else data
        return image if self.image_only else (image, image.meta)


class InMemoryd(MapTransform):
    """``InMemory`` for the images under some keys of a data dictionary."""

    def __init__(
        self,
        keys: Any,
        ensure_channel_first: bool = False,
        image_only: bool = True,
        meta_key_postfix: str = "meta_dict",
    ) -> None:
        super().__init__(keys)
        self.load = InMemory(ensure_channel_first)
        self.image_only = image_only
        self.meta_key_postfix = meta_key_postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images as the reader would have left them."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.load(result[key])
            if not self.image_only:
                result[f"{key}_{self.meta_key_postfix}"] = result[key].meta
        return result


class Unchanged(Transform):
    """Stands where a writer stood: data pass as they are."""

    def __call__(self, data: Any) -> Any:
        """``data``."""
        return data


class Silent:
    """Stands where a handler stood that reads weights or writes files."""

    def attach(self, _engine: object) -> None:
        """Nothing is attached."""

    def __call__(self, *_engine: object) -> None:
        """Nothing is done."""
