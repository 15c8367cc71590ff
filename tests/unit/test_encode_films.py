"""What is written about a film: report, card and rejection, on the film's own pixels, accepted by every validator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset, dcmread

from conformance.cases import DECIDED_AT, ENGINE, UTC_OFFSET_MINUTES
from conformance.gate import check_files
from conformance.tree import groups, items
from film_bundle import SCORE, write_film_bundle
from films import HEART, MARKER, STORED, write_film
from wetread.encode.card import BANNER_HEIGHT
from wetread.encode.encoder import EncodeContext, encode
from wetread.findings.from_output import read_nothing, read_output
from wetread.images.film import read_radiograph
from wetread.records.heat_map import HeatMap
from wetread.records.job import JobSpec, ReadOptions
from wetread.records.output import Scores
from wetread.records.refused import Refused
from wetread.records.result import Rendition
from wetread.records.spread import Spread


@dataclass(frozen=True)
class Case:
    """One film that was read, or not."""

    folder: Path
    sources: list[Path]
    context: EncodeContext

    def results(self, kind: str) -> list[Path]:
        return sorted((self.folder / "results").rglob(f"{kind.lower()}-*.dcm"))

    @property
    def report(self) -> Dataset:
        return dcmread(self.results("SR")[0])

    @property
    def card(self) -> Dataset:
        return dcmread(self.results("SC")[0])

    def comments(self) -> str:
        return "\n".join(str(i.TextValue) for i in items(self.report) if i.ValueType == "TEXT")

    def complaints(self) -> list[str]:
        return [str(c) for c in check_files(sorted((self.folder / "results").rglob("*.dcm")), self.sources)]


def read_film(
    folder: Path,
    score: float = 0.874,
    *,
    outside: tuple[str, ...] = (),
    refused: str = "",
    heat: npt.NDArray[np.float32] | None = None,
    rule: dict[str, object] | None = None,
    rendition: Rendition = Rendition.COMMON,
    method: str = "Grad-CAM",
    parametric_maps: bool = False,
    spread: tuple[float, ...] = (),
    **film: object,
) -> Case:
    """Write a film, read it with a fixed score and encode the answer. ``heat``: on the upright film."""
    written = write_film(folder / "sources", **film)  # type: ignore[arg-type]
    bundle = write_film_bundle(folder / "film_reader", scores=[SCORE | (rule or {})])
    image = read_radiograph(written.series())
    spec = JobSpec(
        "job",
        written.study(),
        (),
        bundle.folder,
        bundle.digest(),
        folder / "results",
        utc_offset_minutes=UTC_OFFSET_MINUTES,
        renditions=(rendition,),
        options=ReadOptions(parametric_maps=parametric_maps),
    )
    made = {"bundle": bundle, "engine": ENGINE, "decided_at": DECIDED_AT}
    if refused:
        what = Refused.of(spec.study, refused, modalities=frozenset({"CR", "DX"}))
        context = EncodeContext(spec, bundle.manifest, what, read_nothing(refused, **made))  # type: ignore[arg-type]
    else:
        spreads = (Spread(spread, ("uncertainty: phantom",)),) if spread else ()
        reading = read_output(Scores((score,), spreads), image, outside=outside, **made)  # type: ignore[arg-type]
        uid = reading.findings[0].tracking_uid
        maps = () if heat is None else (HeatMap(image.turn.take_down(heat), uid, method, ("cover: 6 × 6",)),)
        context = EncodeContext(spec, bundle.manifest, image, reading, heat_maps=maps)
    encode(context)
    return Case(folder, [written.path], context)


CASES: dict[str, dict[str, object]] = {
    "present": {},
    "absent": {"score": 0.02},
    "not calibrated": {"rule": {"calibrated": False}},
    "no threshold": {"rule": {"threshold": None}},
    "modern": {"rendition": Rendition.MODERN},
    "dx": {"modality": "DX", "monochrome1": True, "orientation": ("H", "R")},
    "outside": {"outside": ("view is PA, expected AP", "the patient is 64 years old"), "view": "PA"},
    "heat map": {"heat": np.eye(90, 70, dtype=np.float32)},
    "parametric map": {"heat": np.eye(90, 70, dtype=np.float32), "parametric_maps": True},
    "parametric map, dx turned": {
        "heat": np.eye(90, 70, dtype=np.float32),
        "parametric_maps": True,
        "modality": "DX",
        "orientation": ("H", "R"),
        "method": "occlusion",
    },
    "uncertain": {"spread": (0.81, 0.92, 0.45)},
    "uncertain, modern": {"score": 0.02, "spread": (0.0, 0.01), "rendition": Rendition.MODERN},
    "uncertain, no threshold": {"rule": {"threshold": None}, "spread": (0.81, 0.92)},
    "no orientation": {"orientation": None},
    "refused": {"refused": "view is PA, expected AP"},
    "refused, modern": {"refused": "view is PA, expected AP", "rendition": Rendition.MODERN},
}


@pytest.mark.parametrize("name", CASES)
def test_objects_of_films_pass_every_validator(tmp_path: Path, name: str) -> None:
    assert read_film(tmp_path, **CASES[name]).complaints() == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.0, "very unlikely, 0 %"),
        (0.5, "about as likely as not, 50 %"),
        (0.874, "likely, 87.4 %"),
        (0.95, "very likely"),
    ],
)
def test_calibrated_score_is_said_in_words_first(tmp_path: Path, score: float, words: str) -> None:
    case = read_film(tmp_path, score)
    assert f"Pneumonia: {words}" in case.comments()
    finding = case.context.reading.findings[0]
    assert words.startswith(finding.words)  # type: ignore[union-attr]


def test_bundle_brings_words_of_its_own(tmp_path: Path) -> None:
    wording = [{"at_least": 0.0, "words": "no sign"}, {"at_least": 0.3, "words": "suspicious"}]
    assert "Pneumonia: suspicious, 87.4 %" in read_film(tmp_path, rule={"wording": wording}).comments()


def test_score_that_is_not_calibrated_gets_no_words(tmp_path: Path) -> None:
    case = read_film(tmp_path, rule={"calibrated": False})
    assert "likely" not in case.comments()
    assert "score 87.4 % reaches the threshold of 50 %. The score is not calibrated" in case.comments()


def test_score_names_its_film(tmp_path: Path) -> None:
    case = read_film(tmp_path)
    (group,) = groups(case.report)
    (image,) = [i for i in group.ContentSequence if i.ValueType == "IMAGE"]
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == dcmread(case.sources[0]).SOPInstanceUID


def test_two_films_of_one_series_are_two_findings_in_two_series(tmp_path: Path) -> None:
    one, two = (read_film(tmp_path / str(n), number=n) for n in (1, 2))
    uids = [(c.report.SeriesInstanceUID, c.context.reading.findings[0].tracking_uid) for c in (one, two)]
    assert dcmread(one.sources[0]).SeriesInstanceUID == dcmread(two.sources[0]).SeriesInstanceUID
    assert uids[0][0] != uids[1][0]
    assert uids[0][1] != uids[1][1]


def test_every_object_says_that_it_was_read_outside_the_intended_use(tmp_path: Path) -> None:
    inside = read_film(tmp_path / "in")
    outside = read_film(tmp_path / "out", outside=("view is PA, expected AP", "the patient is 64 years old"))
    assert "outside the intended use" not in inside.comments()
    for reason in ("view is PA, expected AP", "the patient is 64 years old"):
        assert f"so nobody knows how good the answer is: {reason}." in outside.comments()
    for one in (outside.report, outside.card):
        assert one.SeriesDescription.endswith("NOT REVIEWED, OUTSIDE INTENDED USE")
    assert outside.report.SOPInstanceUID != inside.report.SOPInstanceUID
    picture = (outside.card.pixel_array, inside.card.pixel_array)
    assert picture[0].shape[0] > picture[1].shape[0]  # the reasons stand below
    assert not np.array_equal(*(p[:BANNER_HEIGHT] for p in picture))


def test_rejection_is_a_coded_answer_that_names_no_finding(tmp_path: Path) -> None:
    case = read_film(tmp_path, refused="view is PA, expected AP")
    assert case.results("SC") == []
    assert list(groups(case.report)) == []
    codes = [i.ConceptCodeSequence[0].CodeValue for i in items(case.report) if i.ValueType == "CODE"]
    assert "111245" in codes
    assert not {"52101004", "272519000", "233604007"} & set(codes)
    assert "Not read: view is PA, expected AP." in case.comments()
    assert "neither that it is normal nor that it is not" in case.comments()
    assert case.report.SeriesDescription.endswith("NOT READ, NOT REVIEWED")


def test_rejection_of_a_large_series_names_one_slice(tmp_path: Path) -> None:
    study = write_film(tmp_path).study()
    series = study.series[0]
    slices = tuple(replace(series.instances[0], sop_instance_uid=str(n), film=None) for n in range(200))
    ct = replace(series, modality="CT", instances=slices)
    both = replace(study, series=(series, ct))
    assert len(Refused.of(both, "why", modalities=frozenset({"CT"})).instances) == 1
    assert len(Refused.of(both, "why", modalities=frozenset({"MR"})).instances) == 2


@pytest.mark.parametrize("orientation", list(STORED), ids="".join)
def test_card_shows_the_film_upright_and_the_heat_where_it_belongs(
    tmp_path: Path, orientation: tuple[str, str]
) -> None:
    heat = np.zeros((90, 70), np.float32)
    heat[HEART] = 1.0
    case = read_film(tmp_path, orientation=orientation, heat=heat)
    picture = case.card.pixel_array.astype(int)
    size = picture.shape[1] // 2  # two panels
    scale = size / 70
    plain, heated = picture[:, :size], picture[:, size : 2 * size]

    def at(place: tuple[slice, slice], panel: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
        row, column = ((s.start + s.stop) / 2 * scale for s in place)
        return panel[BANNER_HEIGHT + int(row), int(column)]

    mirrored = (HEART[0], slice(14, 32))
    assert at(MARKER, plain).min() > 230  # bone white, at the upper left of the screen
    assert at(HEART, plain)[0] == pytest.approx(255 * 0.7, abs=8)
    assert at(mirrored, plain)[0] == pytest.approx(255 * 0.2, abs=8)
    red, _, blue = at(HEART, heated)
    assert red - blue > 80
    np.testing.assert_array_equal(at(mirrored, heated), at(mirrored, plain))
    assert list(case.card.PatientOrientation) == ["L", "F"]


def test_card_of_a_film_without_orientation_claims_none(tmp_path: Path) -> None:
    assert not read_film(tmp_path, orientation=None).card.get("PatientOrientation")


def test_same_reading_gives_the_same_bytes(tmp_path: Path) -> None:
    case = read_film(tmp_path, heat=np.eye(90, 70, dtype=np.float32))
    again = replace(case.context, spec=replace(case.context.spec, out_folder=tmp_path / "again"))
    for one, other in zip(encode(case.context), encode(again), strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()


def _properties(case: Case) -> dict[str, float]:
    """Number and percent of what stands with the certainty."""
    (certainty,) = [i for i in items(case.report) if i.ValueType == "NUM" and "ContentSequence" in i]
    numbers = [i for i in certainty.ContentSequence if i.ValueType == "NUM"]
    assert {i.RelationshipType for i in numbers} == {"HAS PROPERTIES"}
    values = [i.MeasuredValueSequence[0] for i in numbers]
    assert {v.MeasurementUnitsCodeSequence[0].CodeValue for v in values} == {"%"}
    return {
        str(i.ConceptNameCodeSequence[0].CodeValue): float(v.NumericValue) for i, v in zip(numbers, values, strict=True)
    }


def test_report_says_how_far_the_score_moves_in_numbers_and_words(tmp_path: Path) -> None:
    case = read_film(tmp_path, 0.874, spread=(0.81, 0.92, 0.45))
    assert _properties(case) == pytest.approx({"371886008": 4.6, "371885007": 42.4})
    said = case.comments()
    assert "Slightly changed 3 times, the image scores 45 to 92 %; 2 of 3 reach the threshold." in said
    assert "uncertainty: mean 72.67 %, standard deviation 24.58 %" in said
    assert "uncertainty: phantom" in said


def test_a_score_that_every_copy_leaves_behind_has_no_lower_range(tmp_path: Path) -> None:
    assert _properties(read_film(tmp_path, 0.2, spread=(0.3, 0.4)))["371885007"] == 0.0


def test_card_says_in_colour_that_a_changed_film_is_called_otherwise(tmp_path: Path) -> None:
    plain = read_film(tmp_path / "plain").card.pixel_array
    steady = read_film(tmp_path / "steady", spread=(0.81, 0.92)).card.pixel_array
    turning = read_film(tmp_path / "turning", spread=(0.81, 0.45)).card.pixel_array
    assert steady.shape == turning.shape
    assert steady.shape[0] == plain.shape[0] + 24  # one line
    line = slice(plain.shape[0] - 24, plain.shape[0])  # the footer comes after it
    coloured = [int(np.ptp(card[line].astype(int), axis=2).max()) for card in (steady, turning)]
    assert coloured[0] == 0
    assert coloured[1] > 100
