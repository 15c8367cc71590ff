"""PixelMed's SR template validator (Debian ``libpixelmed-java``) in a process of its own, started once.

As a program: reads file names from standard input, writes one JSON string with the validator's report for each.
The Java machine starts slowly and takes over signals, so it lives neither once per file nor inside the tests' process.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

JARS = Path("/usr/share/java")
_NEEDED = (
    "pixelmed", "commons-codec", "commons-net", "hsqldb", "jaxb-api", "jmdns", "javax.json", "slf4j-api", "vecmath",
)  # fmt: skip
_NO_XPATH_LIMITS = [f"-Djdk.xml.{name}=0" for name in ("xpathExprGrpLimit", "xpathExprOpLimit", "xpathTotalOpLimit")]
"""Java 17 aborts on PixelMed's stylesheets otherwise (JAXP0801003)."""

_ONE_THREAD_COLLECTS = "-XX:+UseSerialGC"
"""A sixth less CPU time than with the collector that has threads for every core."""


def report(path: Path) -> str:
    """What the validator says about one SR document."""
    child = _child()
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{path}\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"the PixelMed process ended with code {child.wait()}; its message is on stderr")
    return str(json.loads(line))


def version() -> str:
    """The file that ``pixelmed.jar`` stands for, e.g. ``pixelmed-20220618.jar``."""
    return (JARS / "pixelmed.jar").resolve().name


@cache
def _child() -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_stop, child)
    return child


def _stop(child: subprocess.Popen[str]) -> None:
    """At the end of its input it ends."""
    with child:
        pass


def _serve() -> None:
    import jpype

    jars = [str(JARS / f"{name}.jar") for name in _NEEDED]
    jpype.startJVM("-Xmx1g", "-Xss64m", _ONE_THREAD_COLLECTS, *_NO_XPATH_LIMITS, classpath=jars)
    validator = jpype.JClass("com.pixelmed.validate.DicomSRValidator")()
    validator.setOptionMatchCaseOfCodeMeaning(False)
    validator.setOptionCheckTemplateID(True)
    validator.setOptionCheckContentItemOrder(True)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(str(validator.validate(line.rstrip("\n")))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
