"""STOW-RS and QIDO-RS: the committed bytes go out, and only what the archive says of each object is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from outboxes import PATIENT, Bed, write_object
from peers import free_port
from wetread.deliver.destination import (
    DestinationSettings,
    Outcome,
    PeerAbilities,
    StudyIdentity,
    open_destination,
)
from wetread.deliver.dicomweb import DicomwebDestination
from wetread.errors import DestinationUnavailable


def stored(uid: str) -> object:
    return {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}}


STORED = stored("1.5")


@dataclass
class Web:
    """An archive on the loopback that answers every request with the next of ``answers``."""

    answers: list[tuple[int, object]]
    port: int = 0
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def destination(self, **settings: Any) -> DicomwebDestination:
        url = f"http://127.0.0.1:{self.port}/dicom-web/"
        opened = open_destination(
            DestinationSettings("cloud", "dicomweb", url=url, **settings), None, PeerAbilities(query=True)
        )
        assert isinstance(opened, DicomwebDestination)
        return opened


@contextmanager
def web(*answers: tuple[int, object]) -> Iterator[Web]:
    archive = Web(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            archive.requests.append((self.command, self.path, dict(self.headers), body))
            status, document = archive.answers.pop(0)
            answer = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(answer)))
            if 300 <= status < 400:
                self.send_header("Location", f"http://127.0.0.1:{archive.port}/elsewhere")
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    archive.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"1.{n}.dcm" for n in (5, 6, 7)]
    for path in made:
        write_object(path, "1.2.3", path.stem)
    return made


def test_body_is_one_part_with_the_bytes_on_disk(paths: list[Path]) -> None:
    with web((200, STORED)) as archive:
        (answer,) = archive.destination().deliver(paths[:1])
    assert answer.outcome is Outcome.TAKEN
    ((method, path, headers, body),) = archive.requests
    assert (method, path) == ("POST", "/dicom-web/studies")
    assert "Transfer-Encoding" not in headers
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
    message = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body, policy=HTTP)
    (part,) = message.iter_parts()  # type: ignore[attr-defined]
    assert part.get_content_type() == "application/dicom"
    assert paths[0].read_bytes() in body


def test_token_is_sent_and_read_anew_each_time(paths: list[Path], tmp_path: Path) -> None:
    token = tmp_path / "token"
    with web((200, STORED), (200, STORED)) as archive:
        destination = archive.destination(token_file=str(token))
        for secret in ("first", "second"):
            token.write_text(f"{secret}\n")
            destination.deliver(paths[:1])
    assert [r[2]["Authorization"] for r in archive.requests] == ["Bearer first", "Bearer second"]


def test_redirect_is_not_followed_with_token_and_patient(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with web((307, None), (200, STORED)) as archive:
        with pytest.raises(DestinationUnavailable, match="HTTP 307"):
            archive.destination(token_file=str(tmp_path / "token")).deliver(paths[:1])
        assert len(archive.requests) == 1


def test_warning_is_kept(paths: list[Path]) -> None:
    item = {"00081155": {"vr": "UI", "Value": ["1.5"]}, "00081196": {"vr": "US", "Value": [0xB000]}}
    with web((202, {"00081199": {"vr": "SQ", "Value": [item]}})) as archive:
        (answer,) = archive.destination().deliver(paths[:1])
    assert (answer.outcome, answer.warning) == (Outcome.TAKEN, "cloud answered warning 0xB000")


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (409, 0x0122, Outcome.REFUSED),
        (202, 0xC000, Outcome.REFUSED),
        (200, 0xA900, Outcome.REFUSED),
        (409, 0xA700, Outcome.FAILED),
    ],
)
def test_failure_reason_decides_whether_the_rest_goes_on(
    paths: list[Path], status: int, reason: int, outcome: Outcome
) -> None:
    item = {"00081155": {"vr": "UI", "Value": ["1.5"]}, "00081197": {"vr": "US", "Value": [reason]}}
    with web((status, {"00081198": {"vr": "SQ", "Value": [item]}}), (200, stored("1.6"))) as archive:
        answers = archive.destination().deliver(paths[:2])
    assert answers[0].outcome is outcome
    assert f"0x{reason:04X}" in answers[0].error
    assert answers[1].accepted is (outcome is Outcome.REFUSED)


@pytest.mark.parametrize("document", [None, [], {}, {"00081199": {"vr": "SQ", "Value": []}}, stored("1.6")])
def test_success_that_does_not_name_the_object_is_not_believed(paths: list[Path], document: object) -> None:
    with web((200, document)) as archive:
        (answer,) = archive.destination().deliver(paths[:1])
    assert answer.outcome is Outcome.FAILED
    assert "without saying that it stored the object" in answer.error


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_archive_that_lets_nobody_in_is_unavailable(paths: list[Path], status: int) -> None:
    with web((status, None)) as archive, pytest.raises(DestinationUnavailable, match=f"HTTP {status}"):
        archive.destination().deliver(paths[:1])


def test_what_went_before_a_failure_stays_taken_and_the_rest_waits(paths: list[Path]) -> None:
    with web((200, STORED), (503, None)) as archive:
        answers = archive.destination().deliver(paths)
    assert [a.outcome for a in answers] == [Outcome.TAKEN, Outcome.FAILED, Outcome.FAILED]
    assert len(archive.requests) == 2


def test_messages_do_not_carry_the_address_of_the_study(paths: list[Path]) -> None:
    settings = DestinationSettings("cloud", "dicomweb", url=f"http://127.0.0.1:{free_port()}/x")
    destination = open_destination(settings, None, PeerAbilities(query=True))
    assert destination.archive is not None
    with pytest.raises(DestinationUnavailable) as caught:
        destination.archive.study("1.2.3")
    assert str(caught.value) == "cloud cannot be reached: no connection, or it broke"


def test_study_in_the_archive_is_told_with_all_name_groups() -> None:
    study = {
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Muster^Anna", "Ideographic": "山田"}]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00100030": {"vr": "DA"},
        "00080050": {"vr": "SH", "Value": ["A1"]},
    }
    other = {"0020000D": {"vr": "UI", "Value": ["1.2.4"]}}
    with web((200, [study, other])) as archive:
        asked = archive.destination().archive
        assert asked is not None
        (found,) = asked.study("1.2.3")
    assert found.patient.name == "Muster^Anna=山田"
    assert (found.patient.patient_id, found.patient.birth_date, found.accession_number) == ("P1", "", "A1")
    assert isinstance(found, StudyIdentity)


@pytest.mark.parametrize("status", [204, 404])
def test_study_the_archive_does_not_have(status: int) -> None:
    with web((status, None)) as archive:
        asked = archive.destination().archive
        assert asked is not None
        assert asked.study("1.2.3") == ()


@pytest.mark.parametrize("answer", [(500, None), (200, None), (200, {"error": 1})])
def test_archive_that_answers_nonsense_counts_as_not_asked(answer: tuple[int, object]) -> None:
    with web(answer) as archive:
        asked = archive.destination().archive
        assert asked is not None
        with pytest.raises(DestinationUnavailable, match="cloud answered a query"):
            asked.study("1.2.3")


@pytest.mark.peer
def test_orthanc_over_the_web_checked_sent_and_found(tmp_path: Path) -> None:
    import dataclasses

    from peers import Orthanc

    bed = Bed(tmp_path)
    bed.add_study("1.2.840.5", "1.2.840.6")
    orthanc = Orthanc(tmp_path / "orthanc", dicomweb=True)
    orthanc.start()
    try:
        settings = DestinationSettings("pacs", "dicomweb", url=orthanc.dicomweb_url)
        delivery = bed.delivery(open_destination(settings, None, PeerAbilities(query=True)))
        assert delivery.deliver_due()
        assert delivery.deliver_due()
        assert [bed.row(uid)["verified"] for uid in ("1.2.840.5", "1.2.840.6")] == ["query", "query"]
        path = bed.folder / "results" / "1.2.840.9.dcm"
        write_object(path, "1.2.1", "1.2.840.9", patient=dataclasses.replace(PATIENT, birth_date="19700201"))
        bed.add_result("job1", "1.2.840.9", path, 3)
        assert delivery.deliver_due()
        assert bed.row("1.2.840.9")["hold_reason"] == "patient check: pacs has the study with another birth date"
    finally:
        orthanc.stop()
