"""Studies: what came in, what could read them, and the upload."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import IO

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from wetread.api.door import Anybody, Document
from wetread.api.parts import Parts, Upload
from wetread.api.paths import Limit, StudyState, Text, Uid
from wetread.api.problems import problem
from wetread.errors import NotPossible, SpoolUnavailable, UploadRefused, UploadTooLarge
from wetread.receive.multipart import MalformedMultipart, PartReader, PartTooLarge, parameters
from wetread.receive.upload import Limits

_DICOM = "application/dicom"
_AT_ONE_TIME = 2
_SILENCE_S = 60.0
_PIECE_BYTES = 2**20
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/zip", "multipart/form-data")
        },
    }
}


def router(parts: Parts, *, limits: Limits) -> APIRouter:
    """The calls about studies."""
    calls = APIRouter()
    places = asyncio.Semaphore(_AT_ONE_TIME)

    @calls.get("/studies")
    def _list(
        state: StudyState = "",
        patient_id: Text = "",
        accession_number: Text = "",
        study_instance_uid: Text = "",
        limit: Limit = 100,
    ) -> list[Document]:
        asked = {"patient_id": patient_id, "accession_number": accession_number, "uid": study_instance_uid}
        return parts.studies.find(state=state, limit=limit, **asked)

    @calls.get("/studies/{uid}")
    def _show(uid: Uid) -> Document:
        return parts.studies.show(uid)

    @calls.get("/studies/{uid}/series/{series}/instances")
    def _instances(uid: Uid, series: Uid) -> list[Document]:
        return parts.studies.instances(uid, series)

    @calls.get("/studies/{uid}/instances/{sop}", response_class=Response)
    def _instance(uid: Uid, sop: Uid) -> FileResponse:
        return FileResponse(parts.studies.instance(uid, sop), media_type=_DICOM)

    @calls.get("/studies/{uid}/bundles")
    def _bundles(uid: Uid) -> list[Document]:
        return parts.studies.bundles(uid)

    @calls.post("/studies", status_code=202, openapi_extra=_UPLOAD_BODY)
    async def _upload(request: Request, who: Anybody) -> JSONResponse:
        if places.locked():
            return problem(503, "busy", f"{_AT_ONE_TIME} uploads are under way; try again in a moment")
        async with places:
            return await _received(request, who, parts, limits)

    return calls


async def _received(request: Request, who: str, parts: Parts, limits: Limits) -> JSONResponse:
    media_type, named = parameters(request.headers.get("content-type", ""))
    if media_type not in ("application/zip", "multipart/form-data"):
        return problem(415, "not-a-zip", "an upload is application/zip, or multipart/form-data of DICOM files")
    address = request.client.host if request.client else ""
    upload = await run_in_threadpool(parts.uploads.begin, address, who)
    pieces = _pieces(request, limits.upload_bytes)
    is_whole = False
    try:
        if media_type == "application/zip":
            await _take_zip(pieces, upload, parts)
        else:
            await _take_parts(pieces, upload, str(named.get("boundary", "")), limits.instance_bytes)
        is_whole = True
    except ClientDisconnect as exc:
        raise NotPossible("the upload broke off") from exc
    finally:
        await run_in_threadpool(upload.end, is_whole=is_whole)
    return JSONResponse(upload.document(), 202)


async def _take_zip(pieces: AsyncIterator[bytes], upload: Upload, parts: Parts) -> None:
    """The list of an archive stands at its end: all of it has to be here first. Raises: ``SpoolUnavailable``."""
    file: IO[bytes] = await run_in_threadpool(parts.uploads.scratch)
    try:
        try:
            async for piece in pieces:
                await run_in_threadpool(file.write, piece)
            await run_in_threadpool(file.flush)
        except OSError as exc:
            raise SpoolUnavailable(f"the upload cannot be written: {exc.strerror}") from exc
        await run_in_threadpool(upload.take_zip, file)
    finally:
        with contextlib.suppress(OSError):  # it tries once more to write what could not be written
            file.close()


async def _take_parts(pieces: AsyncIterator[bytes], upload: Upload, boundary: str, max_bytes: int) -> None:
    try:
        reader = PartReader(boundary, max_part_bytes=max_bytes)
        async for piece in pieces:
            for part in reader.feed(piece):
                await run_in_threadpool(upload.take, part.filename or "a file without a name", part.body)
        reader.close()
    except PartTooLarge as exc:
        raise UploadTooLarge(str(exc)) from exc
    except MalformedMultipart as exc:
        raise UploadRefused(str(exc)) from exc


async def _pieces(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces of about a MiB. Raises: ``UploadTooLarge``, ``NotPossible`` when nothing comes any more."""
    size, pending, stream = 0, bytearray(), request.stream()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), _SILENCE_S)
        except StopAsyncIteration:
            break
        except TimeoutError as exc:
            raise NotPossible(f"nothing of the upload came for {_SILENCE_S:g} s") from exc
        size += len(piece)
        if size > max_bytes:
            raise UploadTooLarge(f"an upload has at most {max_bytes // 2**20} MiB; see [api] max_upload_mb")
        pending += piece
        if len(pending) >= _PIECE_BYTES:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)
