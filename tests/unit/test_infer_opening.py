"""Opening a model: who may, what is recorded about it, golden cases of every shape, and who need not wait."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bundles import vouched
from network_bundles import oblique_volume, threshold_bundle
from phantoms import write_series
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.manifest import Manifest
from wetread.bundles.trust import TrustPolicy
from wetread.errors import BundleNotTrusted, EngineDisagrees
from wetread.infer.compile import compile_bundle
from wetread.infer.gate.certificate import Certificate
from wetread.infer.model import open_model
from wetread.pipeline import process
from wetread.records.job import JobSpec
from wetread.records.output import Boxes, ModelOutput
from wetread.records.reading import EngineIdentity
from wetread.records.volume import Volume
from wetread.route.selection import select
from zoo_catalogue import LOOKALIKES
from zoo_lookalikes import write


@pytest.fixture(autouse=True)
def _own_process_for_each() -> Iterator[None]:
    """Bundles with scripts get a process each; here they get what makes one: nobody else's ``scripts``."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.partition(".")[0] == "scripts"]:
        del sys.modules[name]


def _with_code(folder: Path, canary: Path) -> Bundle:
    bundle = threshold_bundle(folder)
    config = json.loads(bundle.config_path.read_text())
    config["network_def"]["in_channels"] = f"$__import__('pathlib').Path('{canary}').touch() or 1"
    bundle.config_path.write_text(json.dumps(config))
    return load_bundle(folder)


@pytest.mark.parametrize("what", [open_model, compile_bundle])
def test_nothing_of_a_bundle_runs_before_it_was_admitted_whoever_asks(what: object, tmp_path: Path) -> None:
    bundle = _with_code(tmp_path / "b", tmp_path / "was_run")
    with pytest.raises(BundleNotTrusted, match="needs trusted code"):
        what(bundle, cache_folder=tmp_path / "c")  # type: ignore[operator]
    assert not (tmp_path / "was_run").exists()


def test_site_that_refuses_bundles_nobody_installed_is_heard(tmp_path: Path) -> None:
    bundle, policy = threshold_bundle(tmp_path / "b"), TrustPolicy(uninstalled="refuse")
    with pytest.raises(BundleNotTrusted, match="was not installed"):
        open_model(bundle, engine="torch", cache_folder=tmp_path / "c", trust=policy)
    vouched(bundle)
    assert open_model(bundle, engine="torch", cache_folder=tmp_path / "c", trust=policy).identity.name == "torch"


def test_tier_and_adaptations_are_part_of_what_computed_the_answer(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", LOOKALIKES["hard_coded_cuda"]())
    identity = open_model(bundle, engine="torch", cache_folder=tmp_path / "c").identity
    assert identity.tier == "components"
    assert any(said.startswith("own_device: ") for said in identity.shims)
    assert open_model(threshold_bundle(tmp_path / "plain"), cache_folder=tmp_path / "c").identity.shims == ()


def _three_inputs(folder: Path, *, wrong: bool = False) -> Bundle:
    """A bundle with three series and overlapping masks, and a golden case that has all of them."""
    names = ("artery", "vein", "excret")
    lookalike = LOOKALIKES["three_series"]()
    inputs = [name for name, _ in lookalike.inputs]
    lookalike.own["golden"] = {
        "input": {name: f"golden/{key}.nii.gz" for name, key in zip(inputs, names, strict=True)},
        "output": [f"golden/{key}-mask.nii.gz" for key in names],
        "origin": "smooth noise; numpy's comparison",
    }
    write(folder, lookalike)
    (folder / "golden").mkdir()
    for seed, name in enumerate(names):
        array = oblique_volume((12, 20, 16), seed=seed).array * 400
        mask = (array > 200) ^ (wrong and seed == 2)
        for suffix, content in (("", array), ("-mask", mask.astype(np.uint8))):
            image = nibabel.Nifti1Image(content.transpose(2, 1, 0), np.diag([2.0, 2.0, 3.0, 1.0]))
            nibabel.save(image, folder / "golden" / f"{name}{suffix}.nii.gz")
    return vouched(load_bundle(folder))


def test_golden_case_may_have_several_inputs_and_overlapping_answers(tmp_path: Path) -> None:
    bundle = _three_inputs(tmp_path / "b")
    model = open_model(bundle, engine="openvino", cache_folder=tmp_path / "c")
    (path,) = (tmp_path / "c").glob("*/certificate.json")
    certificate = Certificate.model_validate_json(path.read_text())
    assert certificate.digest() == model.identity.certificate
    assert (certificate.kind, len(certificate.golden), certificate.measured.dice) == ("golden", 6, {1: 1, 2: 1, 3: 1})


def test_golden_case_with_several_inputs_can_refuse(tmp_path: Path) -> None:
    with pytest.raises(EngineDisagrees, match="label 3: Dice 0"):
        open_model(_three_inputs(tmp_path / "b", wrong=True), engine="torch", cache_folder=tmp_path / "c")


def test_golden_case_without_one_of_the_inputs_is_refused_by_name(tmp_path: Path) -> None:
    content = _three_inputs(tmp_path / "b").manifest.model_dump(mode="json")
    content["golden"]["input"].popitem()
    with pytest.raises(ValueError, match="must name one file for each input"):
        Manifest.model_validate(content)
    content["golden"]["input"] = "golden/artery.nii.gz"
    with pytest.raises(ValueError, match="must name one file for each input"):
        Manifest.model_validate(content)


class _FindsNothing:
    """A model that has something to say about its answer."""

    identity = EngineIdentity("torch", "f32", "2", "CPU", "reference")

    def run(self, volumes: dict[str, Volume]) -> ModelOutput:
        (volume,) = volumes.values()
        return Boxes((), volume.affine, notes=("detections that were cut at its border: 2",))


def test_what_happened_to_boxes_reaches_the_warnings_of_the_read(tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "dicom", modality="CT", description="CT image")
    bundle = write(tmp_path / "b", LOOKALIKES["detection_in_handler"]())
    (chosen,) = select(phantom.study(), bundle.manifest.inputs).reads
    spec = JobSpec("job", phantom.study(), chosen, bundle.folder, bundle.digest(), tmp_path / "out")
    read = process(spec, bundle, _FindsNothing(), progress=lambda _stage, _share: None)  # type: ignore[arg-type]
    assert read.warnings == ("detections that were cut at its border: 2",)
