"""STOW-RS as its clients see it: dicomweb-client, and requests made by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import itertools
import json
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import Authority
from peers import HOST
from phantoms import write_series
from slow_loris import ended
from waiting import until
from wetread.dimse.server import listening_socket
from wetread.dimse.tls import server_context
from wetread.receive.http_server import HttpServer
from wetread.receive.multipart import PartReader
from wetread.receive.stow import StowEntrance
from wetread.receive.stow_settings import StowClient, StowSettings, Token
from wetread.records.notes import AssociationEnd, Refusal
from wetread.store.part10 import provenance_of
from wetread.store.spool import Spool

TOKEN = "-".join(["correct", "horse", "battery", "staple"])
GATEWAY = StowClient("gateway", token_file="gateway.token", priority="interactive")  # noqa: S106 (a file name)
BOUNDARY = "wetread-test"
STUDIES = "/dicomweb/studies"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@dataclasses.dataclass
class Box:
    """A STOW-RS server of ours, and the spool behind it."""

    port: int
    spool: Spool
    notes: list[Any]

    def kept(self) -> list[Path]:
        return [p for p in self.spool.waiting() if p.suffix == ".dcm"]

    def post(
        self, body: bytes | Iterator[bytes], *, path: str = STUDIES, token: str = TOKEN, **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Status, body (decoded JSON, or text) and headers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        named = {"Content-Type": MULTIPART, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if token:
            named["Authorization"] = f"Bearer {token}"
        connection.request("POST", path, body, named, encode_chunked="Transfer-Encoding" in named)
        answer = connection.getresponse()
        text = answer.read()
        is_json = answer.getheader("Content-Type") == "application/dicom+json"
        return answer.status, json.loads(text) if is_json else text.decode(), answer.headers


Serve = Callable[..., Box]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[HttpServer] = []

    def start(tls: ssl.SSLContext | None = None, reserve_bytes: int = 0, **changed: Any) -> Box:
        changed.setdefault("clients", (GATEWAY,))
        stow = StowSettings(port=0, **changed)
        spool = Spool(tmp_path / f"spool{len(running)}", reserve_bytes=reserve_bytes)
        notes: list[Any] = []
        tokens = [Token(c.name, hashlib.sha256(TOKEN.encode()).digest()) for c in stow.clients if c.token_file]
        server = HttpServer(StowEntrance(stow, tokens, keep=spool.keep, note=notes.append).app, max_connections=50)
        running.append(server)
        listening = listening_socket(HOST, 0)
        server.start(listening, tls)
        return Box(int(listening.getsockname()[1]), spool, notes)

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    return write_series(tmp_path / "study", shape=(4, 16, 16)).paths


def multipart(*bodies: bytes, content_type: str = "application/dicom", close: bool = True) -> bytes:
    parts = [b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), content_type.encode(), b) for b in bodies]
    return b"".join(parts) + (b"--%s--\r\n" % BOUNDARY.encode() if close else b"")


def client(box: Box, *, token: str = TOKEN) -> DICOMwebClient:
    return DICOMwebClient(f"http://{HOST}:{box.port}/dicomweb", headers={"Authorization": f"Bearer {token}"})


def test_dicomweb_client_stores_a_study_bit_for_bit(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    datasets = [pydicom.dcmread(p) for p in paths]
    answer = client(box).store_instances(datasets)
    stored = {str(i.ReferencedSOPInstanceUID) for i in answer.ReferencedSOPSequence}
    assert stored == {str(ds.SOPInstanceUID) for ds in datasets}
    assert "FailedSOPSequence" not in answer
    assert sorted(pydicom.dcmread(p).PixelData for p in box.kept()) == sorted(ds.PixelData for ds in datasets)
    provenance = provenance_of(box.kept()[0])
    assert provenance is not None
    assert (provenance.entrance, provenance.peer, provenance.priority) == ("stow", "gateway", 10)
    (end,) = box.notes
    assert end == AssociationEnd(provenance.association_id, "gateway", "released", 4, end.ended_at)


def test_data_set_of_a_part_is_kept_as_its_bytes_are(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    body = paths[0].read_bytes()
    status, answer, headers = box.post(multipart(body))
    assert (status, headers["Content-Type"]) == (200, "application/dicom+json")
    assert answer["00081199"]["Value"][0]["00081190"] == {"vr": "UR"}
    (kept,) = box.kept()
    assert kept.read_bytes()[-1000:] == body[-1000:]


def test_body_may_come_in_pieces_of_any_size(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    body = multipart(*(p.read_bytes() for p in paths[:2]))
    for size in (1000, 17):
        pieces = (body[i : i + size] for i in range(0, len(body), size))
        assert box.post(pieces, Transfer_Encoding="chunked")[0] == 200
    assert len(box.kept()) == 4


def test_instances_of_another_study_than_the_addressed_one_fail(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    study = str(pydicom.dcmread(paths[0]).StudyInstanceUID)
    assert box.post(multipart(paths[0].read_bytes()), path=f"{STUDIES}/{study}")[0] == 200
    status, answer, _ = box.post(multipart(paths[1].read_bytes()), path=f"{STUDIES}/1.2.3")
    assert status == 409
    assert answer["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert len(box.kept()) == 1


def test_some_stored_and_some_not_is_202_with_each_named(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    ds = pydicom.dcmread(paths[1])
    ds.SeriesInstanceUID = "../evil"
    ds.save_as(paths[1])
    private = pydicom.dcmread(paths[2])
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = "1.2.3.4"
    private.save_as(paths[2])
    bodies = [paths[0].read_bytes(), paths[1].read_bytes(), paths[2].read_bytes(), b"not DICOM"]
    status, answer, _ = box.post(multipart(*bodies))
    assert status == 202
    assert len(answer["00081199"]["Value"]) == 1
    failed = {i["00081155"]["Value"][0]: i["00081197"]["Value"][0] for i in answer["00081198"]["Value"]}
    assert failed == {str(ds.SOPInstanceUID): 0xC000, str(private.SOPInstanceUID): 0x0122}
    assert answer["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert len(box.kept()) == 1


def test_nothing_stored_is_409(serve: Serve) -> None:
    box = serve()
    assert box.post(multipart(b"not DICOM", b"nor this"))[0] == 409
    assert box.kept() == []
    assert box.notes == []


@pytest.mark.parametrize("token", ["", "wrong token of some length"])
def test_without_the_right_token_nothing_is_taken_and_it_is_listed(
    serve: Serve, paths: tuple[Path, ...], token: str
) -> None:
    box = serve()
    status, sentence, headers = box.post(multipart(paths[0].read_bytes()), token=token)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="wetread"')
    assert sentence.startswith("STOW-RS with")
    assert box.kept() == []
    (refusal,) = box.notes
    assert isinstance(refusal, Refusal)
    assert (refusal.address, refusal.reason) == (HOST, sentence.strip())


def test_right_token_from_another_network_is_forbidden(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve(clients=(dataclasses.replace(GATEWAY, networks=("10.0.0.0/8",)),))
    assert box.post(multipart(paths[0].read_bytes()))[0] == 403
    assert box.kept() == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", MULTIPART, 400),
        (b"no boundary in sight", MULTIPART, 400),
        (b"--%s--\r\n" % BOUNDARY.encode(), MULTIPART, 400),
        (multipart(b"x", close=False), MULTIPART, 400),
        (multipart(b"x"), 'multipart/related; type="application/dicom"', 400),
        (multipart(b"x"), 'multipart/related; type="application/dicom"; boundary="' + "b" * 300 + '"', 400),
        (b"--" + BOUNDARY.encode() + b"\r\nX: " + b"y" * 10_000, MULTIPART, 400),
        (b"--" + BOUNDARY.encode() + b"\r\n" + b"X: y\r\n" * 10_000, MULTIPART, 400),
        (multipart(b"x"), "application/dicom", 415),
        (multipart(b"x"), f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}', 415),
        (multipart(b"x"), "", 415),
    ],
)
def test_malformed_requests_are_refused(serve: Serve, body: bytes, content_type: str, status: int) -> None:
    box = serve()
    assert box.post(body, Content_Type=content_type)[0] == status
    assert box.kept() == []


def test_body_cut_off_after_a_whole_part_says_what_is_stored(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    status, answer, _ = box.post(multipart(paths[0].read_bytes(), paths[1].read_bytes(), close=False)[:-200])
    assert status == 202
    assert len(answer["00081199"]["Value"]) == len(box.kept()) == 1
    assert [n.ended for n in box.notes] == ["lost"]


def test_client_that_hangs_up_leaves_evidence_of_what_came(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    body = multipart(*(p.read_bytes() for p in paths[:2]))
    with socket.create_connection((HOST, box.port), timeout=30) as raw:
        head = f"POST {STUDIES} HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n"
        raw.sendall(
            f"{head}Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:-300]
        )
        until(box.kept)
    until(lambda: box.notes)
    assert [(n.ended, n.instances) for n in box.notes] == [("lost", 1)]


def test_huge_part_is_413_and_a_fitting_one_is_taken_after_it(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve(max_instance_mb=1)
    status, sentence, _ = box.post(multipart(b"\0" * (2**20 + 1)))
    assert (status, sentence) == (413, "a part is larger than 1048576 bytes\n")
    assert box.post(multipart(paths[0].read_bytes()))[0] == 200


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(
        st.binary(max_size=80) | st.sampled_from([b"\r\n--wetread-tes", b"--wetread-test", b"\r\n"]), max_size=4
    ),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_parts_are_the_same_however_the_body_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    bodies = [b for b in bodies if b"\r\n--" + BOUNDARY.encode() not in b"\r\n" + b]
    whole, reader, parts = multipart(*bodies), PartReader(BOUNDARY, max_part_bytes=100), []
    for cut in itertools.cycle(cuts):
        parts += [p.body for p in reader.feed(whole[:cut])]
        whole = whole[cut:]
        if not whole:
            break
    reader.close()
    assert parts == bodies


def test_huge_request_is_413_announced_or_not(serve: Serve) -> None:
    box = serve(max_request_mb=1)
    assert box.post(b"", Content_Length=str(2**31))[0] == 413
    pieces = (b"\0" * 2**16 for _ in range(100))
    assert box.post(pieces, Transfer_Encoding="chunked")[0] in (400, 413)
    body = multipart(*[b"\0" * 2**18] * 8)
    assert box.post(iter([body]), Transfer_Encoding="chunked")[0] == 413


def test_full_disk_is_503_and_recovers_by_itself(
    serve: Serve, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = serve(reserve_bytes=64 * 2**20)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=10 * 2**20))
        status, answer, headers = box.post(multipart(paths[0].read_bytes()))
    assert (status, headers["Retry-After"]) == (503, "120")
    assert answer["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]
    assert box.post(multipart(paths[0].read_bytes()))[0] == 200


def test_one_request_too_many_is_503(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve(max_requests=1)
    began, go_on = threading.Event(), threading.Event()

    def slow_body() -> Iterator[bytes]:
        body = multipart(paths[0].read_bytes())
        yield body[:100]
        began.set()
        go_on.wait(30)
        yield body[100:]

    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(box.post(slow_body(), Transfer_Encoding="chunked")[0]))
    thread.start()
    assert began.wait(30)
    until(lambda: box.post(multipart(paths[1].read_bytes()))[0] == 503)
    go_on.set()
    thread.join(30)
    assert answers == [200]
    assert box.post(multipart(paths[1].read_bytes()))[0] == 200


def test_silent_connections_and_requests_are_ended(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wetread.receive.http_server._REQUEST_TIMEOUT_S", 0.5)
    box = serve(timeout_s=0.5)
    with socket.create_connection((HOST, box.port), timeout=30) as silent:
        assert ended(silent)
    with socket.create_connection((HOST, box.port), timeout=30) as half:
        half.sendall(b"POST /dicomweb/studies HTTP/1.1\r\nHost:")
        assert ended(half)
    with socket.create_connection((HOST, box.port), timeout=30) as half:
        head = f"POST {STUDIES} HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: 1000\r\n"
        half.sendall(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n--{BOUNDARY}".encode())
        assert half.recv(4096).startswith(b"HTTP/1.1 408")
        assert ended(half)


def test_https_with_a_pinned_client_certificate(serve: Serve, paths: tuple[Path, ...], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    ours, gateway, other = (authority.issue(name) for name in ("wetread", "gateway", "other"))
    context = server_context(
        str(ours.certificate),
        str(ours.key),
        client_ca=str(authority.certificate),
        client_certificate="required",
    )
    box = serve(tls=context, clients=(StowClient("gateway", certificate=gateway.fingerprint),))
    for identity, taken in ((gateway, 1), (other, 0)):
        session = create_session()
        session.trust_env = False
        session.verify = str(authority.certificate)
        session.cert = (str(identity.certificate), str(identity.key))
        dicomweb = DICOMwebClient(f"https://{HOST}:{box.port}/dicomweb", session=session)
        if taken:
            dicomweb.store_instances([pydicom.dcmread(paths[0])])
        else:
            with pytest.raises(Exception, match="401"):
                dicomweb.store_instances([pydicom.dcmread(paths[0])])
    assert len(box.kept()) == 1


def test_answers_only_in_dicom_json(serve: Serve, paths: tuple[Path, ...]) -> None:
    box = serve()
    assert box.post(multipart(paths[0].read_bytes()), Accept="application/dicom+xml")[0] == 406
    assert box.post(multipart(paths[0].read_bytes()), Accept="application/dicom+json")[0] == 200
