"""One call to the edge over HTTP or HTTPS: token, certificate, time limits, problems, another try.

Every call is its own connection: the edge may restart between two, and a window must not keep it from stopping.
Redirects are not followed (the token would go along) and proxies of the environment are not asked (the edge is in the
house).
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from wetread_desktop.client.errors import (
    AddressInvalid,
    AnswerInvalid,
    CertificateRefused,
    EdgeError,
    Interrupted,
    NotAnEdge,
    Problem,
    Unreachable,
    WrongVersion,
    problem,
)
from wetread_desktop.client.fields import Fields, parse

API_VERSION = 1
"""The version of ``packaging/docs/API.md`` that this program was written for."""
_PAUSES_S = (0.2, 0.6, 1.5)
"""Before the second, third and fourth try."""
_LONGEST_PAUSE_S = 5.0
_LARGEST_DOCUMENT = 64 << 20


@dataclass(frozen=True, slots=True)
class EdgeAddress:
    """Where an edge is, and who asks."""

    url: str
    """``http://127.0.0.1:8642`` or ``https://…``, without ``/api/v1``."""
    token: str = ""
    ca_file: str = ""
    """PEM file with the authorities that may have signed its certificate; empty: those of the system."""
    reader: str = ""
    """Who reads, as DICOM PN; recorded with each change."""

    def check(self) -> None:
        """Raises: ``AddressInvalid`` when the address cannot be one."""
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            raise AddressInvalid(f"{self.url!r} is no address of an edge; it looks like https://edge.example.org:8642")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def fields(self, where: str) -> Fields:
        """The body as one JSON object."""
        return Fields(parse(self.body, where), where)


class Http:
    """Calls to one edge. May be used by several threads at a time."""

    def __init__(self, address: EdgeAddress, *, timeout_s: float = 10.0) -> None:
        """``timeout_s``: how long the edge may be silent. Raises: ``AddressInvalid``, ``CertificateRefused``."""
        address.check()
        self.address = address
        self._parts = urlsplit(address.url)
        self._timeout_s = timeout_s
        self._closed = threading.Event()
        self._context = _tls(address) if self._parts.scheme == "https" else None

    def close(self) -> None:
        """No further calls: those that wait for another try give up now."""
        self._closed.set()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = True,
        largest: int = _LARGEST_DOCUMENT,
    ) -> Answer:
        """One call under ``/api/v1``. ``again``: try once more after a failure that may pass (the call must bear it).

        Raises: ``EdgeError``.
        """
        for pause_s in _PAUSES_S if again else ():
            try:
                return self._once(method, path, body, headers or {}, largest)
            except (Unreachable, Problem) as error:
                if not error.retry or self._closed.wait(_pause_s(error, pause_s)):
                    raise
        return self._once(method, path, body, headers or {}, largest)

    def send(self, path: str, stream: BinaryIO, length: int, content_type: str) -> Answer:
        """POST a file as it is read; once, because a stream cannot be read again. Raises: ``EdgeError``."""
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        return self._once("POST", path, stream, headers, _LARGEST_DOCUMENT)

    def open(self, path: str, headers: Mapping[str, str], *, timeout_s: float) -> Stream:
        """Begin a GET whose body comes bit by bit. Raises: ``EdgeError``."""
        connection = self._connection(timeout_s)
        try:
            self._connect(connection)
            # An answer without length takes the socket away from the connection.
            held = connection.sock
            return Stream(held, self._exchange(connection, "GET", path, None, headers))
        except BaseException:
            connection.close()
            raise

    def _once(
        self, method: str, path: str, body: bytes | BinaryIO | None, headers: Mapping[str, str], largest: int
    ) -> Answer:
        if self._closed.is_set():
            raise Interrupted(f"{self.address.url} is not asked any more")
        connection = self._connection(self._timeout_s)
        try:
            self._connect(connection)
            response = self._exchange(connection, method, path, body, headers)
            content = _whole(response, largest)
        except (http.client.HTTPException, OSError) as exc:
            raise Interrupted(f"the connection to {self.address.url} broke in the middle: {_why(exc)}") from exc
        finally:
            connection.close()
        return Answer(response.status, _lower(response), content)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as exc:
            raise _unreachable(self.address, exc) from exc

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | BinaryIO | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        prefix = self._parts.path.rstrip("/")
        try:
            connection.request(method, f"{prefix}/api/v1{path}", body=body, headers={**self._standing(), **headers})
            response = connection.getresponse()
        except (http.client.HTTPException, OSError) as exc:
            raise Interrupted(f"the connection to {self.address.url} broke before an answer: {_why(exc)}") from exc
        self._check(response)
        return response

    def _standing(self) -> dict[str, str]:
        """Headers of every call."""
        headers = {"Accept": "application/json, application/problem+json, */*;q=0.5", "User-Agent": "wetread-desk"}
        if self.address.token:
            headers["Authorization"] = f"Bearer {self.address.token}"
        if self.address.reader:
            headers["Wetread-Reader"] = quote(self.address.reader, safe="^ ")
        return headers

    def _check(self, response: http.client.HTTPResponse) -> None:
        """Raises: ``WrongVersion``, ``NotAnEdge`` or what the status says."""
        spoken = response.headers.get("Wetread-Api", "")
        if not spoken.strip().isdigit():
            raise NotAnEdge(f"something answers at {self.address.url} (HTTP {response.status}), but no Wetread edge")
        if int(spoken) > API_VERSION:
            theirs = response.headers.get("Wetread-Version", "")
            raise WrongVersion(
                f"the edge (Wetread {theirs}) speaks interface {spoken.strip()}, this program {API_VERSION}",
                theirs=theirs,
            )
        if response.status >= 400:
            raise _problem(response)
        if response.status >= 300:
            raise NotAnEdge(
                f"{self.address.url} sends callers elsewhere (HTTP {response.status}); give its own address"
            )

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._context:
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


class Stream:
    """An answer that comes bit by bit. ``close`` may be called from another thread and ends a read that waits."""

    def __init__(self, held: socket.socket, response: http.client.HTTPResponse) -> None:
        self._socket, self._response = held, response

    def line(self) -> str:
        """The next line without its end; '' for an empty one. Raises: ``Interrupted`` at the end."""
        try:
            raw = self._response.readline(1 << 20)
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as exc:
            # AttributeError, ValueError: closed by another thread while we read.
            raise Interrupted(f"the stream broke: {_why(exc)}") from exc
        if not raw:
            raise Interrupted("the stream ended")
        return raw.rstrip(b"\r\n").decode("utf-8", "replace")

    def close(self) -> None:
        """End it now."""
        with contextlib.suppress(OSError):  # gone already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _whole(response: http.client.HTTPResponse, largest: int) -> bytes:
    body = response.read(largest + 1)
    if len(body) > largest:
        raise AnswerInvalid(f"an answer of more than {largest >> 20} MiB")
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


def _problem(response: http.client.HTTPResponse) -> EdgeError:
    after = response.headers.get("Retry-After", "")
    try:
        body = _whole(response, 1 << 20)
    except (OSError, http.client.HTTPException, AnswerInvalid):
        body = b""
    try:
        document = parse(body, "problem document")
    except AnswerInvalid:
        document = {}
    known = document if isinstance(document, dict) else {}
    return problem(response.status, known, float(after) if after.isdigit() else None)


def _tls(address: EdgeAddress) -> ssl.SSLContext:
    """Always verified; with an authority of the site, by that one alone."""
    try:
        context = ssl.create_default_context(cafile=address.ca_file or None)
    except (OSError, ssl.SSLError) as exc:
        raise CertificateRefused(f"cannot read the authorities in {address.ca_file}: {_why(exc)}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unreachable(address: EdgeAddress, exc: Exception) -> EdgeError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return CertificateRefused(f"the certificate of {address.url} is refused: {exc.verify_message}")
    if isinstance(exc, ssl.SSLError):
        return NotAnEdge(f"{address.url} does not speak TLS as expected: {_why(exc)}; perhaps it is http:// there")
    return Unreachable(f"nobody answers at {address.url}: {_why(exc)}")


def _pause_s(error: Exception, usual_s: float) -> float:
    asked = error.retry_after_s if isinstance(error, Problem) else None
    return min(asked, _LONGEST_PAUSE_S) if asked is not None else usual_s


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _why(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or type(exc).__name__
