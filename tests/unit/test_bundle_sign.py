"""A signature says something about a bundle and changes nothing of it: what runs here goes on, or nothing happens."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from threshold_bundle import write_threshold_bundle
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.archive import Limits
from wetread.bundles.installed import record_of
from wetread.bundles.signature import SIGNATURE, make_key, sign, verify
from wetread.bundles.trust import TrustPolicy, admit
from wetread.cli.main import run
from wetread.errors import BundleNotTrusted, Misconfigured
from wetread.service.bundle_install import Installed, InstallSettings, install
from wetread.service.bundle_sign import sign_copy, sign_in_place

Install = Callable[..., Installed]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The trust store; the private key ``site.key`` is beside it, and ``other.key``, which nobody here trusts."""
    store = tmp_path / "keys"
    store.mkdir()
    for name in ("site", "other"):
        make_key(tmp_path / f"{name}.key")
    (tmp_path / "site.key.pub").rename(store / "site.pub")
    return store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_threshold_bundle(tmp_path / "source" / "threshold")


@pytest.fixture
def installing(tmp_path: Path, keys: Path) -> Install:
    def run(source: Path, **more: object) -> Installed:
        return install(source, InstallSettings(tmp_path / "site", keys, tmp_path / "cache", **more))  # type: ignore[arg-type]

    return run


def _policy(keys: Path) -> TrustPolicy:
    return TrustPolicy("refuse", keys)


def test_bundle_in_use_is_the_same_bundle_after_it_was_signed(
    tmp_path: Path, source: Path, keys: Path, installing: Install
) -> None:
    """Its digest stands in jobs under way and in certificates: a signature must not change it."""
    done = installing(source, trust_local=True)
    before = done.bundle.digest()
    sign_in_place(done.bundle, tmp_path / "other.key", trusted_keys=keys)
    assert load_bundle(done.bundle.folder).digest() == before
    assert admit(done.bundle, _policy(keys)) == done.record
    assert stat.S_IMODE((done.bundle.folder / SIGNATURE).stat().st_mode) == 0o444


def test_bundle_that_runs_by_its_signature_takes_another_trusted_one(
    tmp_path: Path, source: Path, keys: Path, installing: Install
) -> None:
    sign(source, tmp_path / "site.key")
    done = installing(source)
    (tmp_path / "other.key.pub").rename(keys / "other.pub")
    made = sign_in_place(done.bundle, tmp_path / "other.key", trusted_keys=keys)
    (keys / "site.pub").unlink()
    record = admit(done.bundle, _policy(keys))
    assert record is not None
    assert (record.trusted, record.by) == ("signature", made.key)


def test_signature_that_would_stop_the_bundle_here_is_refused_with_what_to_do(
    tmp_path: Path, source: Path, keys: Path, installing: Install
) -> None:
    first = sign(source, tmp_path / "site.key")
    done = installing(source)
    with pytest.raises(Misconfigured, match=rf"runs here because {first.key} signed it.*sign a copy: --out FOLDER"):
        sign_in_place(done.bundle, tmp_path / "other.key", trusted_keys=keys)
    assert admit(done.bundle, _policy(keys)) == done.record
    assert verify(done.bundle.folder, keys, name="threshold") == first


def test_copy_is_signed_and_the_bundle_stays_as_it_is(
    tmp_path: Path, source: Path, keys: Path, installing: Install
) -> None:
    first = sign(source, tmp_path / "site.key")
    done = installing(source)
    copy, made = sign_copy(done.bundle, tmp_path / "other.key", tmp_path / "out", limits=Limits())
    assert (copy.folder, copy.digest()) == (tmp_path / "out" / "threshold", done.bundle.digest())
    assert made.key != first.key
    assert verify(done.bundle.folder, keys, name="threshold") == first
    with pytest.raises(Misconfigured, match="is there already"):
        sign_copy(done.bundle, tmp_path / "other.key", tmp_path / "out", limits=Limits())
    with pytest.raises(Misconfigured, match="cannot be read"):
        sign_copy(done.bundle, tmp_path / "none.key", tmp_path / "new", limits=Limits())
    assert not (tmp_path / "new").exists()


def test_changed_bundle_does_not_become_trusted_by_signing_it(
    tmp_path: Path, source: Path, keys: Path, installing: Install
) -> None:
    done = installing(source, trust_local=True)
    done.bundle.folder.chmod(0o755)
    (done.bundle.folder / "LICENSE").write_text("changed")
    sign_in_place(done.bundle, tmp_path / "site.key", trusted_keys=keys)
    with pytest.raises(BundleNotTrusted, match="have changed since it was installed"):
        admit(done.bundle, _policy(keys))


def test_same_files_with_another_signature_take_it_over(
    tmp_path: Path, source: Path, keys: Path, installing: Install
) -> None:
    """The maker's key was exchanged: the files are there already, the new signature must come all the same."""
    sign(source, tmp_path / "site.key")
    installing(source)
    (keys / "site.pub").unlink()
    (tmp_path / "other.key.pub").rename(keys / "other.pub")
    made = sign(source, tmp_path / "other.key")
    again = installing(source)
    assert again.record.by == made.key
    assert admit(again.bundle, _policy(keys)) == again.record


@pytest.fixture
def uninstalled(source: Path) -> Bundle:
    return load_bundle(source)


def test_command_says_whether_the_bundle_runs_here(
    tmp_path: Path, uninstalled: Bundle, keys: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys.is_dir()
    monkeypatch.chdir(tmp_path)
    assert run(["bundle", "sign", str(uninstalled.folder), "--key", "other.key"]) == 0
    assert "runs here: nothing in it needs trusted code" in capsys.readouterr().out
    assert run(["bundle", "sign", str(uninstalled.folder), "--key", "other.key", "--out", "out"]) == 0
    assert str(tmp_path / "out" / "threshold") in capsys.readouterr().out
    assert record_of(uninstalled.folder) is None
