"""Nothing is reported to anybody: no engine library may talk to the internet or start a process that does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sys
from pathlib import Path

def watch(event, arguments):
    if event in ("os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"):
        print(event, file=sys.__stderr__, flush=True)

sys.path[:0] = [{tests!r}]
from network_bundles import oblique_volume, threshold_bundle
from wetread.infer.model import open_model
sys.addaudithook(watch)
model = open_model(threshold_bundle(Path({folder!r}) / "b"), engine="openvino", cache_folder=Path({folder!r}) / "c")
print(model.run({{"image": oblique_volume()}}).array.shape)
"""


def test_opening_and_running_openvino_starts_no_process_and_calls_nobody(tmp_path: Path) -> None:
    code = _PROGRAM.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "(18, 40, 33)"
    events = [line for line in ran.stderr.splitlines() if line.startswith(("os.", "subprocess.", "socket."))]
    assert events == []
