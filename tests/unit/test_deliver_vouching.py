"""Storage commitment for others: our word is the archive's, and what is not known is not said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outboxes import Bed, Committing
from wetread.deliver.pace import DeliverySettings, Pace
from wetread.deliver.vouching import PATIENCE_S, Client, Vouching
from wetread.dimse.commitment import CommitmentReport, CommitmentRequest
from wetread.errors import DestinationUnavailable

CT, HOUR_S = "1.2.840.10008.5.1.4.1.1.2", 3600.0
REQUEST = CommitmentRequest("1.2.3", ((CT, "1.5"), (CT, "1.6")))


@dataclass
class Modality:
    """What it was told."""

    reports: list[CommitmentReport] = field(default_factory=list)
    classes: list[Mapping[str, str]] = field(default_factory=list)
    away: bool = False

    def tell(self, report: CommitmentReport, sop_classes: Mapping[str, str]) -> None:
        if self.away:
            raise DestinationUnavailable("CT1 cannot be reached")
        self.reports.append(report)
        self.classes.append(sop_classes)


@dataclass
class Site:
    """A modality that asks, an archive that is asked."""

    bed: Bed
    modality: Modality = field(default_factory=Modality)
    archive: Committing = field(default_factory=Committing)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, **clients: Client) -> None:
        pace = Pace(DeliverySettings(), self.bed.hours.clock, lambda: 0.0)
        ours = {"ct1": Client("pacs", self.archive, self.modality.tell)}
        self.vouching = Vouching(self.bed.db, pace, clients or ours)

    def pass_time(self, seconds: float, step_s: float = 60.0) -> None:
        end = self.bed.hours.passed_s + seconds
        while True:
            while self.vouching.work_due():
                pass
            if self.bed.hours.passed_s >= end:
                return
            self.bed.hours.passed_s += step_s

    def state(self) -> str:
        return str(self.bed.db.fetch("SELECT state FROM vouchers ORDER BY id DESC LIMIT 1")[0]["state"])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(Bed(tmp_path))


def all_there(transaction: str, uids: list[str]) -> CommitmentReport:
    return CommitmentReport(transaction, tuple(uids), ())


def test_success_is_what_the_archive_committed_to_and_nothing_else(site: Site) -> None:
    site.archive.answer = lambda t, _uids: CommitmentReport(t, ("1.5", "9.9"), (("1.6", 0x0112),))
    site.vouching.take("ct1", REQUEST)
    site.pass_time(0.0)
    assert site.modality.reports == [CommitmentReport("1.2.3", ("1.5",), (("1.6", 0x0112),))]
    assert site.modality.classes == [{"1.5": CT, "1.6": CT}]
    ((ours, uids),) = site.archive.asked
    assert (ours != "1.2.3", uids) == (True, ["1.5", "1.6"])
    assert site.bed.events("commitment_told") == ["ct1 was told that pacs has committed to 1 of 2 instances"]


def test_what_the_archive_does_not_name_or_names_twice_is_failed(site: Site) -> None:
    site.archive.answer = lambda t, _uids: CommitmentReport(t, ("1.5",), (("1.5", 0x0110),))
    site.vouching.take("ct1", REQUEST)
    site.pass_time(0.0)
    assert site.modality.reports[0].committed == ()
    assert site.modality.reports[0].failed == (("1.5", 0x0110), ("1.6", 0x0110))


def test_nothing_is_said_until_the_archive_has_reported(site: Site) -> None:
    site.vouching.take("ct1", REQUEST)
    site.pass_time(0.5 * HOUR_S)
    assert (site.modality.reports, site.state()) == ([], "asked")
    ((ours, _),) = site.archive.asked
    assert not site.vouching.apply("somebody", CommitmentReport(ours, ("1.5", "1.6"), ())), "only the archive's word"
    assert not site.vouching.apply("pacs", CommitmentReport("1.2.3", ("1.5", "1.6"), ())), "only about our request"
    assert site.vouching.apply("pacs", CommitmentReport(ours, ("1.5", "1.6"), ()))
    site.pass_time(0.0)
    assert site.modality.reports == [CommitmentReport("1.2.3", ("1.5", "1.6"), ())]
    assert not site.vouching.apply("pacs", CommitmentReport(ours, ("1.5", "1.6"), ())), "the same report again"


def test_archive_that_is_away_is_asked_again_and_failure_is_said_only_after_a_week(site: Site) -> None:
    def away(_transaction: str, _uids: list[str]) -> CommitmentReport | None:
        raise DestinationUnavailable("PACS cannot be reached")

    site.archive.answer = away
    site.vouching.take("ct1", REQUEST)
    site.pass_time(24 * HOUR_S, step_s=300.0)
    assert (site.modality.reports, site.state()) == ([], "to ask")
    assert 20 < len(site.archive.asked) < 300
    site.pass_time(PATIENCE_S, step_s=HOUR_S)
    assert site.modality.reports == [CommitmentReport("1.2.3", (), (("1.5", 0x0110), ("1.6", 0x0110)))]


def test_report_that_does_not_come_is_asked_for_again(site: Site) -> None:
    site.vouching.take("ct1", REQUEST)
    site.pass_time(2.5 * HOUR_S)
    assert len(site.archive.asked) == 3
    assert len({transaction for transaction, _ in site.archive.asked}) == 3


def test_report_that_comes_before_the_request_fails_is_believed(site: Site) -> None:
    def answer(transaction: str, uids: list[str]) -> CommitmentReport | None:
        assert site.vouching.apply("pacs", all_there(transaction, uids))
        raise DestinationUnavailable("the association broke")

    site.archive.answer = answer
    site.vouching.take("ct1", REQUEST)
    site.pass_time(0.0)
    assert [r.committed for r in site.modality.reports] == [("1.5", "1.6")]
    assert len(site.archive.asked) == 1


def test_modality_that_is_away_is_told_when_it_is_back_also_by_the_next_service(site: Site) -> None:
    site.archive.answer = all_there
    site.modality.away = True
    site.vouching.take("ct1", REQUEST)
    site.pass_time(HOUR_S)
    assert site.state() == "to report"
    site.restart()
    site.modality.away = False
    site.pass_time(HOUR_S)
    assert (len(site.modality.reports), site.state()) == (1, "done")


def test_same_request_again_is_reported_again_and_another_under_its_uid_is_a_failure(site: Site) -> None:
    site.archive.answer = all_there
    site.vouching.take("ct1", REQUEST)
    site.vouching.take("ct1", REQUEST)
    site.pass_time(0.0)
    assert len(site.modality.reports) == 1
    site.vouching.take("ct1", CommitmentRequest("1.2.3", REQUEST.instances[::-1]))
    site.pass_time(0.0)
    assert len(site.modality.reports) == 2
    site.vouching.take("ct1", CommitmentRequest("1.2.3", ((CT, "7.7"),)))
    site.pass_time(0.0)
    assert site.modality.reports[-1] == CommitmentReport("1.2.3", (), (("7.7", 0x0131),))
    assert len(site.archive.asked) == 1


def test_peer_that_may_not_ask_any_more_is_given_up_visibly(site: Site) -> None:
    site.vouching.take("ct1", REQUEST)
    site.restart(ct2=Client("pacs", site.archive, site.modality.tell))
    site.pass_time(0.0)
    assert site.state() == "given up"
    assert "it may not ask any more" in site.bed.events("commitment_given_up")[0]
