"""How the ``wetread bundle`` commands show what they found: for people at 80 columns, or as JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_WIDEST = 100


def show(report: Mapping[str, Any], *, as_json: bool) -> None:
    """One report: JSON, or ``name  value`` lines, lists with a dash for each entry, nothing for what is empty."""
    if as_json:
        from wetread.cli.table import print_json

        print_json(dict(report))
        return
    width = max(len(name) for name in report)
    for name, value in report.items():
        for number, line in enumerate(_lines(value, _columns() - width - 2)):
            print(f"{name.replace('_', ' ') if number == 0 else '':<{width}}  {line}")


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, title: str) -> None:
    """A table with the given columns (key: heading); it folds long cells."""
    from wetread.cli.table import print_table

    print_table(title, list(columns.values()), ([row.get(key, "") for key in columns] for row in rows))


def _lines(value: object, width: int) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [line for item in value for line in _wrapped(str(item), width, first="- ")]
    if value is None or value == "":
        return []
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return _wrapped(str(value), width, first="")


def _wrapped(text: str, width: int, *, first: str) -> list[str]:
    wrapper = textwrap.TextWrapper(max(width, 20), initial_indent=first, subsequent_indent=" " * len(first))
    wrapper.break_long_words = wrapper.break_on_hyphens = False  # paths and digests stay whole, to be copied
    return wrapper.wrap(text) or [first]


def _columns() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST)
