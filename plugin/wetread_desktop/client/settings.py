"""What a reader set: where the edge is, who reads, language and look. One file and a token, for this user alone."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from wetread_desktop.client.http import EdgeAddress


class Theme(StrEnum):
    """Light or dark."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class Colours(StrEnum):
    """Which colours structures have."""

    BUNDLE = "bundle"
    """Those of the bundle, as in the DICOM segmentation."""
    SAFE = "safe"
    """A palette that colour-blind readers can tell apart."""


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """Everything that is set, but the token."""

    url: str = ""
    """Of the edge; empty: a private one on this machine."""
    ca_file: str = ""
    """PEM file with the authorities of the hospital; empty: those of the system."""
    reader: str = ""
    """DICOM PN, ``Family^Given``."""
    organization: str = ""
    reader_id: str = ""
    """What the organization calls this reader."""
    language: str = ""
    """``en`` or ``zh_CN``; empty: that of the system."""
    theme: Theme = Theme.SYSTEM
    colours: Colours = Colours.BUNDLE
    open_at_once: bool = True
    """Show the findings of a study that was read already without being asked."""

    def address(self, token: str) -> EdgeAddress:
        """The edge that is set."""
        return EdgeAddress(self.url.rstrip("/"), token, self.ca_file, self.reader)


class SettingsInvalid(Exception):
    """The settings file is not one; the message is a sentence for the reader."""


class SettingsFolder:
    """Where settings, token and unsent decisions of this user are."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: for another profile than the usual one."""
        self.folder = folder or usual_folder()

    @property
    def journals(self) -> Path:
        """Decisions that the edge does not have yet."""
        return self.folder / "unsent"

    def load(self) -> DeskSettings:
        """Raises: ``SettingsInvalid``."""
        path = self.folder / "desktop.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return DeskSettings()
        except (OSError, ValueError) as exc:
            raise SettingsInvalid(f"the settings in {path} cannot be read: {exc}") from exc
        return _settings(document, path)

    def save(self, settings: DeskSettings) -> None:
        """Raises: ``OSError``."""
        document = dataclasses.asdict(settings)
        self._write("desktop.json", json.dumps(document, ensure_ascii=False, indent=2) + "\n")

    def token(self) -> str:
        """The token; '' while there is none. Raises: ``SettingsInvalid``."""
        path = self.folder / "token"
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsInvalid(f"the token in {path} cannot be read: {exc}") from exc

    def save_token(self, token: str) -> None:
        """Raises: ``OSError``."""
        self._write("token", token.strip() + "\n")

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all, 0600."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.folder / f".{name}.{os.getpid()}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.folder / name)


def usual_folder() -> Path:
    """Where programs of this user keep such things on this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "Wetread"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Wetread"
    # https://specifications.freedesktop.org/basedir-spec
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "wetread-desk"


def _settings(document: Any, path: Path) -> DeskSettings:
    if not isinstance(document, dict):
        raise SettingsInvalid(f"the settings in {path} are no JSON object")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(DeskSettings):
        value = document.get(field.name, field.default)
        kind: type = type(field.default)
        try:
            # A key of a newer version is left alone, a value that is none of ours is not guessed at.
            values[field.name] = kind(value) if isinstance(field.default, StrEnum) else _same(value, kind)
        except (ValueError, TypeError):
            raise SettingsInvalid(f"{field.name} in {path} is {value!r}, which it cannot be") from None
    return DeskSettings(**values)


def _same(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(value)
    return value
