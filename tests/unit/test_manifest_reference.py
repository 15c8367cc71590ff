"""The JSON Schema and the reference page of ``wetread.json`` say what the reader does."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from bundles import BRAIN, TUMOUR, boxed, label, manifest, scored
from wetread.bundles.manifest import Manifest

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "packaging/docs/wetread.schema.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "packaging/docs/BUNDLES.md").read_text(encoding="utf-8")
SHIPPED = sorted((ROOT / "monai_bundles").glob("*/configs/wetread.json"))
GOOD = {
    "labels": manifest(BRAIN),
    "overlapping": manifest(*TUMOUR, overlapping=True),
    "scores": manifest(**scored(0.5, None)),
    "boxes": manifest(**boxed()),
    "bare pattern": manifest(BRAIN, inputs=[{"name": "image", "modality": ["MR"], "description_any": ["t1"]}]),
}


def problems(content: object) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(content)]


def test_schema_and_reference_are_those_of_the_reader() -> None:
    command = [sys.executable, str(ROOT / "packaging/manifest_reference.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run packaging/manifest_reference.py"


def test_schema_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parents[1].name)
def test_shipped_bundle_is_what_the_schema_says(path: Path) -> None:
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", GOOD)
def test_what_the_reader_takes_the_schema_takes(name: str) -> None:
    content = json.loads(json.dumps(GOOD[name]))
    Manifest.model_validate(content)
    assert problems(content) == []


def _set(path: str, value: object) -> Any:
    def change(content: Any) -> None:
        *way, last = path.split(".")
        for step in way:
            content = content[int(step) if step.isdigit() else step]
        content[last] = value

    return change


BAD: dict[str, Any] = {
    "unknown key": _set("labls", []),
    "unknown key in an input": _set("inputs.0.modalities", ["CT"]),
    "no title": lambda content: content.pop("title"),
    "title too long": _set("title", "x" * 61),
    "empty code": _set("procedure.value", ""),
    "contrast that is no choice": _set("inputs.0.contrast", "maybe"),
    "no modality": _set("inputs.0.modality", []),
    "fewer than one instance": _set("inputs.0.min_instances", 0),
    "label 0": _set("labels.0.value", 0),
    "colour out of range": _set("labels.0.colour_rgb", [0, 0, 256]),
    "colour of two numbers": _set("labels.0.colour_rgb", [0, 0]),
    "labels and scores": _set("scores", scored(0.5)["scores"]),
    "neither labels nor scores": _set("labels", []),
    "another version": _set("schema_version", 2),
    "precision that is none": _set("runtime", {"precision": "int8"}),
    "range with words": _set("inputs.0.slice_spacing_mm", {"min": "thin"}),
    "pattern without words": _set("inputs.0.description_any", [{"pattern": "t1"}]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_reader_refuses_the_schema_refuses(name: str) -> None:
    content = json.loads(json.dumps(manifest(BRAIN)))
    assert problems(content) == []
    BAD[name](content)
    with pytest.raises(ValidationError):
        Manifest.model_validate(content)
    assert problems(content)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("inputs", [{"name": "a", "modality": ["MR"]}, {"name": "a", "modality": ["MR"]}], "inputs: the name 'a'"),
        ("inputs.0.slice_spacing_mm", {"min": 3, "max": 1}, "nothing is at least 3 and at most 1"),
        ("labels", [BRAIN, label(3, "Third", ("1", "x"))], "1 to 2 without gaps"),
        ("runtime", {"override": {"a": "$open('x')"}}, "only plain values are taken"),
        ("inputs.0.description_any", ["("], "unterminated subpattern"),
        ("weights", [{"path": p, "network": "n", "sha256": ""} for p in "ab"], "weights: the network 'n'"),
    ],
)
def test_reader_also_refuses_what_the_schema_cannot_say(path: str, value: object, said: str) -> None:
    content = copy.deepcopy(manifest(BRAIN))
    _set(path, value)(content)
    with pytest.raises(ValidationError, match=re.escape(said)):
        Manifest.model_validate(content)


def _objects(schema: Any, path: str = "wetread.json") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for key, field in schema.get("properties", {}).items():
            yield f"{path}: {key}", field
        for key, value in schema.items():
            yield from _objects(value, key)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value, path)


def test_every_key_has_its_meaning_in_the_schema() -> None:
    described = {name: field.get("description", "") for name, field in _objects({**SCHEMA, "oneOf": []})}
    assert len(described) > 60
    assert [name for name, meaning in described.items() if len(meaning) < 8] == []


EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_page_are_read(number: int) -> None:
    base = manifest(BRAIN, inputs=[{"name": "image", "modality": ["CT"]}])
    content = json.loads(json.dumps(base)) | json.loads(EXAMPLES[number])
    Manifest.model_validate(content)
    assert problems(content) == []
