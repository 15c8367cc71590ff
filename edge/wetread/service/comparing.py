"""Look at a shadow and a live read side by side, in a process of its own: masks are large, and files may be broken."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from wetread import log
from wetread.errors import OutputInvalid
from wetread.findings.differences import FoundTwice, beside
from wetread.jobs.comparisons import Comparison
from wetread.jobs.isolation import end_with_parent
from wetread.jobs.spawning import start_shielded

_NICE = 15  # below the workers: nobody waits for it
_LIMIT_S = 300.0


class ComparingProcess:
    """One comparison under way."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, comparison), daemon=True)
        start_shielded(self._process)
        theirs.close()
        self._started = time.monotonic()

    def document(self) -> str | None:
        """JSON of what was found, or why nothing was; None while it is under way."""
        if self._connection.poll():
            try:
                return str(self._connection.recv())
            except EOFError:
                self._process.join()
                return _problem(f"the comparison ended with exit code {self._process.exitcode}")
        if time.monotonic() - self._started > _LIMIT_S:
            return _problem(f"the comparison took longer than {_LIMIT_S:g} s")
        return None

    def end(self) -> None:
        """Let go of the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def compare(comparison: Comparison) -> str:
    """JSON: ``structures`` with Dice (of masks), evaluations, measurements; ``problem``: why there is no Dice."""
    found = beside(comparison.shadow.findings, comparison.live.findings)
    one, other = comparison.shadow.segmentation, comparison.live.segmentation
    problem = ""
    dice: dict[int, float] = {}
    if one is not None and other is not None:
        try:
            dice = _dice(one, other, found)
        except OutputInvalid as exc:
            problem = str(exc)
    elif one is not None or other is not None:
        read = comparison.live if other is None else comparison.shadow
        problem = f"no masks to compare: job {read.job_id} has no segmentation here"
    structures = [_structure(pair, dice.get(n)) for n, pair in enumerate(found)]
    return json.dumps({"structures": structures, "problem": problem}, ensure_ascii=False)


def _dice(one: Path, other: Path, found: tuple[FoundTwice, ...]) -> dict[int, float]:
    from wetread.encode.overlap import Overlap

    overlap = Overlap(one, other)
    return {
        n: overlap.dice(pair.shadow.tracking_uid, pair.live.tracking_uid)
        for n, pair in enumerate(found)
        if pair.shadow is not None and pair.live is not None
    }


def _structure(pair: FoundTwice, dice: float | None) -> dict[str, object]:
    return {
        "name": pair.either.name,
        "code": dataclasses.asdict(pair.either.code),
        "laterality": pair.either.laterality,
        "verdict": pair.verdict,
        "dice": dice,
        "measurements": [
            {"name": m.name, "unit": m.unit, "shadow": m.shadow, "live": m.live, "difference": m.difference}
            for m in pair.measurements
        ],
    }


def _work(connection: Connection, comparison: Comparison) -> None:
    log.configure()
    os.nice(_NICE)
    end_with_parent()
    try:
        document = compare(comparison)
    except Exception as exc:  # recorded as the outcome of this comparison
        document = _problem(f"the reads cannot be compared: {type(exc).__name__}")
    connection.send(document)


def _problem(sentence: str) -> str:
    return json.dumps({"structures": [], "problem": sentence})
