"""Read gettext catalogs as translators write them (``.po``), so that nothing has to be compiled.

The part of the format that we use: comments, ``msgid``, ``msgid_plural``, ``msgstr``, ``msgstr[0]``, strings over
several lines. https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_LINE = re.compile(r'(?:(?P<keyword>msgid|msgid_plural|msgstr|msgstr\[0\])\s+)?(?P<string>".*")')


@dataclass(frozen=True, slots=True)
class Entry:
    """One sentence and its translation."""

    source: str
    plural: str
    text: str


class CatalogInvalid(Exception):
    """A catalog that is not one; the message names the line."""


def read_po(text: str) -> list[Entry]:
    """All translated entries but the header. Raises: ``CatalogInvalid``."""
    entries: list[Entry] = []
    parts: dict[str, str] = {}
    keyword = ""
    for number, line in enumerate((*text.splitlines(), ""), start=1):
        if not line.strip() or line.startswith("#"):
            _finish(parts, entries)
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise CatalogInvalid(f"line {number} is no line of a catalog: {line!r}")
        if match["keyword"]:
            keyword = match["keyword"]
            if keyword == "msgid":
                _finish(parts, entries)
        try:
            parts[keyword] = parts.get(keyword, "") + json.loads(match["string"])
        except ValueError:
            raise CatalogInvalid(f"line {number} holds no string: {line!r}") from None
    return entries


def _finish(parts: dict[str, str], entries: list[Entry]) -> None:
    """Take down what was collected, and begin anew."""
    translated = parts.get("msgstr") or parts.get("msgstr[0]") or ""
    if parts.get("msgid") and translated:
        entries.append(Entry(parts["msgid"], parts.get("msgid_plural", ""), translated))
    parts.clear()
