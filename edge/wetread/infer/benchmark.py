"""``wetread bundle bench``: each engine in a process of its own, asked in turn about the same image.

In turn, because a machine that is busy for a while must not hit one engine only. In processes of their own, because the
largest memory of a process says nothing about which of its engines needed it. Measured is what a read waits for: volume
in memory → checked answer on its grid; opening the model is not in it.
"""

from __future__ import annotations

import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wetread import log
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.manifest import Tolerance
from wetread.bundles.trust import TrustPolicy
from wetread.errors import EngineDisagrees, EngineUnavailable, OutputInvalid, WetreadError, WorkerDied
from wetread.infer.engines.engine import ENGINES, REFERENCE
from wetread.infer.engines.wish import PRECISIONS, Precision
from wetread.infer.gate.compare import compare_outputs, limits
from wetread.infer.gate.golden import golden_images
from wetread.infer.phantom import phantoms, without_requirements
from wetread.progress import Progress, unheard
from wetread.records.model_input import ModelInput
from wetread.records.output import ModelOutput

_Case = tuple[Path, str, Precision, Path, TrustPolicy | None]
"""Bundle folder, engine, precision, engine cache, and what the site asks of a bundle."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One engine in one precision. A JSON object of ``wetread bundle bench --json``."""

    bundle: str
    engine: str
    precision: str
    device: str
    median_s: float | None
    speedup_vs_torch: float | None
    peak_mb: float | None
    """Largest resident memory of the engine's process, in MiB."""
    agreement: float | None
    """With the reference engine's answer, as the gate measures it: share of voxels, of calls, of boxes.
    None when the model found nothing in a phantom."""
    image: str = ""
    """What was read: golden case or phantom, and its size."""
    problem: str = ""
    """Why it was not measured."""


def benchmark(
    bundle: Bundle,
    *,
    cache_folder: Path,
    engines: Sequence[str] = (),
    repeats: int = 5,
    trust: TrustPolicy | None = None,
    progress: Progress = unheard,
) -> list[Benchmark]:
    """Measure the engines (default: all this machine has) and the reference, which comes first.

    The image is the golden input, or a seeded phantom for a bundle without one. An engine that may not
    serve is listed with the reason; one that is not installed only if it was asked for.
    Raises: ``WorkerDied``, and whatever stops the reference engine.
    """
    with ExitStack() as stack:
        runners: list[_Runner] = []
        failed: list[Benchmark] = []
        cases = list(_cases(bundle, engines))
        for number, (engine, precision) in enumerate(cases):
            progress(f"opening {engine} {precision}", 0.5 * number / len(cases))
            runner = stack.enter_context(_runner((bundle.folder, engine, precision, cache_folder, trust)))
            try:
                runner.open()
            except (EngineUnavailable, EngineDisagrees) as exc:
                if engine == REFERENCE:
                    raise
                if engine in engines or isinstance(exc, EngineDisagrees):
                    failed.append(_not_measured(bundle.name, engine, precision, exc))
                continue
            runners.append(runner)
        for number in range(repeats):
            progress(f"run {number + 1} of {repeats}", 0.5 + 0.5 * number / repeats)
            for runner in runners:
                runner.time()
        return [_result(bundle, runner, runners[0]) for runner in runners] + failed


def _cases(bundle: Bundle, engines: Sequence[str]) -> Iterator[tuple[str, Precision]]:
    own = bundle.manifest.runtime.precision
    for engine in dict.fromkeys((REFERENCE, *(engines or ENGINES))):
        for precision in dict.fromkeys(("f32", own)):
            if precision in PRECISIONS[engine]:
                yield engine, precision


def _not_measured(bundle: str, engine: str, precision: str, problem: Exception) -> Benchmark:
    return Benchmark(bundle, engine, precision, "", None, None, None, None, problem=str(problem))


def _result(bundle: Bundle, runner: _Runner, reference: _Runner) -> Benchmark:
    median = statistics.median(runner.seconds)
    return Benchmark(
        bundle=bundle.name,
        engine=runner.engine,
        precision=runner.opened["precision"],
        device=runner.opened["device"],
        median_s=round(median, 4),
        speedup_vs_torch=round(statistics.median(reference.seconds) / median, 2),
        peak_mb=round(runner.peak_mb(), 1),
        agreement=_agreement(bundle, runner, reference),
        image=runner.opened["image"],
    )


def _agreement(bundle: Bundle, runner: _Runner, reference: _Runner) -> float | None:
    if runner.answer is None or reference.answer is None:
        return None
    allowed = limits(Tolerance(), runner.precision)
    return round(compare_outputs(runner.answer, reference.answer, bundle.manifest, allowed).agreement, 6)


class _Runner:
    """The parent's end of one engine's process."""

    def __init__(self, connection: Connection, engine: str, precision: Precision) -> None:
        self.engine, self.precision = engine, precision
        self.seconds: list[float] = []
        self.opened: dict[str, str] = {}
        self.answer: Any = None
        self._connection = connection

    def open(self) -> None:
        """Open the model, and run it once: first runs compile and allocate. Raises: what stops it."""
        self.opened = self._asked("open")
        self.answer = self._asked("answer")

    def time(self) -> None:
        """One more run."""
        self.seconds.append(self._asked("time"))

    def peak_mb(self) -> float:
        """So far."""
        return float(self._asked("peak"))

    def _asked(self, what: str) -> Any:
        try:
            self._connection.send(what)
            answer = self._connection.recv()
        except (EOFError, OSError) as exc:
            raise WorkerDied(f"the process of engine {self.engine} ended; perhaps it ran out of memory") from exc
        if isinstance(answer, WetreadError):
            raise answer
        return answer


@contextmanager
def _runner(case: _Case) -> Iterator[_Runner]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, case), daemon=True)
    process.start()
    theirs.close()
    try:
        yield _Runner(ours, case[1], case[2])
    except BaseException:
        process.kill()  # nobody waits any more for what it computes
        raise
    finally:
        ours.close()
        process.join(timeout=10)
        process.kill()
        process.join()


def _serve(connection: Connection, case: _Case) -> None:
    """Main function of an engine's process; ends when the pipe closes, so Ctrl-C is its parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure_for_command()  # warnings of libraries quote values, and are no matter of who asked
    side = _Side(*case)
    answers: dict[str, Callable[[], object]] = {
        "open": side.open,
        "answer": side.answer,
        "time": side.time,
        "peak": _peak_mb,
    }
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        try:
            connection.send(answers[asked]())
        except WetreadError as exc:
            connection.send(exc)


class _Side:
    """The child's end."""

    def __init__(
        self, folder: Path, engine: str, precision: Precision, cache_folder: Path, trust: TrustPolicy | None
    ) -> None:
        bundle = load_bundle(folder)
        runtime = bundle.manifest.runtime.model_copy(update={"precision": precision})
        manifest = without_requirements(bundle.manifest).model_copy(update={"runtime": runtime})
        self._bundle = replace(bundle, manifest=manifest)
        self._engine, self._cache_folder, self._trust = engine, cache_folder, trust
        self._images = _images(self._bundle)

    def open(self) -> dict[str, str]:
        from wetread.infer.model import open_model

        self._model = open_model(self._bundle, engine=self._engine, cache_folder=self._cache_folder, trust=self._trust)
        opened = {key: str(value) for key, value in asdict(self._model.identity).items()}
        return {**opened, "image": _described(self._bundle, self._images)}

    def answer(self) -> ModelOutput | None:
        """None when the model found nothing in the phantom that may be reported; the time it took is the same."""
        try:
            return self._model.run(self._images)
        except OutputInvalid:
            return None

    def time(self) -> float:
        start = time.perf_counter()
        self.answer()
        return time.perf_counter() - start


def _images(bundle: Bundle) -> Mapping[str, ModelInput]:
    golden = bundle.manifest.golden
    if golden is not None:
        return golden_images(bundle, golden)
    return phantoms(bundle.manifest)


def _described(bundle: Bundle, images: Mapping[str, ModelInput]) -> str:
    """For a person, e.g. ``golden case, 60 × 80 × 66 voxels (slices × rows × columns)``."""
    shapes = list(dict.fromkeys(image.array.shape for image in images.values()))
    sizes = ", ".join(" × ".join(map(str, shape)) for shape in shapes)
    unit = "voxels (slices × rows × columns)" if len(shapes[0]) == 3 else "pixels (rows × columns)"
    several = f"{len(images)} inputs of " if len(images) > 1 else ""
    return f"{'golden case' if bundle.manifest.golden else 'phantom'}, {several}{sizes} {unit}"


def _peak_mb() -> float:
    """As the workers report it (Linux; 0 elsewhere)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024
