"""The index: which studies, series and instances we have. Written by the coordinator alone; rebuildable."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.dimse.dataset import content_digest, is_cut_short
from wetread.dimse.described import Described
from wetread.errors import NotDicom, SpoolUnavailable
from wetread.failpoint import failpoint
from wetread.records.notes import note_from_json
from wetread.records.same_patient import patient_differences
from wetread.records.sop_classes import is_derived
from wetread.records.study import Correction, InstanceRef, SeriesRef
from wetread.store.arrival import Arrival, may_be_recompressed, read_arrival, same_header
from wetread.store.attributes import series_to_json, study_from_json, study_to_json
from wetread.store.corrected_header import says_what_was_corrected
from wetread.store.notes import record
from wetread.store.revisions import corrected_attributes
from wetread.store.spool import Spool, move

PATIENT_CHANGED = "patient_changed"
"""The event of an authority's header that names another patient."""

BATCH = 200
"""Files taken in by one transaction: one fsync of the database for many instances."""
_ROUND_S = 0.06
"""A batch that has taken so long ends: with commit and moves the other duties have their turn after 0.1 s."""


@dataclass(frozen=True, slots=True)
class Recompressed:
    """An instance that came again with other pixel bytes, and the stored one."""

    path: Path
    stored: Path


class Index:
    """Take in what lies in the spool."""

    def __init__(
        self,
        db: Database,
        spool: Spool,
        *,
        authorities: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``authorities`` names the peers whose header of an instance replaces that of others."""
        self._clock = clock
        self._described = Described()
        self._db = db
        self._spool = spool
        self._authorities = authorities
        self._queries = Queries("wetread.store")
        self._said: Counter[tuple[str, str, int]] = Counter()
        self._listed: deque[str] = deque()  # of incoming/: listing a million names for each batch would take hours

    def take_in(self) -> set[int]:
        """Index files of ``incoming/`` and move them to their place; the ids of studies that changed.

        Up to ``BATCH`` files, and no longer than about 0.1 s; ``is_behind`` says whether more were there.
        The database is written first, the files are moved after: a crash between the two is mended by the next start,
        which finds the file still in ``incoming/`` and its row without a file.
        """
        if not self._listed:
            self._listed.extend(self._spool.waiting_names())
        waiting = [self._spool.incoming / name for name in itertools.islice(self._listed, BATCH)]
        if not waiting:
            return set()
        try:
            changed, taken = self._take(waiting)
        except BaseException:
            self._listed.clear()  # some may have been moved: look again
            raise
        for _ in range(taken):
            self._listed.popleft()
        return changed

    def _take(self, waiting: list[Path]) -> tuple[set[int], int]:
        """The studies that changed, and how many files were taken: at least one, not more than the time allows."""
        changed: set[int] = set()
        ends = self._clock() + _ROUND_S
        moves: list[tuple[Path, Path | None]] = []
        self._said.clear()  # of a round that was rolled back
        with self._db.transaction() as tx:
            for path in waiting:
                study_id, target = self._take_one(tx, path)
                moves.append((path, target))
                if study_id is not None:
                    changed.add(study_id)
                if self._clock() >= ends:
                    break
            self._tell(tx)
        taken = len(moves)
        failpoint("instance.indexed")
        move(moves)
        failpoint("instance.moved")
        return changed, taken

    def rebuild(self) -> int:
        """Index everything under ``spool/studies`` into an empty database; how many instances.

        What was read or sent before is not known any more, so every rebuilt study is held until a person releases it.
        """
        files = sorted(self._spool.studies.glob("*/*.dcm"))
        studies: set[int] = set()
        for start in range(0, len(files), BATCH):
            with self._db.transaction() as tx:
                for path in files[start : start + BATCH]:
                    study_id, _ = self._take_one(tx, path)
                    if study_id is not None:
                        studies.add(study_id)
                self._tell(tx)
        with self._db.transaction() as tx:
            for study_id in studies:
                self._hold(tx, study_id, "the index was rebuilt from the spool; release the study to read it again")
        return len(files)

    def _take_one(self, tx: Transaction, path: Path) -> tuple[int | None, Path | None]:
        """Index one file: the study that changed, and where the file belongs (None: it is not needed any more)."""
        if path.name.endswith(".event.json"):
            return None, self._take_note(tx, path)
        try:
            arrival = read_arrival(path, self._described)
        except NotDicom as exc:
            return None, self._set_aside(tx, path, str(exc))
        except SpoolUnavailable:
            raise
        except MemoryError as exc:
            raise SpoolUnavailable("there is not enough memory to read a received file; it stays where it is") from exc
        except Exception as exc:  # recorded: one file that trips a library must not stop all others
            return None, self._set_aside(tx, path, f"its header cannot be used ({type(exc).__name__})")
        return self._add(tx, arrival)

    def _take_note(self, tx: Transaction, path: Path) -> Path | None:
        """Record what an entrance noted. One that cannot be read is set aside: it must not stop every round."""
        try:
            note = note_from_json(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError) as exc:
            return self._set_aside(tx, path, f"a note of an entrance that cannot be read ({type(exc).__name__})")
        record(tx, self._queries, note)
        return None

    def _set_aside(self, tx: Transaction, path: Path, reason: str) -> Path:
        """Keep an acknowledged instance that cannot be indexed where a person finds it."""
        target = self._spool.unreadable / path.name
        tx.run(self._queries["add_unreadable"], {"path": self._relative(target), "reason": reason, "now": now()})
        tx.event("instance_unreadable", f"{path.name}: {reason}")
        return target

    def _add(self, tx: Transaction, arrival: Arrival) -> tuple[int | None, Path | None]:
        study = self._study(tx, arrival)
        study_id = int(study["id"])
        if arrival.provenance and arrival.provenance.priority > study["priority"]:
            tx.run(self._queries["raise_priority"], {"study_id": study_id, "priority": arrival.provenance.priority})
        known = tx.fetch(
            self._queries["instance"], {"study_id": study_id, "sop_instance_uid": arrival.ref.sop_instance_uid}
        )
        if known:
            return self._again(tx, study_id, known[0], arrival)
        role = self._role(tx, arrival.ref)
        target = self._spool.studies / study["folder"] / arrival.source.name
        self._add_series(tx, study_id, arrival.series)
        tx.run(self._queries["add_instance"], arrival.row(study_id=study_id, role=role, path=self._relative(target)))
        if role != "source":
            self._say("derived_received", f"{role} object, does not trigger a read", study_id)
            return None, target
        self._announce(tx, study_id, arrival)
        self._check_patient(tx, study, arrival)
        tx.run(self._queries["touch_study"], {"study_id": study_id, "now": now()})
        return study_id, target

    def _add_series(self, tx: Transaction, study_id: int, series: SeriesRef) -> None:
        key = {"study_id": study_id, "series_instance_uid": series.series_instance_uid}
        if not tx.fetch(self._queries["has_series"], key):
            tx.run(self._queries["add_series"], {**key, "attributes": series_to_json(series)})

    def _announce(self, tx: Transaction, study_id: int, arrival: Arrival) -> None:
        """Counts that archives write into instances: (0020,1206), (0020,1208), (0020,1209)."""
        counts = arrival.announced
        if counts["study_series"] or counts["study_instances"]:
            fields = {"study_id": study_id, "series": counts["study_series"], "instances": counts["study_instances"]}
            tx.run(self._queries["announce_study"], fields)
        if counts["series_instances"]:
            series = {"study_id": study_id, "series_instance_uid": arrival.series.series_instance_uid}
            tx.run(self._queries["announce_series"], series | {"instances": counts["series_instances"]})

    @property
    def is_behind(self) -> bool:
        """Whether files that were here at the last look wait still: they may belong to any study."""
        return bool(self._listed)

    def is_empty(self) -> bool:
        """Whether everything that was kept has been taken in."""
        return not self._listed and not self._spool.has_waiting()

    def _study(self, tx: Transaction, arrival: Arrival) -> Row:
        uid = {"study_instance_uid": arrival.study.study_instance_uid}
        rows = tx.fetch(self._queries["study_by_uid"], uid)
        if rows:
            return rows[0]
        folder = hashlib.sha256(arrival.study.study_instance_uid.encode()).hexdigest()[:32]
        attributes = study_to_json(arrival.study)
        priority = arrival.provenance.priority if arrival.provenance else 0
        fields = {**uid, "folder": folder, "attributes": attributes, "priority": priority, "now": now()}
        row = tx.fetch(self._queries["add_study"], fields)
        via = f" from {arrival.provenance.peer}" if arrival.provenance else ""
        tx.event("received", f"first instance{via}", study_id=row[0]["id"])
        return tx.fetch(self._queries["study_by_uid"], uid)[0]

    def _check_patient(self, tx: Transaction, study: Row, arrival: Arrival) -> None:
        """One Study Instance UID with two patients is held, never read."""
        this = {"study_id": study["id"], "sop_instance_uid": arrival.ref.sop_instance_uid}
        if not tx.fetch(self._queries["other_source"], this):
            # The study row may come from a derived object that arrived first: the images have the say.
            attributes = {"study_id": study["id"], "attributes": study_to_json(arrival.study)}
            tx.run(self._queries["set_attributes"], attributes)
            return
        # Corrected or not: an archive that was corrected too sends the study on with the right attributes.
        known = {study["attributes"], corrected_attributes(study)}
        differ = [patient_differences(study_from_json(text).patient, arrival.study.patient) for text in known]
        if all(differ):
            what = ", ".join(min(differ))
            self._hold(tx, study["id"], f"instances of two patients in one study: {what} differs")

    def _again(self, tx: Transaction, study_id: int, known: Row, arrival: Arrival) -> tuple[int | None, Path | None]:
        """An instance we have: free when it says the same, a reason to hold the study when its pixels differ."""
        stored = self._spool.folder / known["path"]
        if not stored.exists() and known["content_digest"] == arrival.ref.digest:
            # The move that a crash prevented, or what retention removed and the sender brings again.
            tx.run(self._queries["here_again"], {"instance_id": known["id"]})
            return study_id, stored
        if stored == arrival.source:
            return None, stored
        if known["pixel_digest"] != arrival.pixel_digest:
            return self._other_pixels(tx, known, arrival, stored)
        if known["content_digest"] != arrival.ref.digest:
            return self._other_header(tx, known, arrival, stored)
        if arrival.peer in self._authorities and content_digest(stored)[0] != arrival.ref.digest:
            return study_id, stored  # the replacement that a crash prevented
        return self._still_arriving(tx, study_id), None

    def _other_pixels(
        self, tx: Transaction, known: Row, arrival: Arrival, stored: Path
    ) -> tuple[int | None, Path | None]:
        """Other bytes in another encoding may be the same picture: decoding tells, which is not done here.

        A file that ends too early says nothing of the picture: the whole one is kept, whichever came first.
        """
        if is_cut_short(arrival.source):
            return None, self._set_aside(
                tx, arrival.source, "ends within its pixel data; a stored instance has its UID"
            )
        if stored.exists() and is_cut_short(stored):
            said = f"the instance of {arrival.peer} replaces one that ended within its pixel data"
            self._replace(tx, known, arrival, said=said)
            return int(known["study_id"]), stored
        if stored.exists() and may_be_recompressed(stored, arrival.source):
            return int(known["study_id"]), self._compare_later(tx, known, arrival)
        reason = "an instance was sent again with other pixels under the same SOP Instance UID"
        self._hold(tx, known["study_id"], reason)
        return None, self._set_aside(tx, arrival.source, "same SOP Instance UID as a stored instance, other pixels")

    def to_compare(self, *, limit: int = 50) -> list[Recompressed]:
        """Instances that came again in another encoding and were not compared yet."""
        rows = self._db.fetch(self._queries["recompressed"], {"limit": limit})
        found = [Recompressed(self._spool.folder / r["path"], self._spool.folder / r["stored"]) for r in rows]
        return [one for one in found if one.path.exists()]  # else still in incoming/: a crash came before the move

    def take_back(self) -> None:
        """At start: files of ``comparing/`` whose answer was recorded and then not carried out are taken in again."""
        for path in sorted(self._spool.comparing.iterdir()):
            if not self._db.fetch(self._queries["recompressed_instance"], {"path": self._relative(path)}):
                move([(path, self._spool.incoming / path.name)])

    def compared(self, recompressed: Recompressed, problem: str) -> None:
        """An empty ``problem``: it is the same picture, so one instance; else the study is held and both are kept."""
        key = {"path": self._relative(recompressed.path)}
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["recompressed_instance"], key)
            if not rows:
                return
            tx.run(self._queries["forget_recompressed"], key)
            if problem:
                self._hold(tx, rows[0]["study_id"], f"an instance was sent again with {problem} under the same UID")
                target: Path | None = self._set_aside(tx, recompressed.path, f"sent again with {problem}")
            else:
                self._say("duplicate", "the same picture in another encoding", rows[0]["study_id"])
                _, target = self._other_header(
                    tx, rows[0], read_arrival(recompressed.path, self._described), recompressed.stored
                )
            self._tell(tx)
        move([(recompressed.path, target)])

    def _compare_later(self, tx: Transaction, known: Row, arrival: Arrival) -> Path:
        target = self._spool.comparing / arrival.source.name
        fields = {"path": self._relative(target), "instance_id": known["id"], "peer": arrival.peer, "now": now()}
        tx.run(self._queries["add_recompressed"], {**fields, "study_id": known["study_id"]})
        tx.run(self._queries["touch_study"], {"study_id": known["study_id"], "now": now()})
        return target

    def _other_header(
        self, tx: Transaction, known: Row, arrival: Arrival, stored: Path
    ) -> tuple[int | None, Path | None]:
        """Same pixels, another header: an archive coerced it. What an authority says replaces what others said."""
        study_id = int(known["study_id"])
        peer = arrival.peer
        if stored.exists() and peer not in self._authorities:
            self._say("duplicate", "same pixels with another header: the first one is kept", study_id)
            return self._still_arriving(tx, study_id), None
        if stored.exists() and same_header(stored, arrival.source):
            tx.run(self._queries["confirm_header"], {"instance_id": known["id"], "peer": peer})
            self._say("duplicate", f"{peer} has another header, but nothing in it that we use", study_id)
            return None, None
        if stored.exists() and self._is_corrected_so(tx, study_id, arrival, stored):
            # The file is replaced, in case the correction is taken back; the digest stays, so nothing is read again.
            tx.run(self._queries["confirm_header"], {"instance_id": known["id"], "peer": peer})
            attributes = {"study_id": study_id, "attributes": study_to_json(arrival.study)}
            tx.run(self._queries["set_attributes"], attributes)
            self._say("header_replaced", f"the header of {peer} says what was corrected before", study_id)
            return None, stored
        self._replace(tx, known, arrival, said=f"the header of {peer} replaces that of {known['peer']}")
        return study_id, stored

    def _replace(self, tx: Transaction, known: Row, arrival: Arrival, *, said: str) -> None:
        study_id = int(known["study_id"])
        row = arrival.row(study_id=study_id, role=known["role"], path=known["path"])
        tx.run(self._queries["replace_header"], {**row, "instance_id": known["id"]})
        if known["role"] != "source":
            return
        study = tx.fetch(self._queries["study_by_id"], {"study_id": study_id})[0]
        differ = patient_differences(study_from_json(study["attributes"]).patient, arrival.study.patient)
        attributes = {"study_id": study_id, "attributes": study_to_json(arrival.study)}
        tx.run(self._queries["set_attributes"], attributes)
        series = {"study_id": study_id, "series_instance_uid": arrival.series.series_instance_uid}
        tx.run(self._queries["set_series"], {**series, "attributes": series_to_json(arrival.series)})
        if differ:
            tx.event(PATIENT_CHANGED, f"{arrival.peer} says another {', '.join(differ)}", study_id=study_id)
        self._say("header_replaced", said, study_id)
        tx.run(self._queries["touch_study"], {"study_id": study_id, "now": now()})

    def _is_corrected_so(self, tx: Transaction, study_id: int, arrival: Arrival, stored: Path) -> bool:
        study = tx.fetch(self._queries["study_by_id"], {"study_id": study_id})[0]
        if not study["correction"]:
            return False
        correction = Correction(**json.loads(study["correction"]))
        return says_what_was_corrected(arrival, stored, study_from_json(study["attributes"]), correction)

    def _say(self, action: str, detail: str, study_id: int) -> None:
        """An event that every instance of a study may make: told once for all instances of a round."""
        self._said[action, detail, study_id] += 1

    def _tell(self, tx: Transaction) -> None:
        said, self._said = self._said, Counter()
        for (action, detail, study_id), count in said.items():
            tx.event(action, f"{detail} ({count} instances)" if count > 1 else detail, study_id=study_id)

    def _still_arriving(self, tx: Transaction, study_id: int) -> int | None:
        """The study if it is receiving: a sender that begins again sends first what is here, and is not quiet then."""
        return study_id if tx.fetch(self._queries["receiving_study"], {"study_id": study_id}) else None

    def _role(self, tx: Transaction, ref: InstanceRef) -> str:
        if tx.fetch(self._queries["is_own"], {"sop_instance_uid": ref.sop_instance_uid}):
            return "own"
        return "derived" if is_derived(ref.sop_class_uid) else "source"

    def _hold(self, tx: Transaction, study_id: int, reason: str) -> None:
        tx.run(self._queries["set_state"], {"study_id": study_id, "state": "held", "reason": reason, "now": now()})
        tx.event("held", reason, study_id=study_id)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._spool.folder).as_posix()
