"""What lies in the PACS after the read, opened from the files as any other program would open them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from wetread.demo.report import Node, read_tree
from wetread.demo.server import DemoFailed
from wetread.encode.read_back import read_findings, read_segmentation
from wetread.images.folder import scan_folder
from wetread.images.volume import read_volume
from wetread.records.finding import Segment
from wetread.records.study import SeriesRef, StudyRef
from wetread.records.volume import LabelMap, Volume

if TYPE_CHECKING:
    from PIL import Image

KINDS = {
    "SEG": (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7"),
    "SR": (ComprehensiveSRStorage, Comprehensive3DSRStorage),
    "SC": (SecondaryCaptureImageStorage,),
}
"""SOP classes of each kind, in both renditions."""


@dataclass(frozen=True, slots=True)
class KeySlice:
    """One Secondary Capture picture."""

    picture: Image.Image
    slice_number: int
    """Place of its source image in the volume, from 1; 0 if that is not the volume that was read."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One read: source and results."""

    volume: Volume
    label_map: LabelMap
    findings: tuple[Segment, ...]
    report: Node
    key_slices: tuple[KeySlice, ...]
    results: tuple[tuple[str, Path], ...]
    """Kind and file: SEG, SR, SC."""


def open_arrived(folder: Path, study_instance_uid: str) -> Arrived:
    """Open source series and results of one study from a folder of DICOM files.

    The source is the series that the SEG refers to (PS3.3 C.12.2, Common Instance Reference).
    Raises: ``DemoFailed`` when something is missing, ``StudyRejected`` when the source is not a volume.
    """
    study = _study(folder, study_instance_uid)
    found = {kind: _instances(study, uids) for kind, uids in KINDS.items()}
    missing = [kind for kind, instances in found.items() if not instances]
    if missing:
        raise DemoFailed(f"no {' and no '.join(missing)} arrived at the PACS")
    seg, report = found["SEG"][0], found["SR"][0]
    volume = read_volume(_source(study, dcmread(seg, stop_before_pixels=True)), min_slices=2)
    label_map = read_segmentation(seg, volume)
    return Arrived(
        volume=volume,
        label_map=label_map,
        findings=read_findings(seg, report, label_map),
        report=read_tree(dcmread(report)),
        key_slices=_key_slices(found["SC"], volume),
        results=tuple((kind, path) for kind, paths in found.items() for path in paths),
    )


def _study(folder: Path, study_instance_uid: str) -> StudyRef:
    for study in scan_folder(folder).studies:
        if study.study_instance_uid == study_instance_uid:
            return study
    raise DemoFailed("the study is not in the PACS")


def _instances(study: StudyRef, sop_class_uids: tuple[str, ...]) -> list[Path]:
    return [i.path for series in study.series for i in series.instances if i.sop_class_uid in sop_class_uids]


def _source(study: StudyRef, segmentation: Dataset) -> SeriesRef:
    uid = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    for series in study.series:
        if series.series_instance_uid == uid:
            return series
    raise DemoFailed("the series that was read is not in the PACS")


def _key_slices(paths: list[Path], volume: Volume) -> tuple[KeySlice, ...]:
    numbers = {instance.sop_instance_uid: k for k, instance in enumerate(volume.instances, start=1)}
    opened = (_key_slice(dcmread(path), numbers) for path in paths)
    return tuple(sorted(opened, key=lambda key_slice: key_slice.slice_number))


def _key_slice(ds: Dataset, numbers: Mapping[str, int]) -> KeySlice:
    from PIL import Image

    source = str(ds.SourceImageSequence[0].ReferencedSOPInstanceUID)
    return KeySlice(Image.fromarray(ds.pixel_array), numbers.get(source, 0))
