"""What the demo prints: sentences, progress bars, the live timeline, tables. Nothing with ``--json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from wetread.demo.timeline import Snapshot, Step
    from wetread.records.finding import Finding

Tell = Callable[[str, float], None]

STEPS = ("received", "complete", "routed", "claimed", "read", "encoded", "delivered")


class Screen:
    """The terminal."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console

        self.console: Console = Console(quiet=quiet, highlight=False)

    def title(self, text: str) -> None:
        """A heading."""
        self.console.print()
        self.console.rule(text, align="left", style="cyan")

    def say(self, text: str, *, style: str = "") -> None:
        """A sentence; nothing in it is taken for markup."""
        self.console.print(text, style=style, markup=False)

    @contextmanager
    def bar(self, what: str, total: float = 1.0) -> Iterator[Tell]:
        """A progress bar; the function given is told what is done now and how much is done in all."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.description}", markup=False)
        columns = (text, BarColumn(), TimeElapsedColumn())
        hidden = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as progress:
            task = progress.add_task(what, total=total)
            yield lambda now, done: progress.update(task, description=now, completed=done)

    @contextmanager
    def timeline(self) -> Iterator[Callable[[Snapshot], None]]:
        """The live timeline; the function given draws it anew."""
        from rich.live import Live

        with Live(console=self.console, auto_refresh=False) as live:
            yield lambda snapshot: live.update(_timeline(snapshot), refresh=True)
        self.console.print()

    def findings(self, findings: Sequence[Finding]) -> None:
        """The measurements, with the code of what was measured."""
        from rich.table import Table

        table = Table(title="AI RESULT, NOT REVIEWED", title_justify="left")
        for name in ("structure", "code", "measurement", "value", "unit"):
            table.add_column(name, justify="right" if name == "value" else "left")
        for finding in findings:
            for m in finding.measurements:
                value = f"{m.value:.1f}"
                table.add_row(
                    finding.name, f"{finding.type.value} {finding.type.scheme}", m.name.meaning, value, unit(m)
                )
        self.console.print(table)


def unit(measurement: object) -> str:
    """The unit as people write it: mL for UCUM's ``ml``."""
    value = str(getattr(getattr(measurement, "unit", None), "value", ""))
    return {"ml": "mL"}.get(value, value)


def _timeline(snapshot: Snapshot) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Timeline: seconds since the last instance was stored", title_justify="left")
    table.add_column("step", min_width=10)
    table.add_column("seconds", justify="right", min_width=8)
    table.add_column("what", overflow="fold", min_width=40)
    steps = {step.name: step for step in snapshot.steps}
    current = next((name for name in STEPS if name not in steps or steps[name].seconds is None), "")
    for name in STEPS:
        step = steps.get(name)
        table.add_row(Text(name, style=_style(step, name == current)), _seconds(step), Text(step.note if step else ""))
    return table


def _seconds(step: Step | None) -> str:
    return f"{step.seconds:.1f}" if step is not None and step.seconds is not None else ""


def _style(step: Step | None, is_current: bool) -> str:
    if step is not None and step.seconds is not None:
        return "green"
    return "bold yellow" if is_current else "dim"
