"""What is wrong with an installation: each check says what it found and, if that is not good, what to do."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from wetread.config import Config
from wetread.errors import WetreadError
from wetread.extras import how_to_install
from wetread.receive.stow_settings import read_tokens
from wetread.records.numbers import number_of
from wetread.service.check import Check
from wetread.service.doctor_api import look_at_api
from wetread.service.doctor_network import look_at_destinations, look_at_peers, look_at_refused
from wetread.service.doctor_reading import (
    look_at_bundles,
    look_at_engine,
    look_at_engine_cache,
    look_at_routes,
    look_at_studies,
)
from wetread.service.ownership import owner_of
from wetread.service.peers import certificates, check_tls, expiry_problem


def examine(config: Config) -> list[Check]:
    """Look at everything; never stops at the first problem."""
    checks: list[Check] = []
    for look in _LOOKS:
        checks.extend(_guarded(look, config))
    return checks


def _guarded(look: Callable[[Config], Iterator[Check]], config: Config) -> Iterator[Check]:
    name = look.__name__.removeprefix("look_at").strip("_").replace("_", " ")
    try:
        yield from look(config)
    except WetreadError as exc:
        yield Check(name, False, str(exc))
    except OSError as exc:
        said = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
        yield Check(name, False, said, "look at data_dir and at who runs this" if exc.filename else "")


def _libraries(_config: Config) -> Iterator[Check]:
    for package in ("torch", "monai", "openvino", "pynetdicom", "highdicom"):
        try:
            yield Check(package, True, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Check(package, False, "not installed", how_to_install("edge"))


def _disk(config: Config) -> Iterator[Check]:
    folder = next(p for p in (config.data_dir, *config.data_dir.absolute().parents) if _exists(p))
    if not folder.is_dir():
        yield Check("data folder", False, f"{folder} is not a folder", "correct data_dir, or move that file away")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = f"it belongs to {folder.owner()}: run this as the account of wetread serve, or correct data_dir"
        yield Check("data folder", False, f"this user may not write to {folder}", advice)
        return
    free_mb = shutil.disk_usage(folder).free // 2**20
    reserve, wanted = config.spool.reserve_mb, config.retention.min_free_mb
    advice = ""
    if free_mb <= reserve:
        advice = f"C-STORE is refused below {reserve} MiB ([spool] reserve_mb)"
    elif free_mb < wanted:
        advice = f"below {wanted} MiB images of finished studies go before their time ([retention] min_free_mb)"
    yield Check("disk", not advice, f"{free_mb} MiB free in {folder}", advice)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # in a folder that this user may not look into
        return False


def _service(config: Config) -> Iterator[Check]:
    where = f"{config.listener.host}:{config.listener.port}"
    owner = owner_of(config.data_dir)
    waiting = _waiting(config.data_dir / "spool" / "incoming")
    if owner is not None:
        yield Check("service", True, f"wetread serve runs as process {owner}")
    elif problem := _cannot_listen(config.listener.host, config.listener.port):
        taken = problem.errno == errno.EADDRINUSE
        found = f"another program has {where}" if taken else f"cannot listen on {where}: {problem.strerror or problem}"
        advice = "end that program, or choose another [listener] port" if taken else "correct [listener] host and port"
        yield Check("service", False, f"wetread serve is not running, and {found}", advice)
    else:
        should = bool(config.senders() or config.stow.clients)
        left = f"; {number_of(waiting, 'received file waits', 'received files wait')} for it" if waiting else ""
        found = f"wetread serve is not running; {where} is free{left}"
        yield Check("service", not should, found, "start it: wetread serve --config FILE" if should else "")


def _waiting(incoming: Path) -> int:
    """Files that were acknowledged and not taken in yet."""
    if not incoming.is_dir():
        return 0
    with os.scandir(incoming) as entries:
        return sum(1 for entry in entries if not entry.name.startswith("."))


def _tls(config: Config) -> Iterator[Check]:
    """Files of keys and certificates, and how long they last: the day one expires, nothing arrives any more."""
    check_tls(config)
    for where, certificate in certificates(config):
        problem = expiry_problem(certificate)
        found = f"{certificate.subject} {problem or f'is valid until {certificate.not_after:%Y-%m-%d}'}"
        yield Check(where, not problem, found, "renew it, then restart wetread serve" if problem else "")


def _stow(config: Config) -> Iterator[Check]:
    """The token files of those who send by STOW-RS. Raises: ``Misconfigured`` for the first that is not usable."""
    if config.stow.clients:
        read_tokens(config.stow.clients)
        yield Check("stow", True, number_of(len(config.stow.clients), "client may send", "clients may send"))


def _cannot_listen(host: str, port: int) -> OSError | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            return exc
    return None


_LOOKS: tuple[Callable[[Config], Iterator[Check]], ...] = (
    _libraries,
    look_at_engine,
    look_at_engine_cache,
    _disk,
    _service,
    look_at_api,
    _tls,
    _stow,
    look_at_bundles,
    look_at_routes,
    look_at_peers,
    look_at_destinations,
    look_at_refused,
    look_at_studies,
)
