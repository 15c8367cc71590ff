"""The page: everything is in it, nothing comes from outside, and no text of a file becomes markup."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bundles import KIDNEYS
from conformance.cases import read_case
from wetread.demo.arrived import Arrived, open_arrived
from wetread.demo.figures import Figures, figures_document, not_read
from wetread.demo.page import render, write_page
from wetread.demo.report import Node
from wetread.demo.timeline import Sent, Snapshot, Step

HOSTILE = '<script>alert("x")</script>'
VERDICTS = (
    "series 1 'Localizer': passed over for 'image', Image Type is LOCALIZER",
    f"series 9 '{HOSTILE}': passed over for 'image', modality is CT, expected MR",
    "series 2 'T1': taken for 'image', fits the rule, 24 instances",
)


class _Parsed(HTMLParser):
    """Start tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    folder = tmp_path_factory.mktemp("page")
    case = read_case(folder, KIDNEYS, orientation="oblique")
    opened = open_arrived(folder, case.phantom.study_instance_uid)
    hostile = replace(opened.report, children=(*opened.report.children, Node("Comment", HOSTILE)))
    findings = tuple(replace(f, name=f"{f.name} {HOSTILE}") for f in opened.findings)
    return replace(opened, report=hostile, findings=findings)


@pytest.fixture(scope="module")
def figures() -> Figures:
    steps = (
        Step("received", 0.0, "27 instances in 0.4 s"),
        Step("complete", 5.1),
        Step("claimed", 5.2),
        Step("read", 12.2, HOSTILE),
        Step("encoded", 13.1),
        Step("delivered", 13.4),
    )
    job = {
        "peak_memory_mb": 2048.0,
        "engine": {"name": "torch", "precision": "f32", "reason": "asked for by name"},
        "timings": [{"stage": "infer", "seconds": 3.9}, {"stage": "encode", "seconds": 0.9}],
        "deliveries": [{"kind": "SEG"}, {"kind": "SR"}, {"kind": "SC"}, {"kind": "SC"}],
    }
    sent = Sent("1.2.3", 27, 0.4, datetime(2026, 3, 14, tzinfo=UTC))
    return Figures(sent, Snapshot("read", "", steps, job, VERDICTS), engine_ready_s=8.0)


@pytest.fixture(scope="module")
def page(arrived: Arrived, figures: Figures) -> _Parsed:
    return _Parsed(render(arrived, figures))


def test_page_shows_three_planes_and_every_key_slice_with_a_text_for_each(page: _Parsed, arrived: Arrived) -> None:
    images = page.all("img")
    assert len(images) == 3 + len(arrived.key_slices)
    for name in ("Sagittal", "Coronal", "Axial"):
        assert sum(image["alt"].startswith(f"{name} plane") for image in images) == 1
    for image in images:
        assert image["alt"]
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        opened = Image.open(BytesIO(base64.b64decode(data)))
        assert opened.size == (int(image["width"]), int(image["height"]))


def test_page_needs_no_other_file(arrived: Arrived, figures: Figures) -> None:
    html = render(arrived, figures)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in _Parsed(html).tags}


def test_text_of_files_is_shown_and_never_becomes_markup(page: _Parsed) -> None:
    assert not page.all("script")
    assert page.text.count(HOSTILE) >= 4  # a finding, a note, a series, the report


def test_page_says_what_it_is_and_what_it_is_not(page: _Parsed) -> None:
    for part in ("not a medical device", "Not reviewed", "not a patient", "average", "painted"):
        assert part in page.text


def test_page_has_volumes_seconds_memory_and_reasons(page: _Parsed, arrived: Arrived) -> None:
    for finding in arrived.findings:
        assert f"{finding.measurements[0].value:.1f}" in page.text
    for part in ("mL", "13.4", "8.4 s beyond", "2.00", "Image Type is LOCALIZER", "modality is CT, expected MR"):
        assert part in page.text
    assert "taken for" not in page.text


def test_page_names_engine_certificate_and_digests(page: _Parsed) -> None:
    for part in ("torch 2.13.0, f32, cpu", "engine certificate: reference", "weights SHA-256"):
        assert part in page.text


def test_page_has_a_language_one_title_and_headings_in_order(page: _Parsed) -> None:
    assert page.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert set(levels[1:]) == {2}


def test_results_are_copied_beside_the_page_and_replace_those_of_an_earlier_run(
    arrived: Arrived, figures: Figures, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "SC-99.dcm").write_bytes(b"old")
    (tmp_path / "results" / "notes.txt").write_text("the user's own")
    page = write_page(tmp_path, arrived, figures)
    links = {a["href"] for a in _Parsed(page.read_text(encoding="utf-8")).all("a")}
    there = {f"results/{p.name}" for p in (tmp_path / "results").iterdir()}
    assert there == links | {"results/notes.txt"}
    assert {"results/SEG-1.dcm", "results/SR-1.dcm", "results/SC-1.dcm"} <= links


def test_figures_say_what_was_beyond_the_quiet_time_and_what_waited_for_the_model(
    arrived: Arrived, figures: Figures
) -> None:
    document = figures_document(figures, arrived, page="index.html")
    assert document["last_instance_to_delivered_s"] == 13.4
    assert document["beyond_quiet_s"] == 8.4
    assert document["waited_for_model_s"] == pytest.approx(13.1 - 5.2 - 4.8)
    assert document["results"] == {"SEG": 1, "SR": 1, "SC": 2}


def test_series_passed_over_keep_their_whole_reason() -> None:
    assert not_read(VERDICTS)[1] == (f"series 9 '{HOSTILE}'", "modality is CT, expected MR")
