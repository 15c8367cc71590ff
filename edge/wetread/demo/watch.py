"""What becomes of studies that a person sends while the demo goes on: one line for each change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wetread.service.overview import Overview

_Line = tuple[str, str, str]
"""What it is about, what is said, and what makes it news again although the words are the same."""


class Watch:
    """Looks at the service's database, as ``wetread studies list`` does."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._said: dict[str, tuple[str, str]] = {}

    def news(self) -> list[str]:
        """What has changed since the last look: states of studies with the reason, and callers that were refused."""
        studies, refusals = reversed(self._overview.studies()), self._overview.refusals()
        return [*self._changed(map(_study, studies)), *self._changed(map(_refusal, refusals))]

    def _changed(self, lines: Iterator[_Line]) -> Iterator[str]:
        for key, text, stamp in lines:
            if self._said.get(key) != (text, stamp):
                self._said[key] = (text, stamp)
                yield text


def _study(study: dict[str, Any]) -> _Line:
    named = f" {study['description']!r}" if study["description"] else ""
    why = f": {study['reason']}" if study["reason"] else ""
    uid = study["study_instance_uid"]
    return uid, f"study {uid}{named}: {study['state']}{why}", ""


def _refusal(refusal: dict[str, Any]) -> _Line:
    hint = f" ({refusal['hint']})" if refusal["hint"] else ""
    text = f"refused {refusal['calling']!r} at {refusal['address']}: {refusal['reason']}{hint}"
    return (
        f"{refusal['calling']}^{refusal['called']}^{refusal['address']}^{refusal['reason']}",
        text,
        refusal["last_at"],
    )
