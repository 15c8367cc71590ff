"""C-ECHO and C-STORE service class user: send Part 10 files to a peer, report each answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, _config, build_role
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from wetread.dimse.contexts import VERIFICATION, offered_contexts
from wetread.dimse.tls import ClientContext, RemoteTls, client_context
from wetread.errors import DestinationUnavailable, Misconfigured, NotDicom, ServiceNotOffered

_MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: context IDs are the odd numbers from 1 to 255


# PS3.4 Table B.2-1, PS3.7 Annex C
_DUPLICATE = 0x0111
_MEANING = {
    _DUPLICATE: "(duplicate SOP instance)",
    0x0122: "(SOP class not supported)",
    0x0124: "(not authorised)",
    0xA700: "(out of resources)",
    0xA900: "(data set does not match SOP class)",
    0xB000: "(coercion of data elements)",
    0xB006: "(elements discarded)",
    0xB007: "(data set does not match SOP class)",
    0xC000: "(cannot understand)",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """A peer we can call."""

    host: str
    port: int
    ae_title: str
    calling_ae_title: str = "WETREAD"
    timeout_s: float = 30.0
    tls: RemoteTls | None = None
    """None: without TLS."""

    @property
    def label(self) -> str:
        """How a message names it."""
        return f"{self.ae_title} at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SendReport:
    """How the peer answered for one file."""

    path: Path
    accepted: bool
    answer: str
    """Empty on success, else what the peer said."""
    refused: bool = False
    """Not taken for what it is (its SOP class, its content): the same again will get the same answer."""
    warning: str = ""
    """What the peer said when it took the instance all the same."""
    comment: str = ""
    """Error Comment (0000,0902) in the peer's words: it may name the patient, so it belongs into no log."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str


def echo(remote: Remote) -> None:
    """C-ECHO.

    Raises: ``DestinationUnavailable`` when the peer does not answer with success.
    """
    with association(remote, {(str(VERIFICATION), "1.2.840.10008.1.2")}) as assoc:
        status = assoc.send_c_echo()
        if not status or status.Status != 0x0000:
            raise DestinationUnavailable(f"{remote.label} did not answer C-ECHO")


def accepted_classes(remote: Remote, sop_class_uids: frozenset[str]) -> frozenset[str]:
    """Those of these storage classes that the peer accepts in Explicit VR Little Endian; nothing is sent.

    Raises: ``DestinationUnavailable`` when no association can be made.
    """
    try:
        with association(remote, {(uid, str(ExplicitVRLittleEndian)) for uid in sop_class_uids}) as assoc:
            return frozenset(str(cx.abstract_syntax) for cx in assoc.accepted_contexts)
    except ServiceNotOffered:
        return frozenset()


def send_files(
    remote: Remote,
    paths: Sequence[Path],
    *,
    in_order: bool = False,
    on_report: Callable[[SendReport], None] | None = None,
) -> list[SendReport]:
    """C-STORE every file, in order, as it is encoded on disk; one report for each.

    A context the peer refuses fails only the files that need it. When the association breaks, the rest is reported as
    not sent; with ``in_order`` also after a file that the peer could not take now, because later files refer to it.

    Raises: ``DestinationUnavailable`` when no association can be made; ``NotDicom`` when a file is not Part 10.
    """
    files = [_inspect(path) for path in paths]
    reports: list[SendReport] = []
    for batch in _batches(files):
        for report in _send_batch(remote, batch, stopped=in_order and _stops(reports), in_order=in_order):
            reports.append(report)
            if on_report is not None:
                on_report(report)
    return reports


def _send_batch(remote: Remote, batch: Sequence[_File], *, stopped: bool, in_order: bool) -> Iterator[SendReport]:
    """The files of one association."""
    if stopped:
        yield from (_waits(file) for file in batch)
        return
    try:
        with association(remote, {(f.sop_class_uid, f.transfer_syntax_uid) for f in batch}) as assoc:
            for file in batch:
                report = _waits(file) if stopped else _store(assoc, file, remote)
                stopped = stopped or (in_order and not report.accepted and not report.refused)
                yield report
    except ServiceNotOffered:
        yield from (_not_offered(remote, file) for file in batch)


def _stops(reports: Sequence[SendReport]) -> bool:
    return any(not r.accepted and not r.refused for r in reports)


def _waits(file: _File) -> SendReport:
    return SendReport(file.path, False, "waits for the object before it, which was not taken")


def _not_offered(remote: Remote, file: _File) -> SendReport:
    why = f"{remote.label} does not accept SOP class {file.sop_class_uid}"
    return SendReport(file.path, False, why, refused=True)


def _batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    """Split so that no association needs more contexts than the Standard allows."""
    batch: list[_File] = []
    contexts: set[tuple[str, str]] = set()
    for file in files:
        context = (file.sop_class_uid, file.transfer_syntax_uid)
        if context not in contexts and len(contexts) == _MAX_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        contexts.add(context)
        batch.append(file)
    if batch:
        yield batch


def _inspect(path: Path) -> _File:
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        return _File(path, str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
    except (pydicom.errors.InvalidDicomError, AttributeError, EOFError) as exc:
        raise NotDicom(f"{path.name} is not a DICOM Part 10 file") from exc


def _store(assoc: Association, file: _File, remote: Remote) -> SendReport:
    if not assoc.is_established:
        return SendReport(file.path, False, f"{remote.label} ended the association")
    try:
        status = assoc.send_c_store(file.path)
    except ValueError:
        return _not_offered(remote, file)
    except RuntimeError:
        # The peer aborted after we looked.
        return SendReport(file.path, False, f"{remote.label} ended the association")
    return _judge(file, status, remote)


def _judge(file: _File, status: Dataset, remote: Remote) -> SendReport:
    code = getattr(status, "Status", None)
    if code is None:
        return SendReport(file.path, False, f"{remote.label} gave no answer")
    if code == 0x0000:
        return SendReport(file.path, True, "")
    comment = str(getattr(status, "ErrorComment", "") or "")
    said = f"{remote.label} answered status 0x{code:04X} {_MEANING.get(code, '')}".rstrip()
    # Warnings: stored with coercion (PS3.4 Table B.2-1); a duplicate is there already (PS3.7 C.5.6).
    if 0xB000 <= code <= 0xBFFF or code == _DUPLICATE:
        return SendReport(file.path, True, "", warning=said, comment=comment)
    return SendReport(file.path, False, said, refused=_is_refusal(code), comment=comment)


def _is_refusal(code: int) -> bool:
    """Whether the status speaks of the instance, not of the peer's condition (PS3.4 Table B.2-1, PS3.7 Annex C)."""
    about_the_instance = (0x0117, 0x0119, 0x0122, 0x0124)
    return code in about_the_instance or 0xA900 <= code <= 0xA9FF or 0xC000 <= code <= 0xCFFF


@contextmanager
def association(
    remote: Remote, contexts: set[tuple[str, str]], *, store_contexts: Sequence[PresentationContext] = ()
) -> Iterator[Association]:
    """An association that proposes these ``(abstract syntax, transfer syntax)`` pairs; released at the end.

    In ``store_contexts`` the peer may send to us (C-GET): we propose to be SCP there (PS3.7 D.3.3.4).

    Raises: ``DestinationUnavailable`` with the peer's reason when there is none; its subclass ``ServiceNotOffered``
    when the peer answered and accepts none of the pairs.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    # Send the encoded bytes as they lie on disk: nothing is decoded and encoded again.
    _config.STORE_SEND_CHUNKED_DATASET = True
    ae = AE(ae_title=remote.calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = remote.timeout_s
    ae.connection_timeout = min(remote.timeout_s, 10.0)
    tls = _tls_of(remote)
    try:
        assoc = ae.associate(
            remote.host,
            remote.port,
            contexts=[*offered_contexts(contexts), *store_contexts],
            ae_title=remote.ae_title,
            ext_neg=[build_role(str(cx.abstract_syntax), scp_role=True) for cx in store_contexts],
            tls_args=(tls, remote.host) if tls else None,
        )
    except socket.gaierror as exc:
        raise DestinationUnavailable(f"{remote.label}: the host name cannot be resolved ({exc.strerror})") from exc
    if not assoc.is_established:
        if not assoc.is_rejected and assoc.rejected_contexts:
            raise ServiceNotOffered(f"{remote.label} {_refusal(assoc, tls)}")
        raise DestinationUnavailable(f"{remote.label} {_refusal(assoc, tls)}")
    _lose_no_answer(assoc)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def _lose_no_answer(assoc: Association) -> None:
    """Put back what pynetdicom's own thread takes off the queue in the moment before we begin to wait for it.

    It is about to sleep while we talk, and may have looked away between the two steps: then it drops the answer of a
    quick peer as unexpected, and we wait for it until the time-out.
    """
    serve = assoc._serve_request

    def serve_or_put_back(message: Any, context_id: int) -> None:
        if not message.is_valid_response:
            serve(message, context_id)
            return
        answers = assoc.dimse.msg_queue
        with answers.mutex:
            answers.queue.appendleft((context_id, message))
            answers.not_empty.notify()

    assoc._serve_request = serve_or_put_back


def _tls_of(remote: Remote) -> ClientContext | None:
    try:
        return client_context(remote.tls) if remote.tls else None
    except Misconfigured as exc:  # the files were fit at start; they may be so again
        raise DestinationUnavailable(f"{remote.label}: {exc}") from exc


def _refusal(assoc: Association, tls: ClientContext | None) -> str:
    """Why there is no association, in the peer's words if it said any (PS3.8 9.3.4)."""
    if not assoc.is_rejected:
        if tls and tls.problem:
            return f"cannot be reached with TLS: {tls.problem}"
        if assoc.rejected_contexts:
            services = ", ".join(sorted({UID(str(cx.abstract_syntax)).name for cx in assoc.rejected_contexts}))
            return f"does not offer what was asked for ({services})"
        return "cannot be reached"
    primitive = assoc.acceptor.primitive
    why = getattr(primitive, "reason_str", "") or "no reason given"
    return f"rejected the association: {why}"
