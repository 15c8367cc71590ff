"""What is wrong with a configuration file, said in its own words: block, name, key, fix."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from wetread.errors import Misconfigured

_LONGEST = 60
"""Characters of a value that are repeated."""


def refuse_what_is_unknown(tree: Mapping[str, Any], kind: type, path: str) -> None:
    """Every key is known and every block is of its form, before values are looked at. Raises: ``Misconfigured``."""
    _look(tree, kind, path, names=(), where="")


def in_words(error: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    """One of pydantic's errors about ``tree``, e.g. ``[[routes]] 't1': mode must be 'off', … or 'live', got 'on'``."""
    where, key = _place(tuple(error["loc"]), tree)
    said = "is missing" if error["type"] == "missing" else f"{_expected(error)}, got {_short(error['input'])}"
    block = f"{where}:" if where.startswith("[[") else where
    return " ".join(part for part in (block, key, said) if part)


def _look(tree: Mapping[str, Any], kind: type, path: str, *, names: tuple[str, ...], where: str) -> None:
    known = {f.name: f for f in dataclasses.fields(kind) if not f.metadata.get("internal")}
    hints = typing.get_type_hints(kind)
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            raise Misconfigured(f"{path}: unknown key {key!r}{f' in {where}' if where else ''}; {hint}")
        inner, several = _settings_class(hints[key])
        if inner is None:
            continue
        inside = (*names, key)
        problem = _wrong_form(".".join(inside), value, inner, several=several)
        if problem:
            raise Misconfigured(f"{path}: {problem}")
        for number, item in enumerate(value if several else [value]):
            _look(item, inner, path, names=inside, where=_block(inside, item, number if several else None))


def _wrong_form(name: str, value: Any, inner: type, *, several: bool) -> str:
    """What is wrong with ``[name]`` or ``[[name]]``, and how it must be written; '' when nothing is."""
    if several and isinstance(value, Mapping):
        return f"[{name}] must be written [[{name}]], with two brackets: there may be several, each its own block"
    if several and not (isinstance(value, list) and all(isinstance(item, Mapping) for item in value)):
        return f"{name} must be blocks that begin with [[{name}]], got {_short(value)}"
    if not several and isinstance(value, list):
        return f"[[{name}]] must be written [{name}], with one bracket: there is only one of it"
    if not several and not isinstance(value, Mapping):
        keys = ", ".join(f.name for f in dataclasses.fields(inner))
        return f"{name} must be a block that begins with [{name}] and has keys ({keys}), got {_short(value)}"
    return ""


def _settings_class(hint: Any) -> tuple[type | None, bool]:
    """The dataclass behind ``X`` or ``tuple[X, ...]``, if there is one, and whether there may be several."""
    several = typing.get_origin(hint) is tuple
    if several or typing.get_origin(hint) is types.UnionType:
        hint = typing.get_args(hint)[0]
    return (hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None), several


def _place(loc: Sequence[str | int], tree: Any) -> tuple[str, str]:
    """The block of a value as it stands in the file (with its name, else its number from 1), and the key in it."""
    names: list[str] = []
    where, at = "", tree
    while len(loc) > 1 and isinstance(at, Mapping):
        names.append(str(loc[0]))
        at, loc = at.get(loc[0]), loc[1:]
        number = None
        if isinstance(at, list) and isinstance(loc[0], int):
            if not isinstance(at[loc[0]], Mapping):  # an entry of a list of values: the key is its own
                return where, f"{names[-1]}, entry {loc[0] + 1},"
            number, at, loc = loc[0], at[loc[0]], loc[1:]
        where = _block(tuple(names), at, number)
    return where, ".".join(map(str, loc))


def _block(names: tuple[str, ...], item: Any, number: int | None) -> str:
    """``[api]``, ``[[routes]] 't1'`` or, without a name, ``[[routes]] number 2``."""
    if number is None:
        return f"[{'.'.join(names)}]"
    called = next((item[key] for key in ("name", "ae_title") if isinstance(item.get(key), str) and item[key]), None)
    return f"[[{'.'.join(names)}]] {f'number {number + 1}' if called is None else repr(called)}"


def _expected(error: Mapping[str, Any]) -> str:
    kind, limits = str(error["type"]), error.get("ctx", {})
    for start, words in _EXPECTED.items():
        if kind.startswith(start):
            return words.format(**limits)
    return f"is not usable ({error['msg']})"


_EXPECTED = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be a number",
    "bool": "must be true or false",
    "string": "must be text in quotation marks",
    "path_type": "must be text in quotation marks",
    "tuple": 'must be a list in brackets, e.g. ["a", "b"]',
    "dict": "must be keys with values, e.g. {{ a = 1 }}",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
}
"""Beginnings of pydantic's types of errors; the first that fits."""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
