"""Keyed pseudonyms: the same patient is always the same stranger, and without the key nobody knows which."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta

_LONGEST_SHIFT_DAYS = 5 * 365
_OLDEST = 89
"""Years; who is older is 90 (45 CFR 164.514(b)(2)(i)(C))."""


class Pseudonyms:
    """HMAC-SHA256 with the key of one data folder."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def patient(self, patient_id: str) -> str:
        """Patient ID of a stranger. The issuer does not count: two people would become one, never one person two."""
        return f"P{self._digest('patient', patient_id.strip())[:8].hex()}"

    def study(self, study_instance_uid: str) -> str:
        """How the register names a study."""
        return self.uid(study_instance_uid)

    def case(self, job_id: str) -> str:
        """Name of the files of one read."""
        return f"case-{self._digest('case', job_id)[:8].hex()}"

    def uid(self, uid: str) -> str:
        """A UID for a UID, in the form of a UUID-derived one (PS3.5 B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def date(self, date: str, patient_id: str) -> str:
        """A DICOM DA some years earlier, for every date of a patient the same; '' of what is no date."""
        shift = 1 + int.from_bytes(self._digest("days", patient_id.strip())[:4], "big") % _LONGEST_SHIFT_DAYS
        try:
            return (datetime.strptime(date, "%Y%m%d") - timedelta(days=shift)).strftime("%Y%m%d")
        except (ValueError, OverflowError):
            return ""

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "surrogateescape"), "sha256")


def whole_years(age_years: float | None) -> str:
    """An age as it may be told: completed years, 90 for everybody older than 89; '' if not known."""
    return "" if age_years is None else str(min(int(age_years), _OLDEST + 1))
