"""What a database does when the disk or another program is in its way."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from wetread import db
from wetread.errors import Misconfigured, SpoolUnavailable


def test_database_that_another_program_keeps_locked_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "_BUSY_TIMEOUT_S", 0.05)
    database = db.Database(tmp_path / "wetread.db")
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SpoolUnavailable, match="cannot be written: database is locked"), database.transaction():
        pass
    other.execute("ROLLBACK")
    with database.transaction() as tx:
        tx.event("noted")
    assert len(database.fetch("SELECT 1 FROM events")) == 1


def test_wrong_statement_is_a_fault_of_ours_and_no_matter_of_the_disk(tmp_path: Path) -> None:
    database = db.Database(tmp_path / "wetread.db")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        database.fetch("SELECT 1 FROM nowhere")
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database.transaction() as tx:
        tx.run("DELETE FROM nowhere")


@pytest.mark.parametrize("how", ["no database", "a page of it is overwritten"])
def test_damaged_file_is_a_sentence_that_says_what_to_do(tmp_path: Path, how: str) -> None:
    path = tmp_path / "wetread.db"
    database = db.Database(path)
    with database.transaction() as tx:
        for number in range(500):
            tx.event("received", f"event {number} " + "x" * 200)
    database.close()
    content = path.read_bytes()
    half = len(content) // 2 // 4096 * 4096
    path.write_bytes(b"garbage" if how == "no database" else content[:half] + b"\xff" * (len(content) - half))
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    with pytest.raises(Misconfigured, match=r"is damaged \(.*\): stop wetread serve .*wetread studies reindex"):
        db.Database(path).fetch("SELECT max(length(detail)) FROM events")


def test_refused_callers_of_an_older_database_stay_listed(tmp_path: Path) -> None:
    older = sorted((resources.files("wetread") / "schema").iterdir(), key=lambda path: path.name)[:4]
    connection = sqlite3.connect(tmp_path / "wetread.db")
    connection.executescript("".join(path.read_text(encoding="utf-8") for path in older))
    caller = ("CT9", "WETREAD", "10.0.0.5", "unknown", "", 3, "a", "b")
    connection.execute("INSERT INTO refusals VALUES (?, ?, ?, ?, ?, ?, ?, ?)", caller)
    connection.execute("PRAGMA user_version = 4")
    connection.commit()
    connection.close()
    (row,) = db.Database(tmp_path / "wetread.db").fetch("SELECT * FROM refusals")
    assert tuple(row) == caller
