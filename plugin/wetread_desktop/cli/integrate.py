"""``wetread-desk integrate``: the button in other viewers, as files their administrators know."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

HELP = "write the launcher configuration of another viewer: weasis, orthanc-explorer2, url-scheme"
_NAME = "Wetread"
_OPEN = ("open", "--study-uid", "{tag:StudyInstanceUID}", "--series-uid", "{tag:SeriesInstanceUID}")
"""Weasis fills in one placeholder for each parameter; two in one parameter would become empty."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("viewer", choices=("weasis", "orthanc-explorer2", "url-scheme"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="another file than the usual one; what is in it stays")
    parser.add_argument(
        "--folder", action="store_true", help="weasis: hand over the selected images, not the Study UID"
    )


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 written, 1 the file cannot be written or is not what it should be, 2 wrong usage."""
    if args.folder and args.viewer != "weasis":
        print("wetread-desk: --folder is for weasis", file=sys.stderr)
        return 2
    write = {"weasis": _weasis, "orthanc-explorer2": _orthanc, "url-scheme": _url_scheme}[args.viewer]
    try:
        print(write(args))
    except (OSError, ValueError) as exc:
        print(f"wetread-desk: {exc}", file=sys.stderr)
        return 1
    return 0


def _weasis(args: argparse.Namespace) -> str:
    """A list of launchers as Weasis keeps it; ours takes the place of an older one of ours."""
    path = args.out or Path("dicomLaunchers.json")
    launchers = _existing(path, [])
    if not isinstance(launchers, list):
        raise ValueError(f"{path}: a list of launchers was expected; it is left alone")
    kept = [one for one in launchers if not (isinstance(one, dict) and one.get("name") == _NAME)]
    parameters = ["open", "--folder", "{dicom:selection.folder}"] if args.folder else list(_OPEN)
    systems = {"linux": "LINUX", "darwin": "MAC", "win32": "WINDOWS"}
    configuration: dict[str, Any] = {
        "launchType": "Application",
        "binaryPath": _program(),
        "parameters": parameters,
        "compatibility": systems.get(sys.platform, "LINUX"),
    }
    ours = {"name": _NAME, "enable": True, "button": True, "configuration": configuration}
    _write(path, [*kept, ours])
    return (
        f"{path} written. For everybody: put it into the resources folder that Weasis starts with"
        " (weasis.resources.url). For one user: enter the same in"
        " File > Preferences > Launcher."
    )


def _orthanc(args: argparse.Namespace) -> str:
    """A piece of Orthanc's configuration; its folder of configuration files is read as a whole."""
    path = args.out or Path("wetread-button.json")
    document = _existing(path, {})
    if not isinstance(document, dict):
        raise ValueError(f"{path}: a configuration of Orthanc was expected; it is left alone")
    buttons = document
    for key in ("OrthancExplorer2", "UiOptions", "CustomButtons"):
        buttons = buttons.setdefault(key, {})
    ours = {
        "HttpMethod": "GET",
        "Id": "wetread",
        "Tooltip": "Open in Wetread",
        "Icon": "bi bi-clipboard2-pulse",
        "Url": "wetread://open?v=1&studyUID={StudyInstanceUID}",
        "Target": "_self",
    }
    buttons["study"] = [b for b in buttons.get("study", []) if b.get("Id") != "wetread"] + [ours]
    _write(path, document)
    return (
        f"{path} written. Put it beside Orthanc's other configuration files and start Orthanc again. On each"
        " workstation: wetread-desk integrate url-scheme"
    )


def _url_scheme(args: argparse.Namespace) -> str:
    """Makes ``wetread://`` addresses open the window: a desktop entry (freedesktop.org), for this user."""
    if sys.platform != "linux":
        raise ValueError(
            "on this system the installer registers wetread:// addresses; from here it is done on Linux only"
        )
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    path = args.out or data / "applications" / "wetread-desk.desktop"
    entry = "\n".join(
        (
            "[Desktop Entry]",
            "Type=Application",
            "Name=Wetread",
            f"Exec={_program()} open %u",
            "NoDisplay=true",
            "MimeType=x-scheme-handler/wetread;",
            "",
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(entry, encoding="utf-8")
    return f"{path} written. Then: xdg-mime default {path.name} x-scheme-handler/wetread"


def _program() -> str:
    """Of this installation. Raises: ``ValueError`` when a launcher could not start it."""
    found = shutil.which("wetread-desk") or str(Path(sys.executable).with_name("wetread-desk"))
    if any(c.isspace() for c in found):
        raise ValueError(f"{found}: launchers split programs at blanks; install Wetread where the path has none")
    return found


def _existing(path: Path, empty: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return empty
    except ValueError as exc:
        raise ValueError(f"{path}: is not JSON ({exc}); it is left alone") from exc


def _write(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
