"""Duty: waiting jobs go to workers, and what workers report is recorded."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from wetread.bundles import Bundle
from wetread.config import ResultSettings
from wetread.failpoint import failpoint
from wetread.jobs.executor import Held, LocalExecutor, Report
from wetread.jobs.new_job import Chosen
from wetread.jobs.queue import ClaimedJob, Queue
from wetread.jobs.worker import Predicted, Progressed
from wetread.records.job import ChosenSeries, JobSpec
from wetread.records.study import SeriesRef
from wetread.store.revisions import Revisions

logger = logging.getLogger(__name__)

_WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Waits:
    """What this duty may wait for."""

    drain_s: float
    """``close`` waits so long for reads that are under way."""
    at_once: threading.Event
    """Set: not any longer."""
    pressing: Callable[[], bool] = lambda: False
    """Whether another duty has work in line: then a round does not wait for reports."""


class Reads:
    """From jobs to committed results."""

    def __init__(
        self,
        queue: Queue,
        executor: LocalExecutor,
        revisions: Revisions,
        *,
        warm: Iterable[Bundle],
        data_folder: Path,
        results: ResultSettings,
        waits: Waits,
    ) -> None:
        self._queue = queue
        self._executor = executor
        self._revisions = revisions
        self._warm = tuple(warm)
        self._data_folder = data_folder
        self._results = results
        self._waits = waits
        self._reports: deque[Report] = deque()

    def recover(self) -> None:
        """Put jobs back that were running when the last coordinator ended, and let workers load their models."""
        interrupted = self._queue.recover()
        if interrupted:
            logger.info("%d interrupted jobs are waiting again", interrupted)
        for bundle in self._warm:
            self._executor.warm_up(bundle.folder, bundle.digest())

    def round(self) -> None:
        """Start what there is room for, then wait a moment for reports and record them."""
        self._end_cancelled()
        while self._executor.has_room():
            job = self._queue.claim()
            if job is None:
                break
            failpoint("job.claimed")
            self._executor.submit(self._spec(job))
        self._take_reports()

    def close(self) -> None:
        """Let reads under way end, for a while; what is not done by then waits for the next start."""
        try:
            deadline = time.monotonic() + self._waits.drain_s
            while self._executor.is_busy() and not self._waits.at_once.is_set() and time.monotonic() < deadline:
                self._end_cancelled()
                self._take_reports()
        finally:
            self._executor.close()
            self._queue.put_back()

    def _end_cancelled(self) -> None:
        for job_id in self._queue.to_cancel():
            self._executor.cancel(job_id)

    def _take_reports(self) -> None:
        self._reports.extend(self._executor.reports(0.0 if self._waits.pressing() else _WAIT_S))
        while self._reports:
            self._record(self._reports[0])
            self._reports.popleft()  # only now: what could not be written is recorded in the next round

    def _record(self, report: Report) -> None:
        if isinstance(report, Progressed):
            self._queue.heartbeat(report.job_id, f"{report.stage} {report.fraction:.0%}")
        elif isinstance(report, Predicted):
            self._queue.predicted(report.job_id, report.prediction)
        elif isinstance(report, Held):
            self._queue.heartbeat(report.job_id, report.reason)
        else:
            failpoint("job.reported")
            self._queue.finish(report, data_folder=self._data_folder)
            failpoint("job.done")

    def _spec(self, job: ClaimedJob) -> JobSpec:
        study = self._revisions.load(job.revision_id).study
        by_uid = {s.series_instance_uid: s for s in study.series}
        job_folder = self._data_folder / "results" / job.job_id
        # What earlier attempts left was never committed. A folder for each: a worker that outlives a killed coordinator
        # for a moment must not write among the files of its successor.
        shutil.rmtree(job_folder, ignore_errors=True)
        offset = datetime.now(ZoneInfo(self._results.timezone)).utcoffset()
        return JobSpec(
            job_id=job.job_id,
            study=study,
            chosen=tuple(_chosen(one, by_uid[one.series_instance_uid]) for one in job.chosen),
            bundle_folder=job.bundle_folder,
            bundle_digest=job.bundle_digest,
            out_folder=job_folder / str(job.attempt),
            route=job.route,
            supersedes=self._queue.supersedes(job.job_id),
            renditions=job.renditions,
            options=job.options,
            for_viewers=True,
            series_number_base=self._results.series_number_base,
            utc_offset_minutes=int(offset.total_seconds() // 60) if offset else 0,
        )


def _chosen(chosen: Chosen, series: SeriesRef) -> ChosenSeries:
    """The series, narrowed to the one film if it is one that is read."""
    if chosen.sop_instance_uid:
        film = tuple(i for i in series.instances if i.sop_instance_uid == chosen.sop_instance_uid)
        series = dataclasses.replace(series, instances=film)
    return ChosenSeries(chosen.input_name, series, chosen.reason)
