"""Small bundles for tests: ``metadata.json``, ``inference.json`` and ``wetread.json`` in a folder, without weights."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.installed import Record, write_record


def vouched(bundle: Bundle) -> Bundle:
    """The bundle, trusted as it is now, as ``wetread bundle install --trust-local`` does it."""
    record = Record(
        version=bundle.version,
        digest=bundle.digest(),
        trusted="local",
        by="the tests",
        at=datetime.now(UTC),
        source=str(bundle.folder),
    )
    write_record(bundle.folder, record)
    return bundle


ANATOMY = {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}
ABNORMAL = {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"}
LEFT = {"value": "7771000", "scheme": "SCT", "meaning": "Left"}
RIGHT = {"value": "24028007", "scheme": "SCT", "meaning": "Right"}


def label(value: int, name: str, code: tuple[str, str], **more: Any) -> dict[str, Any]:
    """One label of a manifest, an anatomical structure with an SCT code if ``more`` does not say otherwise."""
    colours = [(230, 60, 60), (60, 200, 90), (70, 120, 240)]
    return {
        "value": value,
        "name": name,
        "role": "anatomy",
        "category": ANATOMY,
        "type": {"value": code[0], "scheme": "SCT", "meaning": code[1]},
        "colour_rgb": colours[(value - 1) % 3],
        **more,
    }


BRAIN = label(1, "Brain", ("12738006", "Brain"), required=True)
LESION = label(1, "Lesion", ("52988006", "Lesion"), role="finding", category=ABNORMAL)
KIDNEYS = (
    label(1, "Left kidney", ("64033007", "Kidney"), laterality=LEFT),
    label(2, "Right kidney", ("64033007", "Kidney"), laterality=RIGHT),
)
THREE = (
    label(1, "Brain", ("12738006", "Brain"), required=True),
    label(2, "Lesion", ("52988006", "Lesion"), role="finding", category=ABNORMAL),
    label(3, "Cerebellum", ("113305005", "Cerebellum")),
)

LUNG = {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}
TUMOUR = (
    label(
        1,
        "Tumour core",
        ("86049000", "Malignant neoplasm, primary (morphologic abnormality)"),
        role="finding",
        category=ABNORMAL,
    ),
    label(2, "Whole tumour", ("108369006", "Neoplasm"), role="finding", category=ABNORMAL),
    label(3, "Enhancing tumour", ("52988006", "Lesion"), role="finding", category=ABNORMAL),
)
"""Structures that lie in one another, as brain tumour models answer."""


def scored(*thresholds: float | None, calibrated: bool = False) -> dict[str, Any]:
    """Top-level keys of a manifest for a classifier of as many conditions as there are thresholds."""
    codes = (("36118008", "Pneumothorax"), ("60046008", "Pleural effusion"), ("233604007", "Pneumonia"))
    rules = [
        {
            "name": meaning,
            "index": index,
            "condition": {"value": value, "scheme": "SCT", "meaning": meaning},
            "threshold": threshold,
            "calibrated": calibrated,
        }
        for index, (threshold, (value, meaning)) in enumerate(zip(thresholds, codes, strict=False))
    ]
    return {"labels": [], "scores": rules}


def boxed(threshold: float = 0.3) -> dict[str, Any]:
    """Top-level keys of a manifest for a detector of nodules and masses."""
    rules = [
        {
            "name": name,
            "label": number,
            "category": ABNORMAL,
            "type": {"value": value, "scheme": "SCT", "meaning": meaning},
            "site": LUNG,
            "colour_rgb": colour,
            "score_threshold": threshold,
        }
        for number, (name, value, meaning, colour) in enumerate(
            (("Nodule", "27925004", "Nodule", (255, 170, 30)), ("Mass", "4147007", "Mass", (60, 200, 230)))
        )
    ]
    return {"labels": [], "boxes": rules}


def manifest(*labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The content of ``wetread.json``; ``more`` replaces top-level keys."""
    return {
        "schema_version": 1,
        "title": "Phantom reader",
        "intended_use": "tests",
        "not_for": ["patients"],
        "clinical_use": False,
        "licence": {"code": "Apache-2.0", "weights": "Apache-2.0", "training_data": "unknown"},
        "training_data": "none",
        "inputs": [{"name": "image", "modality": ["MR", "CT"], "body_part": ["HEAD", "BRAIN"], "min_instances": 2}],
        "patient": {"unknown_age": "accept"},
        "labels": list(labels or (BRAIN,)),
        "procedure": {"value": "816077007", "scheme": "SCT", "meaning": "MRI of brain"},
        "weights": [],
        **more,
    }


def write_bundle(folder: Path, *labels: dict[str, Any], **more: Any) -> Bundle:
    """Write a minimal bundle into ``folder`` and load it."""
    configs = folder / "configs"
    configs.mkdir(parents=True)
    metadata = {"version": "0.1.0", "monai_version": "1.6.1", "task": "phantom", "network_data_format": {}}
    for name, content in (("metadata", metadata), ("inference", {}), ("wetread", manifest(*labels, **more))):
        (configs / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return load_bundle(folder)
