"""Acceptance of result objects by tools that others wrote: any error and any unexpected warning is a complaint.

In tests: ``check_files(results, sources)``. By hand: ``python tests/conformance/gate.py RESULT_FOLDER SOURCE_FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance import outside, own_checks, own_findings


@dataclass(frozen=True)
class Complaint:
    """One thing that one tool does not accept."""

    tool: str
    file: str
    """Name of the file; empty where it is about the set."""
    text: str

    def __str__(self) -> str:
        return f"{self.file or 'all files'}: {self.tool}: {self.text}"


def check_files(
    results: Sequence[Path], sources: Sequence[Path], *, alone: Sequence[Path] | None = None
) -> list[Complaint]:
    """Everything that is wrong with ``results``, which were made from ``sources``.

    ``alone``: those that are looked at one by one, too; all of them if not given.
    Raises: ``ToolMissingError`` when a validator is not installed; a missing check is never a passed one.
    """
    return list(complaints(results, sources, alone=alone))


def complaints(
    results: Sequence[Path], sources: Sequence[Path], *, alone: Sequence[Path] | None = None
) -> Iterator[Complaint]:
    """The same one by one, from the fastest check to the slowest."""
    if not results:
        yield Complaint("gate", "", "there are no result files")
        return
    yield from (Complaint("own", "", text) for text in _check_set(results, sources))
    yield from (Complaint("dcentvfy", "", text) for text in outside.check_entities(results, sources))
    for path in results if alone is None else alone:
        yield from _check_file(path)


def _check_file(path: Path) -> Iterator[Complaint]:
    header = dcmread(path, stop_before_pixels=True)
    iod = outside.check_report if header.Modality == "SR" else outside.check_iod
    answers = {"own": own_checks.check(header), "dciodvfy": iod(path)}
    if header.Modality == "SR":
        answers |= {"dsrdump": outside.check_tree(path), "pixelmed": outside.check_templates(path)}
    if header.Modality == "SEG":
        answers["dcmqi"] = outside.check_readable(path)
    if own_checks.is_map(header):
        answers |= {"dcmqi": outside.check_readable_map(path), "highdicom": outside.check_map_values(path)}
    for tool, texts in answers.items():
        yield from (Complaint(tool, path.name, text) for text in texts)


def _check_set(results: Sequence[Path], sources: Sequence[Path]) -> Iterator[str]:
    by_modality: dict[str, list[Dataset]] = {}
    for path in results:
        header = dcmread(path, stop_before_pixels=True)
        signed = own_checks.is_signed(header) or own_checks.is_accepted(header)
        kind = "PM" if own_checks.is_map(header) else header.Modality
        by_modality.setdefault(f"signed {kind}" if signed else kind, []).append(header)
    for modality, headers in by_modality.items():
        if len({header.SeriesInstanceUID for header in headers}) > 1:
            yield f"the {modality} objects are in several series"
    for report in [*by_modality.get("SR", []), *by_modality.get("signed SR", [])]:
        yield from own_findings.check_regions(report, sources)
        yield from own_findings.check_scores(report)
    for found in by_modality.get("PM", []):
        yield from own_checks.check_map(found, sources)
    for standing in ("", "signed "):
        for segmentation in by_modality.get(f"{standing}SEG", []):
            for report in by_modality.get(f"{standing}SR", []):
                yield from own_checks.check_tracking(segmentation, report)
                yield from own_checks.check_accepted(segmentation, report) if standing else ()


def main(result_folder: str, source_folder: str) -> int:
    """Check the files of two folders; exit code 1 on any complaint."""
    print("tools:", ", ".join(f"{tool} {version}" for tool, version in outside.tool_versions().items()))  # noqa: T201
    results, sources = (sorted(Path(folder).rglob("*.dcm")) for folder in (result_folder, source_folder))
    found = check_files(results, sources)
    for complaint in found:
        print("FAIL", complaint)  # noqa: T201
    print(f"{len(results)} objects, {len(found)} complaints")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
