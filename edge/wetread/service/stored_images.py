"""Images as they were received, for a viewer: in slice order, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wetread.db import Database, Queries, Row
from wetread.errors import NotHere, StudyRejected
from wetread.images.geometry import arrange
from wetread.images.instance import read_slice
from wetread.records.study import InstanceRef

Document = dict[str, Any]

_REMEMBERED = 32


class StoredImages:
    """Instances of one data folder."""

    def __init__(self, db: Database, data_folder: Path) -> None:
        self._db = db
        self._spool = data_folder / "spool"
        self._queries = Queries("wetread.service")
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of_series(self, study_instance_uid: str, series_instance_uid: str) -> list[Document]:
        """The instances of a series, in slice order if they form a volume, else by number. Raises: ``NotHere``."""
        key = {"study_instance_uid": study_instance_uid, "series_instance_uid": series_instance_uid}
        rows = self._db.fetch(self._queries["instances_of_series"], key)
        here = {r["sop_instance_uid"]: r for r in rows if r["removed_at"] is None}
        if not here:
            why = "it was removed by retention" if rows else "see: wetread studies show"
            raise NotHere(f"no series {series_instance_uid} in study {study_instance_uid} here; {why}")
        return [
            {
                "sop_instance_uid": uid,
                "instance_number": here[uid]["instance_number"],
                "url": f"/api/v1/studies/{study_instance_uid}/instances/{uid}",
            }
            for uid in self._ordered(key, here)
        ]

    def file(self, study_instance_uid: str, sop_instance_uid: str) -> Path:
        """The file of one instance: preamble and meta information are ours, the data set is as received.

        Raises: ``NotHere``.
        """
        key = {"study_instance_uid": study_instance_uid, "sop_instance_uid": sop_instance_uid}
        for row in self._db.fetch(self._queries["stored_instance"], key):
            path = self._spool / row["path"]
            if row["removed_at"] is None and path.is_file():
                return path
        raise NotHere(f"no instance {sop_instance_uid} of study {study_instance_uid} here")

    def _ordered(self, key: dict[str, str], here: dict[str, Row]) -> list[str]:
        """As the read that looked at it found it, or by the headers."""
        for row in self._db.fetch(self._queries["slice_order"], key):
            known = [uid for uid in json.loads(row["document"])["sop_instance_uids"] if uid in here]
            if len(known) == len(here):
                return known
        known_as = (key["study_instance_uid"], *here)
        if known_as not in self._orders:
            if len(self._orders) >= _REMEMBERED:
                self._orders.pop(next(iter(self._orders)))
            self._orders[known_as] = tuple(self._by_position(here))
        return list(self._orders[known_as])

    def _by_position(self, here: dict[str, Row]) -> list[str]:
        try:
            slices = [read_slice(self._instance(row)) for row in here.values()]
            return [slices[k].instance.sop_instance_uid for k in arrange([s.plane for s in slices]).order]
        except StudyRejected:  # no volume: as the query ordered them
            return list(here)

    def _instance(self, row: Row) -> InstanceRef:
        return InstanceRef(
            sop_instance_uid=row["sop_instance_uid"],
            sop_class_uid=row["sop_class_uid"],
            path=self._spool / row["path"],
            digest=row["content_digest"],
            instance_number=row["instance_number"],
            in_spool=True,
        )
