"""SQLite, the only home of ``sqlite3``: WAL, full synchronous, numbered migrations, named queries, the events table.

One process writes (the coordinator, or a command while none runs); readers may be many. Statements live in the
``queries.sql`` of the stage that uses them.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from wetread.durable import make_folder
from wetread.errors import Misconfigured, SpoolUnavailable

Row = sqlite3.Row

logger = logging.getLogger(__name__)

_BUSY_TIMEOUT_S = 30.0
_AWAY = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
)
"""What a disk, or another program, does to a database that is in order: it passes (https://sqlite.org/rescode.html)."""
_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_NAME_LINE = re.compile(r"^--\s*name:\s*(\w+)\s*$", re.MULTILINE)


def now(delay_s: float = 0.0) -> str:
    """This moment (plus ``delay_s``) as the database writes it: ISO 8601, UTC, milliseconds."""
    return (datetime.now(UTC) + timedelta(seconds=delay_s)).isoformat(timespec="milliseconds")


class Queries:
    """The named statements of one ``queries.sql``: ``-- name: claim`` followed by one statement."""

    def __init__(self, package: str) -> None:
        text = (resources.files(package) / "queries.sql").read_text(encoding="utf-8")
        parts = _NAME_LINE.split(text)[1:]
        self._statements = dict(zip(parts[0::2], (p.strip() for p in parts[1::2]), strict=True))

    def __getitem__(self, name: str) -> str:
        return self._statements[name]


class Database:
    """One database file; a connection for each thread."""

    def __init__(self, path: Path) -> None:
        """Raises: ``Misconfigured`` when a newer Wetread wrote it or it is damaged; ``SpoolUnavailable`` when it cannot
        be made.
        """
        self.path = path
        self._local = threading.local()
        try:
            make_folder(path.parent)
            path.touch(mode=0o600)
            self._migrate()
        except (OSError, sqlite3.OperationalError) as exc:
            raise SpoolUnavailable(f"the database {path} cannot be opened: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            if _is_damage(exc):
                raise self._damaged(exc) from exc
            raise

    def fetch(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run a reading statement; all rows. Raises: ``SpoolUnavailable`` when the disk does not give them."""
        with self._translated("read"):
            return self._connection().execute(statement, parameters or {}).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything inside happens, or nothing: ``BEGIN IMMEDIATE`` to commit or roll back.

        Raises: ``SpoolUnavailable`` when the disk is full or refuses, or another program keeps the database locked.
        """
        with self._translated("written"):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Several questions about one moment; nobody waits for it, and nothing may be written.

        Raises: ``SpoolUnavailable`` when the disk does not answer.
        """
        with self._translated("read"):
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                yield Transaction(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """What may pass becomes ``SpoolUnavailable``: who has work for the database comes again."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF in _AWAY:  # the low byte is the primary code
                raise SpoolUnavailable(f"the database {self.path} cannot be {what}: {exc}") from exc
            raise
        except sqlite3.DatabaseError as exc:
            if _is_damage(exc):
                raise self._damaged(exc) from exc
            raise

    def _damaged(self, error: sqlite3.DatabaseError) -> Misconfigured:
        return Misconfigured(
            f"the database {self.path} is damaged ({error}): stop wetread serve and move the file away; then restore a "
            "backup (wetread restore), or rebuild it from the spool (wetread studies reindex)"
        )

    def copy_to(self, path: Path) -> None:
        """Write the database as it is at one moment into a new file; others may go on writing meanwhile.

        Raises: ``SpoolUnavailable`` when the copy cannot be written.
        """
        path.touch(mode=0o600)
        copy = sqlite3.connect(path)
        try:
            self._connection().backup(copy)
        except sqlite3.OperationalError as exc:
            raise SpoolUnavailable(f"the database cannot be copied to {path}: {exc}") from exc
        finally:
            copy.close()

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            connection.row_factory = Row
            # FULL: a committed transition survives a power cut (https://sqlite.org/pragma.html#pragma_synchronous).
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
            self._local.connection = connection
        return connection

    def _migrate(self) -> None:
        connection = self._connection()
        migrations = sorted(
            (p for p in (resources.files("wetread") / "schema").iterdir() if p.name.endswith(".sql")),
            key=lambda p: p.name,
        )
        done = connection.execute("PRAGMA user_version").fetchone()[0]
        if done > len(migrations):
            raise Misconfigured(
                f"{self.path} was written by a newer Wetread (schema {done}, this one knows {len(migrations)}): "
                "install that version, or restore a backup made before it"
            )
        for number, migration in enumerate(migrations[done:], start=done + 1):
            script = migration.read_text(encoding="utf-8")
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


class Transaction:
    """What one may do inside ``Database.transaction``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run a writing statement; how many rows it changed."""
        count = self._connection.execute(statement, parameters or {}).rowcount
        # The library counts what begins with INSERT, UPDATE or DELETE, and says -1 of ``WITH ... UPDATE``.
        return count if count >= 0 else int(self._connection.execute("SELECT changes()").fetchone()[0])

    def run_many(self, statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one writing statement for many rows."""
        self._connection.executemany(statement, rows)

    def fetch(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run a statement that returns rows (``SELECT`` or ``RETURNING``)."""
        return self._connection.execute(statement, parameters or {}).fetchall()

    def event(
        self, action: str, detail: str = "", *, said: str = "", study_id: int | None = None, job_id: str | None = None
    ) -> None:
        """Add a row to the timeline: ``action`` is one word, ``detail`` a sentence without patient data.

        ``said`` is what a person typed: nobody knows what it holds, so it is kept with the event and never logged.
        """
        logger.info(
            "%s%s%s: %s", f"study {study_id} " if study_id else "", f"job {job_id} " if job_id else "", action, detail
        )
        self._connection.execute(
            "INSERT INTO events (at, study_id, job_id, action, detail) VALUES (?, ?, ?, ?, ?)",
            (now(), study_id, job_id, action, f"{detail}: {said}" if said else detail),
        )


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Only what SQLite says of the file; a wrong statement is our own mistake and stays what it is."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED  # the low byte is the primary code
