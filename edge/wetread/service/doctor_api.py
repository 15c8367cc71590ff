"""Checks of ``wetread doctor``: the HTTP interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from wetread.api.settings import read_or_make_token, token_path
from wetread.config import Config
from wetread.service.check import Check
from wetread.service.ownership import owner_of

_PATIENCE_S = 2.0


def look_at_api(config: Config) -> Iterator[Check]:
    """Its token file, and whether it answers while the service runs. Raises: ``Misconfigured``."""
    api = config.api
    if not api.enabled:
        yield Check("api", True, "not served ([api] enabled = false)")
        return
    path = token_path(api, config.data_dir)
    if path.exists():
        read_or_make_token(path)
    if owner_of(config.data_dir) is None:
        yield Check("api", True, f"will answer at {api.host}:{api.port or 'a free port'}; wetread serve is not running")
    elif api.port:
        yield _answers(api.host, api.port)
    if not api.organization:
        yield Check("api", True, "signed reports carry the organization that the reader's program names")


def _answers(host: str, port: int) -> Check:
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE_S):
            return Check("api", True, f"answers at {host}:{port}")
    except OSError as exc:
        advice = "wetread serve starts it again within seconds; if not, its log says why"
        return Check("api", False, f"nothing answers at {host}:{port}: {exc.strerror or exc}", advice)
