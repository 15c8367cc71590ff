"""Retention: what may be removed, oldest first, and the removing, in steps a crash can stop anywhere.

A study's files may be removed once nothing is to be done with it any more: it was read, rejected, not read or
cancelled by a person, and every result reached its destinations or was withdrawn. Waiting, held, failed and undelivered
studies keep everything, however full the disk is. Rows stay: an instance that is sent again is known, a result of ours
is recognized as ours.

Removing is: rename the folder to ``removing/`` (one atomic step), mark the rows, delete. After a crash the folder in
``removing/`` says what was begun.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.durable import make_folder, sync_folder
from wetread.errors import Misconfigured
from wetread.records.numbers import number_of


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """``[retention]``: how long what is finished is kept. Nothing unfinished or undelivered is ever removed."""

    sources_days: Annotated[float, Ge(0)] = 30.0
    """Received images of finished studies (days after the last change); 0: for ever."""
    results_days: Annotated[float, Ge(0)] = 365.0
    """Result objects that reached all their destinations (days after the last change of the study); 0: for ever."""
    events_days: Annotated[float, Ge(0)] = 0.0
    """Timeline of studies whose images and results are both removed (days); 0: for ever, it is the audit trail."""
    engines_days: Annotated[float, Ge(0)] = 30.0
    """Compiled engines, graphs and certificates that no bundle here can use any more (days after their last use).
    0: for ever, or until ``wetread bundle clean``."""
    min_free_mb: Annotated[int, Ge(0)] = 4096
    """Below this (MiB), images of the oldest finished studies are removed before their time. 0: never.
    More than ``[spool] reserve_mb``, or reception stops first."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What one step of cleaning removed."""

    kind: str
    study_id: int
    files: int


class Retention:
    """Cleaning of one data folder; called by the coordinator, one study at a time."""

    def __init__(
        self,
        db: Database,
        data_folder: Path,
        settings: RetentionSettings,
        *,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._db = db
        self._data_folder = data_folder
        self._studies = data_folder / "spool" / "studies"
        self._results = data_folder / "results"
        self._removing = data_folder / "removing"
        self._settings = settings
        self._free_bytes = free_bytes
        self._today = today
        self._queries = Queries("wetread.store")

    def recover(self) -> int:
        """Finish what a crash interrupted; how many folders."""
        begun = sorted(self._removing.iterdir()) if self._removing.is_dir() else []
        for folder in begun:
            kind, _, name = folder.name.partition("-")
            with self._db.transaction() as tx:
                self._mark(tx, kind, name)
            shutil.rmtree(folder)
        return len(begun)

    def clean_one(self) -> Removed | None:
        """Remove the images or results of one study that is due, or nothing."""
        for kind, row, reason in self._due():
            return self._remove(kind, row, reason)
        return None

    def forget_events(self) -> int:
        """Delete timelines that are past their time; how many events."""
        if not self._settings.events_days:
            return 0
        with self._db.transaction() as tx:
            return tx.run(self._queries["forget_events"], {"before": self._before(self._settings.events_days)})

    def erase(self, study_instance_uid: str) -> int:
        """Remove everything of a study, rows included; how many files. An event says that it happened, not of whom.

        Raises: ``Misconfigured`` when it is not here, or something of it is being read or has still to be delivered.
        """
        with self._db.transaction() as tx:
            row = self._erasable(tx, study_instance_uid)
            jobs = [r["id"] for r in tx.fetch(self._queries["job_ids"], {"study_id": row["id"]})]
            places = [("studies", self._studies / row["folder"])] + [("results", self._results / job) for job in jobs]
            moved = [self._set_aside(kind, folder) for kind, folder in places if folder.is_dir()]
            files = sum(_count_files(folder) for folder in moved)
            tx.run(self._queries["erase_events"], {"study_id": row["id"]})
            tx.run(self._queries["erase_study"], {"study_id": row["id"]})
            tx.event("erased", f"one study: {number_of(files, 'file')}, {number_of(len(jobs), 'read')}")
        for folder in moved:
            shutil.rmtree(folder)
        return files

    def _erasable(self, tx: Transaction, study_instance_uid: str) -> Row:
        rows = tx.fetch(self._queries["erasable"], {"study_instance_uid": study_instance_uid})
        if not rows:
            raise Misconfigured(f"no study {study_instance_uid} here; see: wetread studies list")
        if rows[0]["state"] in ("receiving", "reading", "delivering"):
            raise Misconfigured(
                f"study {study_instance_uid} is {rows[0]['state']}: wait, or hold it and cancel its reads first"
            )
        return rows[0]

    def _due(self) -> Iterator[tuple[str, Row, str]]:
        """What may go now, with the reason, oldest study first."""
        settings = self._settings
        if settings.sources_days:
            for row in self._finished("oldest_sources", self._before(settings.sources_days)):
                yield "studies", row, f"{settings.sources_days:g} days have passed"
        if settings.results_days:
            for row in self._finished("oldest_results", self._before(settings.results_days)):
                yield "results", row, f"{settings.results_days:g} days have passed"
        free_mb = self._free_bytes(self._data_folder) // 2**20
        if free_mb < settings.min_free_mb:
            for row in self._finished("oldest_sources", now()):
                yield "studies", row, f"{free_mb} MiB were free, less than {settings.min_free_mb}"

    def _finished(self, query: str, before: str) -> Iterator[Row]:
        yield from self._db.fetch(self._queries[query], {"before": before})

    def _before(self, days: float) -> str:
        return (self._today() - timedelta(days=days)).isoformat(timespec="milliseconds")

    def _remove(self, kind: str, row: Row, reason: str) -> Removed:
        source = self._studies / row["name"] if kind == "studies" else self._results / row["name"]
        moved = self._set_aside(kind, source) if source.is_dir() else None
        files = _count_files(moved) if moved else 0
        with self._db.transaction() as tx:
            self._mark(tx, kind, row["name"])
            what = "images" if kind == "studies" else "results"
            tx.event("removed", f"{number_of(files, 'file')} ({what}): {reason}", study_id=row["study_id"])
        if moved:
            shutil.rmtree(moved)
        return Removed(kind, int(row["study_id"]), files)

    def _set_aside(self, kind: str, folder: Path) -> Path:
        make_folder(self._removing)
        target = self._removing / f"{kind}-{folder.name}"
        if target.exists():
            shutil.rmtree(target)
        os.rename(folder, target)
        sync_folder(self._removing)
        sync_folder(folder.parent)
        return target

    def _mark(self, tx: Transaction, kind: str, name: str) -> None:
        query = "mark_sources_removed" if kind == "studies" else "mark_results_removed"
        tx.run(self._queries[query], {"name": name, "now": now()})


def _count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())
