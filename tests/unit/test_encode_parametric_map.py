"""Heat maps as Parametric Maps: their own numbers on the film's pixels, where bundle or route asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from highdicom.pm.sop import pmread
from pydicom import Dataset, dcmread, dcmwrite
from test_encode_films import Case, read_film

from conformance.gate import check_files
from conformance.outside import read_map
from films import STORED
from wetread.encode.encoder import encode, remarks

HEAT = np.random.default_rng(0).random((90, 70), np.float32)
"""On the upright film; nothing is symmetrical in it."""


def mapped(folder: Path, **film: object) -> Case:
    return read_film(folder, **{"heat": HEAT, "parametric_maps": True, **film})  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", STORED, ids="".join)
def test_other_readers_find_every_number_on_the_pixel_it_belongs_to(
    orientation: tuple[str, str], tmp_path: Path
) -> None:
    case = mapped(tmp_path, orientation=orientation)
    (path,) = case.results("PM")
    stored: npt.NDArray[np.float32] = STORED[orientation](HEAT)  # type: ignore[assignment]
    assert np.array_equal(pmread(path).get_frames(apply_real_world_transform=True)[0], stored)
    code, said = read_map(path, tmp_path)
    assert code == 0, said
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "pmap.nii.gz").dataobj)[..., 0].T, stored)
    assert check_files([path], case.sources) == []


def test_it_says_what_it_is_by_code_and_that_nobody_reviewed_it(tmp_path: Path) -> None:
    quantities = {}
    for method in ("Grad-CAM", "Grad-CAM++", "attention rollout", "occlusion"):
        found = dcmread(mapped(tmp_path / method, method=method).results("PM")[0])
        shared = found.SharedFunctionalGroupsSequence[0]
        (mapping,) = shared.RealWorldValueMappingSequence
        quantities[method] = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue
        derivation = found.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
        assert "no outline of a finding" in derivation.DerivationDescription
        assert f"{method} of Pneumonia; cover: 6 × 6" in derivation.DerivationDescription
        assert found.SeriesDescription == "AI Phantom film reader heat map - NOT REVIEWED"
        assert (found.ContentQualification, found.SeriesNumber) == ("RESEARCH", 9003)
        assert "SpacingBetweenSlices" not in shared.PixelMeasuresSequence[0]
    grad_cam, saliency = "130403", "130404"
    assert list(quantities.values()) == [grad_cam, grad_cam, saliency, saliency]


def test_there_is_none_that_nobody_asked_for(tmp_path: Path) -> None:
    asked = mapped(tmp_path / "route")
    assert len(asked.results("PM")) == 1
    assert mapped(tmp_path / "nobody", parametric_maps=False).results("PM") == []
    assert mapped(tmp_path / "no map", heat=None).results("PM") == []
    context = mapped(tmp_path / "bundle", parametric_maps=False).context
    rule = {"method": "occlusion", "parametric_map": True}
    manifest = type(context.manifest).model_validate(context.manifest.model_dump() | {"explain": rule})
    assert [r.kind for r in encode(replace(context, manifest=manifest))] == ["SR", "SC", "PM"]


def test_a_film_that_does_not_say_how_it_lies_gets_none_and_the_read_says_why(tmp_path: Path) -> None:
    def no_spacing(ds: Dataset) -> None:
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            ds.pop(keyword, None)

    for name, said, film in (
        ("orientation", "how it lies in the patient", {"orientation": None}),
        ("spacing", "its pixel spacing", {"mutate": no_spacing}),
    ):
        case = mapped(tmp_path / name, **film)
        assert case.results("PM") == []
        assert said in "".join(remarks(case.context))
    assert remarks(mapped(tmp_path / "whole").context) == ()
    assert remarks(read_film(tmp_path / "not asked", orientation=None).context) == ()


def test_same_map_is_the_same_bytes_and_another_map_another_instance(tmp_path: Path) -> None:
    case = mapped(tmp_path / "one")
    spec = replace(case.context.spec, out_folder=tmp_path / "again")
    again = encode(replace(case.context, spec=spec))[-1]
    assert again.path.read_bytes() == case.results("PM")[0].read_bytes()
    (heat_map,) = case.context.heat_maps
    other = replace(heat_map, array=1 - heat_map.array)
    second = encode(replace(case.context, spec=spec, heat_maps=(heat_map, other)))
    assert [r.kind for r in second] == ["SR", "SC", "PM", "PM"]
    assert len({r.sop_instance_uid for r in second}) == 4
    assert second[-1].series_instance_uid == second[-2].series_instance_uid == again.series_instance_uid


def _shared(found: Dataset) -> Dataset:
    return found.SharedFunctionalGroupsSequence[0]


def _mirrored(found: Dataset) -> None:
    _shared(found).PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 0, -1]


def _temperature(found: Dataset) -> None:
    code = _shared(found).RealWorldValueMappingSequence[0].QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "113065", "Temperature"


def _no_plane(found: Dataset) -> None:
    del _shared(found).PlaneOrientationSequence


def _no_anatomy(found: Dataset) -> None:
    del _shared(found).FrameAnatomySequence


def _other_film(found: Dataset) -> None:
    frame = found.PerFrameFunctionalGroupsSequence[0]
    frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def _too_large(found: Dataset) -> None:
    found.FloatPixelData = (3 * np.frombuffer(found.FloatPixelData, np.float32)).tobytes()


def _looks_final(found: Dataset) -> None:
    found.SeriesDescription, found.ContentQualification = "Heat map", "PRODUCT"


@pytest.mark.parametrize(
    ("tool", "broken"),
    [
        ("own", _mirrored),
        ("own", _temperature),
        ("dciodvfy", _no_plane),
        ("dcmqi", _no_anatomy),
        ("own", _other_film),
        ("highdicom", _too_large),
        ("own", _looks_final),
    ],
)
def test_the_gate_refuses_a_broken_map(tool: str, broken: Callable[[Dataset], None], tmp_path: Path) -> None:
    case = mapped(tmp_path)
    (path,) = case.results("PM")
    found = dcmread(path)
    broken(found)
    dcmwrite(path, found)
    assert tool in {complaint.tool for complaint in check_files([path], case.sources)}
