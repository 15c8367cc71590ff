"""How long ``wetread serve`` takes to start over a spool that is full: rows in the database, hard links on the disk."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from peers import WetreadProcess
from received import received
from waiting import until
from wetread.db import Database, now
from wetread.store.part10 import meta_of
from wetread.store.spool import Spool

STUDY_SIZE = 500
_LINKS = 50_000  # ext4 allows 65,000 names for one file


def start_s(folder: Path, instances: int, toml: str, waiting: Path) -> dict[str, float]:
    """Build a service's data folder with this many indexed instances and time its start; an empty one's beside it.

    Then once more with the files of ``waiting`` in ``incoming/``: until it listens, and until they are indexed.
    """
    empty = WetreadProcess(folder / "empty", toml)
    service = WetreadProcess(folder / "full", toml)
    spool = Spool(service.data / "spool")
    names = _links(spool, instances)
    _rows(Database(service.data / "wetread.db"), names)
    os.sync()
    seconds = {one.folder.name: _start_s(one)[0] for one in (empty, service)}
    for path in waiting.iterdir():
        instance = received(path)
        (spool.incoming / path.name).write_bytes(meta_of(instance) + bytes(instance.dataset))
    os.sync()
    seconds["full_and_waiting"], seconds["waiting_indexed"] = _start_s(service)
    shutil.rmtree(folder)
    return {"spooled": instances, **{f"{name}_s": round(value, 2) for name, value in seconds.items()}}


def _start_s(service: WetreadProcess) -> tuple[float, float]:
    """Seconds until it listens, and until nothing waits in ``incoming/``."""
    started = time.perf_counter()
    service.start()
    listens_s = time.perf_counter() - started
    try:
        until(lambda: next(os.scandir(service.data / "spool" / "incoming"), None) is None, timeout_s=600)
        return listens_s, time.perf_counter() - started
    finally:
        service.stop()


def _links(spool: Spool, instances: int) -> list[str]:
    names = []
    for k in range(instances):
        study = spool.studies / f"{k // STUDY_SIZE:032x}"
        if k % STUDY_SIZE == 0:
            study.mkdir()
        path = study / f"{k:020d}-{k:032x}.dcm"
        if k % _LINKS == 0:
            source = path
            source.write_bytes(b"\0" * 128 + b"DICM")
        else:
            os.link(source, path)
        names.append(path.relative_to(spool.folder).as_posix())
    return names


def _rows(db: Database, names: list[str]) -> None:
    studies = -(-len(names) // STUDY_SIZE)
    with db.transaction() as tx:
        tx.run_many(
            "INSERT INTO studies (id, study_instance_uid, folder, attributes, state, created_at, updated_at)"
            " VALUES (:id, '1.2.' || :id, :id, '{}', 'complete', :now, :now)",
            ({"id": k + 1, "now": now()} for k in range(studies)),
        )
        tx.run_many(
            "INSERT INTO instances (study_id, series_instance_uid, sop_instance_uid, sop_class_uid, role,"
            " content_digest, pixel_digest, path, peer, received_at)"
            " VALUES (:study, '1.2.' || :study, '1.2.' || :study || '.' || :k, '1.2.840.10008.5.1.4.1.1.2', 'source',"
            " :digest, :digest, :path, 'ct1', :now)",
            _instances(names),
        )
    db.close()


def _instances(names: list[str]) -> Iterator[dict[str, object]]:
    at = now()
    for k, path in zip(itertools.count(), names, strict=False):
        yield {"study": k // STUDY_SIZE + 1, "k": k, "digest": f"{k:064x}", "path": path, "now": at}
