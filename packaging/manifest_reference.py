"""Write the JSON Schema of ``configs/wetread.json`` and its reference in BUNDLES.md, from the classes that read it.

python packaging/manifest_reference.py          rewrite both
python packaging/manifest_reference.py --check  exit code 1 when one of them is not what the code says
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wetread.bundles.manifest import Manifest

DOCS = Path(__file__).parent / "docs"
SCHEMA_FILE, PAGE = DOCS / "wetread.schema.json", DOCS / "BUNDLES.md"
BEGIN, END = "<!-- keys of wetread.json: packaging/manifest_reference.py -->\n", "<!-- end of the keys -->\n"

Schema = dict[str, Any]
_BEYOND = (
    "The reader checks what this schema cannot say: labels count from 1 without gaps, names of inputs differ, a golden "
    "case has a file for each input and for each overlapping label, regular expressions are Python's, values of "
    "runtime.override do not begin with $, @ or %. In the file, lines that begin with // are comments."
)


def schema() -> Schema:
    """JSON Schema (draft 2020-12) of the file; every key has a description."""
    made = _plain(Manifest.model_json_schema())
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://wetread.invalid/wetread.schema.json",
        "title": "configs/wetread.json of a bundle",
        "description": _BEYOND,
    }
    return {**head, **{key: value for key, value in made.items() if key not in head}}


def _plain(value: Any) -> Any:
    """Without the titles that only repeat a key, with descriptions on one line and Markdown's backticks."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: re.sub(r"\s+", " ", item).replace("``", "`")
        if key == "description" and isinstance(item, str)
        else _plain(item)
        for key, item in value.items()
        if not (key == "title" and isinstance(item, str))
    }


def reference(described: Schema) -> str:
    """One table for each object, in Markdown; objects in the order in which they are met."""
    places = _places(described)
    parts = [_table(described)]
    for name, paths in places.items():
        content = described["$defs"][name]
        where = ", ".join(f"`{path}`" for path in paths)
        parts.append(
            f"### {name if len(paths) > 1 else f'`{paths[0]}`'}\n\n{_about(content, where if len(paths) > 1 else '')}\n"
        )
        parts.append(_table(_object(content)))
    return "\n".join(parts)


def _about(content: Schema, where: str) -> str:
    return str(content["description"]) + (f" Used by {where}." if where else "")


def _object(content: Schema) -> Schema:
    """Of a schema that also allows a shorter form, the long one."""
    return next((one for one in content.get("anyOf", ()) if "properties" in one), content)


def _places(described: Schema) -> dict[str, list[str]]:
    """Each object of ``$defs`` with the keys that hold one, e.g. ``inputs[].slice_spacing_mm``."""
    found: dict[str, list[str]] = {}
    waiting: list[tuple[str, Schema]] = [("", described)]
    while waiting:
        path, content = waiting.pop(0)
        for key, field in _object(content).get("properties", {}).items():
            for name, several in _referred(field, several=False):
                place = f"{path}{key}{'[]' if several else ''}"
                if name not in found:
                    waiting.append((f"{place}.", described["$defs"][name]))
                found.setdefault(name, []).append(place)
    return found


def _referred(field: Schema, *, several: bool) -> Iterator[tuple[str, bool]]:
    if "$ref" in field:
        yield _name(field), several
    for one in field.get("anyOf", ()):
        yield from _referred(one, several=several)
    if isinstance(field.get("items"), dict):
        yield from _referred(field["items"], several=True)


def _name(field: Schema) -> str:
    return str(field["$ref"]).rpartition("/")[2]


def _table(content: Schema) -> str:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in content["properties"].items():
        default = "**required**" if key in content.get("required", ()) else _default(field.get("default"))
        lines.append(f"| `{key}` | {_words(field)} | {default} | {field['description']} |")
    return "\n".join([*lines, ""])


def _default(value: object) -> str:
    """Nothing for what is empty, null or an object whose own table says it."""
    return (
        "" if value in (None, "", [], {}) or isinstance(value, dict) else f"`{json.dumps(value, ensure_ascii=False)}`"
    )


def _words(field: Schema) -> str:
    """What a value looks like, for a person."""
    if "$ref" in field:
        return _name(field)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_words(one) for one in field["anyOf"]))
    if "const" in field or "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "array":
        return _list_words(field)
    if kind == "object":
        return f"object of {_words(field['additionalProperties'])}"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "null",
    }
    return words[str(kind)] + _bounds(field)


def _list_words(field: Schema) -> str:
    if "prefixItems" in field:
        return f"{len(field['prefixItems'])} × {_words(field['prefixItems'][0])}"
    return f"list of {_words(field['items'])}" + (", at least one" if field.get("minItems") else "")


def _bounds(field: Schema) -> str:
    if "minimum" in field:
        return f" {field['minimum']:g} to {field['maximum']:g}" if "maximum" in field else f" from {field['minimum']:g}"
    return f", at most {field['maxLength']} characters" if "maxLength" in field else ""


def page(text: str, described: Schema) -> str:
    """The page with its reference replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference(described)}\n{END}{after}"


def main() -> int:
    """Compare or rewrite."""
    described = schema()
    wanted = {
        SCHEMA_FILE: json.dumps(described, indent=2, ensure_ascii=False) + "\n",
        PAGE: page(PAGE.read_text(encoding="utf-8"), described),
    }
    if "--check" in sys.argv:
        return int(any(not path.is_file() or path.read_text(encoding="utf-8") != text for path, text in wanted.items()))
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
