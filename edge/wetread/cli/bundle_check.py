"""``wetread bundle check``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.bundle_list import known
from wetread.cli.bundle_show import show
from wetread.cli.options import bundle_folders, chosen_cache, engine_cache, trust_policy

if TYPE_CHECKING:
    from wetread.bundles import Bundle
    from wetread.infer.model import Model


def check(args: argparse.Namespace) -> int:
    """Everything that stands in the way of a read, in the order in which it would be met; 1 when something does.

    Raises: ``Misconfigured`` for what is wrong with the question: no such bundle, a configuration that is none.
    """
    from wetread.bundles.bundle import find_folder
    from wetread.errors import BundleInvalid, Misconfigured
    from wetread.infer.known import FILES

    folder, cache, _ = find_folder(args.name, bundle_folders(args)), chosen_cache(args), trust_policy(args)
    report: dict[str, Any] = {"name": folder.name, "folder": folder}
    try:
        code = _looked_at(args, folder, report)
    except (Misconfigured, PermissionError) as exc:
        said = exc if isinstance(exc, Misconfigured) else BundleInvalid(f"{exc.filename}: {exc.strerror} to this user")
        report |= {"problems": [str(said)], "code": said.code}
        code = 1
    report |= _not_usable(report) if code else {"state": report.get("state", FILES)}
    if code == 0 or args.json:
        report["engine_cache"] = cache.folder if args.json else cache
    show(report if args.json else _for_people(report), as_json=args.json)
    return code


def _not_usable(report: dict[str, Any]) -> dict[str, str]:
    """State, code and reason of a bundle in whose way something stands."""
    from wetread.errors import BundleInvalid
    from wetread.infer.known import UNUSABLE

    found = [*report.get("missing", ()), *report.get("problems", ())]
    return {"state": UNUSABLE, "code": report.get("code") or BundleInvalid("").code, "reason": "; ".join(found)}


def _looked_at(args: argparse.Namespace, folder: Path, report: dict[str, Any]) -> int:
    """Files, parts, engine: each only where nothing was found before it. Raises: ``Misconfigured``: a finding."""
    code = _files(args, folder, report)
    if code or args.files_only:
        return code
    report |= _compatibility(folder, engine_cache(args))
    if not report["loads"] or report["missing"] or report["problems"]:
        return 1
    report |= _engine(args, folder)
    return 1 if report["problems"] else 0


def _files(args: argparse.Namespace, folder: Path, report: dict[str, Any]) -> int:
    """What can be said without running anything; 1 when the bundle may not run, or its weights are missing."""
    from wetread.bundles import load_bundle
    from wetread.bundles.static_check import in_words
    from wetread.bundles.trust import admit, check_folder, needed_by
    from wetread.errors import BundleNotTrusted

    check_folder(folder)
    if not (folder / "configs" / "wetread.json").is_file():
        report["trust"] = "not installed"
        return _without_manifest(report, engine_cache(args), files_only=args.files_only)
    bundle = load_bundle(folder)
    report["needs_trusted_code"] = in_words(found for found in needed_by(bundle) if not found.not_there)
    report |= {"version": bundle.version, "digest": bundle.digest(), "weights_digest": bundle.weights_digest()}
    report["clinical_use"] = bundle.manifest.clinical_use
    golden = bundle.manifest.golden
    report["golden_case"] = golden.origin if golden else "none: engines are compared on noise"
    try:
        record = admit(bundle, trust_policy(args))
    except BundleNotTrusted as exc:
        report |= {"problems": [str(exc)], "code": exc.code}
        return 1
    report["trust"] = f"{record.trusted}: {record.by}" if record else "not installed; stays within the allow-list"
    bundle.check_weights()
    report |= known(bundle, engine_cache(args))
    return _guard(bundle, report)


def _guard(bundle: Bundle, report: dict[str, Any]) -> int:
    """Whether the statistics that films are compared with are there, and take the bundle's own golden film."""
    from wetread.errors import BundleInvalid
    from wetread.guard.appearance import check_appearance
    from wetread.infer.gate.golden import golden_images
    from wetread.records.radiograph import Radiograph

    if any(rule.kind != "radiograph" for rule in bundle.manifest.inputs):
        return 0
    golden = bundle.manifest.golden
    try:
        known = check_appearance(bundle)
        films = golden_images(bundle, golden).values() if known and golden else ()
    except BundleInvalid as exc:
        report["problems"] = [f"guard: {exc}; make it anew with wetread bundle guard, or install the bundle again"]
        return 1
    if known is None:
        report["guard"] = "none: no film is refused for what it looks like"
        return 0
    refused = [said for film in films if isinstance(film, Radiograph) for said in known.unlikeness(film.array).unusual]
    if refused:
        report["problems"] = [f"guard: it refuses the bundle's own golden film: {'; '.join(refused)}"]
        return 1
    report["guard"] = "usable" + ("; takes the golden film" if golden else "")
    return 0


def _without_manifest(report: dict[str, Any], cache_folder: Path, *, files_only: bool) -> int:
    """A bundle from the Model Zoo: it is made once for the report, but only if that runs none of its own code."""
    from wetread.bundles.check import guessed_weights, missing_in_manifest, read_metadata, unsupported
    from wetread.bundles.static_check import in_words
    from wetread.bundles.template import write_template
    from wetread.bundles.trust import needs_trust, refuse_misspelt

    problem = unsupported(read_metadata(report["folder"]))
    if problem:  # nobody should fill in a template for nothing
        report["problems"] = [problem]
        return 1
    guessed = guessed_weights(report["folder"])
    programs = [guessed.path] if guessed.program else []
    findings = needs_trust(report["folder"], programs=programs)
    report["needs_trusted_code"] = needed = in_words(found for found in findings if not found.not_there)
    refuse_misspelt(report["name"], findings)
    if not needed and not files_only:
        return 0
    report["template"] = write_template(report["folder"], cache_folder)
    if files_only:
        report["missing"] = missing_in_manifest(report["folder"])
        return 1
    report["problems"] = [
        "there is no configs/wetread.json, and the parts of the bundle cannot be tried because it needs trusted code: "
        "fill in the template and save it as configs/wetread.json; read the code named above; if you trust it: "
        f"wetread bundle install {report['folder']} --trust-local"
    ]
    return 1


def _compatibility(folder: Path, cache_folder: Path) -> dict[str, Any]:
    from wetread.infer.check import check_bundle
    from wetread.jobs.isolation import forbid_code_in_data

    forbid_code_in_data()
    found = dataclasses.asdict(check_bundle(folder, cache_folder=cache_folder))
    return {name: value for name, value in found.items() if name not in ("folder", "name")}


def _engine(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from wetread.bundles import load_bundle
    from wetread.cli.progress import stage_progress
    from wetread.infer.model import open_model
    from wetread.infer.phantom import without_requirements

    bundle: Bundle = load_bundle(folder)
    if bundle.manifest.golden is None:
        bundle = dataclasses.replace(bundle, manifest=without_requirements(bundle.manifest))
    with stage_progress(args.json) as progress:
        cache = engine_cache(args)
        model = open_model(bundle, engine=args.engine, cache_folder=cache, trust=trust_policy(args), progress=progress)
        found = _opened(model, golden=bundle.manifest.golden is not None)
        tried = {} if bundle.manifest.golden else _trial(model, bundle)
        model.close()
    return {**found, **tried}


def _opened(model: Model, *, golden: bool) -> dict[str, Any]:
    """Which engine serves, why, and what was measured before it may."""
    from wetread.infer.known import CERTIFIED, FILES, REFERENCE

    identity, certificate = model.identity, model.certificate
    compiled = identity.name != "torch"
    return {
        "state": CERTIFIED if compiled else REFERENCE if golden else FILES,
        "reason": f"{identity.name} {identity.precision} on {identity.device}",
        "engine": f"{identity.name} {identity.precision} {identity.library_version} on {identity.device}",
        "why": model.choice_reason,
        "certificate": identity.certificate,
        "certified_on": certificate.kind if certificate else "",
        "measured": certificate.measured.figures() if certificate else {},
    }


def _for_people(report: dict[str, Any]) -> dict[str, Any]:
    """Figures as a line of words; reasons cut to their first clause."""
    from wetread.cli.table import short_reason
    from wetread.infer.known import figures_in_words

    repeated = ("engines", "code", "reason") if "code" in report else ("engines",)
    shown = {name: value for name, value in report.items() if name not in repeated}
    if "measured" in shown:
        on = shown.pop("certified_on")
        shown["measured"] = figures_in_words(shown["measured"], certified_on=on) or _NOTHING_TO_MEASURE_BY
        shown["why"] = short_reason(shown["why"])
    return shown


_NOTHING_TO_MEASURE_BY = "nothing: there is no golden case that would say whether the reference is right"


def _trial(model: Model, bundle: Bundle) -> dict[str, Any]:
    """One read of a phantom: without a golden case nothing else shows that images of this kind get through at all.

    An answer that would be refused for what it says of these images is told and is no problem: the phantom is no
    patient. Another shape, labels that nobody declared and values that are no numbers are there for every patient too.
    """
    from wetread.errors import Misconfigured, OutputInvalid
    from wetread.infer.phantom import phantoms

    try:
        model.run(phantoms(bundle.manifest))
    except OutputInvalid as exc:
        if exc.of_these_images:
            return {"trial": f"the answer about a phantom would be refused: {exc}"}
        refused = f"no answer of this bundle would be taken: {exc}"
        return {"trial": "failed", "problems": [refused], "code": exc.code}
    except Misconfigured as exc:
        problem = f"a phantom volume cannot be read: {exc}"
        return {"trial": "failed", "problems": [problem], "code": exc.code}
    return {"trial": "a phantom volume was read"}
