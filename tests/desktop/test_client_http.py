"""The client beside edges that are away, wrong, hostile or slow."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk_under_test import edge_with_result, edge_with_study

import desk_documents as documents
from certificates import Authority
from fake_edge import TOKEN, FakeEdge
from wetread_desktop.client.cards import card_of
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import (
    AnswerInvalid,
    Busy,
    CertificateRefused,
    EdgeError,
    NotAnEdge,
    NotHere,
    TokenRefused,
    Unreachable,
    WrongVersion,
)
from wetread_desktop.client.follow import Following
from wetread_desktop.client.http import EdgeAddress
from wetread_desktop.client.jobs import Progress
from wetread_desktop.client.words import catalog


@pytest.fixture
def edge() -> Iterator[FakeEdge]:
    fake = edge_with_study(FakeEdge())
    yield fake
    fake.down()


def client(url: str, token: str = TOKEN, **more: str) -> Edge:
    return Edge(EdgeAddress(url, token, **more), timeout_s=3.0)


def test_edge_behind_the_hospitals_own_authority_is_trusted_by_that_one_alone(tmp_path: Path) -> None:
    hospital = Authority(tmp_path / "hospital")
    stranger = Authority(tmp_path / "stranger")
    identity = hospital.issue("edge")
    fake = edge_with_study(FakeEdge((identity.certificate, identity.key)))
    try:
        good = client(fake.url, ca_file=str(hospital.certificate))
        assert good.study(documents.STUDY).patient.patient_id == "P-17"
        for ca_file in ("", str(stranger.certificate)):
            with pytest.raises(CertificateRefused):
                client(fake.url, ca_file=ca_file).study(documents.STUDY)
        assert [path for _, path in fake.calls].count(f"/studies/{documents.STUDY}") == 1
    finally:
        fake.down()


def test_certificate_of_another_machine_is_refused(tmp_path: Path) -> None:
    hospital = Authority(tmp_path / "hospital")
    identity = hospital.issue("edge", address="10.9.9.9")
    fake = FakeEdge((identity.certificate, identity.key))
    try:
        with pytest.raises(CertificateRefused, match="IP address mismatch"):
            client(fake.url, ca_file=str(hospital.certificate)).health()
    finally:
        fake.down()


def test_authority_that_cannot_be_read_is_said() -> None:
    with pytest.raises(CertificateRefused, match="cannot read the authorities in /nowhere"):
        client("https://127.0.0.1:1", ca_file="/nowhere")


def test_plain_edge_that_is_called_with_https_is_no_edge(edge: FakeEdge) -> None:
    with pytest.raises(NotAnEdge, match="perhaps it is http://"):
        client(edge.url.replace("http://", "https://")).health()


def test_wrong_token_is_refused_and_not_tried_again(edge: FakeEdge) -> None:
    with pytest.raises(TokenRefused):
        client(edge.url, "another").study(documents.STUDY)
    assert len(edge.calls) == 1
    assert client(edge.url, "another").health().state == "ok"


def test_newer_interface_is_said_with_its_version(edge: FakeEdge) -> None:
    edge.version = "2"
    with pytest.raises(WrongVersion, match="speaks interface 2, this program 1"):
        client(edge.url).health()


def test_address_that_is_none_is_said_before_anything_is_sent() -> None:
    for url in ("", "edge.example.org", "ftp://edge", "http://edge:port", "http://"):
        with pytest.raises(Unreachable, match="no address of an edge"):
            client(url)


def test_other_web_server_and_redirect_are_no_edge_and_get_no_second_call() -> None:
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 F\r\nLocation: http://evil/\r\n\r\n",
    ):
        with Server(answer) as (url, asked), pytest.raises(NotAnEdge):
            client(url).study(documents.STUDY)
        assert len(asked) == 1


def test_answer_that_is_cut_short_is_tried_again_and_then_said(edge: FakeEdge) -> None:
    head = b"HTTP/1.1 200 OK\r\nWetread-Api: 1\r\nContent-Length: 100\r\n\r\n{"
    with Server(head) as (url, asked):
        with pytest.raises(Unreachable, match="broke"):
            client(url).study(documents.STUDY)
        assert len(asked) == 4


def test_busy_edge_is_asked_again_after_the_time_it_names(edge: FakeEdge) -> None:
    refusals = [{"status": 503, "detail": "starting"}] * 2
    edge.answer_first = lambda method, path: refusals.pop() if refusals else None
    assert client(edge.url).study(documents.STUDY).line.state == "complete"
    assert len(edge.calls) == 3


def test_edge_that_stays_busy_says_its_own_sentence(edge: FakeEdge) -> None:
    edge.answer_first = lambda method, path: {"status": 503, "detail": "the disk is full"}
    with pytest.raises(Busy, match="the disk is full"):
        client(edge.url).study(documents.STUDY)


def test_what_is_not_there_is_not_tried_again(edge: FakeEdge) -> None:
    with pytest.raises(NotHere, match=r"no study 9\.9 here"):
        client(edge.url).study("9.9")
    assert len(edge.calls) == 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d.pop("findings"), "'findings' should be a list, got nothing"),
        (lambda d: d["findings"][1].update(evaluation="maybe"), r"findings\[1\]: 'evaluation' should be one of"),
        (lambda d: d["findings"][0].update(tracking_uid=7), "'tracking_uid' should be a string, got a number"),
        (lambda d: d["findings"][1].update(tracking_uid="2.25.1"), "same tracking UID"),
        (lambda d: d["input"].update(affine=[[1, 2]]), "has not 4 rows"),
        (lambda d: d["input"]["affine"][0].__setitem__(0, float("nan")), "expected 4 numbers"),
        (lambda d: d["labels"].update(dtype="int16"), "a label map of int16"),
        (lambda d: d["labels"].update(shape=[0, 1, 1]), "without voxels"),
        (lambda d: d.update(patient=None), "expected an object, got null"),
    ],
)
def test_answer_that_breaks_the_contract_is_refused_with_the_place(
    edge: FakeEdge, spoil: Callable[[documents.Document], object], said: str
) -> None:
    job = edge_with_result(edge)
    assert job.result is not None
    spoil(job.result)
    with pytest.raises(AnswerInvalid, match=said) as caught:
        client(edge.url).result("job-1")
    assert "Meier" not in str(caught.value)


@pytest.mark.parametrize("values", [bytes(119), bytes(121), bytes(50_000_000)], ids=["fewer", "more", "bomb"])
def test_label_map_of_another_size_is_refused(edge: FakeEdge, values: bytes) -> None:
    job = edge_with_result(edge)
    job.labels = values
    here = client(edge.url)
    with pytest.raises(AnswerInvalid, match="expected 120 voxels, got"):
        here.labels(here.result("job-1"))


def test_label_map_that_is_no_gzip_is_refused(edge: FakeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    edge_with_result(edge)
    monkeypatch.setattr(gzip, "compress", lambda values: values)
    here = client(edge.url)
    with pytest.raises(AnswerInvalid, match="expected gzip"):
        here.labels(here.result("job-1"))


def test_progress_is_followed_over_a_restart_without_telling_anything_twice(edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.progress.clear()
    edge.tell(job, state="running", percent=1)
    told: list[Progress] = []
    troubles: list[EdgeError] = []
    news = threading.Condition()

    def tell(progress: Progress) -> None:
        with news:
            told.append(progress)
            news.notify_all()

    following = Following(client(edge.url), "job-1", on_progress=tell, on_trouble=troubles.append)
    _heard(news, told, 1)
    edge.tell(job, state="running", percent=2)
    _heard(news, told, 2)
    edge.down()
    edge.up()
    edge.tell(job, state="done")
    assert following.join(20)
    assert [p.percent for p in told if p.state == "running"][:2] == [1, 2]
    assert told[-1].is_final
    assert troubles


def test_following_that_is_stopped_ends_at_once_though_the_edge_is_silent(edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.progress.clear()
    edge.tell(job, state="running", percent=1)
    told: list[Progress] = []
    news = threading.Condition()

    def tell(progress: Progress) -> None:
        with news:
            told.append(progress)
            news.notify_all()

    following = Following(client(edge.url), "job-1", on_progress=tell, on_trouble=lambda error: None)
    _heard(news, told, 1)
    following.stop()
    assert following.join(2)


def test_job_that_is_gone_ends_the_following(edge: FakeEdge) -> None:
    troubles: list[EdgeError] = []
    following = Following(client(edge.url), "job-9", on_progress=lambda p: None, on_trouble=troubles.append)
    assert following.join(10)
    assert [type(t) for t in troubles] == [NotHere]


def test_every_error_of_the_edge_is_a_card_in_both_languages_without_the_token(edge: FakeEdge) -> None:
    errors: list[Exception] = []
    for ask in (
        lambda: client(edge.url, "another").study("1"),
        lambda: client(edge.url).study("9.9"),
        lambda: client("nonsense"),
        lambda: client("http://127.0.0.1:1").health(),
    ):
        with pytest.raises(EdgeError) as caught:
            ask()
        errors.append(caught.value)
    for error in errors:
        card = card_of(error, edge.url)
        english, chinese = catalog("en")(card.what), catalog("zh_CN")(card.what)
        assert english != chinese
        assert TOKEN not in card.details + english
        assert f"code: {error.code}" in card.details  # type: ignore[attr-defined]


def _heard(news: threading.Condition, told: list[Progress], n: int) -> None:
    with news:
        assert news.wait_for(lambda: len(told) >= n, 10)


class Server:
    """Answers every connection with the same bytes and closes it."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self.asked = answer, []  # type: ignore[var-annotated]
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> tuple[str, list[bytes]]:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}", self.asked

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536))
                connection.sendall(self._answer)


def test_tls_below_1_2_is_not_spoken(tmp_path: Path) -> None:
    hospital = Authority(tmp_path / "hospital")
    edge = client("https://127.0.0.1:1", ca_file=str(hospital.certificate))
    context = edge.http._context
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
