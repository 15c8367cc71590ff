"""What the coordinator asks at its start and in every round does not grow with what is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from wetread.db import Database, Queries

PARAMETERS = {"before": "2026", "prefix": "", "now": "2026", "limit": 50}


@pytest.mark.parametrize("name", ["receiving", "last_association", "unrouted_revisions", "lose_associations"])
def test_question_of_the_start_or_of_every_round_reads_no_whole_table(tmp_path: Path, name: str) -> None:
    db = Database(tmp_path / "wetread.db")
    statement = Queries("wetread.store")[name]
    plan = [str(row["detail"]) for row in db.fetch(f"EXPLAIN QUERY PLAN {statement}", PARAMETERS)]
    assert plan
    assert [step for step in plan if step.startswith("SCAN") and "INDEX" not in step] == []
