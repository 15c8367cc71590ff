"""SEG and SR objects as other people's programs write them, made with highdicom: what a site has beside its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, seg, sr
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from phantoms import Phantom

KIDNEY = Code("64033007", "SCT", "Kidney")
LIVER = Code("10200004", "SCT", "Liver")
LEFT, RIGHT = Code("7771000", "SCT", "Left"), Code("24028007", "SCT", "Right")
PNEUMONIA = Code("233604007", "SCT", "Pneumonia")
PRESENT, ABSENT = Code("52101004", "SCT", "Present"), Code("272519000", "SCT", "Absent")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")
Drawn = tuple[npt.NDArray[np.bool_], Code, Code | None]
"""Mask ``(slice, row, column)``, what it is, on which side."""


def write_seg(
    path: Path, phantom: Phantom, *drawn: Drawn, algorithm: str = "MANUAL", of: slice = slice(None), shift_mm: float = 0
) -> Path:
    """One BINARY SEG on the slices ``of`` a phantom, its segments in the order of ``drawn``."""
    sources = [dcmread(p, stop_before_pixels=True) for p in phantom.paths[of]]
    for source in sources:
        source.ImagePositionPatient = [float(v) + shift_mm for v in source.ImagePositionPatient]
    by = AlgorithmIdentificationSequence("painter", codes.DCM.ArtificialIntelligence, "1")
    described = [
        seg.SegmentDescription(
            number,
            f"drawn {number}",
            codes.SCT.AnatomicalStructure,
            kind,
            algorithm,
            algorithm_identification=None if algorithm == "MANUAL" else by,
        )
        for number, (_, kind, _) in enumerate(drawn, start=1)
    ]
    for description, (_, _, side) in zip(described, drawn, strict=True):
        if side is not None:
            item = description.SegmentedPropertyTypeCodeSequence[0]
            item.SegmentedPropertyTypeModifierCodeSequence = [sr.CodedConcept.from_code(side)]
    made = seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack([mask[of] for mask, _, _ in drawn], axis=-1),
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Someone",
        manufacturer_model_name="Painter",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(path)
    return path


def write_report(
    path: Path,
    images: Sequence[Path],
    *answers: tuple[Code, Code],
    verified: bool = True,
    person: bool = True,
    replaces: Path | None = None,
    segments: tuple[Path, Sequence[int]] | None = None,
    named: str = "",
) -> Path:
    """TID 1500: a group for each ``(condition, present or absent)``; or one for each segment of a SEG that it reports.

    ``named``: the answer's concept name is the condition itself where empty, else this code of DCM.
    """
    sources = [dcmread(p, stop_before_pixels=True) for p in images]
    first = sources[0]
    groups = [_group(first, condition, answer, named) for condition, answer in answers]
    stubs = [*sources]
    if segments is not None:
        drawing = dcmread(segments[0])
        stubs.append(drawing)
        groups += [_volume(drawing, number, str(first.SeriesInstanceUID)) for number in segments[1]]
    report = sr.ComprehensiveSR(
        evidence=stubs,
        content=sr.MeasurementReport(
            observation_context=_observer(person),
            procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
            imaging_measurements=groups,
        )[0],
        series_instance_uid=generate_uid(),
        series_number=98,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Someone",
        is_complete=True,
        is_final=verified,
        is_verified=verified,
        verifying_observer_name="Doe^Jane" if verified else None,
        verifying_organization="Hospital of Examples" if verified else None,
        previous_versions=[dcmread(replaces)] if replaces else None,
    )
    report.save_as(path)
    return path


def _group(film: Dataset, condition: Code, answer: Code, named: str) -> sr.MeasurementsAndQualitativeEvaluations:
    name = Code(named, "SCT", "Presence") if named else condition
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier="1"),
        finding_type=condition,
        source_images=[sr.SourceImageForMeasurementGroup(film.SOPClassUID, film.SOPInstanceUID)],
        qualitative_evaluations=[sr.QualitativeEvaluation(name, answer)],
    )


def _volume(drawing: Dataset, number: int, series: str) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=str(number)),
        referenced_segment=sr.ReferencedSegment(
            drawing.SOPClassUID, drawing.SOPInstanceUID, number, source_series=sr.SourceSeriesForSegmentation(series)
        ),
        finding_type=KIDNEY,
    )


def _observer(person: bool) -> sr.ObservationContext:
    if person:
        about = sr.PersonObserverIdentifyingAttributes(name="Doe^Jane")
        return sr.ObservationContext(observer_person_context=sr.ObserverContext(codes.DCM.Person, about))
    device = sr.DeviceObserverIdentifyingAttributes(uid=generate_uid(), name="reader")
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device))
