"""In which shape a bundle will ask its networks: what can be compiled, loaded and tried before a study is there."""

from __future__ import annotations

from collections.abc import Sequence

from wetread.infer.configs.config import InferenceConfig

Shape = tuple[int, ...]


def asked_shape(config: InferenceConfig, image: Shape, network: str) -> tuple[Shape, bool]:
    """The inferer's window, a cascade's grid, else ``image``, what the metadata says; and whether it is always that.

    ``image``: ``(batch, channel, *spatial)``.
    """
    inferer = config.config.get("inferer")
    for key in ("roi_size", "fine_shape") if network == config.runtime.network else ("box_shape",):
        if not isinstance(inferer, dict) or key not in inferer:
            continue
        window = config.resolved(config.parser(), f"inferer::{key}")
        if isinstance(window, Sequence) and len(window) == len(image) - 2:
            # A side that is not positive means the whole image.
            sides = tuple(int(w) if w and w > 0 else i for w, i in zip(window, image[2:], strict=True))
            return (*image[:2], *sides), all(w and w > 0 for w in window)
    return image, False
