"""Bring a study that the edge does not have there: the original files, as they are."""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wetread_desktop.client.cards import Card
from wetread_desktop.client.desk import Desk
from wetread_desktop.client.edge import Edge, Uploaded
from wetread_desktop.client.errors import NotHere, Problem
from wetread_desktop.client.opening import Known, known_of
from wetread_desktop.client.panel_state import Phase, ProgressView
from wetread_desktop.client.words import say, say_n

_PATIENCE_S = 120.0
"""How long the edge may take until it knows what it was sent."""
_PAUSE_S = 0.3


class SendingStopped(Exception):
    """The reader changed their mind."""


class Sending:
    """Sends one study."""

    def __init__(self, desk: Desk, *, arrived: Callable[[Known], None], stopped: Callable[[], None]) -> None:
        """``arrived``: the edge knows the study; ``stopped``: it does not, and nothing is under way any more."""
        self._desk, self._arrived, self._stopped = desk, arrived, stopped
        self._stop = threading.Event()

    def begin(self) -> None:
        """Send what the viewer has of the study."""
        uid = self._desk.subject.study_instance_uid
        files = self._desk.host.source_instances(uid)
        self._stop = stop = threading.Event()
        stage = say_n("Sending {n} image to the edge…", "Sending {n} images to the edge…", len(files))
        self._desk.change(phase=Phase.SENDING, progress=ProgressView(stage, None), card=None)
        self._desk.ask(lambda edge: sent(edge, files, uid, stop), self._arrived, self._failed)

    def cancel(self) -> None:
        """Send no more; what is there already stays there."""
        self._stop.set()

    def _failed(self, error: Exception) -> None:
        self._stopped()
        if isinstance(error, SendingStopped):
            return
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            todo = say("Open the study again in the viewer.")
            self._desk.show(Card(say("A file of this study cannot be read any more."), todo, f"{error}"))
            return
        self._desk.fail(error)


class NotKept(Problem):
    """The edge took the files and kept none of this study."""

    def __init__(self, uploaded: Uploaded) -> None:
        first = uploaded.refused[0] if uploaded.refused else ""
        super().__init__(422, {"detail": f"nothing of this study was kept; {first}".rstrip("; ")})


def sent(edge: Edge, files: Sequence[Path], study_instance_uid: str, stop: threading.Event) -> Known:
    """Send the files, wait until the edge knows them. Raises: ``EdgeError``, ``OSError``, ``SendingStopped``."""
    with tempfile.TemporaryFile() as archive:
        # A file older than 1980, as an unset clock leaves it, has a time that a zip cannot hold.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as packed:
            for number, path in enumerate(files):
                if stop.is_set():
                    raise SendingStopped
                # Our own names: those of the files may hold a patient's.
                packed.write(path, f"{number:06}.dcm")
        length = archive.tell()
        archive.seek(0)
        uploaded = edge.upload(archive, length)
    if study_instance_uid not in uploaded.studies:
        raise NotKept(uploaded)
    return _indexed(edge, study_instance_uid, stop)


def _indexed(edge: Edge, study_instance_uid: str, stop: threading.Event) -> Known:
    """Once the edge has looked at all of it."""
    waited = 0.0
    while True:
        try:
            known = known_of(edge, study_instance_uid)
            if known.study.line.state != "receiving" or waited > _PATIENCE_S:
                return known
        except NotHere:
            if waited > _PATIENCE_S:
                raise
        if stop.wait(_PAUSE_S):
            raise SendingStopped
        waited += _PAUSE_S
