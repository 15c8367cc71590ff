"""How the packages of an extra get onto this machine; Wetread itself is on no package index."""

from __future__ import annotations

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]


def how_to_install(*extras: str, checkout: Path = _CHECKOUT) -> str:
    """The command, as advice for a person: from the sources that run here, else of the package that is installed."""
    wanted = ",".join(extras)
    if (checkout / "pyproject.toml").is_file():
        return f"in {checkout}: pip install -e '.[{wanted}]'"
    return f"pip install 'wetread[{wanted}]'"
