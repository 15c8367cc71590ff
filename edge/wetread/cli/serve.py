"""``wetread serve``."""

from __future__ import annotations

import argparse
import json
import signal

from wetread.cli.options import add_config, config_of

HELP = "run: receive studies, read them, deliver the results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="announce readiness as a JSON line")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; a second one does not wait for reads under way."""
    from wetread import log
    from wetread.service.coordinator import Service

    log.configure()
    config = config_of(args)
    service = Service(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())

    def ready(port: int) -> None:
        if args.json:
            print(json.dumps({"ready": True, "port": port}), flush=True)
        else:
            titles = ", ".join(c.ae_title for c in config.listener.called)
            print(f"Wetread listens on {config.listener.host}:{port} as {titles}; Ctrl-C stops it", flush=True)

    service.run(on_ready=ready)
    if not args.json:
        print("Wetread has stopped; what waited goes on at the next start", flush=True)
    return 0
