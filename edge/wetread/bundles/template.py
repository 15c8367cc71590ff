"""A commented ``wetread.json`` to fill in, from what a bundle's metadata say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wetread.bundles.bundle import TEMPLATE_NAME, file_sha256
from wetread.bundles.check import guessed_weights, input_specs, is_classifier, output_names, read_metadata
from wetread.bundles.manifest import WeightsFile

_MODALITY = {
    **{name: (name,) for name in ("CT", "MR", "PT", "NM", "US", "MG", "CR", "DX", "XA", "RF")},
    **{"MRI": ("MR",), "PET": ("PT",), "ULTRASOUND": ("US",), "MAMMOGRAM": ("MG",), "MAMMOGRAPHY": ("MG",)},
    **dict.fromkeys(("X-RAY", "XRAY", "XR", "CXR", "RADIOGRAPH", "RADIOGRAPHY"), ("CR", "DX")),
}
"""What the metadata of bundles say, and Modality (0008,0060)."""
_STACKS = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose series are stacks of slices, also for a network that takes one slice after the other."""
_FILMS = frozenset({"CR", "DX", "MG", "XA", "RF"})
"""Modalities of single images, whatever the metadata say of the network's shape."""
_FEWEST_SLICES = {3: 10, 2: 2}
"""By the network's spatial dimensions: a 3-D network needs a stack that has a third dimension to speak of."""
_COLOURS = ((230, 60, 60), (60, 200, 90), (70, 120, 240), (240, 190, 60), (170, 90, 210), (60, 200, 210))
_EMPTY_CODE = {"value": "", "scheme": "SCT", "meaning": ""}


def write_template(folder: Path, cache_folder: Path) -> Path:
    """Write ``configs/wetread.template.jsonc``, or leave the one that somebody may already be filling in.

    From the text of the bundle's files alone: nothing is made, so a bundle that needs trusted code gets one too. It
    goes into ``cache_folder`` when the bundle's folder cannot be written.
    Raises: ``BundleInvalid`` when the metadata cannot be read.
    """
    path = folder / "configs" / TEMPLATE_NAME
    if path.exists():
        return path
    text = template(folder)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:  # a read-only bundle folder, or one of somebody else
        cache_folder.mkdir(parents=True, exist_ok=True)
        path = cache_folder / f"{folder.name}.wetread.template.jsonc"
        path.write_text(text, encoding="utf-8")
    return path


def template(folder: Path) -> str:
    """The text: JSON with comment lines. Codes are empty, and ``wetread`` refuses the file until they are not."""
    metadata, weights = read_metadata(folder), guessed_weights(folder)
    blocks = [
        (_HEAD, {"schema_version": 1, "title": str(metadata.get("name") or folder.name)[:60]}),
        (_USE, _use(metadata)),
        (_LICENCE, {"licence": dict.fromkeys(("code", "weights", "training_data"), "unknown")}),
        ((), {"training_data": str(metadata.get("data_source", ""))}),
        (_INPUTS, {"inputs": _inputs(metadata)}),
        (_SCORES, {"scores": _scores(metadata)})
        if is_classifier(metadata)
        else (_LABELS, {"labels": _labels(metadata)}),
        (_PROCEDURE, {"procedure": _EMPTY_CODE}),
        (_PROGRAM if weights.program else _NETWORK, {"weights": [_weights(folder, weights)]}),
        (_RUNTIME, {"runtime": {"network": weights.network}}),
    ]
    parts = []
    for comment, content in blocks:
        lines = json.dumps(content, indent=2, ensure_ascii=False).splitlines()[1:-1]
        parts.append("\n".join([*(f"  // {line}" for line in comment), *lines]))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _use(metadata: dict[str, Any]) -> dict[str, Any]:
    intended = str(metadata.get("intended_use") or metadata.get("description") or "")
    return {"intended_use": intended, "not_for": ["clinical decisions"], "clinical_use": False}


def _inputs(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """One input for each channel: a bundle with four channels wants four series."""
    rules = []
    for key, spec in input_specs(metadata).items():
        count = spec.get("num_channels", 1)
        channels = spec.get("channel_def")
        names = channels if isinstance(channels, dict) else {}
        several = isinstance(count, int) and count > 1
        for channel in range(count if several else 1):
            name = str(names.get(str(channel), f"{key} {channel}")) if several else key
            rules.append({"name": name, "key": key, **_kind(spec), "description_any": []})
    return rules


def _kind(spec: dict[str, Any]) -> dict[str, Any]:
    """Modality, and whether the input is a stack of slices or single images; of a stack, how many at least."""
    given = str(spec.get("modality", ""))
    modality = _MODALITY.get(given.strip().upper(), (given,))
    shape = spec.get("spatial_shape")
    dimensions = len(shape) if isinstance(shape, list) else 3
    if _FILMS.intersection(modality) or (dimensions == 2 and not _STACKS.intersection(modality)):
        return {"kind": "radiograph", "modality": list(modality), "min_instances": 1}
    return {"kind": "volume", "modality": list(modality), "min_instances": _FEWEST_SLICES.get(dimensions, 2)}


def _labels(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    named = {value: name for value, name in output_names(metadata).items() if name.lower() != "background"}
    labels = []
    for number, (value, name) in enumerate(sorted(named.items()), start=1):
        label: dict[str, Any] = {"value": number, "name": name[:64], "role": "anatomy"}
        label |= {"category": _EMPTY_CODE, "type": _EMPTY_CODE}
        label["colour_rgb"] = list(_COLOURS[(number - 1) % len(_COLOURS)])
        if value != number and value > 0:
            label["bundle_value"] = value
        labels.append(label)
    return labels


def _scores(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each output of a classifier, the ones that stand for nothing too: those are deleted by who knows."""
    named = sorted(output_names(metadata).items()) or [(0, "")]
    return [{"index": index, "name": name[:64], "condition": _EMPTY_CODE, "threshold": None} for index, name in named]


def _weights(folder: Path, guessed: WeightsFile) -> dict[str, Any]:
    path = folder / guessed.path
    digest = file_sha256(path) if path.is_file() else ""
    entry = {"path": guessed.path, "network": guessed.network, "sha256": digest}
    return {**entry, "program": True} if guessed.program else entry


_HEAD = (
    "What a clinical system must know and the MONAI schema does not say.",
    "Fill in, save as wetread.json, and run: wetread bundle check. Lines that begin with // may stay.",
    "Title: what a radiologist calls it; it goes into series descriptions.",
)
_USE = ("Whom and what it is for. clinical_use false: results reach a PACS only on a route with research = true.",)
_LICENCE = ("SPDX identifiers; unknown where the publisher does not say.",)
_INPUTS = (
    "Which series feed which input. Inputs with one key are stacked as channels, in this order; inputs with keys of",
    "their own go in separately. description_any holds regular expressions for the series description.",
)
_LABELS = (
    "What each value of the answer means. Codes are left empty on purpose: category from CID 7150 (anatomical",
    "structure, morphologically abnormal structure, ...), type from SNOMED CT. Values count from 1 without gaps;",
    "bundle_value is what the bundle itself writes. The metadata often describe the raw network, not the final answer:",
    'compare. Masks that overlap: "overlapping": true. A classifier has "scores", a detector "boxes", not labels.',
)
_SCORES = (
    "What each output of the classifier means: index counts from 0; condition is the code, e.g. of SNOMED CT, of what",
    "is scored. Delete outputs that nobody reports, such as normal. threshold: present from here upwards; null: the",
    'score is reported and nothing is called. A segmentation has "labels" instead, a detector "boxes".',
)
_PROCEDURE = ("The imaging procedure (not the algorithm), e.g. a LOINC code.",)
_NETWORK = ("sha256 pins the weight file that was checked.",)
_PROGRAM = (
    "sha256 pins the weight file that was checked. program: the config makes no network, so the TorchScript archive is",
    "run as the program it is, which somebody must vouch for.",
)
_RUNTIME = (
    "How the config is driven: config, override (plain values for its ids), drop (transforms not to run), input_key,",
    "output_key, network. The defaults fit most bundles.",
)
