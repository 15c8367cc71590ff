"""Read a JSON document strictly: what is missing or of another type is an error that says where."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from wetread_desktop.client.errors import AnswerInvalid

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class Fields:
    """One JSON object. Keys we do not know are left alone: a newer edge of the same version may add some."""

    def __init__(self, document: object, where: str) -> None:
        """``where``: what this is, for errors. Raises: ``AnswerInvalid`` when it is no object."""
        if not isinstance(document, dict):
            raise AnswerInvalid(f"{where}: expected an object, got {_shown(document)}")
        self._document: dict[str, Any] = document
        self.where = where

    def text(self, key: str, default: str | None = None) -> str:
        """A string. ``default``: what an absent one or null is; none: it must be there."""
        return str(self._typed(key, (str,), "a string", default))

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        return int(self._typed(key, (int,), "a whole number", default))

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = float(self._typed(key, (int, float), "a number", default))
        if not math.isfinite(value):
            raise AnswerInvalid(f"{self.where}: {key!r} is not finite")
        return value

    def number_or_none(self, key: str) -> float | None:
        """A number, or nothing."""
        return None if self._document.get(key) is None else self.number(key)

    def integer_or_none(self, key: str) -> int | None:
        """A whole number, or nothing."""
        return None if self._document.get(key) is None else self.integer(key)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._document.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def time(self, key: str) -> datetime:
        """ISO 8601 with its zone, as UTC."""
        try:
            moment = datetime.fromisoformat(self.text(key))
        except ValueError:
            raise self._wrong(key, "an ISO 8601 time") from None
        if moment.tzinfo is None:
            raise self._wrong(key, "a time with its zone")
        return moment.astimezone(UTC)

    def choice(self, key: str, kind: type[E]) -> E:
        """One of the members of an enumeration."""
        try:
            return kind(self.text(key))
        except ValueError:
            raise self._wrong(key, "one of " + ", ".join(kind)) from None

    def has(self, key: str) -> bool:
        """Whether it is there and not null."""
        return self._document.get(key) is not None

    def inside(self, key: str) -> Fields:
        """An object inside."""
        return Fields(self._document.get(key), f"{self.where}, {key!r}")

    def objects(self, key: str, make: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects, each made into something."""
        return tuple(make(Fields(item, f"{self.where}, {key}[{n}]")) for n, item in enumerate(self._list(key)))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        items = self._list(key)
        if not all(isinstance(item, str) for item in items):
            raise self._wrong(key, "a list of strings")
        return tuple(items)

    def numbers(self, key: str, length: int) -> tuple[float, ...]:
        """A list of so many finite numbers."""
        return number_list(self._document.get(key), length, f"{self.where}, {key!r}")

    def raw(self, key: str) -> Any:
        """Whatever is there."""
        return self._document.get(key)

    def _list(self, key: str) -> list[Any]:
        items = self._document.get(key)
        if not isinstance(items, list):
            raise self._wrong(key, "a list")
        return items

    def _typed(self, key: str, kinds: tuple[type, ...], expected: str, default: object) -> Any:
        value = self._document.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise self._wrong(key, expected)
        return value

    def _wrong(self, key: str, expected: str) -> AnswerInvalid:
        got = _shown(self._document[key]) if key in self._document else "nothing"
        return AnswerInvalid(f"{self.where}: {key!r} should be {expected}, got {got}")


def number_list(value: object, length: int, where: str) -> tuple[float, ...]:
    """So many finite numbers. Raises: ``AnswerInvalid``."""
    good = isinstance(value, list) and len(value) == length
    if not good or not all(type(n) in (int, float) and abs(n) < float("inf") for n in value):  # type: ignore[attr-defined]
        raise AnswerInvalid(f"{where}: expected {length} numbers, got {_shown(value)}")
    return tuple(float(n) for n in value)  # type: ignore[attr-defined]


def parse(body: bytes, where: str) -> object:
    """A JSON body. Raises: ``AnswerInvalid``."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerInvalid(f"{where}: expected JSON, got {len(body)} bytes that are none") from None


def _shown(value: object) -> str:
    """Its kind and not its content: answers are full of patients."""
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")
