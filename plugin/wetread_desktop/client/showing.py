"""A result on the screen: overlay, marks and heat map in the viewer, and the jump to where a finding is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wetread.records.finding import Evaluation
from wetread_desktop.client.cards import card_of
from wetread_desktop.client.desk import Desk
from wetread_desktop.client.grid import box_corners
from wetread_desktop.client.legend import colours, in_reading_order, tags
from wetread_desktop.client.panel_state import LegendRow, OverlayView
from wetread_desktop.client.results import Found, Result
from wetread_desktop.host import (
    CannotShow,
    Capability,
    LabelVolume,
    Legend,
    LegendEntry,
    Mark,
    OverlayLook,
    Place,
    SeriesHandle,
)


class Showing:
    """What of one result is in the viewer."""

    def __init__(self, desk: Desk, *, seen: Callable[[], None]) -> None:
        """``seen``: called when the reader has looked at another finding."""
        self._desk = desk
        self._result: Result | None = None
        self._labels: LabelVolume | None = None
        self._overlay = self._marks = self._heatmap = ""
        self._tell_seen = seen
        self.seen: set[str] = set()

    def begin(self, result: Result) -> None:
        """Show this result; the label map follows when it has come."""
        self.end()
        self._result, self.seen = result, set()
        self._desk.change(overlay=OverlayView(legend=self._legend(result)))
        self._add_marks(result)
        if result.labels is not None and Capability.OVERLAY in self._desk.state.capabilities:
            self._desk.ask(lambda edge: edge.labels(result), self._labels_came)

    def end(self) -> None:
        """Take everything out of the viewer."""
        for item in filter(None, (self._overlay, self._marks, self._heatmap)):
            self._desk.host.remove(item)
        self._overlay = self._marks = self._heatmap = ""
        self._result = self._labels = None

    def select(self, tracking_uid: str) -> None:
        """Show this finding: it counts as looked at."""
        result = self._result
        if result is None or all(f.tracking_uid != tracking_uid for f in result.findings):
            return
        self.seen.add(tracking_uid)
        self._desk.change(selected=tracking_uid)
        if self._desk.state.overlay.heatmap_of not in ("", tracking_uid):
            self.toggle_heatmap()
        self._tell_seen()
        self.jump()

    def select_label(self, overlay: str, label_value: int) -> None:
        """The reader pointed at a structure in the picture."""
        for finding in self._result.findings if self._result and overlay == self._overlay else ():
            if finding.label_value == label_value:
                self.select(finding.tracking_uid)

    def jump(self) -> None:
        """Show the place of the selected finding in the viewer."""
        place = place_of(self._result, self._desk.state.selected) if self._result else None
        if place is None or Capability.GOTO not in self._desk.state.capabilities:
            return
        try:
            self._desk.host.goto(place)
        except CannotShow as error:
            self._desk.show(card_of(error))

    def look(self, **changes: object) -> None:
        """``visible``, ``opacity`` or ``contour`` of the overlay."""
        self._desk.change(overlay=replace(self._desk.state.overlay, **changes))  # type: ignore[arg-type]
        self._draw()

    def show_class(self, label_value: int, visible: bool) -> None:
        """Draw one class of the overlay, or not."""
        overlay = self._desk.state.overlay
        legend = tuple(replace(r, visible=visible) if r.label_value == label_value else r for r in overlay.legend)
        self._desk.change(overlay=replace(overlay, legend=legend))
        self._draw()

    def only_class(self, label_value: int) -> None:
        """Draw this class alone; again: all of them."""
        overlay = self._desk.state.overlay
        alone = all(r.visible == (r.label_value == label_value) for r in overlay.legend)
        legend = tuple(replace(r, visible=alone or r.label_value == label_value) for r in overlay.legend)
        self._desk.change(overlay=replace(overlay, legend=legend))
        self._draw()

    def recolour(self) -> None:
        """The colours that are set have changed."""
        result, labels = self._result, self._labels
        if result is None:
            return
        shown = {r.label_value: r.visible for r in self._desk.state.overlay.legend}
        legend = tuple(replace(r, visible=shown.get(r.label_value, True)) for r in self._legend(result))
        self._desk.change(overlay=replace(self._desk.state.overlay, legend=legend))
        for item in filter(None, (self._overlay, self._marks)):
            self._desk.host.remove(item)
        self._overlay = self._marks = ""
        self._add_marks(result)
        if labels is not None:
            self._labels_came(labels)

    def toggle_heatmap(self) -> None:
        """Why the selected finding was scored as it was; again: no more."""
        selected, result = self._desk.state.selected, self._result
        shown = self._desk.state.overlay.heatmap_of
        if self._heatmap:
            self._desk.host.remove(self._heatmap)
            self._heatmap = ""
        self._desk.change(overlay=replace(self._desk.state.overlay, heatmap_of=""))
        finding = next((f for f in result.findings if f.tracking_uid == selected), None) if result else None
        if result is None or finding is None or not finding.heatmap or shown == selected:
            return
        if Capability.HEATMAP in self._desk.state.capabilities:
            self._desk.change(overlay=replace(self._desk.state.overlay, heatmap_of=selected))
            self._desk.ask(lambda edge: edge.heatmap(result, selected), lambda heat: self._heat_came(finding, heat))

    def _heat_came(self, finding: Found, heat: LabelVolume) -> None:
        series = self._series()
        if self._desk.state.overlay.heatmap_of != finding.tracking_uid or series is None:
            return
        try:
            self._heatmap = self._desk.host.add_heatmap(series, heat, finding.name)
        except CannotShow as error:
            self._desk.show(card_of(error))

    def _labels_came(self, labels: LabelVolume | None) -> None:
        series = self._series()
        if labels is None or self._result is None:
            return
        self._labels = labels
        if series is None:
            self._desk.show(card_of(CannotShow(say_not_open(self._result))))
            return
        legend = self._desk.state.overlay.legend
        entries = tuple(LegendEntry(r.label_value, f"{r.tag} {r.name}", r.colour_rgb) for r in legend)
        try:
            self._overlay = self._desk.host.add_overlay(series, labels, Legend(entries))
        except CannotShow as error:
            self._desk.show(card_of(error))
            return
        self._draw()

    def _draw(self) -> None:
        if not self._overlay:
            return
        shown = self._desk.state.overlay
        hidden = frozenset(r.label_value for r in shown.legend if not r.visible)
        self._desk.host.update_overlay(self._overlay, OverlayLook(shown.visible, shown.opacity, hidden, shown.contour))

    def _add_marks(self, result: Result) -> None:
        marks = [m for m in (self._mark(result, f) for f in in_reading_order(result.findings)) if m is not None]
        series = self._series()
        if marks and series is not None and Capability.MARKS in self._desk.state.capabilities:
            try:
                self._marks = self._desk.host.add_marks(series, marks)
            except CannotShow as error:
                self._desk.show(card_of(error))

    def _mark(self, result: Result, finding: Found) -> Mark | None:
        place = place_of(result, finding.tracking_uid)
        if finding.box is None or place is None:
            return None
        colour = colours(result.findings, self._desk.settings.colours)[finding.tracking_uid]
        corners = box_corners(result.input.affine, finding.box.centre_mm, finding.box.size_mm)
        tag = tags(result.findings)[finding.tracking_uid]
        return Mark(finding.tracking_uid, f"{tag} {finding.name}", colour, place, corners)

    def _legend(self, result: Result) -> tuple[LegendRow, ...]:
        numbers, paint = tags(result.findings), colours(result.findings, self._desk.settings.colours)
        return tuple(
            LegendRow(f.label_value, numbers[f.tracking_uid], _named(f), paint[f.tracking_uid], visible=True)
            for f in in_reading_order(result.findings)
            if f.label_value is not None and f.evaluation is Evaluation.PRESENT
        )

    def _series(self) -> SeriesHandle | None:
        """The open series that was read, else one on the same frame of reference."""
        if self._result is None:
            return None
        read, opened = self._result.input, self._desk.host.open_series()
        ours = [s for s in opened if s.study_instance_uid == self._result.study_instance_uid]
        for series in ours:
            if series.series_instance_uid == read.series_instance_uid:
                return series
        frame = read.frame_of_reference_uid
        return next((s for s in ours if frame and s.frame_of_reference_uid == frame), None)


def place_of(result: Result, tracking_uid: str) -> Place | None:
    """Where a finding is best seen; none when it is nowhere."""
    finding = result.finding(tracking_uid)
    frame = result.input.frame_of_reference_uid
    if finding.place is not None:
        found = finding.place
        return Place(found.sop_instance_uid, found.slice_number, found.centre_mm, frame)
    if finding.box is not None:
        uids, number = result.input.sop_instance_uids, finding.box.slice_number
        uid = uids[number - 1] if 0 < number <= len(uids) else ""
        return Place(uid, number, finding.box.centre_mm, frame)
    return None


def say_not_open(result: Result) -> str:
    """English, as all of ``CannotShow``."""
    return f"the series that was read ({result.input.series_instance_uid}) is not open"


def _named(finding: Found) -> str:
    return f"{finding.name} ({finding.laterality})" if finding.laterality else finding.name
