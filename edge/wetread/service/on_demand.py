"""Reads that a person asks for: which bundles fit a study, which do not and why, and the job that comes of it."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wetread.bundles import Bundle, list_bundles, load_bundle
from wetread.bundles.trust import admit
from wetread.config import Config
from wetread.db import Database, Queries
from wetread.errors import Conflict, Misconfigured, NotHere, NotIntended, NotPossible, WetreadError
from wetread.guard.guard import every_reason, patient_rule, unintended_uses
from wetread.guard.intended import check_patient
from wetread.jobs.new_job import BUTTON, Chosen, NewJob
from wetread.jobs.requests import Requests
from wetread.records.job import ChosenSeries, ReadOptions
from wetread.records.study import StudyRef
from wetread.route.router import PlannedRead, planned
from wetread.route.selection import select
from wetread.store.completeness import CompletenessSettings
from wetread.store.revisions import Revision, Revisions
from wetread.store.spool import Spool

Document = dict[str, Any]

INTERACTIVE = 10
"""Priority of a read somebody waits for; as that of an interactive AE title."""
_LAST_READS = 20


def new_job(route: str, bundle: Bundle, bundle_digest: str, read: PlannedRead) -> NewJob:
    """The job of one planned read; live, and sent nowhere until somebody says where to."""
    films = {rule.name for rule in bundle.manifest.inputs if rule.kind == "radiograph"}
    return NewJob(
        route=route,
        mode="live",
        destinations=(),
        bundle=bundle.name,
        bundle_version=bundle.version,
        bundle_digest=bundle_digest,
        bundle_folder=bundle.folder,
        chosen=tuple(_chosen(c, film=c.input_name in films) for c in read.chosen),
        input_digest=read.input_digest,
        options=read.options,
    )


def _chosen(chosen: ChosenSeries, *, film: bool) -> Chosen:
    sop_instance_uid = chosen.series.instances[0].sop_instance_uid if film else ""
    return Chosen(chosen.input_name, chosen.series.series_instance_uid, chosen.reason, sop_instance_uid)


def jobs_on_demand(study: StudyRef, bundle_folder: Path, bundle_digest: str, options: ReadOptions) -> list[NewJob]:
    """What a bundle would read of a study, were it asked; nothing if the bundle is no longer there."""
    try:
        bundle = load_bundle(bundle_folder)
    except Misconfigured:
        return []
    selection = select(study, bundle.manifest.inputs, outside=options.outside_intended_use)
    reads = planned(study, selection, options)
    return [new_job(BUTTON, bundle, bundle_digest, read) for read in reads]


class OnDemand:
    """The button: what could be read of a study, and the wish to read it."""

    def __init__(self, config: Config, db: Database) -> None:
        self._config = config
        self._db = db
        self._queries = Queries("wetread.service")
        self._revisions = Revisions(db, Spool(config.data_dir / "spool"), CompletenessSettings())
        self._digests: dict[Path, tuple[tuple[tuple[str, int, int], ...], str]] = {}

    def bundles(self, study_instance_uid: str) -> list[Document]:
        """Every installed bundle, those that fit the study first, each with the reason.

        Raises: ``NotHere``, ``Conflict`` while the study is being received or is held.
        """
        revision = self._revision(study_instance_uid)
        found = [self._bundle(revision, folder) for folder in self._folders()]
        return sorted(found, key=lambda b: (not b["fits"], b["bundle"]))

    def ask(
        self, study_instance_uid: str, bundle_name: str, *, who: str, options: ReadOptions = ReadOptions()
    ) -> tuple[str, bool]:
        """Have a bundle read a study: the job's id, and whether it has to be done.

        Raises: ``NotHere``, ``NotPossible`` with the reason why the bundle does not fit, ``Conflict``.
        """
        revision = self._revision(study_instance_uid)
        folder = next((f for f in self._folders() if f.name == bundle_name), None)
        if folder is None:
            raise NotHere(f"there is no bundle {bundle_name!r}; see: wetread bundle list")
        bundle, reads = self._fitting(revision.study, folder, options)
        job = dataclasses.replace(
            new_job(BUTTON, bundle, self._digest(bundle), reads[0]),
            destinations=self._destinations(bundle, options),
            send=self._config.api.send,
            priority=INTERACTIVE,
            asked_by=who,
        )
        where = {"study_id": revision.study_id, "revision_id": revision.revision_id}
        return Requests(self._db, who).ask(job, **where, config_digest=self._config.digest)

    def _destinations(self, bundle: Bundle, options: ReadOptions) -> tuple[str, ...]:
        """None where the bundle is not for clinical use, or not for this, and the site has not allowed research."""
        api = self._config.api
        is_clinical = bundle.manifest.clinical_use and not options.outside_intended_use
        return api.destinations if is_clinical or api.research else ()

    def _revision(self, study_instance_uid: str) -> Revision:
        """The study as it is now."""
        rows = self._db.fetch(self._queries["newest_revision"], {"study_instance_uid": study_instance_uid})
        if not rows:
            raise NotHere(f"no study {study_instance_uid} here; see: wetread studies list")
        if rows[0]["state"] == "held":
            raise Conflict(f"study {study_instance_uid} is held: {rows[0]['reason']}")
        if rows[0]["state"] != "complete" or rows[0]["revision_id"] is None:
            raise Conflict(f"study {study_instance_uid} is being received; it can be read once it is complete")
        return self._revisions.load(int(rows[0]["revision_id"]))

    def _folders(self) -> list[Path]:
        """The bundle folders; of two bundles of one name, the first found."""
        return list({f.name: f for f in reversed(list(list_bundles(self._config.bundle_folders)))}.values())

    def _bundle(self, revision: Revision, folder: Path) -> Document:
        about: Document = {
            "bundle": folder.name,
            "version": "",
            "title": folder.name,
            "not_for": [],
            "clinical_use": False,
        }
        about |= {"fits": False, "reason": "", "chosen": [], "passed_over": [], "predicted": None, "latest_job": None}
        about |= {"intended_use": "", "outside": []}
        try:
            bundle = load_bundle(folder)
        except Misconfigured as exc:
            return about | {"reason": str(exc)}
        manifest = bundle.manifest
        about |= {"version": bundle.version, "title": manifest.title, "not_for": list(manifest.not_for)}
        about |= {"intended_use": manifest.intended_use}
        about |= {"clinical_use": manifest.clinical_use, "latest_job": self._latest_job(revision, bundle.name)}
        about["passed_over"] = [str(v) for v in select(revision.study, manifest.inputs).verdicts if not v.taken]
        try:
            _, reads = self._fitting(revision.study, folder, ReadOptions())
        except WetreadError as exc:
            return about | {"reason": str(exc), "outside": self._outside(revision.study, folder)}
        about["chosen"] = [
            {"input_name": c.input_name, "series_instance_uid": c.series.series_instance_uid, "reason": c.reason}
            for c in reads[0].chosen
        ]
        reason = f"fits: {', '.join(c.series.label for c in reads[0].chosen)}"
        return about | {"fits": True, "reason": reason, "predicted": self._predicted(bundle.name)}

    def _fitting(self, study: StudyRef, folder: Path, options: ReadOptions) -> tuple[Bundle, tuple[PlannedRead, ...]]:
        """The bundle and what it would read. Raises: ``NotPossible`` when it does not fit or may not run."""
        bundle = load_bundle(folder)
        selection = select(study, bundle.manifest.inputs, outside=options.outside_intended_use)
        reads = planned(study, selection, options)
        if not reads:
            raise NotPossible(every_reason(selection.missing, study, bundle.manifest, options))
        try:
            if not options.outside_intended_use:
                check_patient(study, patient_rule(bundle.manifest, options))
        except NotIntended as exc:
            raise NotPossible(str(exc)) from exc
        self._digest(bundle)
        return bundle, reads

    def _outside(self, study: StudyRef, folder: Path) -> list[str]:
        """Why the bundle was not made for a study that it could read all the same; nothing if it could not."""
        try:
            bundle, reads = self._fitting(study, folder, ReadOptions(outside_intended_use=True))
        except WetreadError:
            return []
        return unintended_uses(study, reads[0].chosen, bundle.manifest)

    def _digest(self, bundle: Bundle) -> str:
        """Its digest, after weights and trust were checked; again only when a file of it changed.

        Raises: ``Misconfigured`` when it may not run here.
        """
        files = sorted(p for p in bundle.folder.rglob("*") if p.is_file())
        look = tuple((str(p), (s := p.stat()).st_size, s.st_mtime_ns) for p in files)
        known = self._digests.get(bundle.folder)
        if known is None or known[0] != look:
            bundle.check_weights()
            admit(bundle, self._config.bundles.trust)
            known = self._digests[bundle.folder] = (look, bundle.digest())
        return known[1]

    def _latest_job(self, revision: Revision, bundle: str) -> str | None:
        rows = self._db.fetch(self._queries["latest_job"], {"study_id": revision.study_id, "bundle": bundle})
        return str(rows[0]["id"]) if rows else None

    def _predicted(self, bundle: str) -> Document | None:
        """What earlier reads on this machine took; the worker predicts each read better, from its headers."""
        rows = self._db.fetch(self._queries["reports_of_bundle"], {"bundle": bundle, "limit": _LAST_READS})
        reads = list(_measured(r["report"] for r in rows))
        if not reads:
            return None
        memory, seconds = (statistics.median(values) for values in zip(*reads, strict=True))
        many = f"{len(reads)} reads" if len(reads) > 1 else "1 read"
        return {"memory_mb": round(memory), "seconds": round(seconds, 1), "basis": f"{many} on this machine"}


def _measured(reports: Iterator[str]) -> Iterator[tuple[float, float]]:
    """Memory (MiB) and seconds of reads that were done."""
    for report in map(json.loads, reports):
        if report.get("timings"):
            yield float(report.get("peak_memory_mb", 0)), sum(t["seconds"] for t in report["timings"])
