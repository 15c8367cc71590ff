"""Who asked for it."""

from __future__ import annotations

import os


def user_name() -> str:
    """Who is at the keyboard, for the record: the account that runs the command, not what its environment says."""
    try:
        import pwd
    except ImportError:  # Windows
        import getpass

        return getpass.getuser()
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container without a user database
        return f"user {os.getuid()}"
    sudo = os.environ.get("SUDO_USER", "")
    return f"{sudo} as root" if os.getuid() == 0 and sudo else name
