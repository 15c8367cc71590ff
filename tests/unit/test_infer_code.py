"""What was measured with other code is measured again: the digest covers the code that makes answers, and only that."""

from __future__ import annotations

import shutil
from pathlib import Path

import grimp
import pytest

from network_bundles import threshold_bundle
from wetread.infer.code import ANSWER, BESIDE, GRAPH, answer_code, digest_of, graph_code, sources
from wetread.infer.gate import gate
from wetread.infer.graph import export
from wetread.infer.known import known_engines
from wetread.infer.model import open_model

ROOT = Path(gate.__file__).resolve().parents[2]
NO_NUMBERS = {
    *("__init__.py", "durable.py", "errors.py", "extras.py", "memory.py", "bundles/__init__.py", "bundles/archive.py"),
    *("bundles/check.py", "bundles/installed.py", "bundles/signature.py", "bundles/trust.py", "progress.py"),
    *(f"bundles/static_check{part}.py" for part in ("", "_expressions", "_files", "_names", "_weights")),
    *(
        f"records/{name}.py"
        for name in ("coded", "finding", "heat_map", "job", "numbers", "reading", "result", "study")
    ),
}
"""Outside of ``infer``, on the way of a read, and no voxel or score comes from it."""


def test_every_module_on_the_way_of_a_read_is_covered_or_known_to_make_no_number() -> None:
    graph = grimp.build_graph("wetread", cache_dir=None)
    behind = graph.find_upstream_modules("wetread.infer.model")
    files = {f"{module.partition('.')[2].replace('.', '/')}.py" for module in behind} - {".py"}
    files = {f if (ROOT / f).is_file() else f.replace(".py", "/__init__.py") for f in files}
    uncovered = files - sources(ROOT, ANSWER) - NO_NUMBERS
    assert not uncovered, "name them in ANSWER of infer/code.py, or here"


@pytest.mark.parametrize("place", [*ANSWER, *BESIDE, *GRAPH])
def test_every_place_that_is_named_is_there(place: str) -> None:
    assert sources(ROOT, (place,))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(ROOT, tmp_path / "wetread", ignore=shutil.ignore_patterns("__pycache__", "api", "demo"))
    )


@pytest.mark.parametrize(
    ("changed", "answer", "graph"),
    [
        ("infer/geometry.py", True, False),
        ("infer/gate/compare.py", True, False),
        ("infer/networks/linknet.py", True, True),
        ("infer/graph/onnx_half.py", True, True),
        ("infer/known.py", False, False),
        ("infer/explain/occlusion.py", False, False),
        ("cli/bundle.py", False, False),
    ],
)
def test_digest_follows_the_code_that_makes_it(copy: Path, changed: str, *, answer: bool, graph: bool) -> None:
    path = copy / changed
    path.write_text(path.read_text() + "\nX = 1\n")
    assert (digest_of(copy, ANSWER, without=BESIDE) != answer_code()) == answer
    assert (digest_of(copy, GRAPH) != graph_code()) == graph


def test_new_renamed_and_deleted_files_change_it(copy: Path) -> None:
    before = digest_of(copy, ANSWER, without=BESIDE)
    (copy / "infer" / "new.py").write_text("")
    new = digest_of(copy, ANSWER, without=BESIDE)
    (copy / "infer" / "new.py").rename(copy / "infer" / "newer.py")
    renamed = digest_of(copy, ANSWER, without=BESIDE)
    (copy / "infer" / "newer.py").unlink()
    assert len({before, new, renamed}) == 3
    assert digest_of(copy, ANSWER, without=BESIDE) == before


def test_certificate_of_other_code_is_made_anew_without_a_new_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, cache = threshold_bundle(tmp_path / "b"), tmp_path / "c"

    def certificate() -> str:
        model = open_model(bundle, engine="torch", cache_folder=cache)
        model.close()
        assert model.certificate is not None
        return model.certificate.digest()

    monkeypatch.setattr(gate, "answer_code", lambda: "the code before")
    before = certificate()
    assert certificate() == before
    (old,) = known_engines(bundle, cache)
    assert old.changed == ("the code of Wetread that makes the answer was another",)
    monkeypatch.undo()
    assert certificate() != before
    assert known_engines(bundle, cache)[0].changed == ()


def test_graph_of_other_code_is_exported_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = export.graph_recipe("f32")
    monkeypatch.setattr(export, "graph_code", lambda: "the code before")
    assert export.graph_recipe("f32") != now
