"""What the parts of ``wetread.json`` share: refusing unknown keys, regular expressions, codes, ranges."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from wetread.records.coded import CodedTerm


class Strict(BaseModel):
    """One object of ``wetread.json``. The text below a field is what schema and reference page say about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"{pattern!r} is no regular expression: {exc}") from exc
    return pattern


def _bare_too(schema: dict[str, Any]) -> None:
    """In the JSON Schema: the object, or the expression alone."""
    whole = dict(schema)
    schema.clear()
    schema |= {"title": whole.pop("title"), "description": whole.pop("description")}
    schema["anyOf"] = [{"type": "string", "format": "regex"}, whole]


class Pattern(Strict):
    """A regular expression with the words a person is told; in JSON also the bare expression."""

    model_config = ConfigDict(json_schema_extra=_bare_too)

    pattern: Annotated[str, AfterValidator(_compiles), Field(json_schema_extra={"format": "regex"})]
    """Python syntax, searched anywhere in the text without regard to case."""
    means: str
    """What a match says, e.g. ``T2-weighted``: it stands in the reason why a series was taken or passed over."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: object) -> object:
        return {"pattern": given, "means": given} if isinstance(given, str) else given

    def found_in(self, text: str) -> bool:
        """Whether ``text`` matches."""
        return re.search(self.pattern, text, re.IGNORECASE) is not None


class Code(Strict):
    """A coded term (PS3.3 8.8)."""

    value: str = Field(min_length=1, max_length=16)
    """The code, e.g. ``64033007``."""
    scheme: str = Field(min_length=1, max_length=16)
    """Coding Scheme Designator (PS3.16 8.2): ``SCT``, ``DCM``, ``LN``, ``RADLEX``, ``UCUM``, ..."""
    meaning: str = Field(min_length=1, max_length=64)
    """The code's own words in that scheme, e.g. ``Kidney``."""

    def term(self) -> CodedTerm:
        """The record the other stages use."""
        return CodedTerm(self.value, self.scheme, self.meaning)


class Range(Strict):
    """A closed interval; ``null`` leaves that side open."""

    min: float | None = None
    """The least value that is accepted."""
    max: float | None = None
    """The greatest value that is accepted."""

    @model_validator(mode="after")
    def _holds_something(self) -> Range:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"nothing is at least {self.min:g} and at most {self.max:g}")
        return self

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies inside, both ends included."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        if self.min is None:
            return f"at most {self.max:g}" if self.max is not None else "any"
        return f"at least {self.min:g}" if self.max is None else f"{self.min:g} to {self.max:g}"
