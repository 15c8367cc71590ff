"""The HTTP interface's process: whatever a client does to it, reception, reads and delivery go on.

It has connections of its own to the database and goes through the same code as the commands, one short transaction for
each change; the coordinator finds what was asked for in its next round. It never loads a model.
"""

from __future__ import annotations

import socket
from multiprocessing.connection import Connection

from wetread.api.settings import read_or_make_token, token_path
from wetread.config import Config
from wetread.dimse.tls import server_context
from wetread.service.http_entrance import Opened, answer

_MAX_CONNECTIONS = 200


def serve_api(lifeline: Connection, config: Config, listening: socket.socket) -> None:
    """Main function of the process."""
    answer(lifeline, config, listening, lambda: _open(config))


def _open(config: Config) -> Opened:
    """Readers show a token, not a certificate. Raises: ``Misconfigured`` when token or certificate are not usable."""
    from wetread.api.app import make_app
    from wetread.service.desk import make_parts, upload_limits

    token = read_or_make_token(token_path(config.api, config.data_dir))
    app = make_app(make_parts(config), token=token, limits=upload_limits(config))
    tls = config.listener.tls
    if not config.api.tls:
        return Opened(app, _MAX_CONNECTIONS)
    context = server_context(tls.certificate, tls.key, client_ca="", client_certificate="none")
    return Opened(app, _MAX_CONNECTIONS, context)
