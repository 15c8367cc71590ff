"""Print rows: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


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
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if v is None else str(v)) for v in row))
    Console().print(table)


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """``name: value`` lines."""
    width = max((len(k) for k in pairs), default=0)
    for name, value in pairs.items():
        print(f"{name:<{width}}  {value}")
