"""Bundles as downloaded: from a study's DICOM files to result objects, and the compatibility check."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from bundles import vouched
from phantoms import Phantom, write_series
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import TEMPLATE_NAME
from wetread.errors import BundleInvalid, GeometryInvalid
from wetread.infer.check import check_bundle
from wetread.infer.model import open_model
from wetread.pipeline import Read, process
from wetread.records.job import JobSpec
from wetread.route.selection import select
from zoo_catalogue import LOOKALIKES
from zoo_lookalikes import TWO, write


@pytest.fixture(autouse=True)
def _own_process_for_each() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.partition(".")[0] == "scripts"]:
        del sys.modules[name]


def _read(bundle: Bundle, phantom: Phantom, folder: Path) -> Read:
    study = phantom.study()
    (chosen,) = select(study, bundle.manifest.inputs).reads
    spec = JobSpec("job", study, chosen, bundle.folder, bundle.digest(), folder / "out")
    model = open_model(bundle, engine="openvino", cache_folder=folder / "cache", threads=1)
    return process(spec, bundle, model, progress=lambda _stage, _share: None)


def _segments(read: Read) -> dict[str, int]:
    """Voxels of each segment in the SEG object."""
    (path,) = (result.path for result in read.results if result.kind == "SEG")
    ds = dcmread(path)
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    counts = {segment.SegmentLabel: 0 for segment in ds.SegmentSequence}
    for frame, item in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        counts[ds.SegmentSequence[number - 1].SegmentLabel] += int(np.count_nonzero(frame))
    return counts


@pytest.mark.parametrize("name", ["no_run_key", "own_evaluator"])
def test_ct_becomes_a_segmentation(name: str, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "dicom", modality="CT", orientation="coronal", description="CT image")
    read = _read(write(tmp_path / name, LOOKALIKES[name]()), phantom, tmp_path)
    assert _segments(read) == {
        "Kidney": int((phantom.array == phantom.large_value).sum()),
        "Stone": int((phantom.array == phantom.small_value).sum()),
    }


def _three_series(folder: Path, shape: tuple[int, int, int] = (24, 48, 40)) -> Phantom:
    for number, name in enumerate(("artery", "vein", "excret"), start=4):
        phantom = write_series(
            folder / name,
            modality="CT",
            description=f"series {name}",
            series_seed=name,
            series_number=number,
            shape=shape if name == "vein" else (24, 48, 40),
        )
    for path in list(folder.rglob("*.dcm")):
        path.rename(folder / f"{path.parent.name}-{path.name}")
    return phantom


def test_three_series_become_overlapping_segments(tmp_path: Path) -> None:
    phantom = _three_series(tmp_path / "dicom")
    study = _study(tmp_path / "dicom")
    bundle = write(tmp_path / "b", LOOKALIKES["three_series"]())
    (chosen,) = select(study, bundle.manifest.inputs).reads
    spec = JobSpec("job", study, chosen, bundle.folder, bundle.digest(), tmp_path / "out")
    model = open_model(bundle, engine="torch", cache_folder=tmp_path / "cache")
    read = process(spec, bundle, model, progress=lambda _stage, _share: None)
    bright = int((phantom.array > 200).sum())
    assert _segments(read) == {"artery": bright, "vein": bright, "excret": bright}


def _study(folder: Path) -> object:
    from wetread.images.folder import scan_folder

    (study,) = scan_folder(folder).studies
    return study


def test_stacked_series_on_different_grids_are_refused_by_name(tmp_path: Path) -> None:
    _three_series(tmp_path / "dicom", shape=(24, 48, 38))
    study = _study(tmp_path / "dicom")
    lookalike = LOOKALIKES["three_series"]()
    lookalike.inputs = tuple((name, "image") for name, _ in lookalike.inputs)
    bundle = write(tmp_path / "b", lookalike)
    (chosen,) = select(study, bundle.manifest.inputs).reads
    spec = JobSpec("job", study, chosen, bundle.folder, bundle.digest(), tmp_path / "out")
    model = _Never()
    with pytest.raises(
        GeometryInvalid, match=r"series 4 'series artery' and series 5 'series vein' must lie on one grid"
    ):
        process(spec, bundle, model, progress=lambda _stage, _share: None)


class _Never:
    def run(self, _volumes: object) -> object:
        raise AssertionError("the model was asked although the series do not fit")


def test_bundle_as_downloaded_gets_a_report_and_a_template(tmp_path: Path) -> None:
    write(tmp_path / "spleen", LOOKALIKES["spleen"](), own=False)
    before = {p: p.read_bytes() for p in (tmp_path / "spleen").rglob("*") if p.is_file()}
    report = check_bundle(tmp_path / "spleen", tmp_path / "cache")
    assert (report.loads, report.usable, report.tier, report.config) == (True, False, "components", "inference.json")
    assert report.missing == (f"configs/wetread.json is missing: fill in configs/{TEMPLATE_NAME} and rename it",)
    assert any("not to be used for diagnostic purposes" in said for said in report.licence)
    assert report.template == tmp_path / "spleen" / "configs" / TEMPLATE_NAME
    assert {p: p.read_bytes() for p in before} == before


def test_template_has_what_the_metadata_say_and_no_codes(tmp_path: Path) -> None:
    write(tmp_path / "brats", LOOKALIKES["sigmoid_overlap"](), own=False)
    report = check_bundle(tmp_path / "brats", tmp_path / "cache")
    assert report.template is not None
    text = report.template.read_text(encoding="utf-8")
    content = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    assert text.count("//") > 10
    assert [(rule["name"], rule["key"]) for rule in content["inputs"]] == [
        (name, "image") for name in ("t1c", "t1", "t2", "flair")
    ]
    assert content["inputs"][0]["modality"] == ["CT"]
    assert [label["name"] for label in content["labels"]] == ["t1c", "t1", "t2", "flair"]
    assert all(label["type"]["value"] == "" for label in content["labels"])
    assert len(content["weights"][0]["sha256"]) == 64


def test_template_is_refused_until_the_codes_are_filled_in_and_then_runs_with_its_comments(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded"
    write(folder, LOOKALIKES["no_run_key"](), own=False)
    template = check_bundle(folder, tmp_path / "cache").template
    assert template is not None
    own = template.with_name("wetread.json")
    template.rename(own)
    with pytest.raises(BundleInvalid, match=r"labels\.0\.category\.value"):
        load_bundle(folder)
    missing = check_bundle(folder, tmp_path / "cache").missing
    assert any("labels.0.type.value" in said for said in missing)
    filled = own.read_text(encoding="utf-8")
    for key in ("category", "type"):
        code = json.dumps(TWO[0][key])
        filled = re.sub(rf'"{key}": {{[^}}]*}}', f'"{key}": {code}', filled)
    filled = re.sub(r'"procedure": {[^}]*}', f'"procedure": {json.dumps(TWO[0]["type"])}', filled)
    own.write_text(filled, encoding="utf-8")
    report = check_bundle(folder, tmp_path / "cache")
    assert report.usable, report
    assert report.template is None
    phantom = write_series(tmp_path / "dicom", modality="CT", shape=(12, 30, 30))
    assert _segments(_read(vouched(load_bundle(folder)), phantom, tmp_path))["Kidney"] > 0


def test_template_that_somebody_is_filling_in_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "b", LOOKALIKES["no_run_key"](), own=False)
    first = check_bundle(tmp_path / "b", tmp_path / "cache").template
    assert first is not None
    first.write_text("// half done")
    assert check_bundle(tmp_path / "b", tmp_path / "cache").template == first
    assert first.read_text() == "// half done"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("config", "there is no configs/inference.json or inference.yaml"),
        ("weights", "there is none of models/model.safetensors, models/model.pt"),
        ("network", "'network_def' cannot be made: .*NoSuchNet"),
        ("json", "cannot be read"),
        ("other weights", "the weights do not fit"),
    ],
)
def test_what_stands_in_the_way_is_said(damage: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "b", LOOKALIKES["no_run_key"](), own=False)
    config, weights = tmp_path / "b" / "configs" / "inference.json", tmp_path / "b" / "models" / "model.pt"
    if damage == "config":
        config.unlink()
    elif damage == "weights":
        weights.unlink()
    elif damage == "json":
        config.write_text("{")
    elif damage == "network":
        config.write_text(config.read_text().replace("torch.nn.Conv3d", "torch.nn.NoSuchNet"))
    else:
        config.write_text(config.read_text().replace('"out_channels": 3', '"out_channels": 4'))
    report = check_bundle(tmp_path / "b", tmp_path / "cache")
    assert not report.loads
    assert not report.usable
    assert re.search(said, " ".join(report.problems))


def test_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match="is no MONAI bundle"):
        check_bundle(tmp_path, tmp_path / "cache")
