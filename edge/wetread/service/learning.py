"""Signed reads as training data, as a person at the keyboard asks for it; whether the service runs or not."""

from __future__ import annotations

from wetread.config import Config
from wetread.learn.reads.export import Allowed, ReadsExport
from wetread.learn.reads.register import Register
from wetread.learn.reads.withdraw import Withdrawal
from wetread.service.maintenance import open_database
from wetread.service.person import user_name


def open_reads_export(config: Config) -> ReadsExport:
    """Export the signed reads that the configuration opted in to, in the name of the user who runs this process."""
    routes = frozenset(route.name for route in config.routes if route.learn)
    database = open_database(config.data_dir)
    return ReadsExport(database, config.data_dir, Allowed(config.learning, routes), user_name())


def open_withdrawal(config: Config) -> Withdrawal:
    """Withdraw patients and studies from learning; opted in or not."""
    return Withdrawal(open_database(config.data_dir), user_name(), config.bundle_folders)


def open_register(config: Config) -> Register:
    """Which signed reads were exported."""
    return Register(open_database(config.data_dir), user_name())
