"""``wetread read``."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.options import ENGINES, add_config, add_json, bundle_folders, engine_cache, trust_policy

if TYPE_CHECKING:
    from wetread.records.job import Prediction
    from wetread.service.offline import FolderRead, OfflineSettings

DONE, REJECTED = 0, 3

HELP = "read one study from a folder (or a NIfTI file), results into a folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("study", type=Path, metavar="STUDY_FOLDER", help="folder of DICOM files, or one .nii/.nii.gz")
    parser.add_argument("--bundle", required=True, metavar="NAME", help="installed bundle, or the path of one")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where results go; made if missing")
    parser.add_argument("--engine", default="auto", choices=["auto", *ENGINES])
    parser.add_argument(
        "--rendition",
        default="common",
        choices=["common", "modern"],
        help="common: BINARY SEG and Comprehensive SR (default); modern: label map and Comprehensive 3D SR",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument(
        "--memory-mb",
        type=int,
        default=0,
        metavar="N",
        help="refuse a read that would take more (MiB; default: what the machine allows)",
    )
    parser.add_argument(
        "--outside-intended-use",
        action="store_true",
        help="read although the bundle was not made for this view, body part, age, ...; every result says so",
    )
    parser.add_argument("--accept-unknown-age", action="store_true", help="read a patient of unknown age")
    parser.add_argument(
        "--report-rejection", action="store_true", help="write a report that says why, where a study is not read"
    )
    parser.add_argument("--parametric-maps", action="store_true", help="also write heat maps as DICOM Parametric Maps")
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Read; 0 done, 3 rejected."""
    from wetread.bundles import find_bundle
    from wetread.cli.progress import stage_progress
    from wetread.errors import Misconfigured
    from wetread.nifti import is_nifti
    from wetread.service.offline import FolderRead, read_folder
    from wetread.service.offline_nifti import read_nifti_file

    if not args.study.exists():
        raise Misconfigured(f"there is no {args.study}")
    if args.threads < 0:
        raise Misconfigured(f"--threads is {args.threads}, expected 0 (all) or more")
    if args.memory_mb < 0:
        raise Misconfigured(f"--memory-mb is {args.memory_mb}, expected 0 (what the machine allows) or more")
    bundle = find_bundle(args.bundle, bundle_folders(args))
    _check_writable(args.out)
    settings = _settings(args)
    foreseen = _say_nothing if args.json else _say_prediction
    with stage_progress(args.json) as progress:
        progress("opening the model", 0.0)
        if is_nifti(args.study):
            read = read_nifti_file(args.study, bundle, args.out, settings, progress=progress, foreseen=foreseen)
            found = FolderRead([read], ())
        else:
            found = read_folder(args.study, bundle, args.out, settings, progress=progress, foreseen=foreseen)
    return _show(found, as_json=args.json)


def _settings(args: argparse.Namespace) -> OfflineSettings:
    from wetread.records.job import ReadOptions
    from wetread.records.result import Rendition
    from wetread.service.offline import OfflineSettings

    offset = datetime.now().astimezone().utcoffset()
    return OfflineSettings(
        engine=args.engine,
        cache_folder=engine_cache(args),
        threads=args.threads,
        trust=trust_policy(args),
        utc_offset_minutes=int(offset.total_seconds() // 60) if offset else 0,
        rendition=Rendition(args.rendition),
        memory_mb=args.memory_mb,
        options=ReadOptions(
            outside_intended_use=args.outside_intended_use,
            accept_unknown_age=args.accept_unknown_age,
            report_rejection=args.report_rejection,
            parametric_maps=args.parametric_maps,
        ),
    )


def _say_prediction(prediction: Prediction | None) -> None:
    print(f"predicted: {prediction or 'nothing is known yet of such a read on this machine'}", flush=True)


def _say_nothing(_prediction: Prediction | None) -> None:
    """With ``--json`` it stands in the document."""


def _check_writable(out: Path) -> None:
    """Before anything is computed: the results must find a place. Makes nothing that was not there."""
    import os

    from wetread.errors import Misconfigured

    nearest = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK) or nearest.is_relative_to("/proc"):
        raise Misconfigured(f"results cannot be written to {out}: {nearest} is not a folder we may write to")


def _show(found: FolderRead, *, as_json: bool) -> int:
    from wetread.cli.table import print_json

    rejected = [read for read in found.reads if read["state"] == "rejected"]
    none_read = len(rejected) == len(found.reads)
    state = {"state": "done", "code": "", "reason": ""}
    if none_read:
        state = {key: rejected[0][key] for key in state}
    if as_json:
        print_json({**state, "reads": found.reads, "passed_over": list(found.passed_over)})
    for read in rejected:
        print(f"wetread: not read: {read['reason']}", file=sys.stderr)
    if not as_json:
        for line in found.passed_over:
            print(line)
        for read in found.reads:
            _print_read(read)
    return REJECTED if none_read else DONE


def _print_read(read: dict[str, Any]) -> None:
    from wetread.cli.table import print_table, short_reason
    from wetread.service.documents import finding_text, measured_text, series_text

    for series in read["series"]:
        print(f"read {series_text(series)}" if read["state"] == "done" else f"not read: {series_text(series)}")
    rows = ([f["name"], f["evaluation"], finding_text(f)] for f in read["findings"])
    if read["findings"]:
        print_table("Findings (AI, not reviewed)", ("finding", "", "measurement"), rows)
    for result in read["results"]:
        print(f"{result['kind']:<4} {result['path']}")
    for warning in read["warnings"]:
        print(f"note: {warning}")
    engine = read["engine"]
    if engine:
        print(f"engine: {engine['name']} {engine['precision']} ({short_reason(engine['reason'])})")
        print(f"measured: {measured_text(read)}")
