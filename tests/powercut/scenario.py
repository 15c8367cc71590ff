"""What is recorded: studies come in, are completed, read and delivered; each promise leaves a mark in the record.

    python scenario.py FOLDER
    python scenario.py --many    once for each line of JSON [FOLDER, {variable: value}], in a fork: imports cost most

The data folder is FOLDER/data. Marks are lines in FOLDER/data/.marks, or where POWERCUT_MARKS says.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

import pydicom

from received import received
from served import Served
from wetread.deliver.destination import Answer, Destination
from wetread.errors import Temporary
from wetread.store.retention import Retention, RetentionSettings

MARKS = ".marks"
_TRIES = 40
T = TypeVar("T")


class Marked(Served):
    """Says in the record what was promised to whom."""

    def mark(self, kind: str, **what: Any) -> None:
        """One line in the record, in order with the file operations."""
        place = Path(os.environ.get("POWERCUT_MARKS", self.folder / MARKS))
        with place.open("ab", buffering=0) as stream:
            stream.write(json.dumps({"kind": kind, **what}).encode() + b"\n")

    def receive_marked(self, *paths: Path) -> None:
        """Keep each instance; only then it counts as acknowledged."""
        for path in paths:
            instance = received(path)
            self.spool.keep(instance)
            self.mark("acknowledged", uid=instance.sop_instance_uid)

    def destination(self) -> Destination:
        """A destination that says what it has, before the database hears of it."""
        return _Noting(super().destination(), self)


class _Noting:
    def __init__(self, destination: Destination, served: Marked) -> None:
        self.archive = destination.archive
        self.commitment = destination.commitment
        self.proof = destination.proof
        self.negotiator = destination.negotiator
        self._destination = destination
        self._served = served

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """Deliver, then leave marks."""
        answers = self._destination.deliver(paths)
        for path in paths:
            uid = str(pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            self._served.mark("delivered", name=f"{uid}.dcm", sha256=digest)
        return answers


def main(folder: Path) -> None:
    """Three studies, in every stage at one time or another; a restart; removal of what is old.

    Each step is done as the service does it: an error of class ``Temporary`` leaves it due, and it is tried again.
    """
    served = _again(lambda: Marked(folder / "data"))
    first, second, third = (served.images(seed, count=2) for seed in "abc")
    _receive(served, first)
    _again(served.take_in)
    _again(served.complete)
    _receive(served, second[:1])
    _again(served.read)
    _again(served.take_in)
    _again(served.deliver)
    _receive(served, [*second[1:], *third])
    served.db.close()
    _again(served.open)
    _again(served.take_in)
    _again(served.complete)
    _again(served.queue.claim)
    _again(served.queue.put_back)
    _again(served.read)
    _again(served.deliver)
    _again(lambda: served.age(40))
    _again(Retention(served.db, served.folder, RetentionSettings(min_free_mb=0)).clean_one)
    served.mark("end")
    served.db.close()


def _receive(served: Marked, paths: Sequence[Path]) -> None:
    """The sender sends an instance again until it hears Success."""
    for path in paths:
        _again(lambda path=path: served.receive_marked(path))  # type: ignore[misc]


def _again(step: Callable[[], T]) -> T:
    for _ in range(_TRIES):
        try:
            return step()
        except Temporary:
            continue
    raise AssertionError(f"{step} is still refused with room on the disk")


def many() -> None:
    """Answers each line with the exit code; what went wrong is in FOLDER/stderr."""
    for line in sys.stdin:
        folder, environment = json.loads(line)
        child = os.fork()
        if not child:
            _in_fork(Path(folder), environment)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _in_fork(folder: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    try:
        with (folder / "stderr").open("w") as errors:
            os.dup2(errors.fileno(), 2)
        ctypes.CDLL(None).powercut_begin()
        main(folder)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--many":
        many()
    else:
        main(Path(sys.argv[1]))
    os._exit(0)
