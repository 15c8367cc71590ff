"""Uncertainty by test-time augmentation: what is changed, what it says, and that it is the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bundles import write_bundle
from film_bundle import write_film_bundle
from films import write_film
from learning import SHIPPED
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.manifest import UncertaintyRule
from wetread.errors import BundleInvalid
from wetread.findings.from_output import read_output
from wetread.findings.summary import summarize
from wetread.images.film import read_radiograph
from wetread.infer.gate.golden import golden_film
from wetread.infer.model import open_model
from wetread.infer.uncertainty import changed
from wetread.records.finding import Condition
from wetread.records.output import Scores
from wetread.records.radiograph import Radiograph

SMALL = {"times": 12, "rotation_degrees": 4.0, "shift": 0.03, "zoom": 0.05, "brightness": 0.05, "gamma": 0.2}


def asked(bundle: Bundle, film: Radiograph, cache: Path, engine: str = "torch") -> Scores:
    model = open_model(bundle, engine=engine, cache_folder=cache, threads=1)
    try:
        answer = model.run({"film": film})
    finally:
        model.close()
    assert isinstance(answer, Scores)
    return answer


def image() -> torch.Tensor:
    """Not square; a bright block off the middle on a dark ramp."""
    grey = torch.linspace(0.2, 0.4, 40).expand(1, 60, 40).clone()
    grey[:, 40:50, 5:15] = 0.9
    return grey


def centres(copies: torch.Tensor) -> list[tuple[float, float]]:
    found = [torch.nonzero(copy[0] > 0.65).float().mean(0) for copy in copies]
    return [(float(f[0]), float(f[1])) for f in found]


def test_nothing_is_changed_beyond_what_the_bundle_allows() -> None:
    copies = changed(image(), UncertaintyRule(times=64, shift=0.1))
    rows, columns = np.array(centres(copies)).T
    assert np.abs(rows - 44.5).max() <= 6.5
    assert np.abs(columns - 9.5).max() <= 4.5
    assert np.abs(rows - 44.5).max() > 4
    turned = changed(image(), UncertaintyRule(times=64, rotation_degrees=10.0))
    offset = np.array(centres(turned)) - [29.5, 19.5]
    angles = np.degrees(np.arctan2(offset[:, 0], offset[:, 1]) - np.arctan2(15.0, -10.0))
    assert 7 < np.abs(angles).max() <= 11
    assert np.allclose(np.hypot(*offset.T), np.hypot(15, 10), atol=0.7)  # turned, not sheared: it is not square


@pytest.mark.parametrize(("rule", "least", "most"), [({"brightness": 0.1}, 0.05, 0.08), ({"gamma": 0.5}, 0.03, 0.2)])
def test_grey_values_are_changed_within_the_range_of_the_image(
    rule: dict[str, float], least: float, most: float
) -> None:
    copies = changed(image() * 1000, UncertaintyRule(times=32, **rule))  # type: ignore[arg-type]
    assert copies.min() >= 200 - 1e-3
    assert copies.max() <= 900 + 1e-3
    moved = (copies[:, 0, 20, 30] / 1000 - image()[0, 20, 30]).abs().max()
    assert least < float(moved) < most


def test_the_same_seed_draws_the_same_copies_and_another_others() -> None:
    rule = UncertaintyRule(**SMALL)  # type: ignore[arg-type]
    torch.manual_seed(1)
    first = changed(image(), rule)
    torch.manual_seed(2)
    assert torch.equal(first, changed(image(), rule))
    assert not torch.equal(first, changed(image(), rule.model_copy(update={"seed": 1})))
    flat = torch.full((1, 8, 8), 0.5)
    assert torch.equal(changed(flat, rule), flat.expand(12, 1, 8, 8))


def test_a_sure_answer_is_steady_and_one_on_the_edge_is_not(tmp_path: Path) -> None:
    bundle = write_film_bundle(tmp_path / "film_reader", uncertainty=SMALL)
    sure = read_radiograph(write_film(tmp_path / "sure").series())
    mirrored = np.fliplr(sure.array)
    edge = replace(sure, array=np.ascontiguousarray((sure.array + mirrored) / 2))
    answers = [asked(bundle, film, tmp_path / "cache") for film in (sure, edge)]
    steady, unsteady = (answer.spreads[0] for answer in answers)
    assert len(steady.values) == 12
    assert steady.reached(0.5) == 12
    assert 0 < unsteady.reached(0.5) < 12
    assert abs(unsteady.mean - answers[1].values[0]) < 0.1


def test_another_engine_and_another_time_give_the_same_copies(tmp_path: Path) -> None:
    bundle = load_bundle(SHIPPED / "cxr_pneumonia")
    rule = UncertaintyRule(**SMALL)  # type: ignore[arg-type]
    bundle = replace(bundle, manifest=bundle.manifest.model_copy(update={"uncertainty": rule}))
    film = golden_film(SHIPPED / "cxr_pneumonia" / "golden" / "film.png")
    one, again, other = (asked(bundle, film, tmp_path, engine) for engine in ("torch", "torch", "openvino"))
    assert one == again
    assert np.allclose(one.spreads[0].values, other.spreads[0].values, atol=1e-3)
    assert len(set(one.spreads[0].values)) == 12


def test_the_finding_says_how_steady_it_is(tmp_path: Path) -> None:
    bundle = write_film_bundle(tmp_path / "film_reader", uncertainty=SMALL)
    film = read_radiograph(write_film(tmp_path / "film").series())
    answer = asked(bundle, film, tmp_path / "cache")
    made: dict[str, Any] = {"bundle": bundle, "engine": None, "decided_at": None}
    reading = read_output(answer, film, **made)
    (finding,) = reading.findings
    assert isinstance(finding, Condition)
    assert finding.spread == answer.spreads[0]
    assert finding.spread is not None
    (summary,) = summarize(reading, film)
    assert summary.spread is not None
    assert (summary.spread.times, summary.spread.reached) == (12, 12)
    assert summary.spread.least == min(finding.spread.values)
    assert summary.spread.standard_deviation == pytest.approx(np.std(finding.spread.values, ddof=1))
    assert summary.wording.endswith("12 of 12 reach the threshold.")
    assert "Slightly changed 12 times, the image scores" in summary.wording
    without = read_output(replace(answer, spreads=()), film, **made)
    assert without.digest != reading.digest
    assert summarize(without, film)[0].spread is None


def test_a_rule_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="uncertainty changes nothing"):
        UncertaintyRule(times=8)
    with pytest.raises(BundleInvalid, match="guard, explain and uncertainty look at films"):
        write_bundle(tmp_path / "reader", uncertainty=SMALL)
