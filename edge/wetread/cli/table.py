"""Print rows: blocks and tables that fit 80 columns for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

_WIDTH = 79
_REASON = 60
"""Characters of a reason in a line with other things."""


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    json.dump(document, sys.stdout, ensure_ascii=False, indent=2, default=str)
    print()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; markup in the data is shown, never interpreted."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if v is None else str(v)) for v in row))
    Console().print(table)


def print_block(heads: Sequence[object], *lines: object) -> None:
    """One entry of a list: a line of short facts, then whole lines (identifiers, reasons) indented below."""
    print(_wrapped("  ".join(str(h) for h in heads if h not in (None, ""))))
    for line in lines:
        if line:
            print(_wrapped(str(line), first="    "))


def _wrapped(text: str, *, first: str = "") -> str:
    """Text in lines of 79 columns; identifiers stay whole, so that they can be copied."""
    return textwrap.fill(
        text, _WIDTH, initial_indent=first, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def short_reason(reason: str) -> str:
    """The first clause of a reason, for a line among others; the whole stands in ``--json`` and where one thing is
    shown."""
    first = re.split(r"[;:] ", reason, maxsplit=1)[0]
    return first if len(first) <= _REASON else f"{first[: _REASON - 1].rstrip()}…"


def short_time(iso: str) -> str:
    """``2026-11-22 14:04:46+01:00`` of an ISO 8601 time: in the zone of this machine, which it says. '' stays ''."""
    return datetime.fromisoformat(iso).astimezone().isoformat(sep=" ", timespec="seconds") if iso else ""


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """``name: value`` lines; what is empty is left out, what ends in ``_at`` is a time."""
    readable = {k: short_time(v) if k.endswith("_at") and v else v for k, v in pairs.items()}
    shown = {k.replace("_", " "): v for k, v in readable.items() if v not in (None, "")}
    width = max((len(k) for k in shown), default=0)
    for name, value in shown.items():
        text = "yes" if value is True else "no" if value is False else str(value)
        print(_wrapped(f"{name:<{width}}  {text}"))
