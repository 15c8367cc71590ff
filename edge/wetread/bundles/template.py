"""A commented ``wetread.json`` to fill in, from what a bundle's metadata say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wetread.bundles.bundle import TEMPLATE_NAME, file_sha256, inference_config
from wetread.bundles.check import NETWORK_IDS, input_specs, is_classifier, output_names, read_metadata
from wetread.bundles.static_check_files import read_config
from wetread.errors import BundleInvalid

_MODALITY = {"CT": "CT", "MR": "MR", "MRI": "MR", "US": "US", "MAMMOGRAM": "MG", "MG": "MG", "PT": "PT", "PET": "PT"}
_COLOURS = ((230, 60, 60), (60, 200, 90), (70, 120, 240), (240, 190, 60), (170, 90, 210), (60, 200, 210))
_EMPTY_CODE = {"value": "", "scheme": "SCT", "meaning": ""}
_WEIGHTS = ("model.safetensors", "model.pt")


def write_template(folder: Path, cache_folder: Path) -> Path:
    """Write ``configs/wetread.template.jsonc``, or leave the one that somebody may already be filling in.

    From the text of the bundle's files alone: nothing is made, so a bundle that needs trusted code gets one too. It
    goes into ``cache_folder`` when the bundle's folder cannot be written.
    Raises: ``BundleInvalid`` when the metadata cannot be read.
    """
    path = folder / "configs" / TEMPLATE_NAME
    if path.exists():
        return path
    text = template(folder, network=_network(folder))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:  # a read-only bundle folder, or one of somebody else
        cache_folder.mkdir(parents=True, exist_ok=True)
        path = cache_folder / f"{folder.name}.wetread.template.jsonc"
        path.write_text(text, encoding="utf-8")
    return path


def _network(folder: Path) -> str:
    """The usual id of the network that the inference config has."""
    path = inference_config(folder)
    try:
        config = read_config(path) if path.is_file() else {}
    except BundleInvalid:
        config = {}  # the check says what is wrong with it; the rest of the template can be filled in all the same
    return next((name for name in NETWORK_IDS if name in config), NETWORK_IDS[0])


def template(folder: Path, *, network: str) -> str:
    """The text: JSON with comment lines. Codes are empty, and ``wetread`` refuses the file until they are not."""
    metadata = read_metadata(folder)
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
        (_NETWORK, {"weights": _weights(folder, network)}),
        (_RUNTIME, {"runtime": {"network": network}}),
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
        modality = _MODALITY.get(str(spec.get("modality", "")).upper(), str(spec.get("modality", "")))
        count = spec.get("num_channels", 1)
        channels = spec.get("channel_def")
        names = channels if isinstance(channels, dict) else {}
        several = isinstance(count, int) and count > 1
        for channel in range(count if several else 1):
            name = str(names.get(str(channel), f"{key} {channel}")) if several else key
            rule = {"name": name, "key": key, "modality": [modality], "description_any": [], "min_instances": 10}
            rules.append(rule)
    return rules


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


def _weights(folder: Path, network: str) -> list[dict[str, str]]:
    found = [folder / "models" / name for name in _WEIGHTS if (folder / "models" / name).is_file()]
    if not found:
        return [{"path": "models/model.pt", "network": network, "sha256": ""}]
    return [{"path": f"models/{found[0].name}", "network": network, "sha256": file_sha256(found[0])}]


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
_RUNTIME = (
    "How the config is driven: config, override (plain values for its ids), drop (transforms not to run), input_key,",
    "output_key, network. The defaults fit most bundles.",
)
