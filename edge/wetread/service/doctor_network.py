"""The doctor on everyone we talk with: peers, destinations, and who was turned away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wetread.config import Config
from wetread.deliver.destination import DestinationSettings, open_destination
from wetread.deliver.dicomweb import DicomwebClient
from wetread.dimse.scu import echo
from wetread.errors import WetreadError
from wetread.records.numbers import number_of
from wetread.service.check import Check
from wetread.service.overview import Overview

_RECENT = timedelta(hours=24)
_NO_STUDY = "2.25.0"


def look_at_peers(config: Config) -> Iterator[Check]:
    """C-ECHO to each that can be called."""
    if not config.senders() and not config.stow.clients:
        yield Check("peers", False, "nobody may send", "set may_send = true and networks on a [[peers]] entry")
    for peer in config.peers:
        if not peer.host or not peer.port:
            continue
        try:
            echo(config.remote_of(peer))
        except WetreadError as exc:
            advice = "check host, port and tls, and that it knows our AE title and address; results for it wait"
            yield Check(f"peer {peer.name}", False, str(exc), advice)
        else:
            yield Check(f"peer {peer.name}", True, f"answers C-ECHO at {peer.host}:{peer.port}")


def look_at_destinations(config: Config) -> Iterator[Check]:
    """Can results get there, and does an archive answer the questions it is asked before?"""
    for destination in config.destinations:
        name = f"destination {destination.name}"
        try:
            yield Check(name, True, _tried(config, destination))
        except WetreadError as exc:
            yield Check(name, False, str(exc), "results wait until it answers; see: wetread results list")
    yield from _what_waits(config)


def look_at_refused(config: Config) -> Iterator[Check]:
    """A caller that was refused today is a finding: most likely somebody's studies do not arrive."""
    if not (config.data_dir / "wetread.db").is_file():
        return
    since = datetime.now(UTC) - _RECENT
    for refused in Overview(config.data_dir).refusals(limit=5):
        last = datetime.fromisoformat(refused["last_at"])
        who = f"{refused['calling'] or '?'} at {refused['address']}"
        times = "once" if refused["count"] == 1 else f"{refused['count']} times"
        found = f"{last.astimezone():%Y-%m-%d %H:%M:%S%z} {who}, {times}: {refused['reason']}"
        advice = refused["hint"] or "if it should send: correct its settings, or our [[peers]]"
        yield Check("refused caller", last < since, found, f"{advice}; see: wetread peers refused")


def _tried(config: Config, destination: DestinationSettings) -> str:
    """What was seen. Raises: ``DestinationUnavailable``, ``Misconfigured``."""
    if destination.kind == "folder":
        return _folder(Path(destination.path))
    archive = open_destination(destination, config.remote(destination), config.abilities(destination)).archive
    if archive is not None:
        archive.study(_NO_STUDY)
        return "answers queries"
    if destination.kind == "dicomweb":
        DicomwebClient(destination).request("GET", "/studies?limit=0", headers={"Accept": "application/dicom+json"})
        return "answers HTTP"
    return f"is peer {destination.peer}"


def _folder(folder: Path) -> str:
    from wetread.errors import Misconfigured

    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise Misconfigured(f"{nearest} is not a folder that this user may write to")
    return f"folder {folder}"


def _what_waits(config: Config) -> Iterator[Check]:
    """Objects that are held or refused for what they are: both need a person."""
    from wetread.service.maintenance import open_results

    if not (config.data_dir / "wetread.db").is_file():
        return
    for row in open_results(config).destinations(config):
        if row["refused"]:
            advice = "see why: wetread results list --state pending; then results retry, or rendition"
            yield Check(
                f"results for {row['destination']}",
                False,
                f"{number_of(row['refused'], 'object is', 'objects are')} refused",
                advice,
            )
        if row["held"]:
            advice = "see why: wetread results list --state held; then results release or recall"
            yield Check(
                f"results for {row['destination']}",
                False,
                f"{number_of(row['held'], 'object is', 'objects are')} held",
                advice,
            )
