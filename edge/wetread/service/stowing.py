"""The STOW-RS entrance's process: like the listeners', it keeps instances in the spool and knows no database."""

from __future__ import annotations

import socket
import ssl
from multiprocessing.connection import Connection

from wetread.config import Config
from wetread.dimse.tls import server_context
from wetread.receive.stow_settings import read_tokens
from wetread.service.http_entrance import Opened, answer
from wetread.store.spool import Spool

_SPARE_CONNECTIONS = 50  # so that one request too many hears 503 in DICOM's words


def serve_stow(lifeline: Connection, config: Config, listening: socket.socket) -> None:
    """Main function of the process."""
    answer(lifeline, config, listening, lambda: _open(config))


def _open(config: Config) -> Opened:
    """Raises: ``Misconfigured`` when a token file or the certificate is not usable."""
    from wetread.receive.stow import StowEntrance

    spool = Spool(config.data_dir / "spool", reserve_bytes=config.spool.reserve_mb * 2**20)
    entrance = StowEntrance(config.stow, read_tokens(config.stow.clients), keep=spool.keep, note=spool.note)
    connections = config.stow.max_requests + _SPARE_CONNECTIONS
    return Opened(entrance.app, connections, _https(config), at_end=entrance.refusals.flush)


def _https(config: Config) -> ssl.SSLContext | None:
    """HTTPS as ``[listener.tls]`` says, if it is asked for. Raises: ``Misconfigured``."""
    tls = config.listener.tls
    if not config.stow.tls:
        return None
    return server_context(tls.certificate, tls.key, client_ca=tls.client_ca, client_certificate=tls.client_certificate)
