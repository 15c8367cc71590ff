"""Delivery over DICOM: against Orthanc, and against peers that misbehave."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel

from outboxes import PATIENT, SECONDARY_CAPTURE, SEGMENTATION, Bed, write_object
from peers import HOST, Orthanc
from waiting import until
from wetread.deliver.commitments import apply_report
from wetread.deliver.delivery import Delivery
from wetread.deliver.destination import DestinationSettings, PeerAbilities, open_destination
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import DeliverySettings, Pace
from wetread.deliver.reports import REPORTS, keep_report, kept_reports
from wetread.dimse.commitment import ask_commitment
from wetread.dimse.scu import Remote
from wetread.errors import DestinationUnavailable, ServiceNotOffered
from wetread.receive.admission import Sender
from wetread.receive.listener import Callbacks, CalledAe, Listener, ListenerSettings

UIDS = ("1.2.840.5", "1.2.840.6", "1.2.840.7")


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def delivery_to(
    bed: Bed, port: int, *, query: bool = False, commitment: bool = False, timeout_s: float = 1.0
) -> Delivery:
    remote = Remote(HOST, port, "ORTHANC", timeout_s=timeout_s)
    settings = DestinationSettings("pacs", "dicom", peer="pacs")
    return bed.delivery(open_destination(settings, remote, PeerAbilities(query, commitment)), first_delay_s=60.0)


@contextmanager
def peer(
    on_store: Callable[[Any], Any], *, classes: tuple[str, ...] = (SECONDARY_CAPTURE, SEGMENTATION)
) -> Iterator[int]:
    """A storage SCP whose answers a test writes."""
    ae = AE(ae_title="ORTHANC")
    ae.supported_contexts = [build_context(uid) for uid in classes]
    server = ae.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        ae.shutdown()


def _status(code: int, comment: str = "") -> Dataset:
    ds = Dataset()
    ds.Status = code
    if comment:
        ds.ErrorComment = comment
    return ds


def _ours(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [r for r in caplog.records if r.name.startswith("wetread")]


def _uid(event: Any) -> str:
    return str(event.request.AffectedSOPInstanceUID)


@pytest.mark.parametrize("code", [0xB000, 0xB006, 0xB007])
def test_warning_means_taken_and_is_kept(bed: Bed, code: int) -> None:
    bed.add_study(*UIDS)
    with peer(lambda _event: _status(code, "Patient ID coerced")) as port:
        delivery_to(bed, port).deliver_due()
    assert bed.states() == ["delivered"] * 3
    assert f"0x{code:04X}" in bed.row(UIDS[0])["warning"]
    assert "Patient ID coerced" in bed.row(UIDS[0])["warning"]


def test_out_of_resources_stops_the_study_there_and_all_of_it_waits(bed: Bed) -> None:
    bed.add_study(*UIDS)
    asked: list[str] = []

    def on_store(event: Any) -> Dataset:
        asked.append(_uid(event))
        return _status(0xA700 if len(asked) == 2 else 0x0000, "disk full")

    with peer(on_store) as port:
        delivery_to(bed, port).deliver_due()
    assert asked == list(UIDS[:2]), "the third refers to the second"
    assert bed.states() == ["delivered", "pending", "pending"]
    row = bed.row(UIDS[1])
    assert (row["refused"], row["last_error"].partition("status ")[2]) == (0, "0xA700 (out of resources) disk full")
    assert row["available_at"] == bed.row(UIDS[2])["available_at"]


@pytest.mark.parametrize("code", [0xA700, 0xB000, 0xC000])
def test_words_of_the_peer_are_kept_but_not_in_timeline_or_log(
    bed: Bed, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    bed.add_study(UIDS[0])
    caplog.set_level("DEBUG")
    with peer(lambda _event: _status(code, "MUSTER ANNA is locked")) as port:
        delivery_to(bed, port).deliver_due()
    row = bed.row(UIDS[0])
    assert "MUSTER ANNA is locked" in row["last_error"] + row["warning"]
    said = [*bed.events("delivered"), *bed.events("not_delivered"), *(r.getMessage() for r in _ours(caplog))]
    assert said
    assert not any("MUSTER" in line for line in said)


@pytest.mark.parametrize("code", [0xC000, 0xA900, 0x0122])
def test_refusal_of_one_object_is_its_own(bed: Bed, code: int) -> None:
    bed.add_study(*UIDS)
    with peer(lambda event: _status(code if _uid(event) == UIDS[1] else 0x0000)) as port:
        delivery_to(bed, port).deliver_due()
    assert bed.states() == ["delivered", "pending", "delivered"]
    assert bed.row(UIDS[1])["refused"] == 1


def test_refused_sop_class_does_not_stop_the_rest(bed: Bed) -> None:
    bed.add_study(*UIDS, sop_classes=(SEGMENTATION, SECONDARY_CAPTURE, SECONDARY_CAPTURE))
    with peer(lambda _event: 0x0000, classes=(SECONDARY_CAPTURE,)) as port:
        delivery = delivery_to(bed, port)
        delivery.deliver_due()
        assert bed.states() == ["pending", "delivered", "delivered"]
        assert f"does not accept SOP class {SEGMENTATION}" in bed.row(UIDS[0])["last_error"]
        bed.hours.passed_s += 60.0
        assert not delivery.deliver_due(), "not tried again with what is only late"


def test_peer_that_accepts_nothing_of_it_is_not_an_absent_peer(bed: Bed) -> None:
    bed.add_study(UIDS[0], sop_classes=(SEGMENTATION,))
    bed.add_study(UIDS[1])
    with peer(lambda _event: 0x0000, classes=(SECONDARY_CAPTURE,)) as port:
        delivery = delivery_to(bed, port)
        assert delivery.deliver_due()
        assert delivery.deliver_due()
    assert bed.states() == ["pending", "delivered"]
    assert bed.row(UIDS[0])["refused"] == 1


def test_abort_in_the_middle_keeps_what_was_taken(bed: Bed) -> None:
    bed.add_study(*UIDS)

    def on_store(event: Any) -> int:
        if _uid(event) == UIDS[1]:
            event.assoc.abort()
        return 0x0000

    with peer(on_store) as port:
        delivery_to(bed, port).deliver_due()
    assert bed.states() == ["delivered", "pending", "pending"]


def test_peer_that_takes_the_connection_and_says_nothing_costs_one_time_out(bed: Bed) -> None:
    bed.add_study(UIDS[0])
    bed.add_study(UIDS[1])
    with closing(socket.create_server((HOST, 0))) as silent:
        delivery = delivery_to(bed, silent.getsockname()[1])
        assert delivery.deliver_due()
        assert not delivery.deliver_due(), "nobody there: the other study is not tried at once"
    assert bed.states() == ["pending", "pending"]
    assert "cannot be reached" in bed.row(UIDS[0])["last_error"]


def test_peer_that_accepts_and_then_says_nothing_is_given_up(bed: Bed) -> None:
    bed.add_study(*UIDS)
    bed.add_study("1.2.840.8")
    done = threading.Event()

    def on_store(event: Any) -> int:
        if _uid(event) == UIDS[0]:
            done.wait(30.0)
        return 0x0000

    with peer(on_store) as port:
        try:
            delivery = delivery_to(bed, port)
            assert delivery.deliver_due()
            assert bed.states() == ["pending"] * 4
            assert "gave no answer" in bed.row(UIDS[0])["last_error"]
            assert delivery.deliver_due(), "another study may fare better"
            assert bed.row("1.2.840.8")["state"] == "delivered"
        finally:
            done.set()


def test_duplicate_is_there_already(bed: Bed) -> None:
    bed.add_study(UIDS[0])
    with peer(lambda _event: _status(0x0111)) as port:
        delivery_to(bed, port).deliver_due()
    assert bed.states() == ["delivered"]
    assert "duplicate" in bed.row(UIDS[0])["warning"]


@pytest.fixture
def listening(bed: Bed) -> Iterator[int]:
    """Our listener, for a peer that may report and not send; its port."""
    senders = (Sender("pacs", "ORTHANC", ("127.0.0.1/32",), may_send=False),)
    reported = partial(keep_report, bed.folder / REPORTS)
    callbacks = Callbacks(keep=_nothing, note=lambda _note: None, reported=reported)
    listener = Listener(ListenerSettings(host=HOST, port=0, called=(CalledAe("WETREAD"),)), senders, callbacks)
    yield listener.start()
    listener.stop()


def _nothing(_received: object) -> None:
    raise AssertionError("nothing may be kept of a peer that may only report")


@contextmanager
def running(orthanc: Orthanc) -> Iterator[Orthanc]:
    orthanc.start()
    try:
        yield orthanc
    finally:
        orthanc.stop()


def apply_reports(bed: Bed) -> bool:
    """What the coordinator does."""
    outbox = Outbox("pacs", bed.db, Pace(DeliverySettings(), bed.hours.clock))
    applied = [
        apply_report(bed.db, kept.report, outboxes={"pacs": outbox}) for kept in kept_reports(bed.folder / REPORTS)
    ]
    return any(applied)


@pytest.mark.peer
def test_orthanc_commits_in_an_association_of_its_own(bed: Bed, tmp_path: Path, listening: int) -> None:
    bed.add_study(*UIDS)
    with running(Orthanc(tmp_path / "orthanc", knows=listening)) as orthanc:
        delivery = delivery_to(bed, orthanc.dicom_port, commitment=True, timeout_s=10.0)
        assert delivery.deliver_due()
        assert bed.row(UIDS[0])["verified"] == ""
        assert delivery.deliver_due()
        until(lambda: apply_reports(bed), what="Orthanc's report is applied")
    assert [bed.row(uid)["verified"] for uid in UIDS] == ["commitment"] * 3


@pytest.mark.peer
def test_what_orthanc_lost_after_it_took_it_is_sent_again(bed: Bed, tmp_path: Path, listening: int) -> None:
    bed.add_study(*UIDS)
    with running(Orthanc(tmp_path / "orthanc", knows=listening)) as orthanc:
        delivery = delivery_to(bed, orthanc.dicom_port, commitment=True, timeout_s=10.0)
        assert delivery.deliver_due()
        lost = next(i for i in orthanc.instances() if i["MainDicomTags"]["SOPInstanceUID"] == UIDS[1])
        orthanc.delete(f"/instances/{lost['ID']}")
        assert delivery.deliver_due()
        until(lambda: apply_reports(bed), what="Orthanc's report is applied")
        assert [bed.row(uid)["verified"] for uid in UIDS] == ["commitment", "", "commitment"]
        assert bed.states() == ["delivered", "pending", "delivered"]
        bed.hours.passed_s += 3600.0
        assert delivery.deliver_due()
        assert {i["MainDicomTags"]["SOPInstanceUID"] for i in orthanc.instances()} == set(UIDS)


@pytest.mark.peer
def test_orthanc_is_asked_what_arrived_and_whose_study_it_is(bed: Bed, tmp_path: Path) -> None:
    bed.add_study(*UIDS)
    with running(Orthanc(tmp_path / "orthanc")) as orthanc:
        delivery = delivery_to(bed, orthanc.dicom_port, query=True, timeout_s=10.0)
        assert delivery.deliver_due()
        assert delivery.deliver_due()
        assert [bed.row(uid)["verified"] for uid in UIDS] == ["query"] * 3
        # The archive now has the study under the name it was sent with; a second job carries another name.
        path = bed.folder / "results" / "1.2.840.9.dcm"
        write_object(path, "1.2.1", "1.2.840.9", patient=dataclasses.replace(PATIENT, name="Other^Anna"))
        bed.add_result("job1", "1.2.840.9", path, 3)
        assert delivery.deliver_due()
    row = bed.row("1.2.840.9")
    assert (row["state"], row["hold_reason"]) == ("held", "patient check: pacs has the study with another patient name")


def test_report_on_the_same_association(bed: Bed) -> None:
    with committing(lambda ds: (ds, 1)) as port:
        report = ask_commitment(Remote(HOST, port, "ORTHANC", timeout_s=5.0), "1.2.9", [("1.2", "1.5")], wait_s=5.0)
    assert report is not None
    assert (report.transaction_uid, report.committed, report.failed) == ("1.2.9", ("1.5",), ())


def test_report_of_another_transaction_is_not_taken_for_ours(bed: Bed) -> None:
    def other(ds: Dataset) -> tuple[Dataset, int]:
        ds.TransactionUID = "1.2.3.4"
        return ds, 1

    with committing(other) as port:
        remote = Remote(HOST, port, "ORTHANC", timeout_s=5.0)
        assert ask_commitment(remote, "1.2.9", [("1.2", "1.5")], wait_s=0.5) is None


def test_refused_commitment_request_is_an_error(bed: Bed) -> None:
    with committing(lambda ds: (ds, 1), status=0x0213) as port:
        remote = Remote(HOST, port, "ORTHANC", timeout_s=5.0)
        with pytest.raises(DestinationUnavailable, match="0x0213"):
            ask_commitment(remote, "1.2.9", [("1.2", "1.5")], wait_s=0.0)


def test_peer_without_storage_commitment_is_named_as_such(bed: Bed) -> None:
    with peer(lambda _event: 0x0000) as port, pytest.raises(ServiceNotOffered, match="Storage Commitment"):
        ask_commitment(Remote(HOST, port, "ORTHANC", timeout_s=5.0), "1.2.9", [("1.2", "1.5")], wait_s=0.0)


def test_peer_that_only_reports_may_not_send(bed: Bed, tmp_path: Path, listening: int) -> None:
    bed.add_study(UIDS[0])
    remote = Remote(HOST, listening, "WETREAD", calling_ae_title="ORTHANC")
    settings = DestinationSettings("pacs", "dicom", peer="pacs")
    bed.delivery(open_destination(settings, remote)).deliver_due()
    assert bed.states() == ["pending"]
    assert "may not send" in bed.row(UIDS[0])["last_error"]


def test_peer_reports_in_the_role_of_provider_and_is_answered_after_the_report_is_on_disk(
    bed: Bed, listening: int
) -> None:
    ds = Dataset()
    ds.TransactionUID = "1.2.9"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, item.FailureReason = SECONDARY_CAPTURE, "1.5", 0x0112
    ds.FailedSOPSequence = [item]
    ae = AE(ae_title="ORTHANC")
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = ae.associate(HOST, listening, ae_title="WETREAD", ext_neg=[role])
    try:
        assert assoc.accepted_contexts[0].as_scp
        status, _ = assoc.send_n_event_report(ds, 2, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        (kept,) = kept_reports(bed.folder / REPORTS)
        assert (status.Status, kept.peer) == (0x0000, "pacs")
        assert (kept.report.transaction_uid, kept.report.failed) == ("1.2.9", (("1.5", 0x0112),))
        del ds.TransactionUID
        status, _ = assoc.send_n_event_report(ds, 2, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        assert status.Status == 0x0115
        assert len(list(kept_reports(bed.folder / REPORTS))) == 1
    finally:
        assoc.release()


def test_modality_that_asks_us_for_commitment_is_told_no(bed: Bed, listening: int) -> None:
    remote = Remote(HOST, listening, "WETREAD", calling_ae_title="ORTHANC", timeout_s=5.0)
    with pytest.raises(DestinationUnavailable, match="answered the storage commitment request with 0x0124"):
        ask_commitment(remote, "1.2.9", [("1.2", "1.5")], wait_s=0.0)


@contextmanager
def committing(answer: Callable[[Dataset], tuple[Dataset, int]], *, status: int = 0x0000) -> Iterator[int]:
    """A storage commitment SCP that reports on the association of the request."""

    def on_action(event: Any) -> tuple[int, None]:
        if status == 0x0000:
            ds, event_type = answer(event.action_information)
            threading.Thread(target=_report, args=(event.assoc, ds, event_type), daemon=True).start()
        return status, None

    ae = AE(ae_title="ORTHANC")
    ae.supported_contexts = [build_context(StorageCommitmentPushModel)]
    server = ae.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, on_action)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        ae.shutdown()


def _report(assoc: Any, ds: Dataset, event_type: int) -> None:
    until(lambda: not assoc._is_paused, what="the request is answered")
    assoc.send_n_event_report(ds, event_type, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
