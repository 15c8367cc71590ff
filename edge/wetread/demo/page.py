"""The page: one HTML file that shows what came back, readable without a network."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from wetread.demo.arrived import KINDS, Arrived
from wetread.demo.figures import Figures, not_read
from wetread.demo.head import NOTICE
from wetread.demo.pictures import Picture, key_slices, planes
from wetread.demo.server import QUIET_S
from wetread.demo.show import unit
from wetread.demo.study import SYNTHETIC, T2

RESULTS = "results"
"""Folder beside the page."""

_FACTS = ("Algorithm Name", "Algorithm Version", "Algorithm Parameters")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    name: str
    code: str
    measurement: str
    value: str
    unit: str
    colour: str
    """CSS colour of its outline."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the timeline, with its place on a scale from 0 to 100."""

    name: str
    seconds: str
    note: str
    start: float
    length: float


def write_page(out: Path, arrived: Arrived, figures: Figures) -> Path:
    """Write ``index.html`` into ``out``, which is made if it is missing, and copies of the result objects beside it.

    The page itself needs no other file; the copies are for other programs.
    """
    copies = _copy_results(arrived, out / RESULTS)
    target = out / "index.html"
    target.write_text(render(arrived, figures, files=copies), encoding="utf-8")
    return target


def _copy_results(arrived: Arrived, folder: Path) -> list[str]:
    """``SEG-1.dcm`` and so on; those of an earlier run are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for earlier in folder.glob(f"{kind}-*.dcm"):
            earlier.unlink()
    counts: Counter[str] = Counter()
    names = []
    for kind, path in arrived.results:
        counts[kind] += 1
        names.append(f"{kind}-{counts[kind]}.dcm")
        shutil.copyfile(path, folder / names[-1])
    return [f"{RESULTS}/{name}" for name in names]


def render(arrived: Arrived, figures: Figures, *, files: Sequence[str] = ()) -> str:
    """The page's text; whatever came from a file is escaped. ``files`` are links."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((resources.files("wetread.demo") / "page.html").read_text(encoding="utf-8"))
    header = _header(arrived)
    return template.render(
        notice=NOTICE,
        synthetic=f"{T2.description}: {SYNTHETIC[T2.number]}",
        study=header,
        rows=_rows(arrived),
        planes=planes(arrived),
        key_slices=key_slices(arrived),
        bars=_bars(figures),
        figures=figures,
        quiet_s=QUIET_S,
        not_read=not_read(figures.last.verdicts),
        report=arrived.report,
        facts=_facts(arrived),
        files=files,
    )


def _header(arrived: Arrived) -> dict[str, str]:
    volume = arrived.volume
    slices, rows, columns = volume.array.shape
    slice_mm, row_mm, column_mm = volume.spacing_mm
    return {
        "series": volume.series.label,
        "matrix": f"{slices} slices of {rows} × {columns}",
        "spacing": f"{slice_mm:.2f} × {row_mm:.2f} × {column_mm:.2f} mm",
    }


def _rows(arrived: Arrived) -> list[Row]:
    return [
        Row(
            name=finding.name,
            code=f"{finding.type.meaning} ({finding.type.value}, {finding.type.scheme})",
            measurement=m.name.meaning,
            value=f"{m.value:,.1f}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
            unit=unit(m),
            colour="rgb({} {} {})".format(*finding.colour_rgb),
        )
        for finding in arrived.findings
        for m in finding.measurements
    ]


def _bars(figures: Figures) -> list[Bar]:
    whole = max(figures.seconds, 0.1)
    bars, before = [], 0.0
    for step in figures.last.steps:
        at = step.seconds or 0.0
        bars.append(Bar(step.name, f"{at:.1f}", step.note, 100 * before / whole, 100 * max(at - before, 0) / whole))
        before = max(at, before)
    return bars


def _facts(arrived: Arrived) -> list[tuple[str, str]]:
    """What the report itself says about who measured, and with what."""
    return [(name, value) for name in _FACTS for value in arrived.report.values(name)]


__all__ = ["Bar", "Picture", "Row", "render", "write_page"]
