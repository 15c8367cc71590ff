"""Results: the document, label map, heat maps, pictures, DICOM objects."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse
from starlette.responses import Response

from wetread.api.door import Document
from wetread.api.parts import Parts
from wetread.api.paths import JobId, Uid

_GZIP = "application/gzip"


def router(parts: Parts) -> APIRouter:
    """The calls about results."""
    calls = APIRouter()

    @calls.get("/jobs/{job_id}/result")
    def _result(job_id: JobId) -> Document:
        return parts.results.result(job_id)

    @calls.get("/jobs/{job_id}/labels", response_class=Response)
    def _label_map(job_id: JobId) -> FileResponse:
        return FileResponse(parts.results.labels(job_id), media_type=_GZIP)

    @calls.get("/jobs/{job_id}/heatmaps/{tracking_uid}", response_class=Response)
    def _heatmap(job_id: JobId, tracking_uid: Uid) -> FileResponse:
        return FileResponse(parts.results.heatmap(job_id, tracking_uid), media_type=_GZIP)

    @calls.get("/jobs/{job_id}/objects")
    def _objects(job_id: JobId) -> list[Document]:
        return parts.results.objects(job_id)

    @calls.get("/jobs/{job_id}/objects/{sop}", response_class=Response)
    def _object(job_id: JobId, sop: Uid) -> FileResponse:
        return FileResponse(parts.results.object(job_id, sop), media_type="application/dicom")

    @calls.get("/jobs/{job_id}/key-images")
    def _key_images(job_id: JobId) -> list[Document]:
        return parts.results.key_images(job_id)

    @calls.get("/jobs/{job_id}/key-images/{number}.png", response_class=Response)
    def _key_image(job_id: JobId, number: Annotated[int, Path(ge=1, le=1000)]) -> Response:
        return Response(parts.results.key_image(job_id, number), media_type="image/png")

    return calls
