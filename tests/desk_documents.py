"""What an edge says of one CT of one patient, as documents: the shapes of ``packaging/docs/API.md``."""

from __future__ import annotations

import copy
from typing import Any

from wetread_desktop.host import SeriesHandle

Document = dict[str, Any]

STUDY, SERIES, FRAME = "1.2.3.4", "1.2.3.4.5", "1.2.3.4.9"
OTHER_STUDY = "1.2.3.99"
PATIENT = {"name": "Meier^Anna=梅尔^安娜", "patient_id": "P-17", "issuer": "", "birth_date": "19500304", "sex": "F"}
SHAPE = (4, 6, 5)
AFFINE = [[0.0, 0.0, 0.8, -10.0], [0.0, 0.8, 0.0, -20.0], [2.5, 0.0, 0.0, 30.0], [0.0, 0.0, 0.0, 1.0]]
"""Slices 2.5 mm apart, pixels of 0.8 mm."""


def handle(study: str = STUDY, **other: str) -> SeriesHandle:
    """The series as a viewer shows it."""
    known = {
        "series_instance_uid": SERIES if study == STUDY else study + ".5",
        "modality": "CT",
        "description": "Abdomen 2.5 mm" if study == STUDY else "Chest",
        "frame_of_reference_uid": FRAME,
        "patient_id": "P-17",
        "patient_name": "Meier^Anna",
        "birth_date": "19500304",
        "sex": "F",
        "accession_number": "A-2026-1",
    }
    return SeriesHandle(key="layer", study_instance_uid=study, **(known | other))


def study(uid: str = STUDY, **patient: str) -> Document:
    return {
        "study_instance_uid": uid,
        "patient_id": (PATIENT | patient)["patient_id"],
        "accession_number": "A-2026-1",
        "description": "CT abdomen",
        "date": "20261122",
        "state": "complete",
        "reason": "",
        "received_at": "2026-11-22T07:30:00Z",
        "patient": PATIENT | patient,
    }


def suggestion(bundle: str = "spleen", *, fits: bool = True, **more: Any) -> Document:
    return {
        "bundle": bundle,
        "version": "1.2.0",
        "title": {"spleen": "Spleen", "lesions": "Liver lesions"}.get(bundle, bundle),
        "fits": fits,
        "reason": "CT, abdomen, 2.5 mm, 4 slices" if fits else "made for MR; this study is CT",
        "chosen": [{"input_name": "image", "series_instance_uid": SERIES, "reason": "the thinnest slices"}],
        "outside": [],
        "intended_use": "spleen volume in adults",
        "passed_over": ["series 1 'Scout': a localizer"],
        "not_for": ["children"],
        "clinical_use": False,
        "predicted": {"memory_mb": 900, "seconds": 12.0, "basis": ""},
        "latest_job": None,
    } | more


def finding(number: int, name: str, **more: Any) -> Document:
    return {
        "tracking_uid": f"2.25.{number}",
        "name": name,
        "role": "finding",
        "code": {"value": "1", "scheme": "SCT", "meaning": name},
        "laterality": "",
        "evaluation": "present",
        "measurements": [
            {"name": "Volume", "value": 12345.6, "unit": "mm3", "code": {"value": "v", "scheme": "SCT", "meaning": "V"}}
        ],
        "colour_rgb": [200, 40 * number % 256, 30],
        "label_value": number,
        "score": None,
        "threshold": None,
        "wording": "",
        "place": {"sop_instance_uid": f"1.2.3.4.5.{number}", "slice_number": number, "centre_mm": [1.0, 2.0, 3.0]},
        "box": None,
        "heatmap": False,
    } | more


def findings() -> list[Document]:
    """An organ, two lesions, and one thing that was not seen."""
    lesion = {"slice_number": 2, "centre_mm": [-8.4, -18.4, 32.5], "size_mm": [2.5, 1.6, 1.6]}
    return [
        finding(1, "Spleen", role="anatomy"),
        finding(2, "Lesion", laterality="Left", heatmap=True, wording="likely"),
        finding(3, "Lesion", label_value=None, box=lesion, place=None),
        finding(4, "Rupture", evaluation="absent", label_value=None, place=None, measurements=[]),
    ]


def result(study_uid: str = STUDY, *, found: list[Document] | None = None, **patient: str) -> Document:
    return {
        "read": {},
        "superseded_by": "",
        "patient": PATIENT | patient,
        "accession_number": "A-2026-1",
        "study_instance_uid": study_uid,
        "input": {
            "kind": "volume",
            "series_instance_uid": SERIES,
            "shape": list(SHAPE),
            "affine": copy.deepcopy(AFFINE),
            "sop_instance_uids": [f"1.2.3.4.5.{n + 1}" for n in range(SHAPE[0])],
            "frame_of_reference_uid": FRAME,
        },
        "findings": findings() if found is None else found,
        "labels": {"shape": list(SHAPE), "affine": copy.deepcopy(AFFINE), "dtype": "uint8", "overlapping": False},
        "notes": ["read with the reference engine"],
        "bundle": {
            "name": "spleen",
            "version": "1.2.0",
            "title": "Spleen",
            "intended_use": "spleen volume in adults",
            "not_for": "children",
            "clinical_use": False,
        },
    }


def labels() -> bytes:
    """One voxel of each of two classes."""
    values = bytearray(SHAPE[0] * SHAPE[1] * SHAPE[2])
    values[7], values[40] = 1, 2
    return bytes(values)
