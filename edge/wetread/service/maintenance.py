"""Changes a person asks for: they go through the coordinator's own code, whether it runs or not."""

from __future__ import annotations

from pathlib import Path

from wetread.config import Config
from wetread.db import Database
from wetread.errors import Misconfigured
from wetread.jobs.requests import Requests
from wetread.service.ownership import own
from wetread.store.index import Index
from wetread.store.retention import Retention
from wetread.store.revisions import Revisions
from wetread.store.spool import Spool


def open_revisions(config: Config) -> Revisions:
    """Hold and release studies."""
    return Revisions(_existing(config.data_dir), Spool(config.data_dir / "spool"), config.completeness)


def open_requests(config: Config) -> Requests:
    """Retry and cancel jobs, pause and resume routes and bundles."""
    return Requests(_existing(config.data_dir))


def erase_study(config: Config, study_instance_uid: str) -> int:
    """Remove everything of a study; how many files. Raises: ``Misconfigured`` when it is not here or not finished."""
    database = _existing(config.data_dir)
    return Retention(database, config.data_dir, config.retention).erase(study_instance_uid)


def rebuild_index(data_dir: Path) -> int:
    """Index the whole spool into a new database; how many instances.

    Raises: ``Misconfigured`` when there is a database, which knows more than the spool and is not overwritten, or when
    the service runs.
    """
    path = data_dir / "wetread.db"
    if path.exists():
        raise Misconfigured(f"{path} exists; move it away first if it is damaged")
    with own(data_dir):
        return Index(Database(path), Spool(data_dir / "spool")).rebuild()


def _existing(data_dir: Path) -> Database:
    path = data_dir / "wetread.db"
    if not path.is_file():
        raise Misconfigured(f"there is no Wetread database in {data_dir}; has wetread serve run with it?")
    return Database(path)
