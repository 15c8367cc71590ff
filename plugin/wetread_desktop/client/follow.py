"""Follow a read while it runs: server-sent events, and again after every break until it is over.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import EdgeError
from wetread_desktop.client.fields import Fields, parse
from wetread_desktop.client.http import Stream
from wetread_desktop.client.jobs import Progress

_SILENCE_S = 25.0
"""The edge gives a sign of life every 10 s."""
_PAUSES_S = (0.3, 1.0, 2.0, 5.0)
"""After the first, second, … break in a row; the last one from then on."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream."""

    id: str
    name: str
    data: str


def events(line: Callable[[], str]) -> Iterator[ServerEvent]:
    """Events out of the lines of a stream. Raises: what ``line`` raises at its end."""
    last_id, name, data = "", "", list[str]()
    while True:
        text = line()
        if not text:
            if data:
                yield ServerEvent(last_id, name or "message", "\n".join(data))
            name, data = "", []
            continue
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            last_id = value


class Following:
    """One read that is followed, on a thread of its own."""

    def __init__(
        self,
        edge: Edge,
        job_id: str,
        *,
        on_progress: Callable[[Progress], None],
        on_trouble: Callable[[EdgeError], None],
    ) -> None:
        """Both are called on the thread that follows. ``on_trouble``: a break, after which it is tried again if the
        error says so, else the end."""
        self._edge, self._job_id = edge, job_id
        self._on_progress, self._on_trouble = on_progress, on_trouble
        self._stopped = threading.Event()
        self._guard = threading.Lock()
        self._stream: Stream | None = None
        self._last_id = ""
        self._heard = False
        self._thread = threading.Thread(target=self._run, name="wetread-follow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer; the read goes on."""
        self._stopped.set()
        with self._guard:
            if self._stream is not None:
                self._stream.close()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended by then."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        breaks = 0
        while not self._stopped.is_set():
            self._heard = False
            try:
                if self._until_final():
                    return
            except EdgeError as error:
                if self._stopped.is_set():
                    return
                self._on_trouble(error)
                if not error.retry:
                    return
                breaks = 0 if self._heard else breaks + 1
                self._stopped.wait(_PAUSES_S[min(breaks, len(_PAUSES_S) - 1)])

    def _until_final(self) -> bool:
        """Read one stream to its end: whether that was the end of the read. Raises: ``EdgeError``."""
        stream = self._open()
        try:
            for event in events(stream.line):
                self._last_id = event.id or self._last_id
                if event.name == "progress":
                    self._heard = True
                    progress = Progress.read(Fields(parse(event.data.encode(), "progress"), "progress"))
                    self._on_progress(progress)
                    if progress.is_final:
                        return True
            return False
        finally:
            stream.close()

    def _open(self) -> Stream:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        path = f"/jobs/{quote(self._job_id, safe='')}/events"
        stream = self._edge.http.open(path, headers, timeout_s=_SILENCE_S)
        with self._guard:
            self._stream = stream
            if self._stopped.is_set():
                stream.close()
        return stream
