"""Every sentence of the panel in every language."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from wetread_desktop.client import words
from wetread_desktop.client.po import CatalogInvalid, Entry, read_po
from wetread_desktop.client.words import catalog, say, say_n
from wetread_desktop.images.shades import CT_PRESETS

PLUGIN = Path(words.__file__).parents[1]
CATALOG = Path(words.__file__).parent / "locale" / "zh_CN.po"


def said() -> Iterator[tuple[str, str, str]]:
    """File, sentence and plural of every call of ``say`` and ``say_n``."""
    for path in sorted(PLUGIN.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "say_n")
            if named and ast.unparse(node.args[0]) != "name":  # type: ignore[attr-defined]
                sentence = ast.literal_eval(node.args[0])
                plural = ast.literal_eval(node.args[1]) if node.func.id == "say_n" else ""  # type: ignore[attr-defined]
                yield path.name, sentence, plural
    for name, _ in CT_PRESETS:  # said as ``say(name)``
        yield "shades.py", name, ""


def entries() -> dict[str, Entry]:
    return {e.source: e for e in read_po(CATALOG.read_text(encoding="utf-8"))}


def test_every_sentence_is_a_literal_and_has_a_translation() -> None:
    found = list(said())
    assert len(found) > 80
    translated = entries()
    assert [(file, text) for file, text, _ in found if text not in translated] == []
    assert [text for _, text, plural in found if translated[text].plural != plural] == []


def test_no_translation_is_left_of_a_sentence_that_is_not_said_any_more() -> None:
    known = {text for _, text, _ in said()}
    assert [source for source in entries() if source not in known] == []


def test_translations_fill_in_the_same_names() -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert [e.source for e in entries().values() if names(e.source) != names(e.text)] == []


def test_translations_are_chinese() -> None:
    assert [e.source for e in entries().values() if not any("\u4e00" <= c <= "\u9fff" for c in e.text)] == []


def test_sentence_is_said_in_the_language_that_is_set_also_inside_another() -> None:
    chinese, english = catalog("zh_TW.UTF-8"), catalog("de_DE")
    inside = say("The edge refuses: {why}", why=say("slice {number}", number=7))
    assert (english(inside), chinese(inside)) == ("The edge refuses: slice 7", "边缘主机拒绝：第 7 层")
    one = say_n("{n} read before this one", "{n} reads before this one", 1)
    many = say_n("{n} read before this one", "{n} reads before this one", 3)
    assert (english(one), english(many)) == ("1 read before this one", "3 reads before this one")
    assert chinese(many) == "前面还有 3 项判读"


def test_sentence_of_the_edge_is_shown_as_it_came() -> None:
    assert catalog("zh")("slice {7} is missing") == "slice {7} is missing"


def test_broken_catalog_names_its_line() -> None:
    with pytest.raises(CatalogInvalid, match="line 2"):
        read_po('msgid "a"\nmsgstr b\n')
