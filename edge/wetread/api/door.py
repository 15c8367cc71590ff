"""Before any call: the token, how large and how slow a request may be, and who asks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Header
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wetread import __version__
from wetread.api.problems import problem
from wetread.errors import NotPossible

VERSION = "1"
BASE = "/api/v1"
OPEN = frozenset({f"{BASE}/health"})
"""Answered without a token: no patient data."""
_STREAMED = frozenset({("POST", f"{BASE}/studies")})
"""Bodies that are read as they come, with limits of their own."""
_MAX_BODY_BYTES = 2**20
_PATIENCE_S = 30.0
_LONGEST_PN = 64 * 3 + 2
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = hashlib.sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def versioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"wetread-api", VERSION.encode()), (b"wetread-version", __version__.encode())]
                message["headers"] = [*message.get("headers", []), *own, (b"cache-control", b"no-store")]
            await send(message)

        headers = dict(scope["headers"])
        if scope["path"] not in OPEN and not self._knows(headers.get(b"authorization", b"")):
            why = "a wrong token" if b"authorization" in headers else "no token"
            answer = problem(
                401, "unauthorized", f"{why}; the right one is in the service's token file ([api] token_file)"
            )
            return await answer(scope, receive, versioned)
        if (scope["method"], scope["path"]) in _STREAMED:
            return await self._app(scope, receive, versioned)
        body = await _whole_body(receive, headers.get(b"content-length", b"0"))
        if isinstance(body, str):
            return await problem(413, "too-large", body)(scope, receive, versioned)
        return await self._app(scope, _again(body, receive), versioned)

    def _knows(self, authorization: bytes) -> bool:
        scheme, _, token = authorization.partition(b" ")
        shown = hashlib.sha256(token.strip()).digest()
        return scheme.lower() == b"bearer" and hmac.compare_digest(shown, self._token)


async def _whole_body(receive: Receive, announced: bytes) -> bytes | str:
    """The body, or a sentence why it is not taken."""
    too_large = f"a request of this kind has at most {_MAX_BODY_BYTES} bytes"
    if announced.isdigit() and int(announced[:20]) > _MAX_BODY_BYTES:
        return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > _MAX_BODY_BYTES:
                    return too_large
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        return f"the request did not arrive within {_PATIENCE_S:g} s"


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes after it (that the client has gone)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def reader_of(
    wetread_reader: Annotated[
        str, Header(max_length=1024, description="Who asks: PN (Family^Given), percent-encoded UTF-8.")
    ] = "",
) -> str:
    """Who asks, '' if that is not said. Raises: ``NotPossible`` when it is no PN."""
    try:
        name = unquote_to_bytes(wetread_reader).decode("utf-8").strip()
    except UnicodeDecodeError as exc:
        raise NotPossible("Wetread-Reader is not percent-encoded UTF-8") from exc
    return checked_name(name) if name else ""


def known_reader(name: Annotated[str, Depends(reader_of)]) -> str:
    """Who asks. Raises: ``NotPossible`` when that is not said."""
    if not name:
        raise NotPossible("say who decides: the header Wetread-Reader with the reader's name, Family^Given")
    return name


def checked_name(name: str) -> str:
    """A person name as DICOM writes it (PS3.5 6.2.1). Raises: ``NotPossible``."""
    groups = name.split("=")
    fits = len(groups) <= 3 and all(len(g) <= 64 and g.count("^") <= 4 for g in groups)
    if not fits or len(name) > _LONGEST_PN or _CONTROL.search(name):
        raise NotPossible(
            "a reader's name is Family^Given^Middle^Prefix^Suffix, at most 64 characters, up to three joined by ="
        )
    return name


Reader = Annotated[str, Depends(known_reader)]
Anybody = Annotated[str, Depends(reader_of)]
Document = dict[str, Any]
