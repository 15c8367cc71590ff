# ruff: noqa: T201 (a script that prints its result)
"""Which bundles of the MONAI Model Zoo load here, with random weights: a table of tier, shims and problems.

    git clone https://github.com/Project-MONAI/model-zoo
    python tests/bench/survey_zoo.py model-zoo/models [--json FILE] [NAME ...]

The zoo's repository holds configs and scripts, no weights: each network gets those it is made with, and where a search
found the network (DiNTS), one with every path. Loading runs their code, so each is a process of its own on a copy; do
it where that may be. ``opens`` says that every part was made (``wetread bundle check`` calls it "loads"); nothing is
said of accuracy, and no image is read.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    """Survey and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path, help="the folder with one folder for each bundle")
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(_surveyed(given.zoo)))
        return 0
    names = given.names or sorted(p.name for p in given.zoo.iterdir() if (p / "configs" / "metadata.json").is_file())
    rows = []
    for name in names:
        rows.append(row := _in_a_process(given.zoo / name))
        said = "" if row["usable"] else "; ".join(row["problems"])
        print(f"{row['name']:44}{'opens' if row['opens'] else '-':7}{row['tier']:12}{said[:240]}", flush=True)
    print(f"{sum(row['opens'] for row in rows)} of {len(rows)}; usable: {sum(row['usable'] for row in rows)}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def _in_a_process(folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="wetread-zoo-") as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy)
        command = [sys.executable, __file__, str(copy), "--one"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        ended = (done.stderr.splitlines() or ["without a word"])[-1]
        found = {"name": folder.name, "opens": False, "tier": "", "problems": [f"ended: {ended}"], "usable": False}
    return found


def _surveyed(folder: Path) -> dict[str, Any]:
    from wetread.infer.check import check_bundle
    from wetread.jobs.isolation import forbid_code_in_data

    forbid_code_in_data()
    problem = _give_weights(folder)
    report = check_bundle(folder, folder.parent / "cache")
    return {
        "name": folder.name,
        "version": report.version,
        "opens": report.loads,
        "tier": report.tier,
        "shims": report.shims,
        "problems": [*([problem] if problem else []), *report.problems],
        "usable": report.loads and not report.problems,
    }


def _give_weights(folder: Path) -> str:
    """Those the network is made with; why there are none, as a sentence."""
    import torch

    from wetread.bundles.bundle import inference_config
    from wetread.bundles.check import guessed_weights
    from wetread.bundles.manifest import Runtime
    from wetread.errors import WetreadError
    from wetread.infer.configs.config import InferenceConfig, Source

    (folder / "models").mkdir(exist_ok=True)
    for path in _architectures(folder):
        torch.save(_every_path(), path)
    try:
        config = InferenceConfig(Source(folder, inference_config(folder), Runtime()))
        network = config.bare_network(guessed_weights(folder).network)
    except WetreadError as exc:
        return str(exc)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return ""


def _architectures(folder: Path) -> list[Path]:
    """Files with the architecture that a search found, which are not in the zoo's repository either."""
    listed = folder / "large_files.yml"
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    return [folder / name for name in re.findall(r"models/search_code\w*\.pt", text)]


def _every_path() -> dict[str, Any]:
    """An architecture of the zoo's form (12 blocks, 4 resolutions) in which every path is open: the largest."""
    import numpy as np

    return {"node_a": np.ones((13, 4)), "arch_code_a": np.ones((12, 10)), "arch_code_c": np.ones((12, 10), int)}


if __name__ == "__main__":
    raise SystemExit(main())
