"""Sentences of the panel, in the language that is set: said once in English, translated where they are shown.

A sentence is kept as what it says (:class:`Say`), not as text, so that the language can change while it is on the
screen. Sentences of the edge are text already and are shown as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wetread_desktop.client.po import Entry, read_po

LANGUAGES = {"en": "English", "zh_CN": "中文"}
"""What can be set, each in its own language."""
_FOLDER = Path(__file__).parent / "locale"


@dataclass(frozen=True, slots=True)
class Say:
    """One sentence with what is filled in."""

    text: str
    """English, with ``{names}``; the key of the catalog."""
    plural: str = ""
    """The same for any number but 1; then ``n`` is among ``filled``."""
    filled: tuple[tuple[str, object], ...] = ()
    """Names and values; a value may be a sentence itself."""


Sentence = Say | str


def say(text: str, **filled: object) -> Say:
    """A sentence of ours. The literal is what the catalogs are made from."""
    return Say(text, "", tuple(filled.items()))


def say_n(one: str, many: str, n: int, **filled: object) -> Say:
    """A sentence about ``n`` things."""
    return Say(one, many, (("n", n), *filled.items()))


class Catalog:
    """All sentences in one language."""

    def __init__(self, language: str, entries: Mapping[str, Entry]) -> None:
        """``entries``: by English sentence; what is not in it stays English."""
        self.language = language
        self._entries = entries

    def __call__(self, sentence: Sentence) -> str:
        """The sentence as it is shown."""
        if isinstance(sentence, str):
            return sentence
        filled = {name: self(v) if isinstance(v, Say) else v for name, v in sentence.filled}
        return self._pattern(sentence, filled.get("n")).format_map(filled)

    def _pattern(self, sentence: Say, n: object) -> str:
        entry = self._entries.get(sentence.text)
        if entry is not None:
            return entry.text  # Chinese has no plural form
        return sentence.plural if sentence.plural and n != 1 else sentence.text


def catalog(language: str) -> Catalog:
    """Sentences in ``language``: one of ``LANGUAGES``, or a locale such as ``zh_TW.UTF-8``; English for all others."""
    known = "zh_CN" if language.lower().startswith("zh") else "en"
    path = _FOLDER / f"{known}.po"
    entries = {} if known == "en" else {e.source: e for e in read_po(path.read_text(encoding="utf-8"))}
    return Catalog(known, entries)
