"""Every call of the HTTP interface, fuzzed from its own OpenAPI document; ``make soak`` takes many more examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peers import PLAIN, WetreadProcess, config
from phantoms import write_series
from reader import ReadersProgram

pytestmark = pytest.mark.peer

EXAMPLES = int(os.environ.get("API_EXAMPLES", "4"))
PATIENCE_S = 15.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, threshold_bundles: Path) -> Iterator[ReadersProgram]:
    toml = config(threshold_bundles, mode="off", api="max_upload_mb = 8")
    process = WetreadProcess(tmp_path_factory.mktemp("fuzz"), toml, program=PLAIN)
    process.start()
    yield ReadersProgram(process)
    assert "Traceback" not in process.log()
    process.stop()


@pytest.fixture(scope="module")
def real(program: ReadersProgram, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands in addresses, of a read that is there."""
    study = program.upload(write_series(tmp_path_factory.mktemp("study")).paths)
    job = program.read(study)
    result = program.result(job)
    return {
        "job_id": job,
        "uid": study,
        "series": result["input"]["series_instance_uid"],
        "sop": result["input"]["sop_instance_uids"][0],
        "tracking_uid": result["findings"][0]["tracking_uid"],
        "number": "1",
    }


def test_no_call_fails_whatever_it_is_asked(program: ReadersProgram, real: dict[str, str]) -> None:
    document = program.get("/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    calls = [operation.ok() for operation in schema.get_all_operations()]
    assert len(calls) >= 20
    for call in calls:
        _fuzz(call, program, real)
    assert program.get("/health")["state"] == "ok"
    assert program.result(real["job_id"])["status"] in ("preliminary", "signed")


def _fuzz(call: Any, program: ReadersProgram, real: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES < 50,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=call.as_strategy(), aims=st.booleans())
    def ask(case: Any, aims: bool) -> None:
        if aims:
            case.path_parameters = {name: real[name] for name in case.path_parameters or {}}
        answer = case.call(
            base_url=str(program.http.base_url).removesuffix("/api/v1/"), headers=_headers(program), timeout=PATIENCE_S
        )
        assert answer.status_code < 500 or answer.status_code == 503, (case.method, case.path, answer.text[:300])
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"]
            assert answer.json()["detail"]

    ask()


def _headers(program: ReadersProgram) -> dict[str, str]:
    return {name: program.http.headers[name] for name in ("Authorization", "Wetread-Reader")}


@pytest.mark.parametrize(
    "name", ["../api.token", "..%2fapi.token", "%2e%2e/%2e%2e/wetread.toml", "/etc/passwd", "*", "%00", "\\..\\x"]
)
def test_no_address_leads_out_of_the_results(program: ReadersProgram, real: dict[str, str], name: str) -> None:
    job, study = real["job_id"], real["uid"]
    token = program.http.headers["Authorization"].removeprefix("Bearer ")
    for place in (name, quote(name, safe="")):
        for path in (
            f"/jobs/{job}/objects/{place}",
            f"/jobs/{job}/heatmaps/{place}",
            f"/jobs/{job}/key-images/{place}.png",
            f"/jobs/{place}/labels",
            f"/jobs/{place}/result",
            f"/studies/{study}/instances/{place}",
            f"/studies/{place}/series/{place}/instances",
        ):
            answer = httpx.get(f"{str(program.http.base_url).rstrip('/')}{path}", headers=_headers(program))
            assert 400 <= answer.status_code < 500, path
            assert token not in answer.text
