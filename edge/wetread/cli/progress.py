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
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def tell(stage: str, fraction: float) -> None:
            bar.update(task, description=stage, completed=fraction)

        yield tell
