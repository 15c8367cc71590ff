"""The doctor on what reads: bundles with their engines, routes, and the state of studies."""

from __future__ import annotations

from collections.abc import Iterator

from wetread.bundles import Bundle, find_bundle
from wetread.bundles.trust import admit
from wetread.config import Config
from wetread.errors import WetreadError
from wetread.infer.known import in_words, known_engines
from wetread.records.numbers import number_of
from wetread.route.router import Router, check_rules
from wetread.service.check import Check
from wetread.service.engine_caches import caches_beside, service_cache
from wetread.service.engine_cleaning import in_words as old_in_words
from wetread.service.engine_cleaning import old_pieces
from wetread.service.engines import engine_problem
from wetread.service.overview import Overview

_NEED = {
    "failed": "wetread jobs list --state failed, then jobs retry",
    "held": "wetread studies list --state held, then studies release",
    "result held": "wetread results list --state held, then results release",
}


def look_at_engine(config: Config) -> Iterator[Check]:
    """The engine that is asked for."""
    problem = engine_problem(config.jobs.engine)
    yield Check("engine", not problem, problem or config.jobs.engine)


def look_at_engine_cache(config: Config) -> Iterator[Check]:
    """Where engines are: the service's, and another one that commands of this user may have filled."""
    shared = service_cache(config)
    said = old_in_words(old_pieces(shared.folder, config.bundle_folders))
    found = f"{shared.folder}: {_certificates(shared.certificates())}"
    if said:
        days = config.retention.engines_days
        goes = f"removed {days:g} days after its last use" if days else "kept until: wetread bundle clean"
        found += f"; {said} that no bundle here can use, {goes}"
    yield Check("engine cache", True, found)
    for other in caches_beside(config):
        if other.certificates():
            found = f"{other}: {_certificates(other.certificates())}; wetread serve does not look there"
            yield Check(
                "another engine cache", True, found, "prove engines as the account of wetread serve, with --config"
            )


def look_at_bundles(config: Config) -> Iterator[Check]:
    """Files, trust and ready engines of every bundle that a route names."""
    for name in sorted({r.bundle for r in config.routes if r.mode != "off"}):
        try:
            bundle = find_bundle(name, config.bundle_folders)
            bundle.check_weights()
            admit(bundle, config.bundles.trust)
        except WetreadError as exc:
            yield Check(f"bundle {name}", False, str(exc), f"see: wetread bundle check {name}")
        else:
            found = f"version {bundle.version}, weights as the manifest names them; {_engines(bundle, config)}"
            yield Check(f"bundle {name}", True, found)


def look_at_routes(config: Config) -> Iterator[Check]:
    """Rules as they would be at start."""
    check_rules(config.routes)
    active = [r for r in config.routes if r.mode != "off"]
    bundles = {r.bundle: find_bundle(r.bundle, config.bundle_folders) for r in active}
    Router(config.routes, bundles)
    advice = "" if active else "no study will be read; see [[routes]] in wetread.toml.example"
    yield Check("routes", bool(active), ", ".join(f"{r.name} ({r.mode})" for r in active) or "none is active", advice)


def look_at_studies(config: Config) -> Iterator[Check]:
    """What needs a person."""
    if not (config.data_dir / "wetread.db").is_file():
        yield Check("studies", True, "none yet")
        return
    overview = Overview(config.data_dir)
    counts = overview.counts()
    found = ", ".join(f"{n} {state}" for state, n in counts.items()) or "none yet"
    advice = "; ".join(text for state, text in _NEED.items() if counts.get(state))
    yield Check("studies", not advice, found, advice)
    unreadable = overview.unreadable()
    if unreadable:
        found = f"{number_of(len(unreadable), 'received instance was', 'received instances were')} set aside"
        yield Check("unreadable", False, found, "see: wetread studies list")


def _certificates(count: int) -> str:
    return f"{count or 'no'} certificate{'' if count == 1 else 's'}"


def _engines(bundle: Bundle, config: Config) -> str:
    """Engines that agreed with the reference on this machine, as ``wetread bundle list`` says it."""
    engines = known_engines(bundle, service_cache(config).folder)
    if not engines:
        return "no engine was proved here yet"
    holding = any(not engine.changed for engine in engines)
    return f"engines proved here: {in_words(engines)}" if holding else in_words(engines)
