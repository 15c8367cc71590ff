"""An archive over the web: STOW-RS (PS3.18 10.5), and QIDO-RS (10.6) where its settings say that it answers.

One request for each object: an answer belongs to its object, and an object that is refused or breaks the connection
takes no other with it. The bytes on disk are the body part, nothing is decoded.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pydicom
import requests

from wetread.deliver.destination import (
    Answer,
    Commitment,
    DestinationSettings,
    Negotiator,
    Outcome,
    PeerAbilities,
    StudyIdentity,
)
from wetread.dimse.scu import Remote
from wetread.errors import DestinationUnavailable, Misconfigured
from wetread.records.study import Patient

_TIMEOUTS_S = (10.0, 60.0)  # to connect, and between two packets of the answer
_BLOCK_BYTES = 1 << 20

# The answer's data set (PS3.18 Annex I.2), by tag.
_REFERENCED, _FAILED = "00081199", "00081198"
_SOP_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"

# What speaks of the object, not of the archive's condition.
_REFUSALS = frozenset({400, 409, 413, 415})


class DicomwebClient:
    """Requests with this destination's token and certificates; the error of a request names host and status only."""

    def __init__(self, settings: DestinationSettings) -> None:
        self.base = settings.url.rstrip("/")
        self._settings = settings
        self._session = requests.Session()
        # The configuration is the only truth: a .netrc would replace our token, a variable would choose a proxy.
        self._session.trust_env = False

    def request(self, method: str, path: str, *, headers: Mapping[str, str], **more: Any) -> requests.Response:
        """One request. Raises: ``DestinationUnavailable`` when there is no answer."""
        try:
            return self._session.request(
                method,
                f"{self.base}{path}",
                headers={**headers, **self._authorization()},
                timeout=_TIMEOUTS_S,
                verify=self._settings.ca_file or True,
                # A redirect could carry the token and the patient elsewhere.
                allow_redirects=False,
                **more,
            )
        except (requests.RequestException, OSError) as exc:
            raise DestinationUnavailable(f"{self._settings.name} cannot be reached: {_why(exc)}") from exc

    def _authorization(self) -> dict[str, str]:
        if not self._settings.token_file:
            return {}
        try:
            token = Path(self._settings.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise DestinationUnavailable(f"the token file of {self._settings.name} cannot be read") from exc
        return {"Authorization": f"Bearer {token}"}


class DicomwebArchive:
    """QIDO-RS."""

    def __init__(self, client: DicomwebClient, name: str) -> None:
        self._client = client
        self._name = name

    def study(self, study_instance_uid: str) -> tuple[StudyIdentity, ...]:
        """See ``Archive``."""
        wanted = "PatientID,IssuerOfPatientID,PatientName,PatientBirthDate,PatientSex,AccessionNumber"
        query = f"/studies?StudyInstanceUID={quote(study_instance_uid)}&includefield={wanted}"
        found = [s for s in self._ask(query) if _text(s, "0020000D") == study_instance_uid]
        return tuple(_identity(study) for study in found)

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """See ``Archive``."""
        path = f"/studies/{quote(study_instance_uid)}/series/{quote(series_instance_uid)}/instances"
        return frozenset(uid for instance in self._ask(path) if (uid := _text(instance, "00080018")))

    def _ask(self, path: str) -> list[dict[str, Any]]:
        answer = self._client.request("GET", path, headers={"Accept": "application/dicom+json"})
        if answer.status_code in (204, 404):  # nothing found; some archives say 404 for a study they do not have
            return []
        if answer.status_code != 200:
            raise DestinationUnavailable(f"{self._name} answered a query with HTTP {answer.status_code}")
        try:
            found = answer.json()
            return [dict(item) for item in found]
        except (ValueError, TypeError) as exc:
            raise DestinationUnavailable(f"{self._name} answered a query with something that is no DICOM JSON") from exc


class DicomwebDestination:
    """One archive with a STOW-RS service."""

    commitment: Commitment | None = None
    negotiator: Negotiator | None = None
    proof: Literal["status", "digest"] = "status"

    def __init__(self, settings: DestinationSettings, *, query: bool) -> None:
        self._name = settings.name
        self._client = DicomwebClient(settings)
        self.archive = DicomwebArchive(self._client, settings.name) if query else None

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """Store, one request each. Raises: ``DestinationUnavailable`` when the first cannot be tried."""
        answers: list[Answer] = []
        for path in paths:
            try:
                answer = self._store(path)
            except DestinationUnavailable as exc:
                if not answers:
                    raise
                answer = Answer(Outcome.FAILED, str(exc))
            answers.append(answer)
            if answer.outcome is Outcome.FAILED:
                break
        waits = Answer(Outcome.FAILED, "waits for the object before it, which was not taken")
        return answers + [waits] * (len(paths) - len(answers))

    def _store(self, path: Path) -> Answer:
        boundary = uuid.uuid4().hex
        headers = {
            "Accept": "application/dicom+json",
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        }
        answer = self._client.request("POST", "/studies", headers=headers, data=_Multipart(path, boundary))
        if answer.status_code in (401, 403) or answer.status_code >= 500 or 300 <= answer.status_code < 400:
            raise DestinationUnavailable(f"{self._name} answered HTTP {answer.status_code} {_phrase(answer)}".rstrip())
        uid = str(pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID)
        return _judge(self._name, answer, uid)


class _Multipart:
    """A multipart/related body with one file as its one part (RFC 2046 5.1), read while it is sent."""

    def __init__(self, path: Path, boundary: str) -> None:
        self._path = path
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        """For Content-Length: not every archive takes chunks."""
        return len(self._head) + self._path.stat().st_size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self._path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
        yield self._tail


def _judge(name: str, answer: requests.Response, sop_instance_uid: str) -> Answer:
    """The answer's data set says what became of the object (PS3.18 10.5.3.2); its status line alone is not believed."""
    stored = [s for s in _references(answer, _REFERENCED) if _text(s, _SOP_INSTANCE) == sop_instance_uid]
    failed = _references(answer, _FAILED)
    if failed:
        reason = failed[0].get(_FAILURE, {}).get("Value", [0])[0]
        said = f"{name} answered HTTP {answer.status_code}, failure reason 0x{int(reason):04X}"
        # 0xA7xx: out of resources (PS3.18 Table I.2-2); everything else speaks of the object.
        return Answer(Outcome.FAILED if 0xA700 <= int(reason) <= 0xA7FF else Outcome.REFUSED, said)
    if answer.status_code in (200, 202) and stored:
        warning = stored[0].get(_WARNING, {}).get("Value", [])
        return Answer(Outcome.TAKEN, warning=f"{name} answered warning 0x{int(warning[0]):04X}" if warning else "")
    said = f"{name} answered HTTP {answer.status_code} {_phrase(answer)}".rstrip()
    if answer.status_code in _REFUSALS:
        return Answer(Outcome.REFUSED, said)
    return Answer(Outcome.FAILED, f"{said}, without saying that it stored the object")


def _references(answer: requests.Response, tag: str) -> list[dict[str, Any]]:
    try:
        ds = answer.json()
    except ValueError:
        return []
    if not isinstance(ds, dict):
        return []
    value = ds.get(tag, {}).get("Value", [])
    return [item for item in value if isinstance(item, dict)]


def _identity(study: Mapping[str, Any]) -> StudyIdentity:
    patient = Patient(
        patient_id=_text(study, "00100020"),
        issuer=_text(study, "00100021"),
        name=_name(study),
        birth_date=_text(study, "00100030"),
        sex=_text(study, "00100040"),
    )
    return StudyIdentity(patient, _text(study, "00080050"))


def _text(item: Mapping[str, Any], tag: str) -> str:
    value = item.get(tag, {}).get("Value", [])
    return str(value[0]) if value and value[0] is not None else ""


def _name(item: Mapping[str, Any]) -> str:
    """PN in the DICOM JSON model (PS3.18 F.2.2): one member for each component group."""
    value = item.get("00100010", {}).get("Value", [])
    groups = value[0] if value and isinstance(value[0], dict) else {}
    return "=".join(str(groups.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")


def _phrase(answer: requests.Response) -> str:
    return answer.reason or ""


def _why(exc: Exception) -> str:
    """Without the address: a query's address has the study in it."""
    if isinstance(exc, requests.exceptions.SSLError):
        return "its certificate is not trusted, or it does not speak TLS"
    if isinstance(exc, requests.Timeout):
        return "no answer in time"
    if isinstance(exc, requests.ConnectionError):
        return "no connection, or it broke"
    return type(exc).__name__


def open_destination(
    settings: DestinationSettings, _remote: Remote | None, abilities: PeerAbilities
) -> DicomwebDestination:
    """See ``destination.open_destination``."""
    if not settings.url:
        raise Misconfigured(f"destination {settings.name!r} of kind 'dicomweb' needs a url")
    return DicomwebDestination(settings, query=abilities.query)
