"""What another program may ask to open, and its checks: the same for the command line, a URL and a running window."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from urllib.parse import parse_qs, urlsplit

SCHEME = "wetread"
VERSION = 1
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_LONGEST_TEXT = 4096
_FROM_URL = {"studyUID": "study_uid", "seriesUID": "series_uid", "accession": "accession"}
"""Names in a URL. A web page may name a study, never a folder of this machine or another edge."""


class OpenInvalid(ValueError):
    """The request makes no sense; the message is a sentence for the person who made it."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Open a study in the window."""

    study_uid: str = ""
    series_uid: str = ""
    accession: str = ""
    folder: str = ""
    """Absolute path of a folder, a zip or a file."""

    def __post_init__(self) -> None:
        """Raises: ``OpenInvalid``."""
        for name, uid in (("study UID", self.study_uid), ("series UID", self.series_uid)):
            if uid and (len(uid) > _LONGEST_UID or not _UID.fullmatch(uid)):
                raise OpenInvalid(f"{uid[:80]!r} is not a {name}: digits and points were expected, at most 64")
        for text in (self.accession, self.folder):
            if len(text) > _LONGEST_TEXT or "\x00" in text:
                raise OpenInvalid("a name is too long or has a zero in it")
        if self.series_uid and not (self.study_uid or self.folder):
            raise OpenInvalid("a series is named without its study")

    @property
    def is_empty(self) -> bool:
        """Only the window is asked for."""
        return not (self.study_uid or self.accession or self.folder)

    def line(self) -> bytes:
        """For the pipe to the window that runs."""
        return json.dumps({"version": VERSION, **asdict(self)}).encode() + b"\n"


def request_of_line(line: bytes) -> OpenRequest:
    """The way back of ``OpenRequest.line``. Raises: ``OpenInvalid``."""
    try:
        document = dict(json.loads(line))
        version = document.pop("version")
    except (ValueError, TypeError, KeyError) as exc:
        raise OpenInvalid("what came through the pipe is not a request") from exc
    if version != VERSION:
        raise OpenInvalid(f"the window that runs speaks version {VERSION}, the one that asks {version}: close it first")
    try:
        return OpenRequest(**document)
    except TypeError as exc:
        raise OpenInvalid("the request has fields that are not known") from exc


def request_of_url(url: str) -> OpenRequest:
    """From ``wetread://open?v=1&studyUID=…&seriesUID=…&accession=…``. Raises: ``OpenInvalid``."""
    parts = urlsplit(url)
    if parts.scheme != SCHEME or (parts.netloc or parts.path.strip("/")) != "open":
        raise OpenInvalid(f"{url[:80]!r} is no address of Wetread: wetread://open?v=1&studyUID=… was expected")
    fields = parse_qs(parts.query)
    if fields.pop("v", ["1"]) != [str(VERSION)]:
        raise OpenInvalid("the address is of another version of Wetread")
    unknown = set(fields) - set(_FROM_URL)
    if unknown or any(len(values) != 1 for values in fields.values()):
        raise OpenInvalid(f"the address may name {', '.join(_FROM_URL)}, each once; it has {', '.join(sorted(fields))}")
    return OpenRequest(**{_FROM_URL[name]: values[0] for name, values in fields.items()})
