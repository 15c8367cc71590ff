"""A progress bar for the stages of one read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage_progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Gives a function to be told the stage and the fraction done; draws on stderr, or nothing when ``quiet``."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def tell(stage: str, fraction: float) -> None:
            bar.update(task, description=stage, completed=fraction)

        yield tell
