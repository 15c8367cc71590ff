"""``[api]``: the HTTP interface for readers' programs; its token lies in a file of its own."""

from __future__ import annotations

import secrets
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from wetread.durable import make_folder, write_atomically
from wetread.errors import Misconfigured

_LEAST_TOKEN = 16  # characters; shorter ones are guessed


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """``[api]``: what the desktop and other programs talk to."""

    enabled: bool = True
    """Whether it is served."""
    host: str = "127.0.0.1"
    """Address to listen on; other than loopback only with ``tls`` or ``plain_http``."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 8642
    """TCP port. 0 takes a free one."""
    tls: bool = False
    """HTTPS, with certificate and key of ``[listener.tls]``."""
    plain_http: bool = False
    """Let token and images go unencrypted over a network: only where something else encrypts it."""
    token_file: str = ""
    """File with the token, readable by the service alone; made at the first start. Empty: ``api.token`` in data_dir."""
    organization: str = ""
    """Verifying Organization of signed reports where the reader's program names none."""
    destinations: tuple[str, ...] = ()
    """Where the results of reads go that a person asked for; none: they stay here."""
    send: Literal["at once", "after signing"] = "after signing"
    """When they go there."""
    research: bool = False
    """Needed to send results of a bundle that is not for clinical use."""
    max_upload_mb: Annotated[int, Ge(1)] = 8192
    """Largest upload, packed and unpacked (MiB)."""


def check_settings(api: ApiSettings, *, has_certificate: bool) -> None:
    """Whether the parts fit together. Raises: ``Misconfigured``."""
    if api.tls and not has_certificate:
        raise Misconfigured("[api] tls = true, but [listener.tls] has no certificate")
    if api.enabled and not api.tls and not api.plain_http and not is_loopback(api.host):
        raise Misconfigured(
            f"[api] host is {api.host}: token and images would go unencrypted; set tls = true, or plain_http = true"
            " where something else encrypts the way"
        )


def token_path(api: ApiSettings, data_dir: Path) -> Path:
    """Where the token is."""
    return Path(api.token_file) if api.token_file else data_dir / "api.token"


def read_or_make_token(path: Path) -> str:
    """The token; made if there is none. Raises: ``Misconfigured`` when others may read it, or it is too short."""
    if not path.exists():
        make_folder(path.parent)
        write_atomically(path, lambda part: part.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii"))
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise Misconfigured(f"the token file {path} cannot be read: {getattr(exc, 'strerror', 'not ASCII')}") from exc
    if mode & 0o077:
        raise Misconfigured(f"others may read the token file {path} (mode {mode:04o}); do: chmod 600 {path}")
    if len(token) < _LEAST_TOKEN:
        raise Misconfigured(
            f"the token in {path} has fewer than {_LEAST_TOKEN} characters; remove the file, start again"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
