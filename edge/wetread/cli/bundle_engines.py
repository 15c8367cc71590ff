"""``wetread bundle compile | bench``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from wetread.cli.bundle_show import show_rows
from wetread.cli.options import bundle_folders, engine_cache, trust_policy

if TYPE_CHECKING:
    from wetread.bundles import Bundle

_MEASURED = {
    "engine": "engine",
    "precision": "prec.",
    "device": "device",
    "median_s": "median s",
    "speedup_vs_torch": "× torch",
    "peak_mb": "peak MiB",
    "agreement": "agreement",
}


def compile_engines(args: argparse.Namespace) -> int:
    """Build the engines, compare each with the reference, keep them in the engine cache."""
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json
    from wetread.infer.engines.wish import check_wish

    bundle = _found(args)
    check_wish(args.engine, args.precision or (), args.gpu or ())
    _admit(args, bundle)
    from wetread.infer.compile import compile_bundle  # imports torch: what is refused is refused before

    rows: list[dict[str, Any]] = []
    with stage_progress(args.json) as progress:
        for precision in args.precision or [bundle.manifest.runtime.precision]:
            made = compile_bundle(
                bundle,
                engine=args.engine,
                precision=precision,
                gpus=tuple(args.gpu or ()),
                cache_folder=engine_cache(args),
                trust=trust_policy(args),
                progress=progress,
            )
            rows.extend(dataclasses.asdict(engine) for engine in made)
    if args.json:
        print_json(rows)
    else:
        print(f"Engines of {bundle.name}")
        for row in rows:
            _show_compiled(row)
        for note in dict.fromkeys(row["note"] for row in rows if row["note"]):
            print(f"note: {note}")
    return 0


def _show_compiled(row: dict[str, Any]) -> None:
    from wetread.cli.table import print_block
    from wetread.infer.known import figures_in_words

    size = f"{row['size_bytes'] / 1e6:.1f} MB"
    heads = (row["network"], row["engine"], row["precision"], f"for {row['gpu']}", size, f"{row['seconds']:.1f} s")
    figures = figures_in_words(row["measured"], certified_on=row["measured_on"])
    on_device = "passed" if row["on_device_part"] == "passed" else "not run yet: it must pass before the engine serves"
    print_block(heads, figures, f"on its device: {on_device}")


def bench(args: argparse.Namespace) -> int:
    """Measure; the table or list has one row for each engine and precision."""
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json
    from wetread.infer.benchmark import benchmark

    bundle = _found(args)
    _admit(args, bundle)
    bundle.check_weights()
    with stage_progress(args.json) as progress:
        measured = benchmark(
            bundle,
            cache_folder=engine_cache(args),
            engines=tuple(args.engine or ()),
            repeats=max(args.repeats, 1),
            trust=trust_policy(args),
            progress=progress,
        )
    rows = [dataclasses.asdict(m) for m in measured if not m.problem]
    for row in rows:
        del row["problem"]
    if args.json:
        print_json(rows)
    else:
        show_rows(rows, _MEASURED, title=f"{bundle.name} on this machine")
        for image in dict.fromkeys(row["image"] for row in rows):
            print(f"image: {image}; median of {max(args.repeats, 1)} runs, volume in memory to checked answer")
    failed = [m for m in measured if m.problem]
    for one in failed:
        print(f"wetread: {one.engine} {one.precision} was not measured: {one.problem}", file=sys.stderr)
    return 1 if any(one.engine in (args.engine or ()) for one in failed) else 0


def _found(args: argparse.Namespace) -> Bundle:
    from wetread.bundles import find_bundle

    return find_bundle(args.name, bundle_folders(args))


def _admit(args: argparse.Namespace, bundle: Bundle) -> None:
    """Let the bundle run here. Raises: ``BundleNotTrusted``, ``BundleInvalid``."""
    from wetread.bundles.trust import admit
    from wetread.jobs.isolation import forbid_code_in_data

    admit(bundle, trust_policy(args))
    forbid_code_in_data()
