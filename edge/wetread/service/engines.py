"""Whether an engine asked for by name can be had on this machine, without importing anything heavy."""

from __future__ import annotations

from importlib.util import find_spec

_PACKAGES = {"openvino": "openvino", "tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def engine_problem(engine: str) -> str:
    """Why the engine cannot serve, or ''. ``auto`` and ``torch`` always can."""
    package = _PACKAGES.get(engine)
    if package and find_spec(package) is None:
        return f"{engine} needs the Python package {package}, which is not installed"
    return ""
