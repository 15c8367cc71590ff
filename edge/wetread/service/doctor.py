"""What is wrong with an installation: each check says what it found and, if that is not good, what to do."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from wetread.bundles import find_bundle
from wetread.config import Config
from wetread.dimse.scu import echo
from wetread.errors import Misconfigured, WetreadError
from wetread.route.router import Router
from wetread.service.engines import engine_problem
from wetread.service.overview import Overview
from wetread.service.ownership import owner_of
from wetread.service.peers import certificates, check_tls, expiry_problem


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(config: Config) -> list[Check]:
    """Look at everything; never stops at the first problem."""
    checks: list[Check] = []
    for look in (_libraries, _engine, _disk, _service, _tls, _bundles, _routes, _destinations, _studies):
        checks.extend(_guarded(look, config))
    return checks


def _guarded(look: Callable[[Config], Iterator[Check]], config: Config) -> Iterator[Check]:
    name = look.__name__.strip("_")
    try:
        yield from look(config)
    except (WetreadError, OSError) as exc:
        yield Check(name, False, str(exc))


def _libraries(_config: Config) -> Iterator[Check]:
    for package in ("torch", "monai", "openvino", "pynetdicom", "highdicom"):
        try:
            yield Check(package, True, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Check(package, False, "not installed", "pip install 'wetread[edge]'")


def _disk(config: Config) -> Iterator[Check]:
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    free_mb = shutil.disk_usage(config.data_dir).free // 2**20
    enough = free_mb > config.spool.reserve_mb
    advice = "" if enough else f"C-STORE is refused below {config.spool.reserve_mb} MiB ([spool] reserve_mb)"
    yield Check("disk", enough, f"{free_mb} MiB free in {config.data_dir}", advice)


def _service(config: Config) -> Iterator[Check]:
    where = f"{config.listener.host}:{config.listener.port}"
    owner = owner_of(config.data_dir)
    if owner is not None:
        yield Check("service", True, f"wetread serve runs as process {owner}")
    elif _is_free(config.listener.host, config.listener.port):
        yield Check("service", True, f"wetread serve is not running; {where} is free")
    else:
        advice = "end that program, or choose another [listener] port"
        yield Check("service", False, f"wetread serve is not running, and another program has {where}", advice)
    if not config.senders():
        yield Check("peers", False, "nobody may send", "set may_send = true and networks on a [[peers]] entry")


def _tls(config: Config) -> Iterator[Check]:
    """Files of keys and certificates, and how long they last: the day one expires, nothing arrives any more."""
    check_tls(config)
    for where, certificate in certificates(config):
        problem = expiry_problem(certificate)
        found = f"{certificate.subject} {problem or f'is valid until {certificate.not_after:%Y-%m-%d}'}"
        yield Check(where, not problem, found, "renew it, then restart wetread serve" if problem else "")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _engine(config: Config) -> Iterator[Check]:
    problem = engine_problem(config.jobs.engine)
    yield Check("engine", not problem, problem or config.jobs.engine)


def _bundles(config: Config) -> Iterator[Check]:
    for name in sorted({r.bundle for r in config.routes if r.mode != "off"}):
        try:
            bundle = find_bundle(name, config.bundle_folders)
            bundle.check_weights()
        except Misconfigured as exc:
            yield Check(f"bundle {name}", False, str(exc))
        else:
            yield Check(f"bundle {name}", True, f"version {bundle.version}, weights as the manifest names them")


def _routes(config: Config) -> Iterator[Check]:
    active = [r for r in config.routes if r.mode != "off"]
    bundles = {r.bundle: find_bundle(r.bundle, config.bundle_folders) for r in active}
    Router(config.routes, bundles)
    advice = "" if active else "no study will be read; see [[routes]] in wetread.toml.example"
    yield Check("routes", bool(active), ", ".join(f"{r.name} ({r.mode})" for r in active) or "none is active", advice)


def _destinations(config: Config) -> Iterator[Check]:
    for destination in config.destinations:
        remote = config.remote(destination)
        if remote is None:
            yield Check(f"destination {destination.name}", True, f"folder {destination.path}")
            continue
        try:
            echo(remote)
        except WetreadError as exc:
            advice = "results wait in the outbox; check host, port, and that the peer knows our AE title and address"
            yield Check(f"destination {destination.name}", False, str(exc), advice)
        else:
            yield Check(f"destination {destination.name}", True, "answers C-ECHO")


def _studies(config: Config) -> Iterator[Check]:
    if not (config.data_dir / "wetread.db").is_file():
        yield Check("studies", True, "none yet")
        return
    overview = Overview(config.data_dir)
    counts = overview.counts()
    found = ", ".join(f"{n} {state}" for state, n in counts.items()) or "none yet"
    need = {"failed": "wetread jobs list --state failed, then jobs retry", "held": "wetread studies list, then release"}
    advice = "; ".join(text for state, text in need.items() if counts.get(state))
    yield Check("studies", not advice, found, advice)
    unreadable = overview.unreadable()
    if unreadable:
        yield Check(
            "unreadable", False, f"{len(unreadable)} received instances were set aside", "see: wetread studies list"
        )
    for refused in overview.refusals(limit=5):
        advice = (
            refused["hint"] or "if it should send: correct its settings, or our [[peers]]; see: wetread peers refused"
        )
        who = f"{refused['calling'] or '?'} at {refused['address']}"
        found = f"{refused['last_at'][:19]} {who}, {refused['count']} times: {refused['reason']}"
        yield Check("refused caller", True, found, advice)
