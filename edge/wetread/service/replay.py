"""What the routes, as they are configured now, would do with the latest studies: a rule is tried before it goes live.

Headers decide here, as in ``wetread route explain``: what the read itself would find out (slices, pixels) is not known.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from wetread.bundles import find_bundle
from wetread.config import Config
from wetread.db import Database, Queries, Row
from wetread.errors import Misconfigured
from wetread.jobs.requests import Pause, Requests
from wetread.route.router import Decision, Router, RouteSettings, check_rules
from wetread.service.explanation import Document, explained
from wetread.service.maintenance import open_database, open_revisions


class Replay:
    """The routes of a configuration, asked about studies that were received; changes nothing."""

    def __init__(self, config: Config, *, route: str = "") -> None:
        """With ``route`` only that one, also when it is off: it is then asked as if it were in shadow.

        Raises: ``Misconfigured``, also when there is no such route.
        """
        routes = _asked(config.routes, route)
        check_rules(routes)
        bundles = {r.bundle: find_bundle(r.bundle, config.bundle_folders) for r in routes}
        self._router = Router(routes, bundles)
        self._bundle_digests = {name: bundle.digest() for name, bundle in bundles.items()}
        self._off = {r.name for r in config.routes if r.mode == "off"}
        self._db: Database = open_database(config.data_dir)
        self._revisions = open_revisions(config)
        self._pauses = Requests(self._db).pauses()
        self._queries = Queries("wetread.service")

    def last(self, count: int) -> Document:
        """The latest ``count`` studies, newest first, with what each route would do; and the sums for each route."""
        rows = self._db.fetch(self._queries["latest_revisions"], {"limit": count})
        studies = [self._study(row) for row in rows]
        sums: dict[str, Counter[str]] = {}
        for route in (r for study in studies for r in study["routes"]):
            counted = sums.setdefault(route["route"], Counter(read=0, sent=0))
            counted[route["outcome"]] += 1
            counted["sent"] += bool(route["would_send_to"])
        return {"studies": studies, "routes": {name: dict(counted) for name, counted in sums.items()}}

    def _study(self, row: Row) -> Document:
        study = self._revisions.load(int(row["revision_id"])).study
        return {
            "study_instance_uid": row["study_instance_uid"],
            "received_at": row["created_at"],
            "description": study.description,
            "state": row["state"],
            "revision": row["number"],
            "routes": [self._route(row, explained(study, d), d) for d in self._router.decide(study)],
        }

    def _route(self, row: Row, said: Document, decision: Decision) -> Document:
        """The decision, what was recorded at the time, and where results would go or why not."""
        mode = "off" if decision.route.name in self._off else decision.route.mode
        key = {"revision_id": row["revision_id"], "route": decision.route.name}
        recorded = self._db.fetch(self._queries["recorded_decision"], key)
        why_not = self._not_sent_because(row, said, decision, mode)
        return said | {
            "mode": mode,
            "recorded": recorded[0]["outcome"] if recorded else "",
            "read_before": [
                job for read in decision.reads for job in self._same_read(row, decision, read.input_digest)
            ],
            "would_send_to": [] if why_not else list(decision.route.destinations),
            "not_sent_because": why_not,
        }

    def _not_sent_because(self, row: Row, said: Document, decision: Decision, mode: str) -> str:
        if row["state"] == "held":
            return f"the study is held: {row['reason']}"
        if said["outcome"] != "read":
            return f"{said['outcome']}: {said['reason']}"
        if mode != "live":
            return f"the route is {mode}"
        for pause in self._pauses:
            if _stops(pause, decision.route):
                return f"{pause} is paused: {pause.reason}"
        return ""

    def _same_read(self, row: Row, decision: Decision, input_digest: str) -> list[str]:
        """The job that read the same input on this route with this bundle, if there is one: it is not read again."""
        key = {
            "study_id": row["study_id"],
            "route": decision.route.name,
            "bundle_digest": self._bundle_digests[decision.bundle.name],
            "input_digest": input_digest,
        }
        return [job["id"] for job in self._db.fetch(self._queries["same_read"], key)]


def _asked(routes: Sequence[RouteSettings], name: str) -> list[RouteSettings]:
    if not name:
        return [r for r in routes if r.mode != "off"]
    found = [r for r in routes if r.name == name]
    if not found:
        known = ", ".join(r.name for r in routes) or "none"
        raise Misconfigured(f"there is no route {name!r}; configured: {known}")
    return [dataclasses.replace(r, mode="shadow") if r.mode == "off" else r for r in found]


def _stops(pause: Pause, route: RouteSettings) -> bool:
    return pause.kind == "all" or pause.name == {"route": route.name, "bundle": route.bundle}[pause.kind]
