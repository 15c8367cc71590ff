"""``kill -9`` at every stage: what was acknowledged is read once, and nothing is sent twice with other content."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from peers import Orthanc, WetreadProcess, storescu
from phantoms import write_series
from waiting import until

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]


def _actions(service: WetreadProcess) -> list[str]:
    return [e["action"] for e in service.only_study()["timeline"]]


def test_study_acknowledged_before_kill_is_read_after_restart(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port, quiet_s=3.0)
    paths = write_series(tmp_path / "study").paths
    assert storescu(service.port, paths).returncode == 0
    service.kill()
    service.start()
    study = service.wait_for_state("read")
    assert study["instances"] == len(paths)
    assert orthanc.modalities() == {"SEG", "SR", "OT"}


@pytest.mark.network
def test_kill_during_the_read_is_read_once_more_and_sent_once(wetread: Start, orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port)
    storescu(service.port, write_series(tmp_path / "study", shape=(40, 200, 200), spacing_mm=(2, 1, 1)).paths)
    until(lambda: "claimed" in _actions(service) if service.states() else False, what="the read has begun")
    service.kill()
    assert orthanc.instances() == []
    service.start()
    study = service.wait_for_state("read")
    assert [job["state"] for job in study["jobs"]] == ["done"]
    assert study["jobs"][0]["attempts"] == 2
    assert sum(i["Modality"] == "SEG" for i in orthanc.instances()) == 1


def test_kill_between_read_and_delivery_sends_the_committed_bytes(
    wetread: Start, orthanc: Orthanc, tmp_path: Path
) -> None:
    service = wetread(pacs_port=orthanc.dicom_port)
    storescu(service.port, write_series(tmp_path / "study").paths)
    study = service.wait_for_state("delivering")
    files = sorted((service.data / "results" / study["jobs"][0]["id"]).rglob("*.dcm"))
    committed = {hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    service.kill()
    orthanc.start()
    service.start()
    service.wait_for_state("read")
    assert {hashlib.sha256(p.read_bytes()).hexdigest() for p in files} == committed
    assert _actions(service).count("claimed") == 1
    delivered = [d for d in service.overview.job(study["jobs"][0]["id"])["deliveries"] if d["state"] == "delivered"]
    assert 0 < len(delivered) == len(orthanc.instances()) <= len(files)


def test_two_services_never_share_a_data_folder(wetread: Start) -> None:
    service = wetread(mode="off")
    assert service.process is not None
    command = [sys.executable, "-m", "wetread", "serve", "--config", str(service.config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 2
    assert f"another wetread serve (process {service.process.pid}) is using" in second.stderr


def test_sigterm_ends_with_code_zero_and_frees_the_port(wetread: Start) -> None:
    service = wetread(mode="off")
    port = service.port
    assert service.stop() == 0
    service.start()
    assert service.port == port
