"""The conformance statement says what the code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wetread.dimse.contexts import accepted_contexts, storage_sop_classes, transfer_syntaxes
from wetread.dimse.door import MAX_WAITING
from wetread.dimse.tls import CIPHERS
from wetread.receive.listener import ListenerSettings
from wetread.receive.stow_settings import StowSettings

ROOT = Path(__file__).parents[2]


def test_tables_are_those_of_the_code() -> None:
    command = [sys.executable, str(ROOT / "packaging/conformance_tables.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "run packaging/conformance_tables.py"


def test_every_storage_class_in_every_syntax_is_accepted() -> None:
    contexts = {str(cx.abstract_syntax): cx for cx in accepted_contexts()}
    assert set(storage_sop_classes()) < set(contexts)
    for uid in storage_sop_classes():
        assert [str(ts) for ts in contexts[uid].transfer_syntax] == list(transfer_syntaxes())


def test_newest_and_retired_classes_are_among_them() -> None:
    label_map, retired_ultrasound = "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.6"
    assert {label_map, retired_ultrasound} <= set(storage_sop_classes())


def test_suites_and_limits_named_are_those_of_the_code() -> None:
    text = (ROOT / "packaging/docs/CONFORMANCE.md").read_text(encoding="utf-8").replace(",\n", ", ")
    assert ", ".join(CIPHERS) in text
    settings = ListenerSettings()
    for name in ("request_timeout_s", "network_timeout_s", "max_pdu_bytes", "max_instance_mb"):
        assert f"`{name}` ({getattr(settings, name):g})" in text, name
    stow = StowSettings()
    for name in ("timeout_s", "max_request_mb", "max_instance_mb", "max_requests"):
        assert f"`{name}` ({getattr(stow, name):g})" in text, name
    assert f"{MAX_WAITING} connections" in text
    assert f"({settings.tls.port} unless configured)" in text
