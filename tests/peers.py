"""Real peers on the loopback: Wetread itself as a process, DCMTK's senders, Orthanc as PACS."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import requests

from waiting import until
from wetread.service.overview import Overview

HOST = "127.0.0.1"
STORESCU = "/usr/bin/storescu"
ECHOSCU = "/usr/bin/echoscu"
ORTHANC = "/usr/sbin/Orthanc"
DICOMWEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require(program: str) -> str:
    """A peer the test set-up installs: its absence is a failure, not a reason to skip."""
    assert Path(program).exists(), f"{program} is missing: make test installs it (dcmtk, orthanc, …)"
    return program


def storescu(
    port: int, files: Iterable[Path], *, calling: str = "CT1", called: str = "WETREAD", options: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    """DCMTK's sender; without TCP_NODELAY it waits 40 ms for each instance."""
    command = [require(STORESCU), "-v", *options, "-aet", calling, "-aec", called, HOST, str(port)]
    return subprocess.run(
        [*command, *map(str, files)],
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


_ROUTE_BACK = """
function OnStableStudy(id, tags, metadata)
  for _, instance in ipairs(ParseJson(RestApiGet('/studies/' .. id .. '/instances', false))) do
    SendToModality(instance.ID, 'wetread')
  end
end
"""


def echoscu(
    port: int, *, calling: str = "CT1", called: str = "WETREAD", options: Iterable[str] = ()
) -> subprocess.CompletedProcess[str]:
    """DCMTK's C-ECHO."""
    command = [require(ECHOSCU), "-v", *options, "-aet", calling, "-aec", called, HOST, str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@dataclass
class Orthanc:
    """A PACS. With ``routes_to``, it sends every stable study to that port as ``WETREAD``."""

    folder: Path
    http_port: int = field(default_factory=free_port)
    dicom_port: int = field(default_factory=free_port)
    routes_to: int = 0
    ae_title: str = "ORTHANC"
    dicomweb: bool = False
    """With its DICOMweb plugin."""
    unknown_classes: bool = False
    """Takes SOP classes that are younger than itself."""
    knows: int = 0
    """The port at which it calls ``WETREAD``, without routing anything there."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        script = self.folder / "route.lua"
        script.write_text(_ROUTE_BACK)
        config = {
            "Name": "PACS",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StableAge": 1,
            "UnknownSopClassAccepted": self.unknown_classes,
            "DicomModalities": {"wetread": ["WETREAD", HOST, self.routes_to or self.knows or 1]},
            "LuaScripts": [str(script)] if self.routes_to else [],
            "Plugins": [require(DICOMWEB_PLUGIN)] if self.dicomweb else [],
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(config))
        log = (self.folder / "orthanc.log").open("ab")
        self.process = subprocess.Popen([require(ORTHANC), str(path)], stdout=log, stderr=log)
        until(self._answers, what="Orthanc answers")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    @property
    def dicomweb_url(self) -> str:
        return f"http://{HOST}:{self.http_port}/dicom-web"

    def get(self, path: str) -> Any:
        """Its REST API."""
        with urllib.request.urlopen(f"http://{HOST}:{self.http_port}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def delete(self, path: str) -> None:
        """Its REST API."""
        requests.delete(f"http://{HOST}:{self.http_port}{path}", timeout=10).raise_for_status()

    def instances(self) -> list[dict[str, Any]]:
        """The main DICOM tags of everything it holds, with ``Modality`` of the series."""
        instances = self.get("/instances?expand")  # first: a series may begin between the two questions
        modality = {s["ID"]: s["MainDicomTags"].get("Modality", "") for s in self.get("/series?expand")}
        return [{**i, "Modality": modality[i["ParentSeries"]]} for i in instances]

    def modalities(self) -> set[str]:
        return {i["Modality"] for i in self.instances()}

    def fetch(self, modalities: set[str], folder: Path) -> list[Path]:
        """Download instances of these modalities as files."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for instance in self.instances():
            if instance["Modality"] in modalities:
                url = f"http://{HOST}:{self.http_port}/instances/{instance['ID']}/file"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    path = folder / f"{instance['Modality']}-{instance['ID']}.dcm"
                    path.write_bytes(answer.read())
                paths.append(path)
        return paths

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()
        try:
            self.get("/system")
        except OSError:
            return False
        return True


@dataclass
class WetreadProcess:
    """``wetread serve`` in its own process."""

    folder: Path
    toml: str
    port: int = 0
    api: str = ""
    """Address of the HTTP interface; '' when it is not served."""
    process: subprocess.Popen[str] | None = None
    program: tuple[str, ...] = ("-m", "wetread")

    @property
    def config(self) -> Path:
        return self.folder / "wetread.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def overview(self) -> Overview:
        return Overview(self.data)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self.toml.format(port=self.port))
        command = [sys.executable, *self.program, "serve", "--config", str(self.config), "--json"]
        with self.open_log() as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log()
        # After a restart it listens where its peers know it.
        ready = json.loads(line)
        self.port, self.api = ready["port"], ready["api"]

    def kill(self) -> None:
        """What a power cut looks like to the process."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)
        self._gone()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout=60)
        self._gone()
        return code

    def open_log(self) -> IO[Any]:
        """Where the process writes what it has to say."""
        return (self.folder / "wetread.log").open("ab")

    def log(self) -> str:
        return (self.folder / "wetread.log").read_text()

    def states(self) -> list[str]:
        """The states of all studies."""
        return [s["state"] for s in self.overview.studies()]

    def only_study(self) -> dict[str, Any]:
        """The one study there is, with everything about it."""
        (study,) = self.overview.studies()
        return self.overview.study(study["study_instance_uid"])

    def wait_for_state(self, state: str, *, timeout_s: float = 90.0) -> dict[str, Any]:
        """The one study, once it is in this state."""
        until(lambda: state in self.states(), timeout_s=timeout_s, what=f"a study is {state}")
        return self.only_study()

    def _gone(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None


PLAIN = (str(Path(__file__).with_name("plain_serve.py")),)
"""Program of a ``WetreadProcess`` whose workers read without torch."""

CONFIG = """
data_dir = "data"
[listener]
host = "127.0.0.1"
port = {{port}}
processes = 1
[[listener.called]]
ae_title = "WETREAD"
[[peers]]
name = "ct1"
ae_title = "CT1"
networks = ["127.0.0.1/32"]
may_send = true
{ct1}
[[peers]]
name = "pacs"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}
networks = ["127.0.0.1/32"]
may_send = true
{pacs}
[api]
enabled = {api}
port = 0
{api_more}
[completeness]
quiet_s = {quiet_s}
[spool]
reserve_mb = 64
[bundles]
folders = ["{bundles}"]
[delivery]
first_delay_s = 0.2
max_delay_s = 1.0
[jobs.retry]
first_delay_s = 0.2
[[routes]]
name = "t1"
mode = "{mode}"
research = true
when = '"MR" in study.modalities'
bundle = "threshold"
destinations = ["pacs"]
{route}
[[destinations]]
name = "pacs"
kind = "dicom"
peer = "pacs"
"""


def config(
    bundles: Path,
    *,
    pacs_port: int = 1,
    quiet_s: float = 0.5,
    mode: str = "live",
    ct1: str = "",
    pacs: str = "",
    route: str = "",
    api: str | None = None,
) -> str:
    """A configuration for ``WetreadProcess``; ``{port}`` is filled in at each start.

    ``ct1``, ``pacs``, ``route`` and ``api`` are further lines; without ``api`` it is not served.
    """
    values = {"pacs_port": pacs_port, "quiet_s": quiet_s, "mode": mode, "ct1": ct1, "pacs": pacs, "route": route}
    values |= {"api": "false" if api is None else "true", "api_more": api or ""}
    return CONFIG.format(bundles=bundles, **values)
