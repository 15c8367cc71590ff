"""``wetread serve``: the composition root. Builds every part from the configuration and joins them.

The coordinator is this process's main thread: the one writer of index, revisions and jobs. The listener is a process of
its own, workers are processes of the executor, each destination has a thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack

from wetread.bundles import Bundle, find_bundle
from wetread.bundles.trust import admit
from wetread.config import Config
from wetread.db import Database
from wetread.errors import Misconfigured
from wetread.jobs.comparisons import Comparisons
from wetread.jobs.executor import LocalExecutor
from wetread.jobs.queue import Queue
from wetread.receive.stow_settings import read_tokens
from wetread.route.router import Router, check_rules
from wetread.service.addresses import Addresses
from wetread.service.api_process import serve_api
from wetread.service.duties.cleaning import Cleaning
from wetread.service.duties.commitments import Commitments
from wetread.service.duties.comparisons import Comparing
from wetread.service.duties.deliveries import Deliveries
from wetread.service.duties.duplicates import Duplicates
from wetread.service.duties.duty import Duty
from wetread.service.duties.engines import EngineCleaning
from wetread.service.duties.intake import Intake
from wetread.service.duties.reads import Reads, Waits
from wetread.service.duties.routing import Routing
from wetread.service.engine_caches import service_cache
from wetread.service.engines import engine_problem
from wetread.service.evidence import evidence_sources
from wetread.service.http_entrance import HttpEntrance
from wetread.service.listening import Listeners
from wetread.service.ownership import own, process_identity
from wetread.service.peers import check_tls
from wetread.service.reading import RunnerOpener
from wetread.service.rounds import Rounds
from wetread.service.stowing import serve_stow
from wetread.store.index import Index
from wetread.store.retention import Retention
from wetread.store.revisions import Revisions
from wetread.store.spool import Spool

_NICE = 3
_AT_ONCE_S = 2.0
"""What an association under way gets at the second SIGTERM. Workers die with this process; the next start recovers."""


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
        check_tls(config)
        read_tokens(config.stow.clients)
        self._bundles = _load_bundles(config)
        router = Router(config.routes, self._bundles)
        self._lock = own(config.data_dir)
        self._db = Database(config.data_dir / "wetread.db")
        self._at_once = threading.Event()
        self._duties = self._make_duties(router)
        self.stopping = threading.Event()

    def run(self, *, on_ready: Callable[[Addresses], None] | None = None) -> None:
        """Run until ``stopping`` is set; ``on_ready`` is told where all entrances answer, once they do."""
        listeners = Listeners(self._config)
        stow = HttpEntrance("STOW-RS", serve_stow, self._config)
        api = HttpEntrance("the HTTP interface", serve_api, self._config)
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            stack.callback(self._db.close)
            for duty in self._duties:
                stack.callback(duty.close)
                duty.recover()
            for entrance in (listeners, stow, api):
                stack.callback(entrance.stop)
            addresses = self._open(listeners, stow, api)
            step_behind_listeners()
            if on_ready is not None:
                on_ready(addresses)
            rounds = Rounds(self._duties, self.stopping.wait)
            while not self.stopping.is_set():
                for entrance in (listeners, stow, api):
                    for pid in entrance.keep_alive():
                        self._intake.entrance_ended(pid)
                rounds.go()

    def _open(self, listeners: Listeners, stow: HttpEntrance, api: HttpEntrance) -> Addresses:
        """Start what the configuration asks for, the listeners first: they wait for those of a killed process."""
        config = self._config
        ports = listeners.start() if config.listener.enabled else None
        return Addresses(
            host=config.listener.host,
            called=tuple(called.ae_title for called in config.listener.called),
            port=ports.plain_port if ports else 0,
            tls_port=ports.tls_port if ports else 0,
            stow=stow.start(config.stow, "stow") if config.stow.clients else "",
            api=api.start(config.api, "api") if config.api.enabled else "",
        )

    def stop(self) -> None:
        """End: first what is under way, for a while; at the second call at once, whoever does not answer."""
        if self.stopping.is_set():
            self._at_once.set()
            deadline = threading.Timer(_AT_ONCE_S, os._exit, (0,))
            deadline.daemon = True
            deadline.start()
        self.stopping.set()

    def _make_duties(self, router: Router) -> tuple[Duty, ...]:
        """One line for each duty, in the order of the data's way; they are closed in the opposite order."""
        config, db = self._config, self._db
        spool = Spool(config.data_dir / "spool")
        spool.discard_unfinished()
        sources = evidence_sources(config)
        index = Index(db, spool, authorities=sources.authorities)
        revisions = Revisions(db, spool, config.completeness, sources=sources)
        self._intake = Intake(index, revisions)
        queue = self._make_queue()
        digests = {name: bundle.digest() for name, bundle in self._bundles.items()}
        return (
            Commitments(config, db),
            Deliveries(config, db),
            self._intake,
            Duplicates(index),
            Routing(router, revisions, queue, bundle_digests=digests),
            self._make_reads(queue, revisions, pressing=lambda: index.is_behind),
            Comparing(Comparisons(db, config.data_dir)),
            Cleaning(Retention(db, config.data_dir, config.retention)),
            EngineCleaning(config),
        )

    def _make_queue(self) -> Queue:
        config = self._config
        return Queue(
            self._db,
            config.jobs.retry,
            owner=process_identity(),
            config_digest=config.digest,
            priority=config.jobs.priority,
        )

    def _make_reads(self, queue: Queue, revisions: Revisions, *, pressing: Callable[[], bool]) -> Reads:
        config = self._config
        engines, trust = service_cache(config).folder, config.bundles.trust
        opener = RunnerOpener(config.jobs.engine, engines, config.jobs.threads, trust, background=True)
        return Reads(
            queue,
            LocalExecutor(config.jobs.workers, opener),
            revisions,
            warm=self._bundles.values(),
            data_folder=config.data_dir,
            results=config.results,
            waits=Waits(config.service.drain_s, self._at_once, pressing),
        )


def step_behind_listeners() -> None:
    """Indexing may wait for a moment, a modality must not. This thread only, and above the workers (nice 5)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _load_bundles(config: Config) -> dict[str, Bundle]:
    check_rules(config.routes)
    names = {r.bundle for r in config.routes if r.mode != "off"}
    bundles = {name: find_bundle(name, config.bundle_folders) for name in sorted(names)}
    for bundle in bundles.values():
        bundle.check_weights()
        admit(bundle, config.bundles.trust)
    return bundles
