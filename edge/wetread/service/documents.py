"""One read as JSON: the same keys from ``wetread read``, ``wetread jobs show`` and ``findings.json``.

The shape is ``packaging/docs/read.schema.json``; a test validates all three against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wetread.bundles import Bundle
from wetread.records.job import ChosenSeries, JobOutcome

Document = dict[str, Any]


def read_document(outcome: JobOutcome, bundle: Bundle, chosen: Iterable[ChosenSeries]) -> Document:
    """A read that was done here."""
    results = [
        {
            "kind": r.kind,
            "path": str(r.path),
            "sop_instance_uid": r.sop_instance_uid,
            "series_instance_uid": r.series_instance_uid,
            "sop_class_uid": r.sop_class_uid,
            "transfer_syntax_uid": r.transfer_syntax_uid,
            "sha256": r.sha256,
            "rendition": r.rendition.value,
        }
        for r in outcome.results
    ]
    return {
        "state": outcome.state.value,
        "code": outcome.code,
        "reason": outcome.reason,
        "bundle": bundle.name,
        "bundle_version": bundle.version,
        "series": [series_document(c) for c in chosen],
        **outcome.report(),
        "results": results,
    }


def series_document(chosen: ChosenSeries) -> Document:
    """One series that was read, for which input and why."""
    series = chosen.series
    return {
        "input": chosen.input_name,
        "series_instance_uid": series.series_instance_uid,
        "number": series.number,
        "description": series.description,
        "modality": series.modality,
        "film": _film(chosen),
        "reason": chosen.reason,
    }


def _film(chosen: ChosenSeries) -> str:
    """SOP Instance UID of the film that was read; '' of a volume."""
    instances = chosen.series.instances
    return instances[0].sop_instance_uid if len(instances) == 1 and instances[0].film else ""


def stored_read(report: Document, row: Document, series: Sequence[Document]) -> Document:
    """What the database kept of a read: its report, or what is known before it has one.

    ``row``: the job; ``series``: number, description and modality of the study's series.
    """
    known = {s["series_instance_uid"]: s for s in series}
    read = {
        "findings": [],
        "timings": [],
        "peak_memory_mb": 0,
        "prediction": None,
        "engine": None,
        "driven": [],
        "warnings": [],
    } | report
    if read["prediction"] is None and row["predicted_mb"] is not None:
        read["prediction"] = {"memory_mb": row["predicted_mb"], "seconds": row["predicted_s"], "basis": ""}
    read["series"] = [
        {
            "input": name,
            "series_instance_uid": uid,
            "number": known.get(uid, {}).get("number"),
            "description": known.get(uid, {}).get("description", ""),
            "modality": known.get(uid, {}).get("modality", ""),
            "film": film[0] if film else "",
            "reason": reason,
        }
        for name, uid, reason, *film in row["chosen"]
    ]
    return read


def prediction_text(prediction: Document | None) -> str:
    """``about 1200 MB and 14 s (48 windows)``."""
    if prediction is None:
        return "nothing is known yet of such a read on this machine"
    basis = f" ({prediction['basis']})" if prediction["basis"] else ""
    return f"about {prediction['memory_mb']} MB and {prediction['seconds']:.0f} s{basis}"


def measured_text(read: Document) -> str:
    """``1010 MB and 12.8 s``; empty before the read was done."""
    if not read["timings"]:
        return ""
    return f"{read['peak_memory_mb']:.0f} MB and {sum(t['seconds'] for t in read['timings']):.1f} s"


def series_text(series: Document) -> str:
    """``image: series 3 'T1 MPRAGE' (fits: …)``."""
    number = f"series {series['number']} " if series["number"] is not None else ""
    named = f"{number}{series['description']!r}" if series["description"] else number.rstrip() or "a series"
    return f"{series['input']}: {named} ({series['reason']})"


def finding_text(finding: Document) -> str:
    """Its measurements in one line."""
    return ", ".join(f"{m['name']} {m['value']:.1f} {m['unit']}" for m in finding["measurements"])
