"""Names, dates, numbers and units as a reader reads them."""

from __future__ import annotations

from datetime import date, datetime

from wetread_desktop.client.results import Measured

_UNITS = {"mm2": "mm²", "mm3": "mm³", "cm2": "cm²", "cm3": "cm³", "1": "", "{ratio}": "", "[hnsf'U]": "HU"}
"""How UCUM codes are written in a report."""


def person_name(name: str) -> str:
    """DICOM PN (PS3.5 6.2.1) for reading: the ideographic form where there is one, and the alphabetic one."""
    groups = [_components(group) for group in name.split("=")]
    alphabetic = ", ".join(filter(None, (groups[0][0], " ".join(groups[0][1:]))))
    ideographic = "".join(groups[1]) if len(groups) > 1 else ""
    if ideographic and alphabetic:
        return f"{ideographic} ({alphabetic})"
    return ideographic or alphabetic


def _components(group: str) -> list[str]:
    """Family, given, middle name; then prefix and suffix."""
    family, *others = (part.strip() for part in group.split("^"))
    return [family, *(part for part in others if part)]


def shown_date(da: str) -> str:
    """DICOM DA as ``1950-03-04``; what is no date stays as it is."""
    moment = _date(da)
    return moment.isoformat() if moment else da


def age_years(birth_date: str, on: str) -> int | None:
    """Completed years on a day, both DICOM DA."""
    born, then = _date(birth_date), _date(on)
    if born is None or then is None or then < born:
        return None
    return then.year - born.year - ((then.month, then.day) < (born.month, born.day))


def clock_time(iso: str) -> str:
    """``2026-11-22 07:42`` of an ISO 8601 time, in the zone of this machine; the day is left out if it is today."""
    try:
        moment = datetime.fromisoformat(iso).astimezone()
    except ValueError:
        return iso
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M") if today else moment.strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """``0:42``, ``12:05``, ``1:02:03``."""
    whole = max(round(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def quantity(measured: Measured) -> str:
    """``1432 mL``, ``12.4 mm``, ``0.83``. Volumes above 0.1 mL are said in millilitres."""
    value, unit = measured.value, measured.unit
    if unit in ("mm3", "cm3", "ml", "mL"):
        millilitres = value / 1000 if unit == "mm3" else value
        value, unit = (millilitres, "mL") if abs(millilitres) >= 0.1 else (millilitres * 1000, "mm3")
    return f"{_number(value)} {_UNITS.get(unit, unit)}".strip()


def _number(value: float) -> str:
    """Three significant digits, and no fewer than the whole number has."""
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 or size == 0 else f"{value:.2g}"


def _date(da: str) -> date | None:
    try:
        return datetime.strptime(da, "%Y%m%d").date()
    except ValueError:
        return None
