"""Each film of a study is a candidate of its own: taken, or passed over with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from film_bundle import write_film_bundle
from films import for_processing, write_film
from wetread.bundles import Bundle
from wetread.errors import Misconfigured
from wetread.images.folder import scan_folder
from wetread.records.study import StudyRef
from wetread.route.router import Decision, Router, RouteSettings
from wetread.route.selection import Selection, select


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_film_bundle(tmp_path / "film_reader")


def study_of(folder: Path) -> StudyRef:
    return scan_folder(folder).studies[0]


def selected(folder: Path, bundle: Bundle, *, outside: bool = False) -> Selection:
    return select(study_of(folder), bundle.manifest.inputs, outside=outside)


def other_part(ds: Dataset) -> None:
    ds.BodyPartExamined = "FOOT"


def capture(ds: Dataset) -> None:
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"


def no_view(ds: Dataset) -> None:
    ds.ViewPosition = ""


def test_films_of_one_series_are_each_taken_or_passed_over_with_the_reason(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "study"
    write_film(folder, number=1)
    write_film(folder, number=2, view="LL")
    write_film(folder, number=3)
    write_film(folder, number=4, mutate=other_part)
    write_film(folder, number=5, mutate=no_view)
    selection = selected(folder, bundle)
    assert [[c.series.instances[0].instance_number for c in read] for read in selection.reads] == [[1], [3]]
    assert all(len(c.series.instances) == 1 for read in selection.reads for c in read)
    passed = {v.label: v.reason for v in selection.verdicts if not v.taken}
    assert passed == {
        "series 1 'Chest bedside', F2.dcm (instance 2)": "view is LL, expected AP",
        "series 1 'Chest bedside', F4.dcm (instance 4)": "body part is FOOT, expected CHEST",
        "series 1 'Chest bedside', F5.dcm (instance 5)": "the film does not say its view, expected AP",
    }


def test_bundle_that_reads_one_film_takes_the_first_and_says_so_of_the_others(tmp_path: Path) -> None:
    bundle = write_film_bundle(tmp_path / "one", rule={"choose": "best", "unknown_view": "accept"})
    folder = tmp_path / "study"
    write_film(folder, number=2)
    write_film(folder, number=1, mutate=no_view)
    selection = selected(folder, bundle)
    assert [c.series.instances[0].instance_number for c in selection.reads[0]] == [1]
    (other,) = [v for v in selection.verdicts if not v.taken]
    assert "the bundle reads one film of a study" in other.reason


def test_raw_and_captured_images_are_never_read_whatever_is_allowed(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "study"
    write_film(folder, number=1, modality="DX", mutate=for_processing, series_seed="raw")
    write_film(folder, number=1, modality="DX", mutate=capture, series_seed="sc")
    selection = selected(folder, bundle, outside=True)
    assert selection.reads == ()
    assert {v.reason.split(" (")[0].split(",")[0] for v in selection.verdicts} == {
        "for processing",
        "a result or other derived object",
    }


def test_outside_the_intended_use_everything_wrong_is_named_and_what_fits_comes_first(
    tmp_path: Path, bundle: Bundle
) -> None:
    folder = tmp_path / "study"

    def foot(ds: Dataset) -> None:
        other_part(ds)
        ds.ViewPosition = "PA"

    write_film(folder, number=1, mutate=foot)
    write_film(folder, number=2)
    assert len(selected(folder, bundle).reads) == 1
    first, second = (read[0] for read in selected(folder, bundle, outside=True).reads)
    assert (first.series.instances[0].instance_number, first.reason) == (2, "fits the rule")
    assert second.reason == (
        "read outside the intended use: body part is FOOT, expected CHEST; view is PA, expected AP"
    )


def test_side_is_looked_at_where_the_bundle_names_one(tmp_path: Path) -> None:
    bundle = write_film_bundle(tmp_path / "left", rule={"laterality": ["L"], "body_part": []})

    def right(ds: Dataset) -> None:
        ds.ImageLaterality = "R"

    write_film(tmp_path / "study", modality="DX", mutate=right)
    assert "laterality is R, expected L" in selected(tmp_path / "study", bundle).missing


ROUTE = RouteSettings("cxr", '"CR" in study.modalities', "film_reader", destinations=("pacs",))


def decide(route: RouteSettings, bundle: Bundle, folder: Path) -> Decision:
    return Router([route], {"film_reader": bundle}).decide(study_of(folder))[0]


def test_every_fitting_film_is_a_read_of_its_own(tmp_path: Path, bundle: Bundle) -> None:
    for number in (1, 2):
        write_film(tmp_path / "study", number=number)
    decision = decide(ROUTE, bundle, tmp_path / "study")
    assert decision.outcome == "read"
    assert len({read.input_digest for read in decision.reads}) == 2


def test_route_that_sends_rejections_makes_a_job_that_only_says_why(tmp_path: Path, bundle: Bundle) -> None:
    write_film(tmp_path / "study", view="PA")
    silent = decide(ROUTE, bundle, tmp_path / "study")
    assert (silent.outcome, silent.reads) == ("rejected", ())
    speaking = decide(replace(ROUTE, send_rejections=True), bundle, tmp_path / "study")
    assert speaking.outcome == "rejected"
    (read,) = speaking.reads
    assert read.chosen == ()
    assert "view is PA, expected AP" in read.options.rejected_because


def test_what_a_route_allows_makes_another_read_and_what_it_sends_does_not(tmp_path: Path, bundle: Bundle) -> None:
    write_film(tmp_path / "study")
    digests = [
        decide(route, bundle, tmp_path / "study").reads[0].input_digest
        for route in (
            ROUTE,
            replace(ROUTE, send_rejections=True),
            replace(ROUTE, parametric_maps=True),
            replace(ROUTE, outside_intended_use=True),
            replace(ROUTE, accept_unknown_age=True),
        )
    ]
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


def test_live_route_outside_the_intended_use_needs_research(tmp_path: Path) -> None:
    bundle = write_film_bundle(tmp_path / "film_reader", clinical_use=True)
    live = replace(ROUTE, mode="live", outside_intended_use=True)
    with pytest.raises(Misconfigured, match=r"outside the intended use .* set research = true"):
        Router([live], {"film_reader": bundle})
    Router([replace(live, research=True)], {"film_reader": bundle})
