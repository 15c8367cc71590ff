"""Who may be believed: signatures, install records, and what is asked of a bundle at every start."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import hostile_bundles as hostile
from threshold_bundle import write_threshold_bundle
from wetread.bundles import load_bundle
from wetread.bundles.installed import RECORDS, record_of
from wetread.bundles.signature import SIGNATURE, make_key, sign, verify
from wetread.bundles.trust import TrustPolicy, admit
from wetread.errors import BundleInvalid, BundleNotTrusted, Misconfigured, WetreadError
from wetread.service.bundle_files import place, remove, unlocked
from wetread.service.bundle_install import Installed, InstallSettings, changing, install

Install = Callable[..., Installed]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key whose public one is in the trust store."""
    store = tmp_path / "keys"
    store.mkdir()
    path = tmp_path / "site.key"
    make_key(path)
    path.with_name("site.key.pub").rename(store / "site.pub")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_threshold_bundle(tmp_path / "source" / "threshold")


@pytest.fixture
def installing(tmp_path: Path) -> Install:
    def run(source: Path, **more: object) -> Installed:
        settings = InstallSettings(
            into=tmp_path / "site", trusted_keys=tmp_path / "keys", cache_folder=tmp_path / "cache", **more
        )
        return install(source, settings)

    return run


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def site(tmp_path: Path) -> list[str]:
    """What the bundle folder holds."""
    return sorted(p.name for p in (tmp_path / "site").iterdir())


def test_key_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "k")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    with pytest.raises(Misconfigured, match="cannot be written: File exists"):
        make_key(tmp_path / "k")


def test_signed_bundle_is_installed_read_only_with_a_record(
    tmp_path: Path, source: Path, key: Path, installing: Install
) -> None:
    fingerprint = sign(source, key).key
    done = installing(source)
    folder = tmp_path / "site" / "threshold"
    assert done.bundle.folder == folder
    assert (done.record.trusted, done.record.by) == ("signature", fingerprint)
    assert record_of(folder) == done.record
    assert done.record.digest == load_bundle(folder).digest()
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()} == {0o444}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (folder, *folder.rglob("*")) if p.is_dir()} == {0o555}
    assert admit(done.bundle, TrustPolicy("refuse", tmp_path / "keys")) == done.record
    assert site(tmp_path) == [RECORDS, "threshold"]


def test_unsigned_bundle_is_not_installed(tmp_path: Path, source: Path, key: Path, installing: Install) -> None:
    assert key.exists()
    with pytest.raises(BundleNotTrusted, match="bundle threshold is not signed"):
        installing(source)
    assert site(tmp_path) == []


def test_signature_by_an_unknown_key_is_refused(tmp_path: Path, source: Path, key: Path, installing: Install) -> None:
    make_key(tmp_path / "other")
    sign(source, tmp_path / "other")
    with pytest.raises(BundleNotTrusted, match="not among the 1 trusted key in"):
        installing(source)
    assert (key.exists(), site(tmp_path)) == (True, [])


def _changed(folder: Path) -> None:
    (folder / "configs" / "inference.json").write_text("{}")


def _added(folder: Path) -> None:
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text("import os")


def _removed(folder: Path) -> None:
    (folder / "models" / "model.safetensors").unlink()


def _forged(folder: Path) -> None:
    path = folder / SIGNATURE
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "version": "9.9"}))


def _other_signature(folder: Path) -> None:
    path = folder / SIGNATURE
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "signature": "A" * 86 + "=="}))


def _garbage(folder: Path) -> None:
    (folder / SIGNATURE).write_text("{")


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (_changed, r"configs/inference\.json has changed since the bundle was signed"),
        (_added, r"scripts/__init__\.py was added after the bundle was signed"),
        (_removed, r"models/model\.safetensors was signed and is missing"),
        (_forged, "is not valid: it was changed or forged"),
        (_other_signature, "is not valid: it was changed or forged"),
        (_garbage, "cannot be read"),
    ],
)
def test_bundle_that_changed_after_it_was_signed_is_refused(
    tmp_path: Path, source: Path, key: Path, installing: Install, tamper: Callable[[Path], None], reason: str
) -> None:
    sign(source, key)
    verify(source, tmp_path / "keys", name="threshold")
    tamper(source)
    with pytest.raises(BundleNotTrusted, match=reason):
        installing(source)
    assert site(tmp_path) == []


def test_signed_bundle_keeps_its_name(tmp_path: Path, source: Path, key: Path, installing: Install) -> None:
    sign(source, key)
    renamed = source.rename(source.with_name("liver"))
    assert installing(renamed).bundle.name == "threshold"
    with pytest.raises(BundleNotTrusted, match="is for bundle 'threshold', this one is called 'liver'"):
        verify(renamed, tmp_path / "keys", name="liver")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_trust_store_anybody_may_write_to_is_refused(tmp_path: Path, source: Path, key: Path) -> None:
    sign(source, key)
    (tmp_path / "keys" / "site.pub").chmod(0o666)
    with pytest.raises(Misconfigured, match="anybody may write to the trusted key"):
        verify(source, tmp_path / "keys", name="threshold")


def test_word_of_the_user_is_recorded_and_lets_code_run(tmp_path: Path, installing: Install) -> None:
    folder = hostile.config_with(tmp_path / "source" / "threshold", here="$scripts.evil()")
    with pytest.raises(BundleNotTrusted):
        installing(folder)
    done = installing(folder, trust_local=True)
    assert done.record.trusted == "local"
    assert done.record.by
    assert {f.what for f in done.findings} == {"$scripts.evil()"}
    assert admit(done.bundle, TrustPolicy("refuse")) == done.record


def test_record_does_not_travel_with_the_bundle(tmp_path: Path, installing: Install) -> None:
    folder = hostile.config_with(tmp_path / "source" / "threshold", here="$scripts.evil()")
    done = installing(folder, trust_local=True)
    shutil.copytree(done.bundle.folder, tmp_path / "elsewhere" / "threshold")
    with pytest.raises(BundleNotTrusted, match="needs trusted code"):
        admit(load_bundle(tmp_path / "elsewhere" / "threshold"))


@pytest.mark.parametrize("trust_local", [True, False])
def test_nobodys_word_makes_a_pickle_or_an_object_in_yaml_acceptable(
    tmp_path: Path, source: Path, canary: Path, installing: Install, *, trust_local: bool
) -> None:
    hostile.evil_torch_file(source / "models" / "model.pt", canary)
    with pytest.raises(BundleInvalid, match="is a pickle that would call"):
        installing(source, trust_local=trust_local)
    (source / "models" / "model.pt").unlink()
    (source / "configs" / "x.yaml").write_text(f"a: !!python/object/apply:os.system ['touch {canary}']")
    with pytest.raises(BundleInvalid, match="makes an object"):
        installing(source, trust_local=trust_local)
    assert (canary.exists(), site(tmp_path)) == (False, [])


@pytest.mark.parametrize("pack", [True, False])
def test_every_hostile_bundle_is_refused_at_install_and_leaves_nothing(
    tmp_path: Path, canary: Path, installing: Install, *, pack: bool
) -> None:
    for number, make in enumerate(hostile.EXPRESSIONS.values()):
        folder = hostile.config_with(tmp_path / f"source{number}" / "threshold", here=make(canary))
        source = hostile.zip_of(folder, tmp_path / f"{number}.zip") if pack else folder
        with pytest.raises(WetreadError):
            installing(source)
    assert (canary.exists(), site(tmp_path)) == (False, [])


def test_other_version_is_refused_or_takes_the_place_and_the_old_one_is_kept(
    tmp_path: Path, source: Path, installing: Install
) -> None:
    first = installing(source, trust_local=True)
    assert installing(source, trust_local=True).notes == ("threshold 0.1.0 was there already, file by file the same",)
    (source / "LICENSE").write_text("Apache-2.0")
    with pytest.raises(Misconfigured, match=r"holds another threshold, version 0\.1\.0; give --replace"):
        installing(source, trust_local=True)
    assert load_bundle(tmp_path / "site" / "threshold").digest() == first.record.digest
    second = installing(source, trust_local=True, replace=True)
    assert admit(second.bundle) == second.record
    (kept,) = (tmp_path / "site" / ".replaced").iterdir()
    assert load_bundle(kept).digest() == first.record.digest
    assert second.notes == (f"the former threshold is kept in {kept}",)
    assert site(tmp_path) == [".replaced", RECORDS, "threshold"]


def test_bundle_changed_behind_our_back_does_not_run(source: Path, installing: Install) -> None:
    done = installing(source, trust_local=True)
    with unlocked(done.bundle.folder):
        config = done.bundle.config_path
        config.chmod(0o644)
        config.write_text(config.read_text() + "\n")
    with pytest.raises(BundleNotTrusted, match="have changed since it was installed on 20"):
        admit(done.bundle)
    with changing(done.bundle):
        (done.bundle.folder / "LICENSE").write_text("x")
    with pytest.raises(BundleNotTrusted, match="have changed"):
        admit(done.bundle)


def test_bundle_changed_on_purpose_runs_and_is_read_only_again(source: Path, installing: Install) -> None:
    done = installing(source, trust_local=True)
    with changing(done.bundle):
        (done.bundle.folder / "LICENSE").write_text("x")
    assert admit(done.bundle) is not None
    assert stat.S_IMODE((done.bundle.folder / "LICENSE").stat().st_mode) == 0o444
    assert stat.S_IMODE(done.bundle.folder.stat().st_mode) == 0o555


def test_key_taken_away_takes_its_bundles_with_it(tmp_path: Path, source: Path, key: Path, installing: Install) -> None:
    sign(source, key)
    done = installing(source)
    (tmp_path / "keys" / "site.pub").unlink()
    assert admit(done.bundle) == done.record
    with pytest.raises(BundleNotTrusted, match="not among the 0 trusted keys"):
        admit(done.bundle, TrustPolicy(trusted_keys=tmp_path / "keys"))


def test_site_may_refuse_what_was_not_installed(source: Path) -> None:
    assert admit(load_bundle(source)) is None
    with pytest.raises(BundleNotTrusted, match="was not installed; run: wetread bundle install"):
        admit(load_bundle(source), TrustPolicy("refuse"))


def test_damaged_records_stop_every_bundle(tmp_path: Path, source: Path, installing: Install) -> None:
    done = installing(source, trust_local=True)
    (tmp_path / "site" / RECORDS).write_text("{")
    with pytest.raises(Misconfigured, match=r"the install records .* cannot be read"):
        admit(done.bundle)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
@pytest.mark.parametrize("name", ["configs/inference.json", "models", "."])
def test_bundle_everybody_may_write_to_does_not_run(source: Path, name: str) -> None:
    path = source / name
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(BundleNotTrusted, match="everybody on this machine may write to"):
        admit(load_bundle(source))


def test_link_out_of_the_bundle_does_not_run(tmp_path: Path, source: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (source / "models" / "inside").symlink_to("model.safetensors")
    assert admit(load_bundle(source)) is None
    (source / "models" / "outside").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleInvalid, match="is a link out of the bundle's folder"):
        admit(load_bundle(source))


@pytest.mark.parametrize(
    "manifest",
    [
        {"runtime": {"config": "../../other/configs/inference.json"}},
        {"runtime": {"config": "../eval/inference.json"}},
        {"weights": [{"path": "../other/model.safetensors", "network": "network_def", "sha256": "0"}]},
        {"golden": {"input": "/etc/in.nii.gz", "output": "out.nii.gz", "origin": "x"}},
    ],
)
def test_manifest_that_names_files_elsewhere_does_not_run(tmp_path: Path, manifest: dict[str, object]) -> None:
    for name in ("other/configs/inference.json", "b/eval/inference.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    folder = write_threshold_bundle(tmp_path / "b", **manifest)
    with pytest.raises(BundleInvalid, match="which is not a file of the bundle"):
        admit(load_bundle(folder))


def test_power_cut_while_replacing_leaves_one_whole_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step fails as if the machine stopped there: the new bundle is in place, none is half."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "version").write_text(name)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        place(tmp_path / "new", tmp_path / "old", keep=tmp_path / "kept" / "old")
    monkeypatch.undo()
    assert (tmp_path / "old" / "version").read_text() == "new"
    assert (tmp_path / "new" / "version").read_text() == "old"
    remove(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_folder_with_two_bundles_and_file_that_is_none_are_refused(tmp_path: Path, installing: Install) -> None:
    archive = tmp_path / "two.zip"
    for name in ("one", "other"):
        folder = write_threshold_bundle(tmp_path / name)
        for path in sorted(folder.rglob("*.json")):
            hostile.add_entry(archive, path.relative_to(tmp_path).as_posix(), path.read_bytes())
    with pytest.raises(BundleInvalid, match=r"two\.zip holds 2 bundles"):
        installing(archive, trust_local=True)
    with pytest.raises(Misconfigured, match="there is no bundle, folder or archive"):
        installing(tmp_path / "none.zip", trust_local=True)
    assert site(tmp_path) == []
