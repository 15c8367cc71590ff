"""No study waits for an engine: the next one that is ready reads, the better one is built beside it and taken over."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fake_tensorrt
from network_bundles import THRESHOLD, oblique_volume, threshold_bundle, unet_bundle
from phantoms import write_series
from threshold_bundle import write_threshold_bundle
from waiting import until
from warm_start import WarmPopen
from wetread.bundles import Bundle, load_bundle
from wetread.errors import WetreadError
from wetread.infer import rebuild
from wetread.infer.compile import compile_bundle
from wetread.infer.engines.cache import adopt, entries
from wetread.infer.engines.openvino_engine import OpenVinoEngine
from wetread.infer.gate.refusal import REFUSAL
from wetread.infer.model import open_model
from wetread.infer.rebuild import BuildProcess, Order, order_for, wait_for_turn
from wetread.infer.standby import Standby
from wetread.records.job import JobOutcome, JobSpec, JobState
from wetread.route.selection import select
from wetread.service.reading import RunnerOpener


class _Here:
    """A build in this process, done when the test says so: the fake TensorRT is nowhere else."""

    orders: list[Order] = []  # noqa: RUF012 (emptied by the fixture)

    def __init__(self, order: Order) -> None:
        self.orders.append(order)
        self._order, self._said, self._done = order, "", False

    def work(self) -> None:
        try:
            model = open_model(
                load_bundle(Path(self._order.bundle_folder)),
                engine=self._order.engine,
                cache_folder=Path(self._order.cache_folder),
            )
            model.load()
            for network, shape in self._order.more:
                model.prepare(network, shape)
            model.close()
        except WetreadError as exc:
            self._said = str(exc)
        self._done = True

    def ended(self) -> bool:
        return self._done

    def problem(self) -> str:
        return self._said

    def stop(self) -> None:
        self._done = True


@pytest.fixture(autouse=True)
def _no_orders() -> None:
    _Here.orders.clear()


def _standby(bundle: Bundle, cache: Path, engine: str = "auto") -> tuple[Standby, list[_Here]]:
    begun: list[_Here] = []

    def build(order: Order) -> _Here:
        begun.append(_Here(order))
        return begun[-1]

    return Standby(bundle, engine=engine, cache_folder=cache, threads=1, build=build), begun


def _reads(standby: Standby, seed: int = 7, shape: tuple[int, int, int] = (18, 40, 33)) -> str:
    """The engine that read a study right."""
    volume = oblique_volume(shape, seed=seed)
    standby.refresh()
    answer = standby.run({"image": volume})
    np.testing.assert_array_equal(answer.array, volume.array > THRESHOLD)  # type: ignore[union-attr]
    return standby.identity.name


def _sliding(folder: Path) -> Bundle:
    """A threshold with a window of one size, so that what is in the cache is all that any study needs."""
    bundle = threshold_bundle(folder)
    config = json.loads(bundle.config_path.read_text())
    config["inferer"] = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25}
    bundle.config_path.write_text(json.dumps(config))
    return load_bundle(folder)


def test_first_study_is_read_at_once_by_the_reference_and_the_next_by_the_engine(tmp_path: Path) -> None:
    standby, (build,) = _standby(_sliding(tmp_path / "b"), tmp_path / "c")
    assert _reads(standby) == "torch"
    assert "serves until openvino f32 is ready" in standby.choice_reason
    assert "it is being built in the background" in standby.choice_reason
    assert not list((tmp_path / "c").rglob("*.onnx")), "nothing was compiled before the study"
    assert _reads(standby) == "torch"
    build.work()
    assert _reads(standby) == "openvino"
    assert "the default on a CPU" in standby.choice_reason
    assert len(_Here.orders) == 1


def test_engine_that_is_ready_serves_from_the_first_study_on(tmp_path: Path) -> None:
    bundle = _sliding(tmp_path / "b")
    compile_bundle(bundle, engine="openvino", cache_folder=tmp_path / "c")
    standby, builds = _standby(bundle, tmp_path / "c")
    assert (_reads(standby), builds) == ("openvino", [])


@pytest.mark.parametrize("what", ["graph", "certificate", "bundle"])
def test_what_is_broken_missing_or_stale_in_the_cache_is_built_anew_beside_the_work(what: str, tmp_path: Path) -> None:
    bundle, cache = _sliding(tmp_path / "b"), tmp_path / "c"
    compile_bundle(bundle, engine="openvino", cache_folder=cache)
    if what == "graph":
        (path,) = cache.rglob("*.onnx")
        path.write_bytes(path.read_bytes()[:-7])
    elif what == "certificate":
        (path,) = cache.rglob("certificate.json")
        path.write_text(path.read_text()[:-9])
    else:
        (bundle.folder / "docs").mkdir()
        (bundle.folder / "docs" / "README.md").write_text("a new version\n")
    standby, (build,) = _standby(load_bundle(bundle.folder), cache)
    assert _reads(standby) == "torch"
    build.work()
    assert _reads(standby) == "openvino"


@pytest.mark.parametrize("damage", ["bytes", "record", "gone"])
def test_engine_of_the_cache_that_is_damaged_is_built_anew_beside_the_work(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    bundle, cache = _sliding(tmp_path / "b"), tmp_path / "c"
    compile_bundle(bundle, engine="tensorrt", cache_folder=cache)
    (engine,) = cache.rglob("engine.bin")
    whole = engine.read_bytes()
    if damage == "bytes":
        engine.write_bytes(whole[:-3] + b"abc")
    elif damage == "record":
        engine.with_name("build.json").write_text("{")
    else:
        engine.unlink()
    standby, (build,) = _standby(bundle, cache, "tensorrt")
    assert _reads(standby) == "torch"
    assert "serves until tensorrt f32 is ready" in standby.choice_reason
    build.work()
    assert _reads(standby) == "tensorrt"
    assert engine.read_bytes() == whole


def test_engine_built_elsewhere_serves_only_after_its_part_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm86")
    bundle = _sliding(tmp_path / "b")
    (made,) = compile_bundle(bundle, gpus=["sm89"], cache_folder=tmp_path / "there")
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm89")
    adopted = adopt(made.path.parent, tmp_path / "here")
    assert adopted is not None
    standby, (build,) = _standby(bundle, tmp_path / "here", "tensorrt-rtx")
    assert _reads(standby) == "torch"
    assert adopted.on_device() is None
    build.work()
    assert adopted.on_device() is not None
    assert _reads(standby) == "tensorrt-rtx"
    assert made.sha256 == adopted.record.engine_sha256, "it was proven, not built again"


def test_engine_the_gate_refuses_is_built_once_and_then_left_alone_for_the_reason_it_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OpenVinoEngine.__call__
    monkeypatch.setattr(OpenVinoEngine, "__call__", lambda self, array: -right(self, array))
    bundle, cache = _sliding(tmp_path / "b"), tmp_path / "c"
    standby, (build,) = _standby(bundle, cache)
    build.work()
    assert _reads(standby) == "torch"
    assert "openvino may not serve: engine openvino" in standby.choice_reason
    again, builds = _standby(bundle, cache)
    assert (_reads(again), builds) == ("torch", [])
    (note,) = cache.rglob(REFUSAL)
    old = json.loads(note.read_text()) | {"made_at": "2020-01-01T00:00:00Z"}
    note.write_text(json.dumps(old))
    _, builds = _standby(bundle, cache)
    assert len(builds) == 1, "what was refused long ago is tried again"


def test_study_of_a_shape_that_is_not_compiled_is_read_by_the_reference_and_its_shape_is_built(tmp_path: Path) -> None:
    bundle, cache = threshold_bundle(tmp_path / "b"), tmp_path / "c"
    compile_bundle(bundle, engine="openvino", cache_folder=cache)
    standby, builds = _standby(bundle, cache)
    assert builds == []
    assert _reads(standby, shape=(18, 40, 33)) == "torch"
    assert "is not exported for" in standby.choice_reason
    (build,) = builds
    build.work()
    assert _reads(standby, shape=(18, 40, 33)) == "openvino"


def test_build_that_fails_is_told_with_every_read_and_not_tried_again_by_this_worker(tmp_path: Path) -> None:
    standby, (build,) = _standby(_sliding(tmp_path / "b"), tmp_path / "c")
    build._said, build._done = "the process that builds it ended with signal 9", True
    assert _reads(standby) == "torch"
    assert _reads(standby) == "torch"
    assert "it could not be built: the process that builds it ended with signal 9" in standby.choice_reason
    assert len(_Here.orders) == 1


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds are processes that have torch already."""
    monkeypatch.setattr(rebuild, "subprocess", SimpleNamespace(Popen=WarmPopen, PIPE=None, DEVNULL=None))


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Callable[[Bundle], BuildProcess]]:
    begun: list[BuildProcess] = []

    def start(bundle: Bundle) -> BuildProcess:
        order = order_for(
            bundle.folder, bundle.digest(), engine="auto", cache_folder=tmp_path / "c", threads=1, trust=None
        )
        begun.append(BuildProcess(order))
        return begun[-1]

    yield start
    for build in begun:
        build.stop()


@pytest.mark.usefixtures("warm")
def test_process_builds_with_the_lowest_priority_what_the_next_study_is_read_with(
    tmp_path: Path, building: Callable[[Bundle], BuildProcess]
) -> None:
    bundle = _sliding(tmp_path / "b")
    with _AnotherBuild(tmp_path / "c"):
        build = building(bundle)
        until(lambda: os.getpriority(os.PRIO_PROCESS, build.pid) == 19, what="the build gives way", timeout_s=250)
        assert Path(f"/proc/{build.pid}/oom_score_adj").read_text().strip() == "1000"
    until(build.ended, what="the build ends", timeout_s=250)
    assert build.problem() == ""
    standby, builds = _standby(bundle, tmp_path / "c")
    assert (_reads(standby), builds) == ("openvino", [])


class _AnotherBuild:
    """Another build under way on this machine."""

    def __init__(self, cache: Path) -> None:
        cache.mkdir(exist_ok=True)
        self._file = open(cache / "building.lock", "wb")  # noqa: SIM115 (closed at the end of the block)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_exc: object) -> None:
        self._file.close()


def test_one_build_at_a_time(tmp_path: Path) -> None:
    began = threading.Event()

    def second() -> None:
        with open(tmp_path / "c" / "building.lock", "wb") as lock:
            wait_for_turn(lock)
            began.set()

    with _AnotherBuild(tmp_path / "c"):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not began.wait(0.3)
    assert began.wait(10)
    waiting.join()


def test_build_ends_with_the_worker_that_wanted_it(tmp_path: Path, building: Callable[[Bundle], BuildProcess]) -> None:
    with _AnotherBuild(tmp_path / "c"):
        build = building(threshold_bundle(tmp_path / "b"))
        until(lambda: os.getpriority(os.PRIO_PROCESS, build.pid) == 19, what="it waits for its turn", timeout_s=250)
        build._input.close()  # as when the worker is killed
        until(build.ended, what="the build ends", timeout_s=30)
    assert build.problem() == "the process that builds it ended with exit code 1"


@pytest.mark.usefixtures("warm")
def test_build_that_is_killed_leaves_nothing_half_done_and_the_next_worker_builds_again(
    tmp_path: Path, building: Callable[[Bundle], BuildProcess]
) -> None:
    bundle, cache = _sliding(tmp_path / "b"), tmp_path / "c"
    build = building(bundle)
    until(lambda: any(cache.rglob("*.onnx*")), what="something is being written", timeout_s=250)
    with suppress(ProcessLookupError):
        os.kill(build.pid, signal.SIGKILL)
    until(build.ended, what="the build ends", timeout_s=30)
    standby, builds = _standby(bundle, cache)
    assert _reads(standby) in ("torch", "openvino"), "either all of it was there, or none counts"
    for again in builds:
        again.work()
    assert _reads(standby) == "openvino"


def test_build_of_a_bundle_that_changed_meanwhile_makes_nothing(
    tmp_path: Path, building: Callable[[Bundle], BuildProcess]
) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    with _AnotherBuild(tmp_path / "c"):
        build = building(bundle)
        (bundle.folder / "more.txt").write_text("changed")
    until(build.ended, what="the build ends", timeout_s=250)
    assert build.problem() == "the files of bundle b have changed"
    assert not list((tmp_path / "c").rglob("*.onnx"))


@pytest.mark.usefixtures("warm")
def test_read_says_which_engine_served_and_why(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "dicom", description="T1")
    bundle = load_bundle(write_threshold_bundle(tmp_path / "b"))
    (chosen,) = select(phantom.study(), bundle.manifest.inputs).reads
    run = RunnerOpener("auto", tmp_path / "c", 1, background=True)(bundle.folder, bundle.digest())
    numbers = iter(range(1000))

    def read() -> JobOutcome:
        out = tmp_path / f"out{next(numbers)}"
        spec = JobSpec("job", phantom.study(), chosen, bundle.folder, bundle.digest(), out)
        outcome = run(spec, lambda _stage, _share: None)
        assert (outcome.state, outcome.driven) == (JobState.DONE, ("components",))
        return outcome

    def certified() -> bool:
        notes = [json.loads(path.read_text()) for path in (tmp_path / "c").glob("*/certificate.json")]
        return any(note["subject"]["engine"] == "openvino" for note in notes)

    first = read().engine
    assert first is not None
    assert (first.name, first.precision) == ("torch", "f32")
    assert first.reason.startswith("serves until openvino f32 is ready: ")
    assert first.reason.endswith("; it is being built in the background")
    until(certified, what="the engine passes the gate", timeout_s=250)
    until(lambda: "openvino" in str(read().engine), what="the engine takes over", timeout_s=250)


def test_engines_of_several_networks_are_listed_by_their_network(tmp_path: Path) -> None:
    bundle = unet_bundle(tmp_path / "b")
    model = open_model(bundle, engine="openvino", cache_folder=tmp_path / "c")
    model.prepare("network_def", (1, 1, 16, 16, 16))
    assert len(list((tmp_path / "c" / "onnx").glob("*-1x16x16x16-f32.onnx"))) == 1
    assert not list(entries(tmp_path / "c", network="network_def"))
