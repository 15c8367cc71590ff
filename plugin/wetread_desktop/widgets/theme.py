"""Light and dark: every pair of colours that carries text has a contrast of at least 4.5:1 (WCAG 2.2, 1.4.3), borders
and symbols 3:1 (1.4.11). A test computes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
    """For the panel and its dialogs alone: the window round it keeps its own."""
    return f"""
#wetread, #wetread QWidget {{ background: {p.ground}; color: {p.text}; }}
#wetread QLabel[role="name"] {{ font-size: 15pt; font-weight: 600; }}
#wetread QLabel[role="muted"] {{ color: {p.muted}; }}
#wetread QLabel[role="heading"] {{ color: {p.muted}; font-weight: 600; }}
#wetread QFrame[role="bar"] {{ background: {p.raised}; border: 1px solid {p.border}; border-radius: 6px; }}
#wetread QFrame[role="bar"] QLabel {{ background: {p.raised}; border: none; }}
#wetread QFrame[role="warning"] {{ background: {p.warning}; border: 1px solid {p.border}; border-radius: 6px; }}
#wetread QFrame[role="warning"] QLabel {{ background: {p.warning}; color: {p.on_warning}; border: none; }}
#wetread QFrame[role="error"] {{ background: {p.error}; border: 1px solid {p.border}; border-radius: 6px; }}
#wetread QFrame[role="error"] QLabel {{ background: {p.error}; color: {p.on_error}; border: none; }}
#wetread QPushButton {{ background: {p.raised}; color: {p.text}; border: 1px solid {p.border}; border-radius: 5px;
  padding: 5px 12px; min-height: 18px; }}
#wetread QPushButton:hover {{ border-color: {p.accent}; }}
#wetread QPushButton:disabled {{ color: {p.muted}; background: {p.ground}; }}
#wetread QPushButton[role="primary"]:enabled {{ background: {p.accent}; color: {p.on_accent}; border-color: {p.accent};
  font-weight: 600; }}
#wetread QPushButton:focus, #wetread QListView:focus, #wetread QComboBox:focus, #wetread QLineEdit:focus,
#wetread QSlider:focus, #wetread QCheckBox:focus {{ border: 2px solid {p.accent}; }}
#wetread QPushButton[role="primary"]:focus {{ border: 2px solid {p.text}; }}
#wetread QListView, #wetread QLineEdit, #wetread QComboBox, #wetread QPlainTextEdit {{ background: {p.raised};
  color: {p.text}; border: 1px solid {p.border}; border-radius: 5px; padding: 2px;
  selection-background-color: {p.selected}; selection-color: {p.on_selected}; }}
#wetread QComboBox {{ padding: 4px 8px; }}
#wetread QComboBox::drop-down {{ border: none; width: 24px; }}
#wetread QComboBox::down-arrow {{ image: url("{_icon("down", p)}"); width: 12px; height: 12px; }}
#wetread QListView::indicator, #wetread QCheckBox::indicator {{ width: 15px; height: 15px; border: 1px solid {p.border};
  border-radius: 3px; background: {p.raised}; }}
#wetread QListView::indicator:checked, #wetread QCheckBox::indicator:checked {{ background: {p.accent};
  border-color: {p.accent}; image: url("{_icon("tick", p)}"); }}
#wetread QSlider {{ min-height: 22px; }}
#wetread QSlider::groove:horizontal {{ height: 4px; background: {p.border}; border-radius: 2px; }}
#wetread QSlider::sub-page:horizontal {{ background: {p.accent}; border-radius: 2px; }}
#wetread QSlider::handle:horizontal {{ width: 14px; margin: -6px 0; background: {p.raised};
  border: 2px solid {p.accent}; border-radius: 8px; }}
#wetread QScrollBar:vertical {{ width: 12px; background: {p.raised}; }}
#wetread QScrollBar::handle:vertical {{ background: {p.border}; border-radius: 4px; min-height: 24px; margin: 2px; }}
#wetread QScrollBar::add-line, #wetread QScrollBar::sub-line {{ height: 0; }}
#wetread QComboBox QAbstractItemView {{ background: {p.raised}; color: {p.text}; }}
#wetread QProgressBar {{ background: {p.raised}; color: {p.text}; border: 1px solid {p.border}; border-radius: 5px;
  min-height: 16px; text-align: center; }}
#wetread QProgressBar::chunk {{ background: {p.selected}; border-radius: 4px; }}
#wetread QListView::item:selected {{ background: {p.selected}; color: {p.on_selected}; }}
#wetread QToolTip {{ background: {p.raised}; color: {p.text}; border: 1px solid {p.border}; }}
"""
