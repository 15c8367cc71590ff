"""What Mercure's integration tests are about, as scenarios from outside: the names are theirs, the promises ours.

Its five tests: ``test_case_simple``, ``test_case_dispatch``, ``test_case_process``, ``test_case_error_inject`` (seven
faults) and ``test_case_error_real``, said again in our words against ``wetread serve``, with DCMTK as the sender.
Mercure sets what it cannot handle aside with a file that says why; here it is refused to the sender, set aside with the
reason, or waits until it can be handled: which one, the scenario says, and in each the next study is read.

What has no counterpart here:

* Images are never forwarded: what is dispatched are results. Nor are there rules for single series, or notifications: a
  study no route wants is listed as not read, with the reason.
* Receiver, router, processor and dispatcher are not services of their own. "Not started yet" is here: stands still
  (router), or has nobody to deliver to (dispatcher).
* No database of its own ("bookkeeper"): registered means listed by ``wetread studies list``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from scenario_site import WAITS, LogInPipe, Site, incoming, instances_in

from peers import PLAIN, config, storescu
from phantoms import Phantom
from waiting import until

pytestmark = pytest.mark.peer

OTHER_DISK = Path("/dev") / "shm"
_NO_RULE = "nobody reads this"
_FOLDER = """
[[destinations]]
name = "target"
kind = "folder"
path = "{target}"
"""


@dataclass(frozen=True)
class Mercure(Site):
    """With the folder that results go to."""

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def dispatched(self) -> set[str]:
        """SOP Instance UIDs of what is in the target."""
        return {path.stem for path in self.target.glob("*.dcm")} if self.target.is_dir() else set()

    def results(self, phantom: Phantom) -> set[str]:
        """SOP Instance UIDs of the results of a study."""
        jobs = [job["id"] for job in self.study(phantom)["jobs"]]
        return {r["sop_instance_uid"] for job in jobs for r in self.service.overview.job(job)["results"]}


@pytest.fixture(scope="module")
def mercure(tmp_path_factory: pytest.TempPathFactory, threshold_bundles: Path) -> Iterator[Mercure]:
    """One service for all scenarios."""
    folder = tmp_path_factory.mktemp("mercure")
    text = config(threshold_bundles, ct1="complete_on_release = true")
    for old, new in (
        ("'\"MR\" in study.modalities'", f"'!study.description.contains(\"{_NO_RULE}\")'"),
        ('destinations = ["pacs"]', 'destinations = ["target"]'),
        ("reserve_mb = 64", 'reserve_mb = 64\n[jobs]\nengine = "torch"'),
    ):
        assert old in text, old
        text = text.replace(old, new)
    service = LogInPipe(folder / "wetread", text + _FOLDER.format(target=folder / "target"), program=PLAIN)
    service.start()
    try:
        yield Mercure(service, folder, "CT1", "WETREAD")
    finally:
        service.stop()


def _described(text: str) -> Callable[[pydicom.Dataset, int], None]:
    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        ds.StudyDescription = text

    return mutate


def test_case_simple(mercure: Mercure) -> None:
    """Received without the router; once it works, all is registered and comes to its end."""
    studies = [mercure.phantom(f"simple {n}", mutate=_described(_NO_RULE)) for n in range(2)]
    with mercure.coordinator_frozen():
        for study in studies:
            mercure.send(*study.paths)
        assert len(incoming(mercure.service)) == sum(len(s.paths) for s in studies)
    for study in studies:
        found = mercure.wait_for(study, "not read")
        assert (found["instances"], found["jobs"]) == (len(study.paths), [])
        assert found["reason"] == "the study does not match the route's rule"


def test_case_dispatch(mercure: Mercure) -> None:
    """What is ready waits while nobody dispatches, and arrives when somebody does; not a byte is changed."""
    studies = [mercure.phantom(f"dispatch {n}") for n in range(2)]
    mercure.target.write_text("in the way of the folder")
    try:
        for study in studies:
            mercure.send(*study.paths)
            mercure.wait_for(study, "delivering")
            until(lambda: "cannot be written" in mercure.study(study)["reason"], what="it says why")  # noqa: B023 at once
    finally:
        mercure.target.unlink()
    for study in studies:
        mercure.wait_for(study, "read")
        assert mercure.results(study) <= mercure.dispatched
        for job in mercure.study(study)["jobs"]:
            for result in mercure.service.overview.job(job["id"])["results"]:
                sent = (mercure.target / f"{result['sop_instance_uid']}.dcm").read_bytes()
                assert sent == (mercure.service.data / result["path"]).read_bytes()


def test_case_process(mercure: Mercure) -> None:
    """From the sender to the target in one go: read, once, and everything of it there."""
    study = mercure.phantom("process")
    mercure.send(*study.paths)
    found = mercure.wait_for(study, "read")
    assert [(job["state"], job["attempts"]) for job in found["jobs"]] == [("done", 1)]
    assert len(mercure.results(study)) >= 3
    assert mercure.results(study) <= mercure.dispatched


# --- Seven faults while a received instance is looked at --------------------------------------------------------------


def _unreadable(ds: pydicom.Dataset, k: int) -> None:
    """1: no study it could belong to."""
    if k == 3:
        del ds.StudyInstanceUID


def _bad_attribute(ds: pydicom.Dataset, k: int) -> None:
    """2: an attribute that is not what it must be."""
    if k == 3:
        ds.add_new("InstanceNumber", "LO", "seven")


def _without_what_rules_ask_for(ds: pydicom.Dataset, _k: int) -> None:
    """3: nothing of what the route and the bundle look at besides."""
    for keyword in ("StudyDescription", "SeriesDescription", "ProtocolName", "BodyPartExamined"):
        delattr(ds, keyword)


def _unknown_character_set(ds: pydicom.Dataset, _k: int) -> None:
    """4: text in no character set there is."""
    ds.SpecificCharacterSet = "ISO_IR 999"
    ds.add_new("PatientName", "PN", b"\xff\xfe\x80^\xc3\x28")


_Mutate = Callable[[pydicom.Dataset, int], None]


@pytest.mark.parametrize(
    ("error", "mutate", "fault", "end"),
    [
        pytest.param(1, _unreadable, "", "refused", id="1-cannot-be-read"),
        pytest.param(2, _bad_attribute, "", "set aside", id="2-attributes-cannot-be-read"),
        pytest.param(3, _without_what_rules_ask_for, "", "rejected", id="3-further-attributes-missing"),
        pytest.param(4, _unknown_character_set, "", "read", id="4-unknown-character-set"),
        pytest.param(5, None, "folder", "read", id="5-folder-cannot-be-made"),
        pytest.param(6, None, "move", "read", id="6-file-cannot-be-moved"),
        pytest.param(7, None, "write", "read", id="7-index-cannot-be-written"),
    ],
)
def test_case_error_inject(mercure: Mercure, error: int, mutate: _Mutate | None, fault: str, end: str) -> None:
    """Whatever goes wrong, what was acknowledged stands there with the reason, or is read when the fault is gone."""
    study = mercure.phantom(f"error {error}", mutate=mutate)
    known = len(mercure.service.overview.unreadable())
    with _fault(mercure, fault):
        sent = storescu(mercure.service.port, study.paths, options=["-nh"])
        if fault:
            assert len(incoming(mercure.service)) == len(study.paths), "kept while it cannot be taken over"
    assert sent.stderr.count("CannotUnderstand") == (1 if end == "refused" else 0), sent.stderr
    assert sent.stderr.count("(Success)") == len(study.paths) - (1 if end == "refused" else 0)
    if end == "refused":
        assert mercure.wait_for(study, "rejected")["instances"] == len(study.paths) - 1
    elif end == "set aside":
        found = mercure.wait_for(study, "rejected")
        (reason,) = (row["reason"] for row in mercure.service.overview.unreadable()[known:])
        assert "its header cannot be used" in reason
        assert found["instances"] == len(study.paths) - 1
    else:
        found = mercure.wait_for(study, end)
        assert found["instances"] == len(study.paths)
        assert found["reason"] == "" or "says none of: t1" in found["reason"]
    healthy = mercure.phantom(f"after error {error}")
    mercure.send(*healthy.paths)
    mercure.wait_for(healthy, "read")


def _fault(mercure: Mercure, name: str) -> AbstractContextManager[None]:
    if name == "write":
        return mercure.coordinator_cannot_write()
    return _no_place(mercure, by=name) if name else nullcontext()


@contextmanager
def _no_place(mercure: Mercure, *, by: str) -> Iterator[None]:
    """Where received studies go is no folder, or one on another disk, where nothing can be moved to; until noticed."""
    studies = mercure.service.data / "spool" / "studies"
    kept = studies.rename(studies.with_name("studies of before"))
    before = mercure.service.log().count(WAITS)
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as elsewhere:
        if by == "folder":
            studies.touch()
        else:
            studies.symlink_to(elsewhere)
        try:
            yield
            until(lambda: mercure.service.log().count(WAITS) > before, what="the coordinator has noticed")
        finally:
            studies.unlink()
            kept.rename(studies)


def test_case_error_real(mercure: Mercure) -> None:
    """A rule that asks for what does not exist is refused before it can cost an image, in a sentence."""
    before = instances_in(mercure.service)
    right = mercure.service.config.read_text()
    wrong = mercure.service.config.with_name("wrong.toml")
    wrong.write_text(right.replace("study.description", "study.garbage_tag"))
    command = [sys.executable, "-m", "wetread", "serve", "--config", str(wrong)]
    study = mercure.phantom("error real")
    mercure.send(*study.paths)
    assert mercure.service.stop() == 0
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "there is no field 'garbage_tag'" in refused.stderr
    mercure.service.start()
    mercure.wait_for(study, "read")
    assert instances_in(mercure.service) == before + len(study.paths)
