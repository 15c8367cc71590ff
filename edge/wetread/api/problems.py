"""Errors as RFC 9457 problem documents, with the sentences that the command line prints."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wetread import log
from wetread.errors import (
    Conflict,
    HeldByAnother,
    InstanceRefused,
    NotHere,
    ReviewChanged,
    Temporary,
    UploadTooLarge,
    WetreadError,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = "5"

_STATUS: tuple[tuple[type[WetreadError], int], ...] = (
    (NotHere, 404),
    (ReviewChanged, 412),
    (Conflict, 409),
    (UploadTooLarge, 413),
    (Temporary, 503),
    (InstanceRefused, 422),
    (WetreadError, 422),
)
"""The first class that fits decides."""


def problem(status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    """One problem document."""
    body = {"type": f"urn:wetread:problem:{code}", "title": HTTPStatus(status).phrase, "status": status}
    headers = {"Retry-After": RETRY_AFTER_S} if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="wetread"'
    return JSONResponse(body | {"detail": detail} | more, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error of ``app`` become a problem document."""

    async def of_ours(_request: Request, error: Exception) -> JSONResponse:
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        more = {"holder": _holder(error)} if isinstance(error, HeldByAnother) else {}
        return problem(status, error.code if isinstance(error, WetreadError) else "error", str(error), **more)

    async def of_the_request(_request: Request, error: Exception) -> JSONResponse:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:5])
        return problem(422, "malformed-request", said or "the request is not what this call takes")

    async def of_http(_request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        answer = problem(status, HTTPStatus(status).phrase.lower().replace(" ", "-"), HTTPStatus(status).description)
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer

    async def unforeseen(_request: Request, error: Exception) -> JSONResponse:
        # Its text may quote data: class and place go to the log, the caller hears that it is our fault.
        logger.error("a call failed: %s", log.place_of(error))
        return problem(500, "internal-error", f"Wetread failed here ({type(error).__name__}); its log says where")

    app.add_exception_handler(WetreadError, of_ours)
    app.add_exception_handler(RequestValidationError, of_the_request)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(Exception, unforeseen)


def _holder(error: HeldByAnother) -> dict[str, str] | None:
    return {"reader": error.reader, "since": error.since} if error.reader else None
