"""Reviews: who decides, what was decided, the signature."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from wetread.api.door import Document, Reader, checked_name
from wetread.api.parts import Parts, SignRequest
from wetread.api.paths import JobId
from wetread.errors import NotPossible
from wetread.review.decisions import LONGEST_COMMENT, Action, Decision

_ETAG = re.compile(r'(?:W/)?"([0-9]{1,9})"')


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hold(_Strict):
    """A reader wants to decide."""

    take_over: bool = False


class DecisionMade(_Strict):
    """One decision."""

    id: str = Field(min_length=32, max_length=45)
    tracking_uid: str = Field(pattern=r"^[0-9.]{1,64}$")
    action: Action
    comment: str | None = Field(default=None, max_length=LONGEST_COMMENT)
    at: str = Field(default="", max_length=40)


class Signer(_Strict):
    """Who signs."""

    name: str = Field(default="", max_length=194)
    organization: str = Field(default="", max_length=64)
    id: str = Field(default="", max_length=64)


class Confirm(_Strict):
    """Whom the reader saw."""

    patient_id: str = Field(max_length=64)
    study_instance_uid: str = Field(max_length=64)


class SignOff(_Strict):
    """A signature."""

    reader: Signer
    confirm: Confirm
    undecided_ok: bool = False
    id: str = Field(default="", max_length=45)


def router(parts: Parts) -> APIRouter:
    """The calls about reviews."""
    calls = APIRouter()

    @calls.get("/jobs/{job_id}/review")
    def _show(job_id: JobId, response: Response) -> Document:
        return _tagged(parts.review.show(job_id), response)

    @calls.put("/jobs/{job_id}/review/holder")
    def _hold(job_id: JobId, hold: Hold, reader: Reader, response: Response) -> Document:
        return _tagged(parts.review.hold(job_id, reader, take_over=hold.take_over), response)

    @calls.delete("/jobs/{job_id}/review/holder", status_code=204, response_class=Response)
    def _let_go(job_id: JobId, reader: Reader) -> Response:
        parts.review.let_go(job_id, reader)
        return Response(status_code=204)

    @calls.post("/jobs/{job_id}/review/decisions")
    def _decide(
        job_id: JobId,
        made: Annotated[list[DecisionMade], Field(min_length=1, max_length=1000)],
        reader: Reader,
        response: Response,
    ) -> Document:
        decisions = [Decision(m.id, m.tracking_uid, m.action, m.comment, reader, m.at) for m in made]
        return _tagged(parts.review.decide(job_id, reader, decisions), response)

    @calls.post("/jobs/{job_id}/sign", status_code=201)
    def _sign(
        job_id: JobId, wanted: SignOff, reader: Reader, if_match: Annotated[str, Header(max_length=64)] = ""
    ) -> JSONResponse:
        return JSONResponse(parts.review.sign(job_id, _request(wanted, reader, if_match)), 201)

    return calls


def _request(wanted: SignOff, reader: str, if_match: str) -> SignRequest:
    """Raises: ``NotPossible`` when somebody else is to sign than who asks, or the review is not named."""
    if wanted.reader.name and checked_name(wanted.reader.name) != reader:
        raise NotPossible("who signs is not who asks: reader.name and Wetread-Reader must be one person")
    return SignRequest(
        reader=reader,
        organization=wanted.reader.organization,
        reader_id=wanted.reader.id,
        patient_id=wanted.confirm.patient_id,
        study_instance_uid=wanted.confirm.study_instance_uid,
        id=wanted.id,
        version=_version(if_match),
        undecided_ok=wanted.undecided_ok,
    )


def _tagged(review: Document, response: Response) -> Document:
    response.headers["ETag"] = f'"{review["version"]}"'
    return review


def _version(if_match: str) -> int:
    """The review that the reader saw. Raises: ``NotPossible`` when it is not said."""
    found = _ETAG.fullmatch(if_match.strip())
    if not found:
        raise NotPossible('say which review is signed: If-Match with the ETag of GET /jobs/{id}/review, e.g. "12"')
    return int(found[1])
