"""``wetread serve``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wetread.cli.options import add_config, bundle_folders, bundle_settings, config_of, engine_cache

if TYPE_CHECKING:
    from wetread.config import Config
    from wetread.service.addresses import Addresses
    from wetread.service.coordinator import Service

HELP = "run: receive studies, read them, deliver the results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="announce readiness as a JSON line")
    parser.add_argument(
        "--private",
        action="store_true",
        help="for one reader on this machine: no DICOM port, no configuration, the HTTP interface on a free port of the"
        " loopback; says where as a JSON line, and ends when its standard input ends",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="data folder of --private (default: ~/.local/share/wetread, with the engines of this user's commands)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; a second one does not wait for reads under way."""
    from wetread import log
    from wetread.service.coordinator import Service

    log.configure()
    config = _private_config(args) if args.private else config_of(args)
    service = Service(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    if args.private:
        threading.Thread(target=_end_with_parent, args=(service,), daemon=True).start()

    def ready(addresses: Addresses) -> None:
        if args.private:
            print(json.dumps({"ready": True, "url": addresses.api, "token_file": _token_file(config)}), flush=True)
        elif args.json:
            print(json.dumps(addresses.document()), flush=True)
        else:
            listens = addresses.lines() or ["  nowhere: [listener], [stow] and [api] are all off"]
            print("\n".join(["Wetread listens; Ctrl-C stops it", *listens]), flush=True)

    service.run(on_ready=ready)
    if not args.json and not args.private:
        print("Wetread has stopped; what waited goes on at the next start", flush=True)
    return 0


def _private_config(args: argparse.Namespace) -> Config:
    """All that one reader needs: everything stays in this user's folder, nothing is reachable from outside."""
    import dataclasses

    from wetread.api.settings import ApiSettings
    from wetread.config import Config, ServiceSettings
    from wetread.receive.listener import ListenerSettings
    from wetread.service.engine_caches import private_data

    data = args.data or private_data()
    folders = tuple(str(f.resolve()) for f in (data / "bundles", *bundle_folders(args)) if f.is_dir())
    return Config(
        data_dir=data.resolve(),
        engine_cache=None if args.data else engine_cache(args),
        service=ServiceSettings(drain_s=0.0),
        listener=ListenerSettings(enabled=False),
        api=ApiSettings(port=0),
        bundles=dataclasses.replace(bundle_settings(args), folders=folders),
    )


def _token_file(config: Config) -> str:
    from wetread.api.settings import token_path

    return str(token_path(config.api, config.data_dir))


def _end_with_parent(service: Service) -> None:
    """Whoever started us holds the other end of our standard input for as long as it lives."""
    while sys.stdin.buffer.read(4096):
        pass
    service.stop()
