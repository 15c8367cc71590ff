"""What the demo says at its end."""

from __future__ import annotations

import sys
from pathlib import Path

from wetread.demo.arrived import Arrived
from wetread.demo.figures import Figures, not_read
from wetread.demo.pacs import AE_TITLE as PACS_AE_TITLE
from wetread.demo.pacs import HOST, DemoPacs
from wetread.demo.server import AE_TITLE, SENDERS
from wetread.demo.show import Screen


def conclude(screen: Screen, figures: Figures, arrived: Arrived, page: Path) -> None:
    """Findings, what was passed over, figures, where the page is."""
    screen.findings(arrived.findings)
    screen.title("Not read, and why")
    for label, reason in not_read(figures.last.verdicts):
        screen.say(f"{label}: {reason}")
    screen.title("Figures")
    screen.say(f"last instance stored to last result delivered  {figures.seconds:.1f} s")
    screen.say(f"of it beyond the quiet time                    {figures.beyond_quiet_s:.1f} s")
    if figures.waited_for_model_s:
        screen.say(f"of it waiting for the model                    {figures.waited_for_model_s:.1f} s")
    screen.say(f"peak memory of the worker                      {figures.last.peak_memory_mb / 1024:.2f} GiB")
    if figures.engine_ready_s:
        screen.say(f"engine compiled and checked, from the start    {figures.engine_ready_s:.1f} s")
    screen.say(f"engine                                         {figures.engine}")
    screen.say(f"\nThe page: {page.resolve().as_uri()}", style="bold green")


def how_to_go_on(screen: Screen, *, port: int, pacs: DemoPacs, config: Path) -> None:
    """Where everything listens, and how to send a study of one's own."""
    screen.title("Still running; Ctrl-C ends it")
    screen.say(f"Wetread  {AE_TITLE} at {HOST}:{port}, takes studies from {' and '.join(SENDERS[1:])} on this machine")
    screen.say(f"PACS     {PACS_AE_TITLE} at {HOST}:{pacs.port}, keeps what it gets in {pacs.folder}")
    screen.say("\nSend a study of your own, a folder of DICOM files, with Wetread or with DCMTK:")
    ours = Path(sys.executable).with_name("wetread")
    screen.say(f"  {ours} send FOLDER --to {HOST}:{port} --called {AE_TITLE}")
    # pynetdicom puts a storescu of its own into the environment: DCMTK's is named whole.
    screen.say(f"  /usr/bin/storescu -aet STORESCU -aec {AE_TITLE} +sd +r {HOST} {port} FOLDER")
    screen.say("\nand see what became of it:")
    screen.say(f"  {ours} studies list --config {config}")
