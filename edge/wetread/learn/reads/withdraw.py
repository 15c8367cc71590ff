"""``wetread learn withdraw``: never export it again, delete the copies, and say what was learned with them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wetread.db import Database, Row
from wetread.durable import write_atomically
from wetread.errors import SpoolUnavailable
from wetread.learn.lineage import TrainedVersion, trained_with
from wetread.learn.reads.register import Register


@dataclass(frozen=True, slots=True)
class CopyOf:
    """The copies of a patient or study in one export."""

    export_id: str
    bundle: str
    folder: Path
    cases: int
    is_here: bool
    """False: the export was moved or deleted by somebody, and its copies have to be deleted where they are now."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What a withdrawal found."""

    kind: str
    copies: tuple[CopyOf, ...]
    trained: tuple[TrainedVersion, ...]
    """Versions in the bundle folders that were trained with one of the exports."""


class Withdrawal:
    """Withdrawals of one data folder."""

    def __init__(self, db: Database, who: str, bundle_folders: Iterable[Path]) -> None:
        self._register, self._bundle_folders = Register(db, who), tuple(bundle_folders)

    def patient(self, patient_id: str) -> Withdrawn:
        """Everything of a patient, whichever issuer. Raises: ``SpoolUnavailable`` when a copy cannot be deleted."""
        return self._done("patient", self._register.withdraw_patient(patient_id))

    def study(self, study_instance_uid: str) -> Withdrawn:
        """One study, whether it is still here or not. Raises: as ``patient``."""
        return self._done("study", self._register.withdraw_study(study_instance_uid))

    def erase_copies(self, study_instance_uid: str) -> tuple[CopyOf, ...]:
        """Delete the copies of a study that is erased. Raises: as ``patient``."""
        return self._deleted(self._register.erased(self._register.pseudonyms().study(study_instance_uid)))

    def _done(self, kind: str, rows: list[Row]) -> Withdrawn:
        copies = self._deleted(rows)
        return Withdrawn(kind, copies, trained_with(self._bundle_folders, {copy.export_id for copy in copies}))

    def _deleted(self, rows: list[Row]) -> tuple[CopyOf, ...]:
        by_export: dict[str, list[Row]] = {}
        for row in rows:
            by_export.setdefault(row["export_id"], []).append(row)
        return tuple(self._delete(export_id, of) for export_id, of in by_export.items())

    def _delete(self, export_id: str, rows: list[Row]) -> CopyOf:
        """The files and the lines of these cases; what is gone is taken down at once."""
        folder = Path(rows[0]["folder"])
        is_here = (folder / "cases.csv").is_file() or all(row["removed_at"] for row in rows)
        for row in rows:
            if row["removed_at"] or not is_here:
                continue
            try:
                _delete_case(folder, row["name"])
            except OSError as exc:
                raise SpoolUnavailable(
                    f"withdrawn, but {folder / row['name']} cannot be deleted: {exc.strerror}; say it once more"
                ) from exc
            self._register.removed(export_id, row["name"])
        return CopyOf(export_id, rows[0]["bundle"], folder, len(rows), is_here)


def _delete_case(folder: Path, name: str) -> None:
    """The line first: a table never names a file that is not there."""
    path = folder / "cases.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        columns = list(table.fieldnames or ())
        kept = [row for row in table if not Path(row["image"]).name.startswith(f"{name}.")]

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as stream:
            rewritten = csv.DictWriter(stream, columns)
            rewritten.writeheader()
            rewritten.writerows(kept)

    write_atomically(path, write)
    for part in ("images", "labels"):
        for file in (folder / part).glob(f"{name}.*"):
            file.unlink()
