"""The real ``wetread serve`` as a child process, configured for the demo."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wetread.demo.pacs import AE_TITLE as PACS_AE_TITLE
from wetread.demo.pacs import HOST
from wetread.errors import WetreadError

AE_TITLE = "WETREAD"
SENDERS = ("DEMOSCANNER", "STORESCU", "WETREAD")
"""Who may send: the demo itself, and the programs a user tries afterwards by their default AE titles."""
QUIET_S = 5.0
BUNDLE = "mr_brain_extraction"

_READY_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 30.0


class DemoFailed(WetreadError):
    """Something on the way did not happen; the message says what."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's service keeps its things."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration that is served."""
        return self.folder / "wetread.toml"

    @property
    def data(self) -> Path:
        """Spool, database, results, engines."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the service has to say."""
        return self.folder / "serve.log"


def write_config(places: Places, *, bundle_folder: Path, engine: str, pacs_port: int) -> None:
    """``wetread.toml``: one live research route to the demo's PACS."""
    text = _config(places.data, bundle_folder=bundle_folder, engine=engine, pacs_port=pacs_port)
    places.config.write_text(text + "".join(map(_sender, SENDERS)), encoding="utf-8")


def _config(data_dir: Path, *, bundle_folder: Path, engine: str, pacs_port: int) -> str:
    """All but the senders. A JSON string is a TOML basic string."""
    return f"""\
data_dir = {json.dumps(str(data_dir))}

[api]
enabled = false

[listener]
host = "{HOST}"
port = 0                                # any free one

[completeness]
quiet_s = {QUIET_S}

[bundles]
folders = [{json.dumps(str(bundle_folder))}]

[jobs]
engine = "{engine}"

[[routes]]
name = "t1-brain"
mode = "live"
research = true
when = '"MR" in study.modalities'
bundle = "{BUNDLE}"
destinations = ["pacs"]

[[destinations]]
name = "pacs"
kind = "dicom"
peer = "pacs"

[[peers]]
name = "pacs"
ae_title = "{PACS_AE_TITLE}"
host = "{HOST}"
port = {pacs_port}
"""


def _sender(ae_title: str) -> str:
    return f"""
[[peers]]
name = "{ae_title.lower()}"
ae_title = "{ae_title}"
networks = ["{HOST}/32"]
may_send = true
"""


def compile_engines(places: Places, *, engine: str) -> None:
    """``wetread bundle compile``, as a site does before its first study: else the reference reads while it is built.

    Raises: ``DemoFailed`` with what the command said.
    """
    chosen = [] if engine == "auto" else ["--engine", engine]
    command = [sys.executable, "-m", "wetread", "bundle", "compile", BUNDLE, "--config", str(places.config), *chosen]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise DemoFailed(f"wetread bundle compile ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}")


class Server:
    """``wetread serve`` in its own session, so that Ctrl-C in the terminal reaches the demo, which ends it in order."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start and wait until studies can be sent.

        Raises: ``DemoFailed`` with the service's own last words.
        """
        command = [sys.executable, "-m", "wetread", "serve", "--config", str(self._places.config), "--json"]
        with self._places.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        line = _first_line(self._process, _READY_TIMEOUT_S)
        try:
            self.port = int(json.loads(line)["port"])
        except (ValueError, KeyError) as exc:
            raise DemoFailed(f"wetread serve did not become ready: {self.last_words()}") from exc

    def check_alive(self) -> None:
        """Raises: ``DemoFailed`` when the service has ended."""
        if self._process is None or self._process.poll() is not None:
            raise DemoFailed(f"wetread serve ended too early: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        lines = self._places.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """What the process prints first; empty when it ends or stays silent."""
    stream = process.stdout
    if stream is None:
        return b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline() if selector.select(timeout_s) else b""


def bundle_folders() -> Sequence[Path]:
    """Where the demo's bundle may be: in the working folder, or in the checkout this program runs from."""
    return Path("monai_bundles"), Path(__file__).resolve().parents[3] / "monai_bundles"
