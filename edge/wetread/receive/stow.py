"""The DICOMweb entrance: STOW-RS (PS3.18 10.5) into the same ``keep`` as C-STORE, with the same promise.

An instance is answered as stored only after it is on disk with its provenance. What a client may do is told by its
token, its certificate, or both; one without is turned away and listed like a DICOM caller.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from wetread.dimse.contexts import storage_sop_classes, transfer_syntaxes
from wetread.dimse.part10 import Part10, split_part10
from wetread.dimse.tls import Certificate, fits
from wetread.errors import InstanceRefused, NotDicom, SpoolUnavailable
from wetread.receive import stow_answer
from wetread.receive.listener import PRIORITIES
from wetread.receive.multipart import MalformedMultipart, Part, PartReader, PartTooLarge, parameters
from wetread.receive.refusals import Refusals
from wetread.receive.stow_answer import MEDIA_TYPE, StowAnswer
from wetread.receive.stow_settings import StowClient, StowSettings, Token
from wetread.records.notes import AssociationEnd, Ended, Note, new_association_id
from wetread.records.received import Provenance, ReceivedInstance

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = "120"
_DRAINED_BYTES, _DRAIN_S = 16 * 2**20, 2.0


class Keep(Protocol):
    """Makes an instance durable, then returns; ``InstanceRefused`` and ``SpoolUnavailable`` otherwise."""

    def __call__(self, received: ReceivedInstance) -> object: ...


class _Refused(Exception):
    """The request ends with this status."""

    def __init__(self, status: int, sentence: str, *, listed: bool = False) -> None:
        super().__init__(sentence)
        self.status = status
        self.listed = listed


class StowEntrance:
    """The application; ``app`` goes into an ASGI server."""

    def __init__(
        self, settings: StowSettings, tokens: Sequence[Token], *, keep: Keep, note: Callable[[Note], object]
    ) -> None:
        self._settings = settings
        self._tokens = {t.client: t.sha256 for t in tokens}
        self._keep = keep
        self._note = note
        self.refusals = Refusals(note)
        self._requests = 0
        routes = [
            Route(path, self._post, methods=["POST"])
            for path in ("/dicomweb/studies", "/dicomweb/studies/{study_instance_uid}")
        ]
        self.app = Starlette(routes=routes)

    async def _post(self, request: Request) -> Response:
        try:
            client = self._client_of(request)
            boundary = self._check_headers(request)
            if self._requests >= self._settings.max_requests:
                raise _Refused(503, f"{self._requests} requests at one time are the limit")
            self._requests += 1
            try:
                return await self._store(request, client, boundary)
            finally:
                self._requests -= 1
        except _Refused as exc:
            if exc.listed:
                address = request.client.host if request.client else ""
                self.refusals.add("", "", address, reason=str(exc), hint="see [[stow.clients]]")
            if exc.status != 408:
                await self._drain(request)
            return _refusal(exc)
        except ClientDisconnect:
            return Response(status_code=400)

    async def _store(self, request: Request, client: StowClient, boundary: str) -> Response:
        transaction = _Transaction(self._settings, client, request)
        ended: Ended = "lost"
        try:
            reader = PartReader(boundary, max_part_bytes=self._settings.max_instance_mb * 2**20)
            async for piece in self._pieces(request):
                for part in reader.feed(piece):
                    await run_in_threadpool(transaction.take, part, self._keep)
            reader.close()
            ended = "released"
        except PartTooLarge as exc:
            raise _Refused(413, str(exc)) from exc
        except MalformedMultipart as exc:
            if not transaction.answer.stored:
                raise _Refused(400, str(exc)) from exc
            transaction.answer.fail(stow_answer.CANNOT_UNDERSTAND)
        finally:
            await run_in_threadpool(self._end, transaction, ended)
        if not transaction.parts:
            raise _Refused(400, "the request holds no instance")
        return _response(transaction.answer)

    def _end(self, transaction: _Transaction, ended: Ended) -> None:
        """A request is to a study what an association is: its regular end is evidence that the sender has finished."""
        if not transaction.answer.stored:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        end = AssociationEnd(transaction.id, transaction.client.name, ended, transaction.answer.stored, at)
        try:
            self._note(end)
        except SpoolUnavailable as exc:
            logger.error("the end of a request cannot be noted: %s", exc)

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        size, stream = 0, request.stream()
        while True:
            try:
                piece = await asyncio.wait_for(anext(stream), self._settings.timeout_s)
            except StopAsyncIteration:
                return
            except TimeoutError as exc:
                raise _Refused(408, f"nothing came for {self._settings.timeout_s:g} s") from exc
            size += len(piece)
            if size > self._settings.max_request_mb * 2**20:
                raise _Refused(413, f"a request is at most {self._settings.max_request_mb} MiB")
            yield piece

    def _client_of(self, request: Request) -> StowClient:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        shown = hashlib.sha256(token.strip().encode()).digest() if scheme.lower() == "bearer" else b""
        certificate: Certificate | None = getattr(request.state, "certificate", None)
        address = ip_address(request.client.host) if request.client else None
        for client in self._settings.clients:
            if client.token_file and self._tokens[client.name] != shown:
                continue
            if client.certificate and (certificate is None or not fits(certificate, client.certificate)):
                continue
            if client.networks and not any(address in ip_network(n) for n in client.networks if address):
                raise _Refused(403, f"{client.name} sent by STOW-RS from {address}, not in its networks", listed=True)
            return client
        why = "a wrong token or certificate" if shown or certificate else "neither token nor certificate"
        raise _Refused(401, f"STOW-RS with {why}", listed=True)

    def _check_headers(self, request: Request) -> str:
        """The boundary of a body we can take."""
        media_type, named = parameters(request.headers.get("content-type", ""))
        if media_type != "multipart/related" or named.get("type", "application/dicom").lower() != "application/dicom":
            raise _Refused(415, 'expected Content-Type: multipart/related; type="application/dicom"; boundary=...')
        accepted = request.headers.get("accept", "*/*")
        if not any(word in accepted for word in ("*/*", "application/*", MEDIA_TYPE, "application/json")):
            raise _Refused(406, f"answers are {MEDIA_TYPE}")
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._settings.max_request_mb * 2**20:
            raise _Refused(413, f"a request is at most {self._settings.max_request_mb} MiB")
        return str(named.get("boundary", ""))

    async def _drain(self, request: Request) -> None:
        """Read what is under way of a refused body, so that its sender hears the answer and not a broken connection."""
        if int(request.headers.get("content-length", "0")) > _DRAINED_BYTES:
            return
        size = 0
        try:
            async with asyncio.timeout(_DRAIN_S):
                async for piece in request.stream():
                    size += len(piece)
                    if size > _DRAINED_BYTES:
                        return
        except (ClientDisconnect, RuntimeError, TimeoutError):
            return  # gone, or read to its end before, or not worth more time


class _Transaction:
    """One request: whose it is, and what became of its parts."""

    def __init__(self, settings: StowSettings, client: StowClient, request: Request) -> None:
        self.id = new_association_id()
        self.client = client
        self.answer = StowAnswer()
        self.parts = 0
        self._study = request.path_params.get("study_instance_uid", "")
        self._address = request.client.host if request.client else ""

    def take(self, part: Part, keep: Keep) -> None:
        """Keep one part, or note why not."""
        self.parts += 1
        try:
            if part.content_type not in ("", "application/dicom"):
                raise NotDicom(f"a part is {part.content_type}, not application/dicom")
            instance = split_part10(part.body)
        except NotDicom:
            self.answer.fail(stow_answer.CANNOT_UNDERSTAND)
            return
        reason = self._unfit(instance) or self._try_keep(instance, keep)
        if reason:
            self.answer.fail(reason, instance.sop_class_uid, instance.sop_instance_uid)
        else:
            self.answer.store(instance.sop_class_uid, instance.sop_instance_uid)

    def _unfit(self, instance: Part10) -> int:
        if self._study and instance.study_instance_uid != self._study:
            return stow_answer.OTHER_STUDY
        if instance.sop_class_uid not in storage_sop_classes():
            return stow_answer.SOP_CLASS_NOT_SUPPORTED
        known = instance.transfer_syntax_uid in transfer_syntaxes()
        return 0 if known else stow_answer.TRANSFER_SYNTAX_NOT_SUPPORTED

    def _try_keep(self, instance: Part10, keep: Keep) -> int:
        try:
            keep(self._received(instance))
        except InstanceRefused:
            return stow_answer.CANNOT_UNDERSTAND
        except SpoolUnavailable:
            return stow_answer.OUT_OF_RESOURCES
        except Exception:  # logged, and told: the sender must not believe that we have the instance
            logger.exception("storing an instance failed")
            return stow_answer.PROCESSING_FAILURE
        return 0

    def _received(self, instance: Part10) -> ReceivedInstance:
        return ReceivedInstance(
            dataset=instance.dataset,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            provenance=Provenance(
                entrance="stow",
                peer=self.client.name,
                address=self._address,
                calling_ae_title="",
                called_ae_title="",
                association_id=self.id,
                received_at=datetime.now(UTC),
                priority=PRIORITIES[self.client.priority],
            ),
        )


def _response(answer: StowAnswer) -> Response:
    headers = {"Connection": "close"}
    if answer.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_S
    # Starlette would add a charset to a media type given as such; clients compare the whole header.
    headers["Content-Type"] = MEDIA_TYPE
    return Response(answer.body(), status_code=answer.status, headers=headers)


def _refusal(refused: _Refused) -> Response:
    headers = {"Connection": "close"}
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="wetread"'
    if refused.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_S
    return Response(f"{refused}\n", status_code=refused.status, headers=headers, media_type="text/plain")
