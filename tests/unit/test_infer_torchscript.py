"""Weights come out of a TorchScript archive as tensors; nothing that the archive holds is compiled or called."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from wetread.errors import WeightsMissing
from wetread.infer.configs.torchscript import torchscript_tensors

ROOT = "net"


class _Net(nn.Module):
    """Parameters, buffers, one of them shared, and attributes that are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.tied = self.conv.weight
        self.table = torch.arange(4.0)
        self.tables = [torch.ones(2)]
        self.names = {"a": 1}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) + self.table[0] + self.tables[0][0] + self.names["a"]


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(_Net()).save(tmp_path / f"{ROOT}.pt")
    return (tmp_path / f"{ROOT}.pt").read_bytes()


def _changed(archive: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, change(content) if info.filename == f"{ROOT}/{name}" else content)
    return changed.getvalue()


def test_tensors_are_those_of_the_state_dict_and_no_others(archive: bytes, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(tmp_path / f"{ROOT}.pt").state_dict()
    found = torchscript_tensors(archive)
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


class _Runs:
    """A pickle that makes a file when it is loaded by anything that calls what it names."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_archive_whose_pickle_calls_something_is_refused_before_it_is_called(archive: bytes, tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    hostile = _changed(archive, "data.pkl", lambda _old: pickle.dumps(_Runs(mark), protocol=2))
    with pytest.raises(WeightsMissing, match=r"its pickle would call .*nothing of it was run"):
        torchscript_tensors(hostile)
    assert not mark.exists()


def test_code_of_an_archive_is_never_compiled(archive: bytes) -> None:
    """With this code ``torch.jit.load`` fails; the tensors come out all the same, so nobody looked at it as code."""
    name = f"code/__torch__/{__name__}.py"
    broken = _changed(archive, name, lambda old: old + b"  def __setstate__(self, x):\n    this is no program\n")
    warnings.simplefilter("ignore")
    with pytest.raises(RuntimeError):
        torch.jit.load(io.BytesIO(broken))
    assert sorted(torchscript_tensors(broken)) == sorted(torchscript_tensors(archive))


def _with(archive: bytes, more: Callable[[zipfile.ZipFile], None]) -> bytes:
    changed = io.BytesIO(archive)
    with zipfile.ZipFile(changed, "a") as opened:
        more(opened)
    return changed.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[: len(a) // 2], "not a zip file"),
        (lambda a: _changed(a, "data/0", lambda old: old[:-4]), "values, 18 are claimed"),
        (
            lambda a: _changed(a, "data.pkl", lambda old: old.replace(b"X\x04\x00\x00\x00conv", b"")),
            "archive of weights",
        ),
        (lambda a: _changed(a, "byteorder", lambda _old: b"big"), "not little-endian"),
        (lambda a: _changed(a, "data.pkl", lambda _old: b"\x80\x02r\xff\xff\xff\x7f."), "archive of weights"),
        (lambda a: _changed(a, "data.pkl", lambda _old: pickle.dumps([1, 2], protocol=2)), "a list, not a module"),
        (lambda a: _changed(a, "data.pkl", lambda _old: b"(" * 10_000_000 * 2), "claims 19 MiB"),
        (lambda a: _with(a, lambda z: z.writestr("other/data.pkl", b"")), "archive of weights"),
        (lambda a: b"PK\x03\x04 nothing", "not a zip file"),
    ],
    ids=[
        "cut",
        "storage too small",
        "pickle torn",
        "big-endian",
        "memo bomb",
        "no module",
        "huge",
        "two roots",
        "forged",
    ],
)
def test_archive_that_is_not_what_it_claims_is_refused(
    archive: bytes, change: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(WeightsMissing, match=message):
        torchscript_tensors(change(archive))


def test_tensor_that_claims_more_values_than_are_there_takes_no_memory(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1).expand(50_000_000_000), requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Wide(), torch.zeros(1)).save(tmp_path / "wide.pt")
    with pytest.raises(WeightsMissing, match="claims 50000000000 values of a storage that has 1"):
        torchscript_tensors((tmp_path / "wide.pt").read_bytes())
