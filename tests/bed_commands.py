"""Commands about a data folder that holds results, as an administrator types them."""

from __future__ import annotations

import pytest

from outboxes import Bed, Peer
from wetread.cli import main
from wetread.deliver.destination import Answer, Outcome

CONFIG = """
data_dir = "."
[[destinations]]
name = "pacs"
kind = "folder"
path = "/srv/in"
[[destinations]]
name = "cloud"
kind = "dicomweb"
url = "https://pacs.example.org/dicom-web"
"""
"""Of a ``Bed`` with two destinations."""


def wetread(bed: Bed, *arguments: str) -> int:
    """The exit code."""
    return main.run([*arguments, "--config", str(bed.folder / "wetread.toml")])


def shown(bed: Bed, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, blanks and line ends as one blank."""
    capsys.readouterr()
    assert wetread(bed, *arguments) == 0
    return " ".join(capsys.readouterr().out.split())


def refusing(uid: str) -> Peer:
    """Takes everything but this object."""
    return Peer(lambda one: Answer(Outcome.REFUSED, "too big") if one == uid else Answer(Outcome.TAKEN))
