"""Places for associations are counted over processes, and never lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wetread.dimse.places import Places

_TAKE_TWO = """
import sys
from pathlib import Path
from wetread.dimse.places import Places
places = Places(3, Path(sys.argv[1]))
print(places.take(), places.take(), flush=True)
sys.stdin.read()
"""


def test_so_many_places_and_no_more() -> None:
    places = Places(2)
    assert [places.take(), places.take(), places.take()] == [0, 1, None]
    places.give_back(0)
    assert places.take() == 0


def test_processes_share_the_places_and_a_dead_one_gives_its_back(tmp_path: Path) -> None:
    path = tmp_path / "associations.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TWO, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline().split() == ["0", "1"]
    places = Places(3, path)
    assert [places.take(), places.take()] == [2, None]
    other.kill()
    other.communicate()
    assert [places.take(), places.take(), places.take()] == [0, 1, None]
