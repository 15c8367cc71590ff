"""The images of a study, from the edge into files: the bytes as they were received."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import problem
from wetread_desktop.client.fields import Fields, parse

_AT_ONCE = 4
_LARGEST_FILE = 1 << 31


def fetch_study(edge: Edge, study_instance_uid: str, folder: Path, *, stopped: Callable[[], bool]) -> int:
    """Write every source image of a study into ``folder`` under names of ours; how many.

    ``stopped`` is asked before each file. Raises: ``EdgeError``; ``NotHere`` when the edge has no images of it.
    """
    study = f"/studies/{quote(study_instance_uid, safe='')}"
    document = edge.http.call("GET", study).fields("study")
    series = document.objects("series", lambda f: (f.text("series_instance_uid"), f.text("role", "source")))
    uids = [uid for one, role in series if role == "source" for uid in _instances(edge, study, one)]
    if not uids:
        raise problem(404, {"detail": f"the edge has no images of study {study_instance_uid} any more"})

    def fetch(numbered: tuple[int, str]) -> None:
        number, uid = numbered
        if not stopped():
            answer = edge.http.call("GET", f"{study}/instances/{quote(uid, safe='')}", largest=_LARGEST_FILE)
            (folder / f"{number:06d}.dcm").write_bytes(answer.body)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _done in pool.map(fetch, enumerate(uids)):
            pass
    return len(uids)


def _instances(edge: Edge, study: str, series_instance_uid: str) -> tuple[str, ...]:
    answer = edge.http.call("GET", f"{study}/series/{quote(series_instance_uid, safe='')}/instances")
    listed = Fields({"instances": parse(answer.body, "instances")}, "instances")
    return listed.objects("instances", lambda f: f.text("sop_instance_uid"))
