"""Arrays in pickles: read as they were written, without NumPy's unpickling, and refused when their parts do not fit."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wetread.bundles.static_check_weights import examine_weights
from wetread.errors import BundleInvalid
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.configs.plain import load_plain
from wetread.infer.configs.weights import state_dict
from zoo_catalogue import LOOKALIKES
from zoo_lookalikes import write

FLOATS = hnp.floating_dtypes(sizes=(16, 32, 64))
NUMBERS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | FLOATS


@given(array=hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)), fortran=st.booleans())
def test_arrays_come_back_as_they_were(
    array: npt.NDArray[Any], fortran: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "arrays.pt"
    given = np.asfortranarray(array) if fortran else array
    torch.save({"deep": [(given, {"tensor": torch.ones(2)})]}, path)
    assert examine_weights(path.parent) == []
    ((found, rest),) = load_plain(path)["deep"]
    assert (found.dtype, found.shape) == (given.dtype, given.shape)
    np.testing.assert_array_equal(found, given)
    assert torch.equal(rest["tensor"], torch.ones(2))


def test_checkpoint_with_numbers_of_numpy_beside_its_state_is_read(tmp_path: Path) -> None:
    """What training loops keep: the best score so far, as NumPy gave it."""
    state = OrderedDict(weight=torch.ones(2))
    torch.save({"model": state, "best": np.float32(0.25), "history": np.arange(3)}, tmp_path / "model.pt")
    assert examine_weights(tmp_path) == []
    assert torch.equal(state_dict(tmp_path / "model.pt")["weight"], torch.ones(2))
    assert load_plain(tmp_path / "model.pt")["best"] == np.float32(0.25)


def _forged(
    path: Path, *, shape: object = (2,), code: object = "i8", content: object = b"\0" * 16, kind: str = ""
) -> Path:
    """A file such as ``torch.save`` writes, with an array whose parts somebody else chose."""
    torch.save({"a": np.arange(2)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    class _Parts:
        def __reduce__(self) -> Any:
            made = np.dtype if code == "i8" else None
            dtype = np.dtype("i8") if made else _Code(code)
            return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (1, shape, dtype, False, content)

    forged = io.BytesIO()
    pickle.Pickler(forged, 2).dump({"a": _Parts()})
    data = forged.getvalue().replace(b"cnumpy\nndarray\n", kind.encode() or b"cnumpy\nndarray\n")
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, data if name.endswith("data.pkl") else part)
    return path


class _Code:
    """A dtype that says another code."""

    def __init__(self, code: object) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return np.dtype, (self.code, False, True), (3, "<", None, None, None, -1, -1, 0)


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        ({"shape": (1 << 40,)}, r"an array of \(1099511627776,\) int64 with 16 bytes"),
        ({"shape": (-1,)}, "of the shape"),
        ({"shape": (True, 2)}, "of the shape"),
        ({"shape": (1,) * 9}, "of the shape"),
        ({"shape": [2]}, "of the shape"),
        ({"code": "O8"}, "no plain numbers"),
        ({"code": "V16"}, "no plain numbers"),
        ({"code": "i8,i8"}, "no plain numbers"),
        ({"content": "text"}, "something else than numbers"),
        ({"kind": "cnumpy\ndtype\n"}, "an array made as"),
        ({"kind": "ctorch\nTensor\n"}, "an array made as"),
    ],
)
def test_array_whose_parts_do_not_fit_is_refused(forged: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = _forged(tmp_path / "model.pt", **forged)
    assert pickletools.genops(zipfile.ZipFile(path).read("model/data.pkl"))
    with pytest.raises(BundleInvalid, match=reason):
        load_plain(path)


def test_forged_file_without_a_change_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_plain(_forged(tmp_path / "model.pt"))["a"], [0, 0])


def test_other_arrays_are_another_network(tmp_path: Path) -> None:
    """The architecture decides the function, so engines and certificates of another one do not count."""
    bundle = write(tmp_path / "b", LOOKALIKES["found_architecture"]())
    (weights,) = bundle.manifest.weights
    before = InferenceConfig(bundle).network_key(weights)
    path = bundle.folder / "models" / "search_code_7.pt"
    torch.save({**load_plain(path), "iter_num": 8}, path)
    assert InferenceConfig(bundle).network_key(weights) != before


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("$@bundle_root + '/models/none.pt'", r"models/none\.pt is missing; large_files\.yml in the bundle says where"),
        ("$@bundle_root + '/../outside.pt'", r"outside\.pt, which is not a file of the bundle"),
        ("/workspace/models/search_code_7.pt", ""),
    ],
)
def test_arrays_are_files_of_the_bundle(where: str, reason: str, tmp_path: Path) -> None:
    lookalike = LOOKALIKES["found_architecture"]()
    lookalike.config["arch_ckpt_path"], lookalike.yaml = where, False
    bundle = write(tmp_path / "b", lookalike)
    (bundle.folder / "large_files.yml").write_text("large_files: []\n")
    (tmp_path / "outside.pt").write_bytes((bundle.folder / "models" / "search_code_7.pt").read_bytes())
    config = InferenceConfig(bundle)
    if reason:
        with pytest.raises(BundleInvalid, match=reason):
            config.bare_network("network_def")
    else:
        assert config.bare_network("network_def") is not None
        assert json.loads(bundle.config_path.read_text())["arch_ckpt_path"] == where, "the file stays as it is"
