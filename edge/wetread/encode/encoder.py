"""From a reading to DICOM files, ready to send. A new object kind is a new file and one line in ``ENCODERS``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset, dcmwrite

from wetread.bundles.bundle import file_sha256
from wetread.durable import make_folder, write_atomically
from wetread.encode.context import Draft, EncodeContext, Encoder
from wetread.encode.overlay import encode_overlays
from wetread.encode.parametric_map import encode_parametric_maps, parametric_map_problem, wanted
from wetread.encode.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from wetread.encode.seg import encode_segmentation, overlap, segmentation_class
from wetread.encode.sources import read_headers
from wetread.encode.sr import encode_report
from wetread.encode.uids import result_uids
from wetread.errors import SpoolUnavailable
from wetread.records.output import Boxes
from wetread.records.radiograph import Radiograph
from wetread.records.result import EncodedResult, Rendition

__all__ = ["ENCODERS", "EncodeContext", "Encoder", "encode", "remarks"]

ENCODERS: tuple[tuple[str, Encoder], ...] = (
    ("SEG", encode_segmentation),
    ("SR", encode_report),
    ("SC", encode_overlays),
    ("PM", encode_parametric_maps),
)
"""In sending order: the SR refers to the SEG, so the SEG arrives first."""


def encode(context: EncodeContext) -> tuple[EncodedResult, ...]:
    """Write every result object of one reading into ``context.spec.out_folder``, which is made if it is missing; each
    rendition in a folder of its own if there are several.

    The same reading gives the same bytes. Files are complete and on disk when this returns; an interrupted run leaves
    only temporary files behind.

    Raises: ``SpoolUnavailable`` when the disk is full or cannot be written.
    """
    headers = read_headers(context.image, context.spec.study.correction)
    folder, renditions = context.spec.out_folder, context.spec.renditions
    results: list[EncodedResult] = []
    try:
        for rendition in renditions:
            uids = result_uids(context.spec, context.image, context.reading, headers[0], rendition=rendition)
            seg_class = segmentation_class(context.reading.output, rendition)
            draft = Draft(context, headers, uids, rendition, seg_class)
            results += _encode(draft, folder if len(renditions) == 1 else folder / rendition.value)
    except OSError as exc:
        raise SpoolUnavailable(f"the results cannot be written to {folder}: {exc.strerror or exc}") from exc
    return tuple(results)


def remarks(context: EncodeContext) -> tuple[str, ...]:
    """What a person should know about answer and objects, as sentences."""
    output, image = context.reading.output, context.image
    notes = output.notes if isinstance(output, Boxes) else ()
    if Rendition.MODERN in context.spec.renditions and overlap(output):
        notes = ("structures overlap, which a label map cannot say: the segmentation is BINARY in every rendition",)
    missing = parametric_map_problem(image) if wanted(context) and isinstance(image, Radiograph) else ""
    return (*notes, missing) if missing else notes


def _encode(draft: Draft, folder: Path) -> Iterator[EncodedResult]:
    make_folder(folder)
    for kind, encoder in ENCODERS:
        for number, dataset in enumerate(encoder(draft), start=1):
            yield _write(dataset, kind, folder / f"{kind.lower()}-{number}.dcm", draft.rendition)


def _write(dataset: Dataset, kind: str, path: Path, rendition: Rendition) -> EncodedResult:
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    # Straight to disk: a segmentation of a hundred structures has hundreds of megabytes.
    write_atomically(path, lambda part: dcmwrite(part, dataset, enforce_file_format=True))
    return EncodedResult(
        kind=kind,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        path=path,
        sha256=file_sha256(path),
        rendition=rendition,
    )
