"""What a person decides about a study: held, released, corrected, taken back; and one UID with two patients."""

from __future__ import annotations

import logging
from pathlib import Path

import pydicom
import pytest

from phantoms import write_series
from queued import decision
from stored import StoredFromPeers
from wetread.errors import Misconfigured
from wetread.jobs.queue import Queue, RetrySettings
from wetread.store.requests import StudyRequests


@pytest.fixture
def store(tmp_path: Path) -> StoredFromPeers:
    return StoredFromPeers(tmp_path / "data")


@pytest.fixture
def uid(store: StoredFromPeers, tmp_path: Path) -> str:
    """A study of three images that is complete and routed."""
    phantom = write_series(tmp_path / "a", shape=(3, 16, 16))
    store.send(*phantom.paths, peer="other")
    assert store.after(5.0) == 1
    with store.db.transaction() as tx:
        tx.run("UPDATE revisions SET routed_at = 't'")
    return phantom.study_instance_uid


def _ask(store: StoredFromPeers) -> StudyRequests:
    return StudyRequests(store.db, store.revisions, who="alice")


def _state(store: StoredFromPeers) -> tuple[str, str]:
    (row,) = store.db.fetch("SELECT state, reason FROM studies")
    return row["state"], row["reason"]


def _events(store: StoredFromPeers, action: str) -> list[str]:
    return [r["detail"] for r in store.db.fetch("SELECT detail FROM events WHERE action = ?", [action])]  # type: ignore[arg-type]


def test_correction_makes_a_new_revision_at_once_by_evidence_of_a_person(store: StoredFromPeers, uid: str) -> None:
    assert _ask(store).correct(uid, {"patient_id": "P-2", "name": "Right^Rita", "sex": "F"}, "mixed up") == "complete"
    (revision,) = store.revisions.unrouted()
    assert (revision.number, revision.study.patient.patient_id) == (2, "P-2")
    assert revision.study.patient.birth_date == "19800229"
    assert revision.study.correction is not None
    assert store.evidence()[1] == ("person", "corrected by alice")
    first = store.revisions.load(1)
    assert first.study.patient.patient_id == "PH-0042", "an older revision never changes"
    assert {i.digest for s in first.study.series for i in s.instances} == {
        i.digest for s in revision.study.series for i in s.instances
    }


def test_correction_is_audited_without_patient_data_in_the_log(
    store: StoredFromPeers, uid: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        _ask(store).correct(uid, {"patient_id": "SECRET-2"}, "Mrs SECRET rang")
    assert _events(store, "corrected") == ["patient_id by alice: Mrs SECRET rang"]
    assert "SECRET" not in caplog.text
    assert "patient_id by alice" in caplog.text


def test_corrections_add_up_and_are_taken_back_together(store: StoredFromPeers, uid: str) -> None:
    ask = _ask(store)
    ask.correct(uid, {"patient_id": "P-2"}, "r")
    ask.correct(uid, {"accession_number": "A-2"}, "r")
    third = store.revisions.unrouted()[-1].study
    assert (third.patient.patient_id, third.accession_number) == ("P-2", "A-2")
    assert third.correction is not None
    assert third.correction.serial == 2
    assert ask.take_back(uid, "it was right") == "complete"
    fourth = store.revisions.unrouted()[-1]
    assert (fourth.number, fourth.study.patient.patient_id) == (4, "PH-0042")
    assert fourth.study.correction is not None
    assert fourth.study.correction.corrected == ()
    with pytest.raises(Misconfigured, match=r"nothing of study .* is corrected"):
        ask.take_back(uid, "again")


def test_late_instance_keeps_the_correction(store: StoredFromPeers, uid: str, tmp_path: Path) -> None:
    _ask(store).correct(uid, {"patient_id": "P-2"}, "r")
    late = write_series(tmp_path / "late", series_seed="late", shape=(2, 16, 16))
    store.send(*late.paths, peer="other", association="b")
    assert store.after(5.0) == 1
    assert store.revisions.unrouted()[-1].study.patient.patient_id == "P-2"


def test_nothing_unsent_leaves_with_the_former_patient(store: StoredFromPeers, uid: str) -> None:
    with store.db.transaction() as tx:
        tx.run(
            "INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version,"
            " bundle_digest, bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)"
            " VALUES ('j', 1, 1, 'r', 'live', '[]', 'b', '1', 'd', 'f', '[]', 'i', 'c', 'done', 't', 't')"
        )
        for n, state in enumerate(("pending", "held", "delivered")):
            tx.run(
                "INSERT INTO results (sop_instance_uid, job_id, position, kind, sop_class_uid, series_instance_uid,"
                " transfer_syntax_uid, path, sha256) VALUES (?, 'j', ?, 'SEG', '1', '1', '1', ?, 's')",
                [f"1.{n}", n, f"p{n}"],
            )  # type: ignore[arg-type]
            tx.run(
                "INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at)"
                " VALUES ('j', ?, 'pacs', ?, 't')",
                [f"1.{n}", state],  # type: ignore[arg-type]
            )
    with store.db.transaction() as tx:
        tx.run("UPDATE outbox SET last_error = 'cannot be reached', hold_reason = 'recalled by bob: r' WHERE id = 2")
    _ask(store).correct(uid, {"patient_id": "P-2"}, "r")
    rows = [tuple(r) for r in store.db.fetch("SELECT state, hold_reason, last_error FROM outbox ORDER BY id")]
    corrected = ("withdrawn", "withdrawn: patient corrected", "")
    assert rows == [corrected, ("withdrawn", "recalled by bob: r", ""), ("delivered", "", "")]


def test_held_study_that_is_corrected_stays_held_until_released(store: StoredFromPeers, uid: str) -> None:
    ask = _ask(store)
    ask.hold(uid, "which patient?")
    assert _state(store) == ("held", "held by alice: which patient?")
    assert ask.correct(uid, {"patient_id": "P-2"}, "r") == "held"
    assert store.revisions.unrouted() == []
    ask.release(uid, "found out")
    assert _events(store, "released") == ["by alice: found out"]
    store.after(0.0)
    assert store.after(5.0) == 1
    assert store.revisions.unrouted()[-1].study.patient.patient_id == "P-2"


def _queue(store: StoredFromPeers, revision: int, *digests: str) -> Queue:
    """The queue after route r asked for reads of these inputs in this revision."""
    queue = Queue(store.db, RetrySettings(first_delay_s=0.0), owner="me")
    queue.enqueue(study_id=1, revision_id=revision, decisions=[decision(*digests)] if digests else [])
    return queue


def test_released_study_is_not_read_as_it_was_before_it_was_corrected(store: StoredFromPeers, uid: str) -> None:
    queue = _queue(store, 1, "before")
    ask = _ask(store)
    ask.hold(uid, "which patient?")
    ask.correct(uid, {"patient_id": "P-2"}, "r")
    ask.release(uid, "found out")
    assert queue.claim() is None, "a read of the former patient, for nothing"
    store.after(0.0)
    assert store.after(5.0) == 1
    (revision,) = store.revisions.unrouted()
    claimed = _queue(store, revision.revision_id, "after").claim()
    assert claimed is not None
    assert claimed.revision_id == revision.revision_id
    states = [(r["input_digest"], r["state"]) for r in store.db.fetch("SELECT * FROM jobs ORDER BY rowid")]
    assert states == [("before", "cancelled"), ("after", "running")]


def test_study_held_before_it_was_routed_and_then_corrected_is_routed_with_its_correction(
    store: StoredFromPeers, tmp_path: Path
) -> None:
    phantom = write_series(tmp_path / "a", shape=(3, 16, 16))
    store.send(*phantom.paths, peer="other")
    assert store.after(5.0) == 1
    ask = _ask(store)
    ask.hold(phantom.study_instance_uid, "which patient?")
    ask.correct(phantom.study_instance_uid, {"patient_id": "P-2"}, "r")
    ask.release(phantom.study_instance_uid)
    assert store.revisions.unrouted() == []
    store.after(0.0)
    assert store.after(5.0) == 1
    assert [r.study.patient.patient_id for r in store.revisions.unrouted()] == ["PH-0042", "P-2"]


def test_study_corrected_while_late_instances_come_begins_no_read_of_the_former_patient(
    store: StoredFromPeers, uid: str, tmp_path: Path
) -> None:
    queue = _queue(store, 1, "before")
    late = write_series(tmp_path / "late", series_seed="late", shape=(2, 16, 16))
    store.send(*late.paths, peer="other", association="b")
    assert _ask(store).correct(uid, {"patient_id": "P-2"}, "r") == "receiving"
    assert queue.claim() is None


def test_read_of_a_route_that_is_gone_does_not_wait_for_ever_after_a_correction(
    store: StoredFromPeers, uid: str
) -> None:
    _queue(store, 1, "before")
    ask = _ask(store)
    ask.hold(uid, "r")
    ask.correct(uid, {"patient_id": "P-2"}, "r")
    ask.release(uid)
    store.after(0.0)
    store.after(5.0)
    assert _queue(store, 2).claim() is not None


def test_released_study_that_was_not_corrected_reads_on(store: StoredFromPeers, uid: str) -> None:
    queue = _queue(store, 1, "before")
    ask = _ask(store)
    ask.correct(uid, {"patient_id": "P-2"}, "r")
    queue = _queue(store, 2, "after")
    ask.hold(uid, "one more look")
    assert queue.claim() is None
    ask.release(uid)
    claimed = queue.claim()
    assert claimed is not None
    assert claimed.revision_id == 2, "corrected earlier, and the last revision says so"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"birth_date": "19800230"}, "birth date: got '19800230', expected a day as YYYYMMDD"),
        ({"birth_date": "1980-02-03"}, "expected a day as YYYYMMDD"),
        ({"birth_date": "99991231"}, "not in the future"),
        ({"birth_date": "１９８００２０３"}, "expected a day"),
        ({"sex": "W"}, "sex: got 'W', expected M, F, O or nothing"),
        ({"patient_id": ""}, "cannot be told from others"),
        ({"patient_id": "A\\B"}, "backslashes and control characters"),
        ({"name": "A\nB"}, "backslashes and control characters"),
        ({"patient_id": "x" * 65}, "got 65 characters, at most 64"),
        ({"accession_number": "x" * 17}, "at most 16"),
        ({"name": "A^B^C^D^E^F"}, "Family^Given"),
        ({"name": "A=B=C=D"}, "Family^Given"),
        ({}, "nothing to correct"),
        ({"study_date": "20260101"}, "cannot be corrected"),
    ],
)
def test_impossible_correction_is_refused_and_changes_nothing(
    store: StoredFromPeers, uid: str, attributes: dict[str, str], problem: str
) -> None:
    with pytest.raises(Misconfigured) as refused:
        _ask(store).correct(uid, attributes, "r")
    assert problem in str(refused.value)
    assert store.revisions.unrouted() == []
    assert _events(store, "corrected") == []


def test_reason_and_study_must_be_there(store: StoredFromPeers, uid: str) -> None:
    ask = _ask(store)
    for call in (
        lambda: ask.correct(uid, {"patient_id": "P-2"}, "  "),
        lambda: ask.hold(uid, ""),
        lambda: ask.take_back(uid, ""),
    ):
        with pytest.raises(Misconfigured, match="a reason is needed"):
            call()
    for call in (lambda: ask.correct("1.2.3", {"patient_id": "P"}, "r"), lambda: ask.hold("1.2.3", "r")):
        with pytest.raises(Misconfigured, match=r"no study 1\.2\.3 here"):
            call()


def test_same_correction_twice_is_refused(store: StoredFromPeers, uid: str) -> None:
    _ask(store).correct(uid, {"patient_id": "P-2"}, "r")
    with pytest.raises(Misconfigured, match="just this before"):
        _ask(store).correct(uid, {"patient_id": "P-2"}, "r")


@pytest.mark.parametrize(
    ("keyword", "value", "named"),
    [
        ("PatientID", "OTHER", "patient ID"),
        ("PatientName", "Other^Olga", "patient name"),
        ("PatientBirthDate", "19990101", "birth date"),
        ("PatientSex", "M", "sex"),
    ],
)
def test_instance_of_another_patient_holds_the_study(
    store: StoredFromPeers, tmp_path: Path, keyword: str, value: str, named: str
) -> None:
    def mutate(ds: pydicom.Dataset, k: int) -> None:
        if k == 2:
            setattr(ds, keyword, value)

    store.send(*write_series(tmp_path / "a", shape=(3, 16, 16), mutate=mutate).paths, peer="other")
    assert _state(store) == ("held", f"instances of two patients in one study: {named} differs")
    assert store.after(60.0) == 0


def test_issuer_tells_two_patients_with_one_id_apart(store: StoredFromPeers, tmp_path: Path) -> None:
    def mutate(ds: pydicom.Dataset, k: int) -> None:
        ds.IssuerOfPatientID = "HOSPITAL-A" if k else "HOSPITAL-B"

    store.send(*write_series(tmp_path / "a", shape=(3, 16, 16), mutate=mutate).paths, peer="other")
    assert _state(store)[1].endswith("issuer of patient ID differs")


def test_what_is_empty_or_written_otherwise_is_no_other_patient(store: StoredFromPeers, tmp_path: Path) -> None:
    variants = {
        1: {"PatientName": "PHANTOM^PETRA^^Dr"},
        2: {"PatientName": "", "PatientSex": ""},
        3: {"PatientBirthDate": "", "PatientName": "Phantom"},
        4: {"PatientID": " PH-0042 ", "IssuerOfPatientID": "HOSPITAL"},
        5: {"PatientSex": "U"},
    }

    def mutate(ds: pydicom.Dataset, k: int) -> None:
        for keyword, value in variants.get(k, {}).items():
            setattr(ds, keyword, value)

    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        paths = write_series(tmp_path / "a", shape=(6, 16, 16), mutate=mutate).paths
    finally:
        pydicom.config.settings.writing_validation_mode = pydicom.config.WARN
    store.send(*paths, peer="other")
    assert _state(store) == ("receiving", "")


def test_late_instance_of_a_corrected_study_may_say_either(store: StoredFromPeers, uid: str, tmp_path: Path) -> None:
    """The archive may have been corrected as well, or not yet."""
    _ask(store).correct(uid, {"patient_id": "P-2", "name": "Right^Rita"}, "r")

    def late(seed: str, **attributes: str) -> None:
        def mutate(ds: pydicom.Dataset, _k: int) -> None:
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)

        phantom = write_series(tmp_path / seed, series_seed=seed, shape=(1, 16, 16), mutate=mutate)
        store.send(*phantom.paths, peer="other", association=seed)

    late("as corrected", PatientID="P-2", PatientName="Right^Rita")
    late("as before")
    assert _state(store)[0] == "receiving"
    late("third", PatientID="P-3")
    assert _state(store)[0] == "held"


def test_study_of_two_patients_is_released_with_a_reason_only_and_both_are_named(
    store: StoredFromPeers, tmp_path: Path
) -> None:
    def mutate(ds: pydicom.Dataset, k: int) -> None:
        if k == 2:
            ds.PatientID, ds.PatientName = "OTHER", "Other^Olga"
        if k == 1:
            ds.PatientName = "PHANTOM^PETRA^^Dr"

    phantom = write_series(tmp_path / "a", shape=(3, 16, 16), mutate=mutate)
    store.send(*phantom.paths, peer="other")
    uid = phantom.study_instance_uid
    many, one = _ask(store).patients(uid)
    assert (many.patient.patient_id, many.instances, many.peers) == ("PH-0042", 2, ("other",))
    assert (one.patient.name, one.instances) == ("Other^Olga", 1)
    with pytest.raises(Misconfigured, match="name 2 patients, who differ in patient ID, patient name"):
        _ask(store).release(uid)
    assert _state(store)[0] == "held"
    _ask(store).release(uid, "one was renamed at the console")
    assert _state(store)[0] == "receiving"


def test_study_of_one_patient_needs_no_reason(store: StoredFromPeers, uid: str) -> None:
    _ask(store).hold(uid, "r")
    assert len(_ask(store).patients(uid)) == 1
    _ask(store).release(uid)
    assert _state(store)[0] == "receiving"


def test_study_that_is_held_twice_says_both_reasons_until_it_is_released(store: StoredFromPeers, uid: str) -> None:
    _ask(store).hold(uid, "wrong side marked")
    StudyRequests(store.db, store.revisions, who="bob").hold(uid, "ask the ward first")
    _ask(store).hold(uid, "wrong side marked")
    both = "held by alice: wrong side marked; held by bob: ask the ward first"
    assert _state(store) == ("held", both)
    assert _events(store, "held") == [
        "by alice: wrong side marked",
        "by bob: ask the ward first",
        "by alice: wrong side marked",
    ]
    _ask(store).release(uid)
    _ask(store).hold(uid, "new")
    assert _state(store) == ("held", "held by alice: new")


def test_study_that_a_person_holds_says_also_that_it_names_two_patients(
    store: StoredFromPeers, uid: str, tmp_path: Path
) -> None:
    def mutate(ds: pydicom.Dataset, k: int) -> None:
        ds.PatientID = "SOMEBODY-ELSE"

    _ask(store).hold(uid, "wrong side marked")
    store.send(*write_series(tmp_path / "b", shape=(3, 16, 16), series_seed="b", mutate=mutate).paths, peer="other")
    assert _state(store) == (
        "held",
        "held by alice: wrong side marked; instances of two patients in one study: patient ID differs",
    )
