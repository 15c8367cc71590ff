"""A service that scenarios share: it keeps running from one to the next, and each scenario has studies of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from faults import frozen, no_writes
from peers import WetreadProcess, storescu
from phantoms import Phantom, write_series
from waiting import until
from wetread.db import Database

WAITS = "the coordinator waits"
"""What the coordinator's log says when storage or database refuse."""


class LogInPipe(WetreadProcess):
    """What it says is written to the file by another process: heard also when it cannot write files itself."""

    def open_log(self) -> IO[Any]:
        with super().open_log() as log:
            writer = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=log)
        assert writer.stdin is not None
        return writer.stdin


@dataclass(frozen=True)
class Site:
    """``wetread serve`` and the name its modality calls it by."""

    service: WetreadProcess
    folder: Path
    calling: str
    called: str

    def phantom(self, name: str, **options: Any) -> Phantom:
        """A study of a scenario; small if nothing else is asked for."""
        small = {"shape": (8, 24, 24), "spacing_mm": (3.0, 1.5, 1.5), "study_seed": name, **options}
        return write_series(self.folder / "studies" / name / small.get("series_seed", "series"), **small)

    def send(self, *paths: Path, calling: str = "") -> None:
        """DCMTK sends, and every instance is acknowledged."""
        sent = storescu(self.service.port, paths, calling=calling or self.calling, called=self.called)
        assert sent.returncode == 0, sent.stderr

    def study(self, phantom: Phantom) -> dict[str, Any]:
        """Everything about one study."""
        return self.service.overview.study(phantom.study_instance_uid)

    def state(self, phantom: Phantom) -> str:
        """Its state; empty while it is not known."""
        states = {s["study_instance_uid"]: s["state"] for s in self.service.overview.studies(limit=1000)}
        return states.get(phantom.study_instance_uid, "")

    def wait_for(self, phantom: Phantom, state: str) -> dict[str, Any]:
        """The study, once it is in this state."""
        until(lambda: self.state(phantom) == state, timeout_s=90.0, what=f"the study is {state}")
        return self.study(phantom)

    def delivered(self, *phantoms: Phantom) -> None:
        """Wait until all are read and everything of them was taken."""
        for phantom in phantoms:
            self.wait_for(phantom, "read")

    @property
    def pid(self) -> int:
        """The coordinator."""
        assert self.service.process is not None
        return self.service.process.pid

    @contextmanager
    def coordinator_frozen(self) -> Iterator[None]:
        """Whoever receives goes on, whoever decides does not."""
        with frozen(self.pid):
            yield

    @contextmanager
    def coordinator_cannot_write(self) -> Iterator[None]:
        """The database, and whatever else the coordinator writes, is away; the scenario goes on when it was noticed."""
        before = self.service.log().count(WAITS)
        with no_writes([self.pid]):
            yield
            until(lambda: self.service.log().count(WAITS) > before, what="the coordinator has noticed")


def states_of(studies: Iterable[dict[str, Any]]) -> list[str]:
    """States of all jobs of these studies."""
    return [job["state"] for study in studies for job in study["jobs"]]


def instances_in(service: WetreadProcess) -> int:
    """How many instances are in the index, whatever became of them."""
    database = Database(service.data / "wetread.db")
    try:
        return int(database.fetch("SELECT count(*) AS n FROM instances")[0]["n"])
    finally:
        database.close()


def incoming(service: WetreadProcess) -> list[Path]:
    """Kept, and not yet in the index."""
    return sorted((service.data / "spool" / "incoming").glob("[!.]*.dcm"))
