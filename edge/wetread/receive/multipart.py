"""multipart/related as it streams in (RFC 2387, PS3.18 8.6.1.2): one part in memory at a time, each with a limit."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

_MAX_HEADER_BYTES = 4096


class MalformedMultipart(Exception):
    """The body is not what its Content-Type says."""


class PartTooLarge(Exception):
    """One part is larger than we take."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body."""

    content_type: str
    """Lower case, without parameters; empty when the part names none."""
    body: bytes
    filename: str = ""
    """Of a form's part, as the sender says it: for messages, never for paths."""


def parameters(content_type: str) -> tuple[str, dict[str, str]]:
    """Media type (lower case) and parameters (lower case names) of a Content-Type header."""
    message = Message()
    message["Content-Type"] = content_type
    found = {name.lower(): value for name, value in (message.get_params(unquote=True) or [])[1:]}
    return message.get_content_type() if "/" in content_type else "", found


class PartReader:
    """Feed it the body in pieces of any size; it gives each part as soon as it is whole."""

    def __init__(self, boundary: str, *, max_part_bytes: int) -> None:
        """Raises: ``MalformedMultipart`` when no body could have such a boundary."""
        self._max_part_bytes = max_part_bytes
        self._whole: list[Part] = []
        self._body = bytearray()
        self._field = self._value = b""
        self._content_type = self._filename = ""
        self._ended = False
        callbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            if not boundary:
                raise MalformedMultipart("the Content-Type names no boundary")
            self._parser = MultipartParser(
                boundary.encode("ascii"),
                callbacks,  # type: ignore[arg-type]
                max_header_size=_MAX_HEADER_BYTES,
            )
        except (FormParserError, UnicodeEncodeError) as exc:
            raise MalformedMultipart("the boundary is not one that RFC 2046 allows") from exc

    def feed(self, piece: bytes) -> list[Part]:
        """Read on. Raises: ``MalformedMultipart``, ``PartTooLarge``."""
        if self._ended:
            return []  # an epilogue, which RFC 2046 5.1.1 lets us ignore
        try:
            self._parser.write(piece)
        except FormParserError as exc:
            raise MalformedMultipart("the body is not multipart with the boundary its Content-Type names") from exc
        whole, self._whole = self._whole, []
        return whole

    def close(self) -> None:
        """The body has ended. Raises: ``MalformedMultipart`` when it should not have."""
        if not self._ended:
            raise MalformedMultipart("the body ends before its closing boundary")

    def _on_part_begin(self) -> None:
        self._body = bytearray()
        self._content_type = self._filename = ""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-type":
            self._content_type = parameters(self._value.decode("latin-1"))[0]
        elif self._field.lower() == b"content-disposition":
            named = parameters("form/" + self._value.decode("utf-8", "replace"))[1]
            self._filename = str(named.get("filename", ""))
        self._field = self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self._body) + end - start > self._max_part_bytes:
            raise PartTooLarge(f"a part is larger than {self._max_part_bytes} bytes")
        self._body += memoryview(data)[start:end]

    def _on_part_end(self) -> None:
        self._whole.append(Part(self._content_type, bytes(self._body), self._filename))
        self._body = bytearray()

    def _on_end(self) -> None:
        self._ended = True
