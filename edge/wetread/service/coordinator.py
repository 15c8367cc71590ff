"""``wetread serve``: the composition root. Builds every part from the configuration and joins them.

The coordinator is this process's main thread: the one writer of index, revisions and jobs. The listener is a process of
its own, workers are processes of the executor, each destination has a thread.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from zoneinfo import ZoneInfo

from wetread.bundles import Bundle, find_bundle
from wetread.bundles.trust import admit
from wetread.config import Config
from wetread.db import Database
from wetread.deliver.destination import open_destination
from wetread.deliver.outbox import Delivery
from wetread.errors import Misconfigured, Temporary
from wetread.jobs.executor import LocalExecutor, Report
from wetread.jobs.queue import ClaimedJob, NewJob, Queue, RouteDecision
from wetread.jobs.worker import Progressed
from wetread.records.job import ChosenSeries, JobSpec
from wetread.route.router import Decision, Router
from wetread.service.engines import engine_problem
from wetread.service.listening import ListenerProcess
from wetread.service.ownership import own, process_identity
from wetread.service.reading import RunnerOpener
from wetread.store.index import Index
from wetread.store.revisions import Revision, Revisions
from wetread.store.spool import Spool

logger = logging.getLogger(__name__)

_TICK_S = 0.1
_BACK_OFF_S = 5.0


class Service:
    """Everything ``wetread serve`` runs."""

    def __init__(self, config: Config) -> None:
        """Build all parts; nothing runs yet.

        Raises: ``Misconfigured`` when configuration, bundles or data folder are not usable.
        """
        self._config = config
        problem = engine_problem(config.jobs.engine)
        if problem:
            raise Misconfigured(f"[jobs] engine: {problem}")
        bundles = _load_bundles(config)
        self._router = Router(config.routes, bundles)
        self._lock = own(config.data_dir)
        self._db = Database(config.data_dir / "wetread.db")
        spool = Spool(config.data_dir / "spool")
        spool.discard_unfinished()
        self._index = Index(self._db, spool)
        self._revisions = Revisions(self._db, spool, config.completeness)
        self._queue = Queue(self._db, config.jobs.retry, owner=process_identity(), config_digest=config.digest)
        opener = RunnerOpener(
            config.jobs.engine, config.data_dir / "engines", config.jobs.threads, config.bundles.trust
        )
        self._reports: deque[Report] = deque()
        self._executor = LocalExecutor(config.jobs.workers, opener)
        self._deliveries = [
            Delivery(
                d.name,
                open_destination(d, config.remote(d)),
                db=self._db,
                data_folder=config.data_dir,
                settings=config.delivery,
            )
            for d in config.destinations
        ]
        self._bundles = bundles
        self._digests = {name: bundle.digest() for name, bundle in bundles.items()}
        self.stopping = threading.Event()

    def run(self, *, on_ready: Callable[[int], None] | None = None) -> None:
        """Run until ``stopping`` is set; ``on_ready`` is told the port once studies can be sent."""
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            stack.callback(self._db.close)
            stack.callback(self._queue.put_back)
            stack.callback(self._executor.close)
            self._recover()
            for bundle in {r.bundle: self._bundles[r.bundle] for r in self._config.routes if r.mode != "off"}.values():
                self._executor.warm_up(bundle.folder, self._digests[bundle.name])
            for delivery in self._deliveries:
                delivery.start()
                stack.callback(delivery.stop)
            listener = ListenerProcess(self._config)
            port = listener.start()
            stack.callback(listener.stop)
            if on_ready is not None:
                on_ready(port)
            while not self.stopping.is_set():
                listener.keep_alive()
                self._try_tick()

    def _recover(self) -> None:
        interrupted = self._queue.recover()
        if interrupted:
            logger.info("%d interrupted jobs are waiting again", interrupted)

    def _try_tick(self) -> None:
        """A full disk stops nothing for good: what could not be written is still due at the next round."""
        try:
            self._tick()
        except Temporary as exc:
            logger.error("the coordinator waits: %s", exc)
            self.stopping.wait(_BACK_OFF_S)

    def _tick(self) -> None:
        """One round of the coordinator: take in, complete, route, start jobs, record their ends."""
        self._revisions.changed(self._index.take_in())
        self._revisions.notice_receiving()
        self._revisions.close_quiet()
        for revision in self._revisions.unrouted():
            self._route(revision)
        while self._executor.has_room():
            job = self._queue.claim()
            if job is None:
                break
            self._executor.submit(self._spec(job))
        self._reports.extend(self._executor.reports(_TICK_S))
        while self._reports:
            self._record(self._reports[0])
            self._reports.popleft()  # only now: what could not be written is recorded in the next round

    def _record(self, report: Report) -> None:
        if isinstance(report, Progressed):
            self._queue.heartbeat(report.job_id, f"{report.stage} {report.fraction:.0%}")
        else:
            self._queue.finish(report, data_folder=self._config.data_dir)

    def _route(self, revision: Revision) -> None:
        decisions = [_recorded(d, self._digests[d.bundle.name]) for d in self._router.decide(revision.study)]
        self._queue.enqueue(study_id=revision.study_id, revision_id=revision.revision_id, decisions=decisions)

    def _spec(self, job: ClaimedJob) -> JobSpec:
        study = self._revisions.load(job.revision_id).study
        by_uid = {s.series_instance_uid: s for s in study.series}
        job_folder = self._config.data_dir / "results" / job.job_id
        # What earlier attempts left was never committed. A folder for each: a worker that outlives a killed coordinator
        # for a moment must not write among the files of its successor.
        shutil.rmtree(job_folder, ignore_errors=True)
        zone = ZoneInfo(self._config.results.timezone)
        offset = datetime.now(zone).utcoffset()
        return JobSpec(
            job_id=job.job_id,
            study=study,
            chosen=tuple(ChosenSeries(name, by_uid[uid], reason) for name, uid, reason in job.chosen),
            bundle_folder=job.bundle_folder,
            bundle_digest=job.bundle_digest,
            out_folder=job_folder / str(job.attempt),
            route=job.route,
            series_number_base=self._config.results.series_number_base,
            utc_offset_minutes=int(offset.total_seconds() // 60) if offset else 0,
        )


def _load_bundles(config: Config) -> dict[str, Bundle]:
    names = {r.bundle for r in config.routes if r.mode != "off"}
    bundles = {name: find_bundle(name, config.bundle_folders) for name in sorted(names)}
    for bundle in bundles.values():
        bundle.check_weights()
        admit(bundle, config.bundles.trust)
    return bundles


def _recorded(decision: Decision, bundle_digest: str) -> RouteDecision:
    """A routing decision in the queue's words."""
    route, bundle = decision.route, decision.bundle
    jobs = tuple(
        NewJob(
            route=route.name,
            mode=route.mode,
            destinations=route.destinations,
            bundle=bundle.name,
            bundle_version=bundle.version,
            bundle_digest=bundle_digest,
            bundle_folder=bundle.folder,
            chosen=tuple((c.input_name, c.series.series_instance_uid, c.reason) for c in read.chosen),
            input_digest=read.input_digest,
        )
        for read in decision.reads
    )
    return RouteDecision(route.name, decision.outcome, decision.reason, tuple(map(str, decision.verdicts)), jobs)
