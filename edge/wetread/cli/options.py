"""Options several commands share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wetread.bundles.trust import TrustPolicy
    from wetread.config import BundleSettings, Config
    from wetread.service.engine_caches import EngineCache

ENGINES = ("torch", "openvino", "tensorrt", "tensorrt-rtx")
"""What ``--engine`` may name; which of them a machine has is said when it is opened."""
_DEFAULTS = (Path("wetread.toml"), Path("/etc/wetread/wetread.toml"))


def add_config(parser: argparse.ArgumentParser) -> None:
    """``--config``."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration (default: wetread.toml here, else in /etc/wetread)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    """One of a command's actions, with ``--config`` and ``--json``."""
    parser = actions.add_parser(name, help=text, description=text)
    add_config(parser)
    add_json(parser)
    return parser


def positive(text: str) -> int:
    """For argparse: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return int(text)


def days(text: str) -> float:
    """For argparse: a number of days, 0 too."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of days from 0, e.g. 30")
    return value


def rate(text: str) -> float:
    """For argparse: a learning rate."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0, e.g. 0.001")
    return value


def reason(text: str) -> str:
    """For argparse: a sentence; whoever looks later must know why."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: whoever looks at it later must know why")
    return text


def config_of(args: argparse.Namespace) -> Config:
    """The configuration the user named, or the first default that exists.

    Raises: ``Misconfigured``.
    """
    from wetread.config import load_config
    from wetread.errors import Misconfigured

    candidates = (args.config,) if args.config else _DEFAULTS
    for path in candidates:
        if args.config or path.is_file():
            return load_config(path)
    raise Misconfigured(f"no configuration: neither {' nor '.join(map(str, _DEFAULTS))} exists; use --config FILE")


def bundle_settings(args: argparse.Namespace) -> BundleSettings:
    """``[bundles]`` of the configuration if there is one, else its defaults, with the trusted keys of this user."""
    from wetread.config import BundleSettings

    if getattr(args, "config", None) or any(p.is_file() for p in _DEFAULTS):
        return config_of(args).bundles
    return BundleSettings(trusted_keys=str(Path.home() / ".config" / "wetread" / "trusted_keys"))


def unused_days(args: argparse.Namespace) -> float:
    """How long engines that nothing can use are kept after their last use, when somebody asks for them to go."""
    from wetread.store.retention import RetentionSettings

    configured = getattr(args, "config", None) or any(p.is_file() for p in _DEFAULTS)
    return (configured and config_of(args).retention.engines_days) or RetentionSettings().engines_days


def trust_policy(args: argparse.Namespace) -> TrustPolicy:
    """What is asked of a bundle before it runs: the site's decisions if there is a configuration, else the default."""
    from wetread.bundles.trust import TrustPolicy

    if getattr(args, "config", None) or any(p.is_file() for p in _DEFAULTS):
        return config_of(args).bundles.trust
    return TrustPolicy()


def engine_cache(args: argparse.Namespace) -> Path:
    """Where compiled engines are."""
    return chosen_cache(args).folder


def chosen_cache(args: argparse.Namespace) -> EngineCache:
    """The service's folder if there is a configuration and this user may write there, else this user's cache."""
    from wetread.service.engine_caches import cache_of_commands

    configured = getattr(args, "config", None) or any(p.is_file() for p in _DEFAULTS)
    return cache_of_commands(config_of(args) if configured else None)


def bundle_folders(args: argparse.Namespace) -> list[Path]:
    """Where to look for bundles: the configuration's folders if there is one, then the ones beside this program."""
    found: list[Path] = []
    if getattr(args, "config", None) or any(p.is_file() for p in _DEFAULTS):
        found.extend(config_of(args).bundle_folders)
    checkout = Path(__file__).resolve().parents[3] / "monai_bundles"
    return [*found, Path("monai_bundles"), checkout]
