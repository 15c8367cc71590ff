"""What the MONAI Informatics Gateway is tested for, as scenarios from outside: the names are theirs, the promises ours.

From the gateway's features ``DicomDimseScp`` and ``DicomDimseScu``, and from MONAI Deploy's end-to-end matrix the cases
029 to 039 (029 to 031 in ``test_scenarios_informatics_gateway_models``). Said again in our words, against ``wetread
serve`` with DCMTK and Orthanc as the others; what is expected is stricter where theirs accepts a loss (036), a failure
(034, 039), or a study read in parts as if it were three.

What has no counterpart here, and what stands for it:

* A gateway has no models: their "workflow request" is our read, "uploaded to storage" our index, and "the temporary
  data directory has been cleared" our empty ``spool/incoming``.
* Wetread groups by study, never by series: a bundle with ``choose = "all"`` reads each series of the study.
* There is no message broker, no object store, no document database and no second service: where these are offline in
  the original, the part of ours does not work that has their duty. MinIO (032, 033): files cannot be written. Mongo
  (034, 035): the database cannot be written. RabbitMQ (036) and the Workflow Manager (038): the process that takes
  received studies over stands still, or is killed.
* Mammograms and ultrasound are received and listed; no bundle reads 2-D images yet, so they end as rejected, with the
  reason, and nothing is exported. Whole studies of images are never forwarded, only results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, UltrasoundImageStorage
from scenario_site import LogInPipe, Site, incoming, states_of

from faults import no_writes, others, workers
from peers import HOST, PLAIN, Orthanc, config, echoscu, storescu
from phantoms import Mutate, Phantom
from remembering_pacs import RememberingPacs
from threshold_bundle import write_threshold_bundle
from waiting import until

pytestmark = pytest.mark.peer

CALLING, CALLED = "TEST-RUNNER", "C-STORE-STUDY"
_TITLES = (CALLED, "C-ECHO-TEST", "WETREAD")
DRIBBLER = "SLOW-RUNNER"
"""Releases associations without having sent all: only the quiet time ends its studies."""
QUIET_S = 3.0
_HEADS = {"name": "image", "modality": ["MR", "CT"], "description_any": ["t1"], "min_instances": 4}
_SOP_CLASSES = {"MG": DigitalMammographyXRayImageStorageForPresentation, "US": UltrasoundImageStorage}
_EACH = "a read for each series"

_MORE = """
[[routes]]
name = "each-series"
mode = "live"
research = true
when = 'study.description.contains("{each}")'
bundle = "each"
destinations = ["pacs", "archive"]
[[peers]]
name = "dribbler"
ae_title = "{dribbler}"
networks = ["127.0.0.1/32"]
may_send = true
[[peers]]
name = "archive"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}
[[destinations]]
name = "archive"
kind = "dicom"
peer = "archive"
"""


@dataclass(frozen=True)
class Gateway(Site):
    """With its two PACS."""

    pacs: RememberingPacs
    archive: RememberingPacs

    def results(self, phantom: Phantom) -> dict[str, int]:
        """Modality → objects; the same in both PACS."""
        found = self.pacs.of_study(phantom.study_instance_uid)
        assert found == self.archive.of_study(phantom.study_instance_uid)
        return found


def _toml(bundles: Path, pacs: RememberingPacs, archive: RememberingPacs) -> str:
    text = config(bundles, pacs_port=pacs.port, quiet_s=QUIET_S, ct1="complete_on_release = true")
    for old, new in (
        ('ae_title = "WETREAD"', "\n[[listener.called]]\n".join(f'ae_title = "{title}"' for title in _TITLES)),
        ('ae_title = "CT1"', f'ae_title = "{CALLING}"'),
        ("'\"MR\" in study.modalities'", f"'!study.description.contains(\"{_EACH}\")'"),
        ('destinations = ["pacs"]', 'destinations = ["pacs", "archive"]'),
        ("reserve_mb = 64", 'reserve_mb = 64\n[jobs]\nengine = "torch"'),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text + _MORE.format(each=_EACH, dribbler=DRIBBLER, archive_port=archive.port)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One service for all scenarios but those about models."""
    folder = tmp_path_factory.mktemp("gateway")
    write_threshold_bundle(folder / "bundles" / "threshold", inputs=[_HEADS])
    write_threshold_bundle(folder / "bundles" / "each", inputs=[{**_HEADS, "choose": "all"}])
    pacs, archive = RememberingPacs(), RememberingPacs()
    service = LogInPipe(folder / "wetread", _toml(folder / "bundles", pacs, archive), program=PLAIN)
    service.start()
    try:
        yield Gateway(service, folder, CALLING, CALLED, pacs, archive)
    finally:
        service.stop()
        pacs.stop()
        archive.stop()


def _as(modality: str, description: str = "") -> Mutate | None:
    """Make a phantom's instances those of another modality, and of a study with this description."""

    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        ds.StudyDescription = description or ds.StudyDescription
        if modality in _SOP_CLASSES:
            ds.Modality, ds.SOPClassUID = modality, _SOP_CLASSES[modality]

    return mutate


def _phantom(gateway: Gateway, name: str, modality: str, *, description: str = "", **options: Any) -> Phantom:
    drawn = "CT" if modality == "CT" else "MR"
    return gateway.phantom(name, modality=drawn, mutate=_as(modality, description), **options)


# --- Feature: DICOM DIMSE SCP Services --------------------------------------------------------------------------------


def test_response_to_c_echo_rq(gateway: Gateway) -> None:
    """Response to C-ECHO-RQ."""
    answered = echoscu(gateway.service.port, calling=CALLING, called="C-ECHO-TEST")
    assert answered.returncode == 0, answered.stderr
    assert "Received Echo Response (Success)" in answered.stderr


@pytest.mark.parametrize(("modality", "count"), [("MR", 1), ("CT", 1), ("MG", 2), ("US", 1)])
def test_respond_to_c_store_rq_and_group_data_by_study_instance_uid(
    gateway: Gateway, modality: str, count: int
) -> None:
    """As many decisions as studies, whatever came on one association; MR and CT are read, each once."""
    studies = [_phantom(gateway, f"by study {modality} {n}", modality) for n in range(count)]
    gateway.send(*(path for one in zip(*(s.paths for s in studies), strict=True) for path in one))
    for study in studies:
        found = gateway.wait_for(study, "rejected" if modality in _SOP_CLASSES else "read")
        assert found["instances"] == len(study.paths)
        assert (found["revision"], len(found["decisions"])) == (1, 2)
        assert states_of([found]) == ([] if modality in _SOP_CLASSES else ["done"])
        if modality in _SOP_CLASSES:
            assert f"modality is {modality}, expected MR or CT" in found["reason"]
    assert incoming(gateway.service) == []


@pytest.mark.parametrize(("modality", "series_count"), [("MR", 2), ("CT", 2), ("MG", 3), ("US", 2)])
def test_respond_to_c_store_rq_and_group_data_by_series_instance_uid(
    gateway: Gateway, modality: str, series_count: int
) -> None:
    """One study; a bundle that wants every series reads as many as there are."""
    series = [
        _phantom(gateway, f"by series {modality}", modality, description=_EACH, series_seed=str(n), series_number=n)
        for n in range(1, series_count + 1)
    ]
    gateway.send(*(path for one in series for path in one.paths))
    found = gateway.wait_for(series[0], "rejected" if modality in _SOP_CLASSES else "read")
    assert len(found["series"]) - sum(s["role"] != "source" for s in found["series"]) == series_count
    assert found["instances"] == sum(len(one.paths) for one in series)
    assert states_of([found]) == ([] if modality in _SOP_CLASSES else ["done"] * series_count)
    assert gateway.results(series[0]).get("SR", 0) == (0 if modality in _SOP_CLASSES else series_count)


def _in_parts(gateway: Gateway, name: str) -> list[tuple[Path, ...]]:
    """A study on three associations: the series a bundle reads, in two parts, and one it passes over."""
    t1 = gateway.phantom(name, shape=(12, 24, 24), description="T1")
    other = gateway.phantom(name, series_seed="other", description="T2", series_number=4)
    return [t1.paths[:6], t1.paths[6:], other.paths]


def test_group_data_by_study_instance_uid_over_multiple_associations_within_the_quiet_time(gateway: Gateway) -> None:
    """Gaps that are shorter than the time-out: one read of everything."""
    parts = _in_parts(gateway, "short gaps")
    study = gateway.phantom("short gaps", shape=(12, 24, 24), description="T1")
    for number, part in enumerate(parts, start=1):
        gateway.send(*part, calling=DRIBBLER)
        sent = sum(len(p) for p in parts[:number])
        until(lambda: gateway.state(study) and gateway.study(study)["instances"] == sent)  # noqa: B023 called at once
        assert gateway.state(study) == "receiving"
    found = gateway.wait_for(study, "read")
    assert [r["evidence"] for r in found["revisions"]] == ["quiet"]
    assert states_of([found]) == ["done"]
    assert gateway.results(study)["SR"] == 1


def test_group_data_by_study_instance_uid_over_multiple_associations_beyond_the_quiet_time(gateway: Gateway) -> None:
    """Gaps that are longer: not three reads that know nothing of each other. What changes nothing is not read again,
    and a report that replaces a delivered one names it."""
    study = gateway.phantom("long gaps", shape=(12, 24, 24), description="T1")
    for number, part in enumerate(_in_parts(gateway, "long gaps"), start=1):
        gateway.send(*part)
        until(lambda: gateway.state(study) and len(gateway.study(study)["revisions"]) == number)  # noqa: B023 called at once
        gateway.wait_for(study, "read")
    found = gateway.study(study)
    assert [d["outcome"] for d in found["decisions"] if d["route"] == "t1"] == ["read", "read", "unchanged"]
    assert states_of([found]) == ["done", "done"]
    reports = [ds for ds in _reports(gateway, study) if "PredecessorDocumentsSequence" in ds]
    assert (gateway.results(study)["SR"], len(reports)) == (2, 1)
    (first,) = (ds for ds in _reports(gateway, study) if "PredecessorDocumentsSequence" not in ds)
    named = reports[0].PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID


def _reports(gateway: Gateway, study: Phantom) -> list[pydicom.Dataset]:
    return [gateway.pacs.objects[uid] for uid in sorted(gateway.pacs.series[study.study_instance_uid, "SR"])]


# --- Feature: DICOM DIMSE SCU Services --------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["MR", "CT", "MG", "US", "Tiny"])
def test_export_to_a_dicom_device(gateway: Gateway, modality: str) -> None:
    """Every result reaches every registered device, once; where nothing was read nothing is sent."""
    tiny = {"shape": (8, 16, 16)} if modality == "Tiny" else {}
    study = _phantom(gateway, f"export {modality}", modality, **tiny)
    gateway.send(*study.paths)
    found = gateway.wait_for(study, "rejected" if modality in _SOP_CLASSES else "read")
    sent = [d for job in found["jobs"] for d in gateway.service.overview.job(job["id"])["deliveries"]]
    arrived = gateway.results(study)
    for device in ("pacs", "archive"):
        states = [d["state"] for d in sent if d["destination"] == device]
        assert states == ["delivered"] * sum(arrived.values())
    assert set(arrived) == (set() if modality in _SOP_CLASSES else {"SEG", "SR", "OT"})
    assert gateway.pacs.twice() == gateway.archive.twice() == []


# --- End to end: the storage, the database, the others are away -------------------------------------------------------


def test_monai_e2e_032_storage_is_not_online_for_initial_input(gateway: Gateway) -> None:
    """The sender is told and keeps its images; when there is room again it sends them, and they are read."""
    study = gateway.phantom("032")
    with no_writes(others(gateway.pid)):
        refused = storescu(gateway.service.port, study.paths, calling=CALLING, called=CALLED)
        assert echoscu(gateway.service.port, calling=CALLING, called=CALLED).returncode == 0
    assert refused.returncode != 0
    assert "OutOfResources" in refused.stderr or "0xa700" in refused.stderr.lower()
    assert gateway.state(study) == ""
    gateway.send(*study.paths)
    found = gateway.wait_for(study, "read")
    assert found["instances"] == len(study.paths)
    assert gateway.results(study)["SR"] == 1


def test_monai_e2e_033_storage_is_not_online_for_saving_results(gateway: Gateway) -> None:
    """The read waits and is done once more; one report."""
    before, study = gateway.phantom("before 033"), gateway.phantom("033")
    gateway.send(*before.paths)
    gateway.wait_for(before, "read")  # now there is a worker whose writes can fail
    with no_writes(workers(gateway.pid)):
        gateway.send(*study.paths)
        until(lambda: "retry_later" in _actions(gateway, study), what="the first attempt has failed")
    found = gateway.wait_for(study, "read")
    assert _actions(gateway, study).count("claimed") > 1
    assert found["jobs"][0]["attempts"] == 1, "a disk that is away uses up no attempt"
    assert "cannot be written" in next(e["detail"] for e in found["timeline"] if e["action"] == "retry_later")
    assert gateway.results(study)["SR"] == 1


def _actions(gateway: Gateway, study: Phantom) -> list[str]:
    return [e["action"] for e in gateway.study(study)["timeline"]] if gateway.state(study) else []


def test_monai_e2e_034_database_is_not_online_and_nothing_fails_for_it(gateway: Gateway) -> None:
    """What is sent meanwhile is acknowledged and kept; no time-out makes a failure of it."""
    studies = [gateway.phantom(f"034 {n}") for n in range(2)]
    with gateway.coordinator_cannot_write():
        for study in studies:
            gateway.send(*study.paths)
        assert len(incoming(gateway.service)) == sum(len(s.paths) for s in studies)
    for study in studies:
        found = gateway.wait_for(study, "read")
        assert (found["instances"], found["jobs"][0]["attempts"]) == (len(study.paths), 1)
        assert gateway.results(study)["SR"] == 1


def test_monai_e2e_035_database_comes_back_while_the_model_runs(gateway: Gateway) -> None:
    """What the model found is not lost and not computed again."""
    study = gateway.phantom("035", shape=(40, 200, 200), spacing_mm=(2, 1, 1))
    gateway.send(*study.paths)
    until(lambda: gateway.state(study) == "reading", what="the read has begun")
    with gateway.coordinator_cannot_write():
        pass
    found = gateway.wait_for(study, "read")
    assert [e["action"] for e in found["timeline"]].count("claimed") == 1
    assert gateway.results(study)["SR"] == 1


def test_monai_e2e_036_whoever_takes_over_stands_still_and_no_payload_is_lost(gateway: Gateway) -> None:
    """Reception goes on without the coordinator."""
    study = gateway.phantom("036")
    with gateway.coordinator_frozen():
        gateway.send(*study.paths)
        assert len(incoming(gateway.service)) == len(study.paths)
    assert gateway.wait_for(study, "read")["instances"] == len(study.paths)
    assert gateway.results(study)["SR"] == 1


def test_monai_e2e_037_not_online_when_the_pacs_sends(gateway: Gateway, orthanc: Orthanc) -> None:
    """The PACS hears that nobody is there and sends again later; then the study is read, in full and once."""
    study = gateway.phantom("037")
    service = gateway.service
    assert service.stop() == 0
    orthanc.knows = service.port
    orthanc.start()
    sent = storescu(orthanc.dicom_port, study.paths, called="ORTHANC")
    assert sent.returncode == 0, sent.stderr
    assert not _orthanc_sends(orthanc)
    service.start()
    assert _orthanc_sends(orthanc)
    found = gateway.wait_for(study, "read")
    assert (found["instances"], states_of([found])) == (len(study.paths), ["done"])


def _orthanc_sends(orthanc: Orthanc) -> bool:
    """Orthanc sends all it has to its modality ``wetread``, and says whether all was taken."""
    url = f"http://{HOST}:{orthanc.http_port}/modalities/wetread/store"
    body = {"Resources": orthanc.get("/studies"), "Synchronous": True, "LocalAet": CALLING}
    answer = requests.post(url, data=json.dumps(body), timeout=60)
    return answer.ok and answer.json()["FailedInstancesCount"] == 0


def test_monai_e2e_038_whoever_reads_is_not_online_and_the_request_waits(gateway: Gateway) -> None:
    """Killed with all its processes after the acknowledgement, the service reads at its next start."""
    study = gateway.phantom("038")
    with gateway.coordinator_frozen():
        gateway.send(*study.paths)
        gateway.service.kill()
    gateway.service.start()
    assert gateway.wait_for(study, "read")["instances"] == len(study.paths)
    assert gateway.results(study)["SR"] == 1


def test_monai_e2e_039_pacs_is_down_when_results_are_exported(gateway: Gateway) -> None:
    """They wait; the other PACS gets its own at once, and everything arrives once when the first is back."""
    study = gateway.phantom("039")
    gateway.pacs.stop()
    try:
        gateway.send(*study.paths)
        found = gateway.wait_for(study, "delivering")
        until(lambda: _tries(gateway, found) >= 2, what="two tries at a PACS that is down")
        until(lambda: "SR" in gateway.archive.of_study(study.study_instance_uid), what="the other PACS has them")
        assert "cannot be reached" in gateway.study(study)["reason"]
    finally:
        gateway.pacs.start()
    gateway.wait_for(study, "read")
    assert gateway.results(study)["SR"] == 1
    assert gateway.pacs.twice() == gateway.archive.twice() == []


def _tries(gateway: Gateway, study: dict[str, Any]) -> int:
    deliveries = gateway.service.overview.job(study["jobs"][0]["id"])["deliveries"]
    return max(d["attempts"] for d in deliveries if d["destination"] == "pacs")
