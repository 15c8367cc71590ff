"""MONAI Deploy's end-to-end cases 029 to 031, about models that run for long or at one time, said in our words.

See ``test_scenarios_informatics_gateway`` for the others. The models are ours, with a gate that the test opens: nothing
here depends on how fast the machine is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from scenario_site import Site, states_of

from gated_bundle import Gate, write_gated_bundle
from peers import PLAIN, WetreadProcess, config
from remembering_pacs import RememberingPacs
from waiting import until

pytestmark = pytest.mark.peer


@dataclass(frozen=True)
class Models(Site):
    """Two bundles read every study; each of its reads waits at its gate."""

    pacs: RememberingPacs
    gates: tuple[Gate, Gate]

    def running(self) -> int:
        """Reads under way."""
        return len(self.service.overview.jobs(state="running"))


_SHORT = '[jobs]\nengine = "torch"\n[jobs.workers]\njob_timeout_s = 5.0\n[jobs.retry]\nmax_attempts = 2'
_SECOND = """
[[routes]]
name = "second"
mode = "live"
research = true
when = '!study.description.contains("one model")'
bundle = "second"
destinations = ["pacs"]
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Gates open; one study was read, so what a read takes is known, and reads may run beside each other."""
    folder = tmp_path_factory.mktemp("models")
    gates = Gate(folder / "first.open"), Gate(folder / "second.open")
    for name, gate in zip(("threshold", "second"), gates, strict=True):
        write_gated_bundle(folder / "bundles" / name, gate)
        gate.open()
    pacs = RememberingPacs()
    workers_toml = '[jobs]\nengine = "torch"\n[jobs.workers]\nslots = 2\nwarm = 3\njob_timeout_s = 60.0\n[jobs.retry]'
    toml = config(folder / "bundles", pacs_port=pacs.port, quiet_s=0.5, ct1="complete_on_release = true") + _SECOND
    service = WetreadProcess(folder / "wetread", toml.replace("[jobs.retry]", workers_toml), program=PLAIN)
    service.start()
    site = Models(service, folder, "CT1", "WETREAD", pacs, gates)
    try:
        first = site.phantom("first")
        site.send(*first.paths)
        site.delivered(first)
        yield site
    finally:
        for gate in gates:
            gate.open()
        service.stop()
        pacs.stop()


def _endless(ds: pydicom.Dataset, _k: int) -> None:
    ds.StudyDescription = "endless"


def _one_model(ds: pydicom.Dataset, _k: int) -> None:
    ds.StudyDescription = "one model"


def test_monai_e2e_029_model_exceeds_its_time_out(tmp_path: Path) -> None:
    """Killed, tried once more alone, then given up where everybody sees it; the next study is read."""
    stuck, open_gate = Gate(tmp_path / "stuck.open"), Gate(tmp_path / "good.open")
    write_gated_bundle(tmp_path / "bundles" / "threshold", open_gate)
    write_gated_bundle(tmp_path / "bundles" / "second", stuck)
    open_gate.open()
    toml = config(tmp_path / "bundles", mode="shadow", ct1="complete_on_release = true").replace("[jobs.retry]", _SHORT)
    toml = toml.replace("'\"MR\" in study.modalities'", "'!study.description.contains(\"endless\")'")
    second = _SECOND.replace('!study.description.contains("one model")', 'study.description.contains("endless")')
    service = WetreadProcess(tmp_path / "wetread", toml + second.replace('"live"', '"shadow"'), program=PLAIN)
    service.start()
    try:
        until(lambda: open_gate.loaded, what="the good model is loaded")
        site = Site(service, tmp_path, "CT1", "WETREAD")
        endless = site.phantom("029", mutate=_endless)
        site.send(*endless.paths)
        (job,) = site.wait_for(endless, "failed")["jobs"]
        assert (job["code"], job["alone"], job["attempts"]) == ("worker-silent", True, 2)
        assert job["reason"] == "given up after 2 attempts; the last: the read took longer than 5 s"
        good = site.phantom("029 good")
        site.send(*good.paths)
        site.wait_for(good, "read")
    finally:
        service.stop()


def test_monai_e2e_030_parallel_execution_of_separate_models(models: Models) -> None:
    """Two bundles read one study at one time, and each sends its own report."""
    study = models.phantom("030")
    for gate in models.gates:
        gate.close()
    try:
        models.send(*study.paths)
        until(lambda: models.running() == 2, what="both models are reading")
    finally:
        for gate in models.gates:
            gate.open()
    found = models.wait_for(study, "read")
    assert sorted((j["bundle"], j["state"]) for j in found["jobs"]) == [("second", "done"), ("threshold", "done")]
    assert models.pacs.of_study(study.study_instance_uid)["SR"] == 2


def test_monai_e2e_031_parallel_execution_of_five_studies(models: Models) -> None:
    """Sent in quick succession: more than one is read at one time, all are read, each once."""
    studies = [models.phantom(f"031 {n}", mutate=_one_model) for n in range(5)]
    models.gates[0].close()
    try:
        for study in studies:
            models.send(*study.paths)
        until(lambda: models.running() > 1, what="studies are read beside each other")
    finally:
        models.gates[0].open()
    models.delivered(*studies)
    for study in studies:
        assert states_of([models.study(study)]) == ["done"]
        assert models.pacs.of_study(study.study_instance_uid)["SR"] == 1
    assert models.pacs.changed() == []
