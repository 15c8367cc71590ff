"""A viewer that draws nothing and remembers all it was asked; its GUI thread is whoever calls ``until``."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wetread_desktop.host import (
    CannotShow,
    Capability,
    HostEvent,
    LabelVolume,
    Legend,
    Mark,
    OverlayLook,
    Place,
    SeriesHandle,
    StudyShown,
)

T = TypeVar("T")


class FakeHost:
    """See ``wetread_desktop.host.ViewerHost``."""

    name = "a viewer"

    def __init__(
        self, *series: SeriesHandle, files: Sequence[Path] = (), run_on_gui: Callable[[Any], None] | None = None
    ) -> None:
        self.series = list(series)
        self.active: SeriesHandle | None = series[0] if series else None
        self.files = tuple(files)
        self.can = frozenset(Capability)
        self.calls: list[tuple[str, Any]] = []
        self.items: dict[str, Any] = {}
        self.looks: dict[str, OverlayLook] = {}
        self.refuses = ""
        self._listeners: list[Callable[[HostEvent], None]] = []
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._run_on_gui = run_on_gui or self._waiting.put

    def capabilities(self) -> frozenset[Capability]:
        return self.can

    def open_series(self) -> tuple[SeriesHandle, ...]:
        return tuple(self.series)

    def active_series(self) -> SeriesHandle | None:
        return self.active

    def source_instances(self, study_instance_uid: str) -> tuple[Path, ...]:
        return self.files

    def open_study(self, study_instance_uid: str) -> None:
        self.calls.append(("open_study", study_instance_uid))

    def add_overlay(self, series: SeriesHandle, labels: LabelVolume, legend: Legend) -> str:
        return self._add("overlay", (series, labels, legend))

    def update_overlay(self, overlay: str, look: OverlayLook) -> None:
        self.looks[overlay] = look

    def add_heatmap(self, series: SeriesHandle, heat: LabelVolume, title: str) -> str:
        return self._add("heatmap", (series, heat, title))

    def add_marks(self, series: SeriesHandle, marks: Sequence[Mark]) -> str:
        return self._add("marks", (series, tuple(marks)))

    def remove(self, item: str) -> None:
        self.items.pop(item, None)

    def goto(self, place: Place) -> None:
        if self.refuses:
            raise CannotShow(self.refuses)
        self.calls.append(("goto", place))

    def set_window(self, center: float, width: float) -> None:
        self.calls.append(("set_window", (center, width)))

    def snapshot(self) -> bytes:
        return b"\x89PNG"

    def on(self, listener: Callable[[HostEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def run_on_gui(self, call: Callable[[], None]) -> None:
        self._run_on_gui(call)

    # --- What a test does ------------------------------------------------------------------------------------------

    def emit(self, event: HostEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    def show(self, series: SeriesHandle | None) -> None:
        """The reader opens another series."""
        if series is not None and series not in self.series:
            self.series.append(series)
        self.active = series
        self.emit(StudyShown(series))

    def until(self, condition: Callable[[], T], *, timeout_s: float = 20.0) -> T:
        """Be the GUI thread until something is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s:g} s")
            try:
                self._waiting.get(timeout=0.05)()
            except queue.Empty:
                continue
        return value

    def shown(self, kind: str) -> list[Any]:
        """What is in the viewer, of one kind."""
        return [what for item, what in self.items.items() if item.startswith(kind)]

    def _add(self, kind: str, what: Any) -> str:
        if self.refuses:
            raise CannotShow(self.refuses)
        item = f"{kind}-{len(self.calls)}"
        self.calls.append((kind, what))
        self.items[item] = what
        return item
