"""The outbox: what still has to reach which destination, and the thread for each destination that empties it.

An object stays in the outbox until its destination took it, for days if need be. Destinations do not wait for each
other; within a study the order of encoding is kept, because reports refer to segmentations.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt

from wetread.db import Database, Queries, Row, now
from wetread.deliver.destination import Answer, Destination
from wetread.errors import Temporary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """``[delivery]``: how patient we are with destinations."""

    first_delay_s: Annotated[float, Ge(0)] = 5.0
    """Wait after the first failure; doubled for each further one."""
    max_delay_s: Annotated[float, Ge(0)] = 600.0
    """Longest wait between two tries. There is no last try."""
    poll_s: Annotated[float, Gt(0)] = 0.25
    """How often an idle destination looks for new results."""


class Delivery:
    """One destination's thread."""

    def __init__(
        self, name: str, destination: Destination, *, db: Database, data_folder: Path, settings: DeliverySettings
    ) -> None:
        self._name = name
        self._destination = destination
        self._db = db
        self._data_folder = data_folder
        self._settings = settings
        self._queries = Queries("wetread.deliver")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"deliver-{name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the association under way, then end."""
        self._stop.set()
        self._thread.join()

    def deliver_due(self) -> bool:
        """Send what is due for one study; whether there was anything."""
        due = self._due()
        if not due:
            return False
        try:
            self._check_bytes(due)
            answers = self._destination.deliver([self._data_folder / row["path"] for row in due])
        except Temporary as exc:
            answers = [Answer(False, str(exc))] * len(due)
        except Exception as exc:  # the outcome is recorded, and the thread must outlive it
            logger.exception("delivery to %s failed", self._name)
            answers = [Answer(False, f"internal error: {type(exc).__name__}")] * len(due)
        self._record(due, answers)
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self.deliver_due()
            except Exception:  # a locked or full database: the entry is still due, look again
                logger.exception("the outbox of %s cannot be read or written", self._name)
                busy = False
            if not busy:
                self._stop.wait(self._settings.poll_s)
        self._db.close()

    def _due(self) -> list[Row]:
        key = {"destination": self._name, "now": now()}
        studies = self._db.fetch(self._queries["next_study"], key)
        if not studies:
            return []
        key = {"destination": self._name, "study_id": studies[0]["study_id"]}
        return self._db.fetch(self._queries["due_of_study"], key)

    def _check_bytes(self, due: list[Row]) -> None:
        """What is sent must be what was committed."""
        for row in due:
            path = self._data_folder / row["path"]
            try:
                with path.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as exc:
                raise Temporary(f"the result file {path.name} cannot be read: {exc.strerror}") from exc
            if found != row["sha256"]:
                raise Temporary(f"the result file {path.name} is not what was committed; it is not sent")

    def _record(self, due: list[Row], answers: list[Answer]) -> None:
        failed: dict[tuple[int, str, str], list[str]] = {}
        with self._db.transaction() as tx:
            for row, answer in zip(due, answers, strict=True):
                if answer.accepted:
                    tx.run(self._queries["delivered"], {"id": row["id"], "now": now()})
                    where = {"study_id": row["study_id"], "job_id": row["job_id"]}
                    tx.event("delivered", f"{row['kind']} to {self._name}", **where)
                    continue
                fields = {"id": row["id"], "available_at": now(self._delay_s(row)), "error": answer.error}
                tx.run(self._queries["not_delivered"], fields)
                failed.setdefault((row["study_id"], row["job_id"], answer.error), []).append(row["kind"])
            for (study_id, job_id, error), kinds in failed.items():
                detail = f"{len(kinds)} objects to {self._name}, try {due[0]['attempts'] + 1}: {error}"
                tx.event("not_delivered", detail, study_id=study_id, job_id=job_id)

    def _delay_s(self, row: Row) -> float:
        return min(self._settings.first_delay_s * 2.0 ** min(row["attempts"], 30), self._settings.max_delay_s)
