"""C-STORE on an established association by blocking reads, without pynetdicom's queues, copies and polling sleeps.

pynetdicom negotiates, releases and aborts, and serves every other command. Between, its network thread reads from the
socket straight into one buffer and answers C-STORE requests itself; its other thread sleeps. The first PDU that is not
an ordinary C-STORE (an echo, a release, another service, a request with something missing) goes to pynetdicom as it
came, and from there on pynetdicom reads the association: what is unusual is answered by one implementation only.
Works on plain and TLS sockets. ``[listener] reader = "pynetdicom"`` does without it.
"""

from __future__ import annotations

import logging
import mmap
import struct
from collections.abc import Callable, Generator
from io import BytesIO
from typing import Any

from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from wetread.dimse.command import (
    COMMAND,
    LAST,
    OUT_OF_RESOURCES,
    P_DATA,
    StoreRequest,
    command_pdu,
    read_store_request,
    store_response,
)
from wetread.dimse.connection import LimitedSocket
from wetread.dimse.scratch import Scratch
from wetread.dimse.wire import Wire, wire_of
from wetread.errors import SpoolUnavailable

logger = logging.getLogger(__name__)

_HEADER = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")
_BUFFER_BYTES = 8 * 2**20
_MAX_OTHER_BYTES = 2**20  # commands, and PDUs for pynetdicom, are held in memory
_SMALLEST_ANSWER = 1024

_Steps = Generator[None, None, None]


Store = Callable[[Any, StoreRequest, str, memoryview], tuple[int, str]]
"""Association, request, transfer syntax and data set (valid during the call) to status and error comment."""


class _ForPynetdicom(Exception):
    """A PDU that is not ours to serve."""

    def __init__(self, pdu: bytes) -> None:
        super().__init__()
        self.pdu = pdu


class _InvalidPdu(Exception):
    """What PS3.8 9.2 (Evt19) answers with an abort."""


class _Message:
    """The C-STORE request under way."""

    def __init__(self, scratch: Callable[[], Scratch]) -> None:
        self._scratch = scratch
        self.command = bytearray()
        self.request: StoreRequest | None = None
        self.context_id = 0
        self.transfer_syntax_uid = ""
        self.filled = 0
        self._memory: mmap.mmap | None = None
        self._large: Scratch | None = None
        self._refusal: SpoolUnavailable | None = None

    @property
    def buffer(self) -> memoryview:
        """Memory that is only taken as far as it is filled, and goes back to the system with the association."""
        if self._memory is None:
            self._memory = mmap.mmap(-1, _BUFFER_BYTES)
        return memoryview(self._memory)

    def make_room(self) -> None:
        """Move what is in the buffer to the disk. A full disk is told at the end: the sender does not listen before."""
        try:
            if self._refusal is None:
                self._large = self._large or self._scratch()
                self._large.write(self.buffer[: self.filled])
        except SpoolUnavailable as exc:
            self._refusal = exc
        self.filled = 0

    def dataset(self) -> memoryview:
        """The whole data set. Raises: ``SpoolUnavailable`` when the disk could not take it."""
        if self._large is not None:
            self.make_room()
        if self._refusal is not None:
            raise self._refusal
        return self._large.view() if self._large else self.buffer[: self.filled]

    def clear(self) -> None:
        """Ready for the next request."""
        if self._large is not None:
            self._large.close()
        self.command.clear()
        self.request, self._large, self._refusal, self.filled = None, None, None, 0

    def close(self) -> None:
        """Let go of the memory; nothing of an unfinished request is left."""
        self.clear()
        self._memory = None


class BlockingReader:
    """Serves one association's C-STORE requests; made before the association is accepted."""

    def __init__(self, assoc: Any, store: Store, scratch: Callable[[], Scratch]) -> None:
        self._assoc = assoc
        self._dul = assoc.dul
        self._limits: LimitedSocket = assoc.wetread_socket
        self._store = store
        self._message = _Message(scratch)
        self._steps = self._read()
        self._aside = False
        self._inside_pdu = False
        self._opened: Wire | None = None

    def take_over(self) -> None:
        """Read this association from its first P-DATA on. For EVT_REQUESTED: the peer may not send any yet."""
        if 0 < self._assoc.requestor.maximum_length < _SMALLEST_ANSWER:
            return  # our answers are not fragmented
        self._theirs = self._dul._is_transport_event
        self._assoc._reactor_checkpoint.clear()
        self._dul._is_transport_event = self._round

    @property
    def _wire(self) -> Wire:
        if self._opened is None:
            if self._limits.socket is None:
                raise ConnectionResetError("the connection was closed before the first message")
            self._opened = wire_of(self._limits.socket, self._assoc.network_timeout)
        return self._opened

    def _round(self) -> bool:
        """In the place of pynetdicom's look at the socket; True when there is an event for its state machine."""
        if self._aside or self._dul.state_machine.current_state != "Sta6":
            return bool(self._theirs())
        try:
            while not self._dul._kill_thread and not self._dul.to_provider_queue.queue:
                next(self._steps)
                if self._dul.idle_timer_expired():
                    self._step_aside()
                    break
            return False
        except _ForPynetdicom as exc:
            self._step_aside()
            self._hand_over(exc.pdu)
        except _InvalidPdu as exc:
            logger.warning("an association is aborted: %s", exc)
            self._step_aside("Evt19")
        except OSError:
            self._step_aside("Evt17")
        except Exception:  # recorded, and the peer is told: the association must not hang half read
            logger.exception("reading an association failed")
            self._step_aside("Evt19")
        return True

    def _step_aside(self, event: str = "") -> None:
        """Leave the association to pynetdicom: wake its thread, and tell its state machine what happened."""
        self._aside = True
        self._message.close()
        if self._opened is not None:
            self._opened.close()
        if event:
            self._dul.event_queue.put(event)
        self._assoc._reactor_checkpoint.set()

    def _hand_over(self, pdu: bytes) -> None:
        """Let pynetdicom read these bytes as if they came from the socket now."""
        stream = BytesIO(pdu)
        self._dul.socket.recv = lambda count: bytearray(stream.read(count))
        try:
            self._dul._read_pdu_data()
        finally:
            del self._dul.socket.recv

    # What follows runs in steps: it yields when nothing came for ``WAIT_S``, and after each instance.

    def _read(self) -> _Steps:
        header = bytearray(_HEADER.size)
        while True:
            yield from self._fill(memoryview(header))
            kind, length = _HEADER.unpack(header)
            self._limits.expect(length)
            if kind != P_DATA:
                raise _ForPynetdicom(bytes(header) + (yield from self._take(length if 0 < kind < 8 else 0)))
            yield from self._pdvs(length)
            self._inside_pdu = False
            self._dul._idle_timer.restart()

    def _pdvs(self, left: int) -> _Steps:
        header = bytearray(_PDV.size)
        while left:
            if left < _PDV.size:
                raise _InvalidPdu(f"{left} bytes behind the last PDV")
            yield from self._fill(memoryview(header))
            length, context_id, control = _PDV.unpack(header)
            left -= 4 + length
            if length < 2 or left < 0:
                raise _InvalidPdu(f"a PDV of {length} bytes does not fit into its PDU")
            if control & COMMAND:
                yield from self._command(context_id, length - 2, last=bool(control & LAST), left=left)
            else:
                yield from self._data(length - 2, last=bool(control & LAST))

    def _command(self, context_id: int, size: int, *, last: bool, left: int) -> _Steps:
        message = self._message
        if message.request is not None:
            raise _InvalidPdu("a command where the data set of a C-STORE should go on")
        message.command += yield from self._take(size, held=len(message.command))
        if not last:
            return
        request = read_store_request(bytes(message.command))
        context = self._assoc._accepted_cx.get(context_id)
        if request is None or context is None or not self._is_storage(request.sop_class_uid):
            rest = yield from self._take(left)
            raise _ForPynetdicom(command_pdu(context_id, bytes(message.command), rest))
        message.request, message.context_id = request, context_id
        message.transfer_syntax_uid = str(context.transfer_syntax[0])

    def _is_storage(self, sop_class_uid: str) -> bool:
        if sop_class_uid in self._assoc.acceptor.accepted_common_extended:
            return False
        return uid_to_service_class(sop_class_uid) is StorageServiceClass

    def _data(self, size: int, *, last: bool) -> _Steps:
        message = self._message
        if message.request is None:
            raise _InvalidPdu("a data set without a command")
        while size:
            if message.filled == _BUFFER_BYTES:
                message.make_room()
            end = min(message.filled + size, _BUFFER_BYTES)
            yield from self._fill(message.buffer[message.filled : end])
            size -= end - message.filled
            message.filled = end
        if last:
            self._answer(message.request)
            yield

    def _answer(self, request: StoreRequest) -> None:
        message = self._message
        try:
            with message.dataset() as dataset:
                status, comment = self._store(self._assoc, request, message.transfer_syntax_uid, dataset)
        except SpoolUnavailable as exc:
            status, comment = OUT_OF_RESOURCES, str(exc)
        pdu = store_response(request, message.context_id, status, comment)
        message.clear()
        self._wire.send(pdu)
        self._limits.next_message()

    def _take(self, size: int, *, held: int = 0) -> Generator[None, None, bytes]:
        """So many bytes, returned when they are there."""
        if held + size > _MAX_OTHER_BYTES:
            raise _InvalidPdu(f"{held + size} bytes that are no data set")
        data = bytearray(size)
        yield from self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> _Steps:
        done = 0
        while done < len(view):
            try:
                count = self._wire.receive_into(view[done:])
            except (TimeoutError, BlockingIOError):
                count = -1
            if not count:
                raise ConnectionResetError("the peer closed the connection")
            if count > 0 and not self._inside_pdu:
                self._limits.begin_pdu()
                self._inside_pdu = True
            if self._inside_pdu:
                self._limits.check_deadline()
            if count < 0:
                yield
            done += max(count, 0)
