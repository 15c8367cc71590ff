"""What a finished read leaves behind, in the transaction that ends its job: results, outbox entries, comparisons.

Its destinations decide which renditions are encoded, and which of them each one gets.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wetread.db import Queries, Row, Transaction, now
from wetread.jobs.new_job import places
from wetread.records.coded import CodedTerm
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import BoxSummary, EncodedResult, FindingSummary, MeasurementSummary, Place, Rendition


def commit_results(tx: Transaction, queries: Queries, row: Row, outcome: JobOutcome, data_folder: Path) -> None:
    """Record the results of job ``row``; a live one's go into the outbox of its destinations, in one rendition each."""
    wanted = _wanted(tx, queries, row)
    for position, result in enumerate(outcome.results):
        path = result.path.relative_to(data_folder).as_posix()
        fields = dataclasses.asdict(result) | {"job_id": row["id"], "position": position, "path": path}
        tx.run(queries["add_result"], fields)
        if row["send"] == "after signing" and outcome.state is JobState.DONE:
            continue  # a report that nothing was read has nothing to be reviewed
        for destination in _takers(wanted, result, outcome.results):
            entry = {"job_id": row["id"], "sop_instance_uid": result.sop_instance_uid, "destination": destination}
            tx.run(queries["put_in_outbox"], entry | {"now": now()})
    _keep_for_viewers(tx, queries, row, outcome, data_folder)
    if outcome.state is JobState.DONE:
        _compare_later(tx, queries, row)


def commit_signed(
    tx: Transaction,
    queries: Queries,
    row: Row,
    signed: Sequence[EncodedResult],
    *,
    sign_off_id: str,
    data_folder: Path,
) -> None:
    """Record what a person signed of job ``row``, in sending order, and put it into the outbox of its destinations.

    Where results wait for a signature, nothing else ever leaves: the rest says what nobody had reviewed.
    """
    committed = committed_results(tx, queries, row["id"], data_folder)
    for position, result in enumerate(signed, start=len(committed)):
        path = result.path.relative_to(data_folder).as_posix()
        fields = dataclasses.asdict(result) | {"job_id": row["id"], "position": position, "path": path}
        tx.run(queries["add_signed_result"], fields | {"sign_off_id": sign_off_id})
    wanted = _wanted(tx, queries, row)
    for result in signed:
        for destination in _takers(wanted, result, signed):
            entry = {"job_id": row["id"], "sop_instance_uid": result.sop_instance_uid, "destination": destination}
            tx.run(queries["put_in_outbox"], entry | {"now": now()})


def committed_results(
    tx: Transaction, queries: Queries, job_id: str, data_folder: Path, *, signed: bool = False
) -> list[EncodedResult]:
    """What the read of a job left, in sending order, without what was signed; or what was signed of it."""
    rows = tx.fetch(queries["signed_results" if signed else "results_of_job_in_order"], {"job_id": job_id})
    return [_committed(row, data_folder) for row in rows]


def _committed(row: Row, data_folder: Path) -> EncodedResult:
    return EncodedResult(
        kind=row["kind"],
        sop_class_uid=row["sop_class_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        path=data_folder / row["path"],
        sha256=row["sha256"],
        rendition=Rendition(row["rendition"]),
    )


def _keep_for_viewers(tx: Transaction, queries: Queries, row: Row, outcome: JobOutcome, data_folder: Path) -> None:
    """What viewers ask for: the image the read was about, and files beside the DICOM objects."""
    if outcome.input is not None:
        document = json.dumps(dataclasses.asdict(outcome.input))
        tx.run(queries["keep_input"], {"job_id": row["id"], "document": document})
    for file in outcome.files:
        path = file.path.relative_to(data_folder).as_posix()
        tx.run(queries["keep_file"], dataclasses.asdict(file) | {"job_id": row["id"], "path": path})


def renditions_to_encode(tx: Transaction, queries: Queries, row: Row) -> tuple[Rendition, ...]:
    """What the destinations of job ``row`` take: both where one of them was not asked yet."""
    wanted = set(_wanted(tx, queries, row).values())
    if None in wanted:
        return tuple(Rendition)
    return tuple(r for r in Rendition if r in wanted) or (Rendition.COMMON,)


def _wanted(tx: Transaction, queries: Queries, row: Row) -> dict[str, Rendition | None]:
    """The rendition of each destination of a live job, None where it is still to be asked."""
    if row["mode"] != "live":
        return {}
    known = {r["destination"]: r["rendition"] for r in tx.fetch(queries["renditions"])}
    said = {name: known.get(name, Rendition.COMMON) for name in json.loads(row["destinations"])}
    return {name: Rendition(rendition) if rendition else None for name, rendition in said.items()}


def _takers(
    wanted: dict[str, Rendition | None], result: EncodedResult, results: Sequence[EncodedResult]
) -> Iterable[str]:
    """Who gets this object. Where it is not known yet what a destination takes: the common rendition, until it was
    asked. Where what it takes was not encoded, because that was decided meanwhile: what there is.
    """
    there = [r.rendition for r in results]
    for destination, rendition in wanted.items():
        first = rendition or Rendition.COMMON
        if result.rendition == (first if first in there else there[0]):
            yield destination


def report_of(outcome: JobOutcome) -> str:
    """JSON of what the worker told besides its results."""
    return json.dumps(outcome.report(), ensure_ascii=False)


def reported_findings(report: Mapping[str, Any]) -> tuple[FindingSummary, ...]:
    """The findings in what ``report_of`` kept, without colours, label values and scores; none of a rejected read."""
    return tuple(map(_finding, report.get("findings", ())))


def _finding(fields: Mapping[str, Any]) -> FindingSummary:
    box, place = fields.get("box"), fields.get("place")  # not there before version 0.2.0
    return FindingSummary(
        name=fields["name"],
        role=fields["role"],
        code=CodedTerm(**fields["code"]),
        laterality=fields["laterality"],
        tracking_uid=fields["tracking_uid"],
        measurements=tuple(
            MeasurementSummary(m["name"], float(m["value"]), m["unit"], CodedTerm(**m["code"]))
            for m in fields["measurements"]
        ),
        evaluation=fields["evaluation"],
        box=BoxSummary(box["slice_number"], tuple(box["centre_mm"]), tuple(box["size_mm"])) if box else None,
        place=Place(place["sop_instance_uid"], place["slice_number"], tuple(place["centre_mm"])) if place else None,
        wording=fields.get("wording", ""),
    )


def _compare_later(tx: Transaction, queries: Queries, row: Row) -> None:
    """Each shadow read with the latest live read of the same series by every other route and bundle."""
    mine = places(row["chosen"])
    others = tx.fetch(queries["reads_in_other_mode"], {"study_id": row["study_id"], "mode": row["mode"]})
    latest = {(o["route"], o["bundle_digest"]): o["id"] for o in others if places(o["chosen"]) & mine}
    for other in latest.values():
        shadow, live = (row["id"], other) if row["mode"] == "shadow" else (other, row["id"])
        tx.run(queries["compare_later"], {"shadow_job_id": shadow, "live_job_id": live})
