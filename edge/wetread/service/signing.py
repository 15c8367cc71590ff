"""A person signs a read: reports and segmentations are written, then sign-off, objects and outbox are one transaction.

A crash before it leaves files that nobody refers to, and the review is as it was; after it everything is there. The
same sign-off id twice is one sign-off.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wetread.db import Database, Queries, Row, Transaction
from wetread.encode.signed import encode_signed
from wetread.encode.signed_seg import AcceptedSegments, encode_accepted
from wetread.errors import Conflict, NotPossible
from wetread.failpoint import failpoint
from wetread.jobs.committing import commit_signed, committed_results, reported_findings
from wetread.records.result import EncodedResult, ReportRef
from wetread.records.sign_off import ReviewedFinding, Signature
from wetread.review.decisions import Review
from wetread.review.reviews import ReviewOfJob, Reviews, SignOff, WantedSignOff, new_id


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Whom the reader believes to sign for."""

    patient_id: str
    study_instance_uid: str


class Signing:
    """Sign-offs of one data folder."""

    def __init__(self, db: Database, data_folder: Path, *, organization: str = "") -> None:
        self._db = db
        self._data_folder = data_folder
        self._organization = organization
        self._reviews = Reviews(db)
        self._queries = Queries("wetread.jobs")

    def sign(self, job_id: str, wanted: WantedSignOff, confirmed: Confirmed) -> ReviewOfJob:
        """Sign; the review afterwards.

        Raises: ``NotPossible`` when it is not the patient the reader confirmed, or no organization is known;
        ``AlreadySigned``, ``HeldByAnother``, ``ReviewChanged``, ``Undecided``, ``Conflict``; ``SpoolUnavailable``.
        """
        sign_off_id = new_id(wanted)
        wanted = dataclasses.replace(
            wanted, id=sign_off_id, organization=wanted.organization.strip() or self._organization
        )
        with self._db.snapshot() as tx:
            there = self._reviews.check_sign(tx, job_id, wanted)
            if there.signed is not None:
                return there
            row = self._reviews.job(tx, job_id)
            _check_patient(row, confirmed)
            if not wanted.organization:
                raise NotPossible(
                    "a signed report names the organization that vouches for it: give reader.organization, or set"
                    " [api] organization"
                )
            results = self._results(tx, row)
            earlier = self._earlier(tx, job_id)
        signed_at = datetime.now(UTC)
        signature = Signature(sign_off_id, wanted.reader, wanted.organization, wanted.reader_id, signed_at)
        reports = self._encode(row, results, there.review, signature, earlier)
        failpoint("review.encoded")
        self._commit(job_id, dataclasses.replace(wanted, version=there.review.version), signature, reports)
        failpoint("review.signed")
        return self._reviews.get(job_id)

    def _encode(
        self,
        row: Row,
        results: list[EncodedResult],
        review: Review,
        signature: Signature,
        earlier: dict[str, list[ReportRef]],
    ) -> list[EncodedResult]:
        reviewed = [
            ReviewedFinding(finding, state.state == "accepted", state.comment)
            for finding in reported_findings(json.loads(row["report"]))
            for state in [review.of(finding.tracking_uid)]
        ]
        accepted = frozenset(r.finding.tracking_uid for r in reviewed if r.is_accepted)
        folder = self._data_folder / "results" / row["id"] / "signed" / signature.sign_off_id
        signed: list[EncodedResult] = []
        for report in (r for r in results if r.kind == "SR"):
            rendition = report.rendition.value
            segments = _segments(results, report, accepted, signature, folder / f"seg-{rendition}.dcm")
            if segments is not None and segments.result is not None:
                signed.append(segments.result)
            also, out = earlier.get(rendition, ()), folder / f"sr-{rendition}.dcm"
            signed.append(encode_signed(report, reviewed, signature, segments=segments, also_replaces=also, out=out))
        return signed

    def _commit(self, job_id: str, wanted: WantedSignOff, signature: Signature, reports: list[EncodedResult]) -> None:
        """Everything was looked at once more: somebody else may have decided or signed while the files were written."""
        with self._db.transaction() as tx:
            there = self._reviews.check_sign(tx, job_id, wanted)
            if there.signed is not None:
                return
            sign_off = SignOff(
                id=signature.sign_off_id,
                reader=signature.reader,
                organization=signature.organization,
                reader_id=signature.reader_id,
                signed_at=signature.signed_at.isoformat(timespec="milliseconds"),
                version=there.review.version,
            )
            self._reviews.record_sign_off(tx, job_id, sign_off)
            row = self._reviews.job(tx, job_id)
            commit_signed(
                tx,
                self._queries,
                row,
                reports,
                sign_off_id=signature.sign_off_id,
                data_folder=self._data_folder,
            )

    def _results(self, tx: Transaction, row: Row) -> list[EncodedResult]:
        results = committed_results(tx, self._queries, row["id"], self._data_folder)
        if not any(r.kind == "SR" for r in results):
            raise Conflict("the report of this read was removed by retention; read the study again, then sign")
        return results

    def _earlier(self, tx: Transaction, job_id: str) -> dict[str, list[ReportRef]]:
        """By rendition: what was signed of reads that this one took the place of."""
        found: dict[str, list[ReportRef]] = {}
        for row in tx.fetch(self._queries["signed_predecessors"], {"job_id": job_id}):
            reference = ReportRef(row["sop_class_uid"], row["sop_instance_uid"], row["series_instance_uid"])
            found.setdefault(row["rendition"], []).append(reference)
        return found


def _segments(
    results: list[EncodedResult], report: EncodedResult, accepted: frozenset[str], signature: Signature, out: Path
) -> AcceptedSegments | None:
    """What was accepted of the segmentation that goes with a report; none where the read made none."""
    for result in results:
        if result.kind == "SEG" and result.rendition == report.rendition:
            return encode_accepted(result, accepted, signature, out=out)
    return None


def _check_patient(row: Row, confirmed: Confirmed) -> None:
    patient_id = json.loads(row["attributes"])["patient"]["patient_id"]
    if (confirmed.patient_id, confirmed.study_instance_uid) != (patient_id, row["study_instance_uid"]):
        raise NotPossible(
            "the patient ID or study that was confirmed is not that of this read; close the dialog and look at"
            " whose read is open"
        )
