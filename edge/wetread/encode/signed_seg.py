"""The segmentation that follows a signature: the segments that a person accepted, and no others (PS3.3 A.51).

Whoever opens a SEG sees every segment of it. So a signed report refers to a segmentation of what was accepted alone. It
is taken out of the committed one, frame by frame: every voxel is the one that was reviewed, nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread, dcmwrite

from wetread.bundles.bundle import file_sha256
from wetread.durable import make_folder, write_atomically
from wetread.encode.reviewed import set_reviewed
from wetread.encode.text import text_line
from wetread.encode.uids import derived_uid
from wetread.errors import SpoolUnavailable
from wetread.records.result import EncodedResult
from wetread.records.sign_off import Signature

_NOT_REVIEWED, _REVIEWED = ", not reviewed", ", reviewed"
_FRAMES_AT_ONCE = 8
"""So many frames of any size are whole bytes."""


@dataclass(frozen=True, slots=True)
class AcceptedSegments:
    """What became of one committed segmentation."""

    taken_from: str
    """SOP Instance UID of the committed one."""
    numbers: Mapping[int, int]
    """Segment Number there → here, of what was accepted."""
    result: EncodedResult | None
    """None when nothing of it was accepted: there is no SEG without segments (PS3.3 C.8.20.2)."""


def encode_accepted(
    preliminary: EncodedResult, accepted: frozenset[str], signature: Signature, *, out: Path
) -> AcceptedSegments:
    """Write the segments with these Tracking UIDs to ``out``.

    Raises: ``SpoolUnavailable`` when the disk is full or cannot be written.
    """
    dataset = dcmread(preliminary.path)
    numbers = _numbers(dataset, accepted)
    if not numbers:
        return AcceptedSegments(preliminary.sop_instance_uid, numbers, None)
    dataset.decode()
    keep = _keep_labels if dataset.SegmentationType == "LABELMAP" else _keep_masks
    _set_frames(dataset, keep(dataset, numbers))
    _set_segments(dataset, numbers)
    _set_dimensions(dataset, derived_uid("signed dimensions", signature.sign_off_id, preliminary.sop_instance_uid))
    title = str(dataset.ContentDescription).removesuffix(_NOT_REVIEWED)
    dataset.ContentDescription = text_line(title, 64 - len(_REVIEWED)) + _REVIEWED
    set_reviewed(dataset, preliminary, signature)
    try:
        make_folder(out.parent)
        write_atomically(out, lambda part: dcmwrite(part, dataset, enforce_file_format=True))
    except OSError as exc:
        raise SpoolUnavailable(f"the signed segmentation cannot be written to {out}: {exc.strerror or exc}") from exc
    result = replace(
        preliminary,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        path=out,
        sha256=file_sha256(out),
    )
    return AcceptedSegments(preliminary.sop_instance_uid, numbers, result)


def _numbers(dataset: Dataset, accepted: frozenset[str]) -> dict[int, int]:
    """Segment Numbers of what was accepted. In BINARY they are 1, 2, …; a label map keeps its own (PS3.3 C.8.20.2)."""
    kept = [int(s.SegmentNumber) for s in dataset.SegmentSequence if str(s.get("TrackingUID", "")) in accepted]
    if dataset.SegmentationType == "LABELMAP":
        return {number: number for number in kept}
    return {number: place for place, number in enumerate(sorted(kept), start=1)}


def _set_segments(dataset: Dataset, numbers: Mapping[int, int]) -> None:
    """The background of a label map (Segment Number 0) stays described."""
    dataset.SegmentSequence = [s for s in dataset.SegmentSequence if int(s.SegmentNumber) in {0, *numbers}]
    for segment in dataset.SegmentSequence:
        segment.SegmentNumber = numbers.get(int(segment.SegmentNumber), 0)
    if dataset.get("SegmentsOverlap") == "YES":
        dataset.SegmentsOverlap = "UNDEFINED" if len(numbers) > 1 else "NO"


def _keep_masks(dataset: Dataset, numbers: Mapping[int, int]) -> list[int]:
    """Leave the frames of these segments in a BINARY segmentation. Returns: their places among the frames before."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    if "SegmentIdentificationSequence" in dataset.SharedFunctionalGroupsSequence[0]:
        return list(range(len(groups)))  # all frames are of one segment, and it was accepted
    kept = []
    for place, group in enumerate(groups):
        segment = group.SegmentIdentificationSequence[0]
        if int(segment.ReferencedSegmentNumber) in numbers:
            segment.ReferencedSegmentNumber = numbers[int(segment.ReferencedSegmentNumber)]
            kept.append(place)
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    _set_pixels(dataset, b"".join(_frames(packed, kept, int(dataset.Rows) * int(dataset.Columns))))
    return kept


def _frames(packed: npt.NDArray[np.uint8], kept: Sequence[int], bits: int) -> Iterator[bytes]:
    """Frames of one bit for each pixel, which follow each other without a gap (PS3.5 8.1.1)."""
    if bits % 8 == 0:
        yield from (packed[place * bits // 8 : (place + 1) * bits // 8].tobytes() for place in kept)
        return
    for first in range(0, len(kept), _FRAMES_AT_ONCE):
        some = [_unpacked(packed, place * bits, bits) for place in kept[first : first + _FRAMES_AT_ONCE]]
        yield np.packbits(np.concatenate(some), bitorder="little").tobytes()


def _unpacked(packed: npt.NDArray[np.uint8], first: int, bits: int) -> npt.NDArray[np.uint8]:
    within = np.unpackbits(packed[first // 8 : (first + bits + 7) // 8], bitorder="little")
    return within[first % 8 : first % 8 + bits]


def _keep_labels(dataset: Dataset, numbers: Mapping[int, int]) -> list[int]:
    """Leave these labels in a label map, and the frames with any. Returns: their places among the frames before."""
    dtype = np.dtype(np.uint8 if int(dataset.BitsAllocated) == 8 else "<u2")
    count = int(dataset.NumberOfFrames) * int(dataset.Rows) * int(dataset.Columns)
    array = np.frombuffer(dataset.PixelData, dtype, count).reshape(-1, int(dataset.Rows), int(dataset.Columns))
    values = np.zeros(np.iinfo(dtype).max + 1, dtype)
    for number in numbers:
        values[number] = number
    kept = [place for place, frame in enumerate(array) if values[frame].any()]
    _set_pixels(dataset, b"".join(values[array[place]].tobytes() for place in kept))
    return kept


def _set_pixels(dataset: Dataset, data: bytes) -> None:
    """An even number of bytes (PS3.5 8.1.1)."""
    dataset.PixelData = data + b"\x00" * (len(data) % 2)


def _set_frames(dataset: Dataset, kept: Sequence[int]) -> None:
    """Leave what is said of these frames."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [groups[place] for place in kept]
    dataset.NumberOfFrames = len(kept)


def _set_dimensions(dataset: Dataset, uid: str) -> None:
    """Dimension Index Values count from 1 without a gap (PS3.3 C.7.6.17.2), in the order they had."""
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid
    contents = [group.FrameContentSequence[0] for group in dataset.PerFrameFunctionalGroupsSequence]
    before = np.array([np.atleast_1d(content.DimensionIndexValues) for content in contents], np.int64)
    after = np.stack([np.unique(column, return_inverse=True)[1] + 1 for column in before.T], axis=1)
    for content, values in zip(contents, after, strict=True):
        content.DimensionIndexValues = [int(value) for value in values]
