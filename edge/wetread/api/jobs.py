"""Jobs: ask for a read, follow it, end it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wetread.api.door import Anybody, Document
from wetread.api.parts import Parts
from wetread.api.paths import JobId, JobState, Limit, Text
from wetread.api.problems import problem
from wetread.errors import NotHere, Temporary

_LOOK_EVERY_S = 0.2
_SIGN_OF_LIFE_S = 10.0
_AT_ONE_TIME = 64
_FINAL = frozenset({"done", "rejected", "failed", "cancelled"})


class Wish(BaseModel):
    """A read that somebody wants."""

    model_config = ConfigDict(extra="forbid")

    study_instance_uid: str = Field(pattern=r"^[0-9.]{1,64}$")
    bundle: str = Field(min_length=1, max_length=128)
    outside_intended_use: bool = False
    """Read although the bundle was not made for this; every object says so."""


def router(parts: Parts) -> APIRouter:
    """The calls about jobs."""
    calls = APIRouter()
    places = asyncio.Semaphore(_AT_ONE_TIME)

    @calls.get("/jobs")
    def _list(state: JobState = "", study: Text = "", limit: Limit = 100) -> list[Document]:
        return parts.jobs.find(state=state, study=study, limit=limit)

    @calls.post("/jobs", status_code=202, responses={200: {"description": "This read exists: its job."}})
    def _ask(wish: Wish, who: Anybody) -> JSONResponse:
        who, outside = who or "somebody with the token", wish.outside_intended_use
        job, is_new = parts.jobs.ask(wish.study_instance_uid, wish.bundle, who=who, outside_intended_use=outside)
        return JSONResponse(job, 202 if is_new else 200)

    @calls.get("/jobs/{job_id}")
    def _show(job_id: JobId) -> Document:
        return parts.jobs.show(job_id)

    @calls.delete("/jobs/{job_id}", status_code=202)
    def _cancel(job_id: JobId, who: Anybody) -> Document:
        return parts.jobs.cancel(job_id, who=who or "somebody with the token")

    @calls.get("/jobs/{job_id}/events", response_class=Response)
    async def _events(job_id: JobId, last_event_id: Annotated[str, Header(max_length=128)] = "") -> Response:
        if places.locked():
            return problem(503, "busy", f"{_AT_ONE_TIME} programs follow reads already; look at the job instead")
        await run_in_threadpool(parts.jobs.progress, job_id)  # 404 before the stream begins

        async def stream() -> AsyncIterator[str]:
            async with places:
                async for line in _follow(parts, job_id, last_event_id):
                    yield line

        return StreamingResponse(stream(), media_type="text/event-stream")

    return calls


async def _follow(parts: Parts, job_id: str, last_event_id: str) -> AsyncIterator[str]:
    """Server-sent events: the state now, unless the client has just seen it, then whenever something changes.

    An event's id is made of what it says, so a client that comes back hears only what it has missed.
    """
    said, quiet_s = last_event_id, 0.0
    while True:
        try:
            now = await run_in_threadpool(parts.jobs.progress, job_id)
        except NotHere:
            return  # erased meanwhile
        except Temporary:
            await asyncio.sleep(1.0)
            continue
        event_id = _id_of(now)
        if event_id != said or now["state"] in _FINAL:
            said, quiet_s = event_id, 0.0
            yield f"id: {event_id}\nevent: progress\ndata: {json.dumps(now, ensure_ascii=False)}\n\n"
        if now["state"] in _FINAL:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
        quiet_s += _LOOK_EVERY_S
        if quiet_s >= _SIGN_OF_LIFE_S:
            quiet_s = 0.0
            yield ": still here\n\n"


def _id_of(progress: Document) -> str:
    """What makes a progress another one; the remaining time alone does not."""
    place = "-" if progress["queue_place"] is None else progress["queue_place"]
    reason = "1" if progress["reason"] else "0"
    return f"{progress['state']}.{progress['stage'] or '-'}.{progress['percent']}.{place}.{reason}"
