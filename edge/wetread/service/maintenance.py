"""Changes a person asks for: they go through the coordinator's own code, whether it runs or not."""

from __future__ import annotations

from pathlib import Path

from wetread.config import Config
from wetread.db import Database
from wetread.deliver.decisions import Decisions
from wetread.errors import Misconfigured
from wetread.jobs.requests import Requests
from wetread.service.ownership import own
from wetread.service.person import user_name
from wetread.service.results import ResultsOverview
from wetread.store.index import Index
from wetread.store.requests import StudyRequests
from wetread.store.revisions import Revisions
from wetread.store.spool import Spool


def open_studies(config: Config) -> StudyRequests:
    """Hold, release and correct studies, in the name of the user who runs this process."""
    database = open_database(config.data_dir)
    revisions = Revisions(database, Spool(config.data_dir / "spool"), config.completeness)
    return StudyRequests(database, revisions, who=user_name())


def open_revisions(config: Config) -> Revisions:
    """The revisions of studies, to look at."""
    return Revisions(open_database(config.data_dir), Spool(config.data_dir / "spool"), config.completeness)


def open_requests(config: Config) -> Requests:
    """Retry and cancel jobs, pause and resume routes and bundles."""
    return Requests(open_database(config.data_dir), user_name())


def open_decisions(config: Config) -> Decisions:
    """Release and recall results."""
    return Decisions(open_database(config.data_dir), user_name())


def open_results(config: Config) -> ResultsOverview:
    """Look at results and where they went."""
    return ResultsOverview(open_database(config.data_dir))


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


def open_database(data_dir: Path) -> Database:
    """The database of a data folder. Raises: ``Misconfigured`` when nothing was ever served from there."""
    path = data_dir / "wetread.db"
    if not path.is_file():
        raise Misconfigured(f"there is no Wetread database in {data_dir}; has wetread serve run with it?")
    return Database(path)
