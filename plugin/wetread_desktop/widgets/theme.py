"""Light and dark: every pair of colours that carries text has a contrast of at least 4.5:1 (WCAG 2.2, 1.4.3), borders
and symbols 3:1 (1.4.11). A test computes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from string import Template

from wetread_desktop.client.settings import Theme


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as ``#rrggbb``."""

    name: str
    """``light`` or ``dark``."""

    ground: str
    raised: str
    """Of lists and fields."""
    text: str
    muted: str
    border: str
    accent: str
    on_accent: str
    accepted: str
    rejected: str
    selected: str
    on_selected: str
    warning: str
    on_warning: str
    error: str
    on_error: str


LIGHT = Palette(
    name="light",
    ground="#f3f5f7",
    raised="#ffffff",
    text="#1b1f24",
    muted="#4d5661",
    border="#7a838c",
    accent="#0b57d0",
    on_accent="#ffffff",
    accepted="#0f6a2b",
    rejected="#b3261e",
    selected="#cfe1ff",
    on_selected="#0a1f44",
    warning="#ffefb8",
    on_warning="#463500",
    error="#fde3e0",
    on_error="#6f1710",
)
DARK = Palette(
    name="dark",
    ground="#1b1e23",
    raised="#24282e",
    text="#e6e8eb",
    muted="#b0b8c1",
    border="#7f8892",
    accent="#8ab4f8",
    on_accent="#0b1f3a",
    accepted="#7ee2a0",
    rejected="#ffa198",
    selected="#2c4a78",
    on_selected="#ffffff",
    warning="#4a3b00",
    on_warning="#ffe9a8",
    error="#5a1d18",
    on_error="#ffdcd8",
)


def _icon(name: str, p: Palette) -> str:
    """A picture of ours, as Qt wants its path on every system."""
    return (Path(__file__).parent / "icons" / f"{name}-{p.name}.svg").as_posix()


def palette_of(theme: Theme, *, system_is_dark: bool) -> Palette:
    """The colours that are set, or those that go with the window round the panel."""
    dark = theme is Theme.DARK or (theme is Theme.SYSTEM and system_is_dark)
    return DARK if dark else LIGHT


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 to 1."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def ink_on(red: int, green: int, blue: int) -> str:
    """Black or white, whichever is easier to read on this colour."""
    return "#000000" if luminance(f"#{red:02x}{green:02x}{blue:02x}") > 0.179 else "#ffffff"


def style_sheet(p: Palette) -> str:
    """``panel.qss`` in these colours."""
    icons = {name: _icon(name, p) for name in ("down", "tick")}
    return _sheet().substitute(asdict(p), **icons)


@cache
def _sheet() -> Template:
    return Template((Path(__file__).parent / "panel.qss").read_text(encoding="utf-8"))
