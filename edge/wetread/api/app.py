"""The application: every call of version 1 in one place, the door before it."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from wetread import __version__
from wetread.api import jobs, problems, results, review, studies
from wetread.api.door import BASE, Document, Door
from wetread.api.parts import Parts
from wetread.receive.upload import Limits


def make_app(parts: Parts, *, token: str, limits: Limits) -> ASGIApp:
    """ASGI, for ``receive.http_server``."""
    app = FastAPI(
        title="Wetread",
        version=__version__,
        description="packaging/docs/API.md says what each call means.",
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    health = APIRouter()

    @health.get("/health")
    def _health() -> Document:
        """How the service is; without a token, and without patient data."""
        return parts.health.document()

    for router in (
        health,
        studies.router(parts, limits=limits),
        jobs.router(parts),
        results.router(parts),
        review.router(parts),
    ):
        app.include_router(router, prefix=BASE)
    return Door(app, token=token)
