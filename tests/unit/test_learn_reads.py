"""A site's signed reads as training data: by opt-in, without identity, and gone when a patient wants it."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

from bundles import KIDNEYS, write_bundle
from film_bundle import write_film_bundle
from films import write_film
from learning import settings, small_bundle
from phantoms import write_series
from signed_reads import READER, SignedReads
from wetread.bundles import Bundle
from wetread.cli.main import run
from wetread.config import Config
from wetread.errors import Misconfigured
from wetread.images.film import read_radiograph
from wetread.learn.evaluate import evaluate
from wetread.learn.measured import HowRead
from wetread.learn.reads.deidentify import KEPT, KEPT_IN_ITEMS, Stranger
from wetread.learn.reads.deidentify import write_film as export_film
from wetread.learn.reads.export import Allowed, Exported, ReadsExport
from wetread.learn.reads.pseudonyms import Pseudonyms, whole_years
from wetread.learn.reads.settings import LearningSettings
from wetread.learn.reads.withdraw import Withdrawal
from wetread.learn.sources import read_source
from wetread.learn.train import train
from wetread.records.output import Scores
from wetread.records.volume import LabelMap
from wetread.service.erase import erase_study

OPTED_IN = Allowed(LearningSettings(signed_reads=True), frozenset())
ILL, WELL = Scores((0.9,)), Scores((0.1,))


@pytest.fixture(scope="module")
def film_reader(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_film_bundle(tmp_path_factory.mktemp("bundles") / "film_reader")


@pytest.fixture
def site(tmp_path: Path, film_reader: Bundle) -> SignedReads:
    return SignedReads(tmp_path / "data", bundle=film_reader)


def export(site: SignedReads, out: Path, allowed: Allowed = OPTED_IN, **more: str) -> list[Exported]:
    return ReadsExport(site.db, site.folder, allowed, "ann").export(out, **more)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def all_bytes(folder: Path) -> bytes:
    """Every file and file name, unpacked."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    contents = [gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files]
    return b"\n".join([*contents, *(f.read_bytes() for f in files), "\n".join(map(str, files)).encode()])


def test_nothing_is_exported_without_opt_in(site: SignedReads, tmp_path: Path) -> None:
    site.read_and_sign(site.film(1, patient="PAT-A"), ILL, "accept")
    off = Allowed(LearningSettings(), frozenset())
    with pytest.raises(
        Misconfigured, match=r"not learned from: that takes \[learning\] signed_reads = true, or learn ="
    ):
        export(site, tmp_path / "out", off)
    other = Allowed(LearningSettings(), frozenset({"other"}))
    with pytest.raises(Misconfigured, match="the signed reads of route 'chest' are not learned from"):
        export(site, tmp_path / "out", other, route="chest")
    assert export(site, tmp_path / "out", other) == []
    assert not (tmp_path / "out" / "film_reader").exists()
    (done,) = export(site, tmp_path / "out", Allowed(LearningSettings(), frozenset({"chest"})))
    assert done.cases == 1


def test_label_is_what_the_reader_made_of_what_the_model_said(site: SignedReads, tmp_path: Path) -> None:
    said = [(ILL, "accept", "1"), (ILL, "reject", "0"), (WELL, "accept", "0"), (WELL, "reject", "1")]
    for number, (answer, action, _) in enumerate(said):
        site.read_and_sign(site.film(number, patient=f"PAT-{number}"), answer, action)
    site.read_and_sign(site.film(8, patient="PAT-8"), ILL)
    site.read_and_sign(site.film(9, patient="PAT-9"), ILL, "accept", sign=False)
    (done,) = export(site, tmp_path / "out")
    assert [line["label"] for line in table(done.folder)] == [label for *_, label in said]
    assert dict(done.left_out) == {"Pneumonia was not decided about": 1}


def test_film_is_exported_as_a_read_would_see_it(site: SignedReads, tmp_path: Path) -> None:
    study = site.film(1, patient="PAT-A")
    site.read_and_sign(study, ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    (case,) = read_source(done.folder, site.bundle.manifest).unsplit  # type: ignore[union-attr]
    np.testing.assert_array_equal(case.image, read_radiograph(study.series[0]).array)
    assert case.targets == (1,)
    assert case.about == {"sex": "M", "age_years": "3", "manufacturer": "Wetread", "spacing_mm": "2.5"}


def test_no_value_of_the_original_is_in_any_byte_of_the_export(site: SignedReads, tmp_path: Path) -> None:
    study = site.film(1, patient="PAT-A")
    site.read_and_sign(study, ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    exported = all_bytes(done.folder)
    source = dcmread(study.series[0].instances[0].path)
    allowed = {str(source[k].value) for k in (*KEPT, *KEPT_IN_ITEMS) if k in source} | {"ISO_IR 100", "1", "9"}
    words = {
        str(value)
        for element in source.iterall()
        if element.VR not in ("SQ", "OW", "OB", "UN", "US", "SS")
        for value in (element.value if element.VM > 1 else [element.value])
    }
    found = {word for word in words - allowed if len(word) > 2 and word.encode() in exported}
    assert found <= {"ORIGINAL", "PRIMARY", "2.5"}
    identifying = ("PAT-A", "Secret", "SITE-ISSUER", "Privet", "Elsewhere", "SERIAL", "ROOM-12", "Olga", "mayor")
    more = ("ACC-1", "STUDYID", "private", "20260314", "20230110", "081500", READER, "Examples", "Dana")
    assert [word for word in (*identifying, *more) if word.encode() in exported] == []
    (film,) = (dcmread(path) for path in (done.folder / "images").iterdir())
    assert film.get("PatientBirthDate", "") == "", "nor the year alone, which the shifted date of the study may well be"
    assert [uid for uid in (source.StudyInstanceUID, source.SOPInstanceUID) if uid.encode() in exported] == []
    assert {s.encode() in exported for s in (site.db.fetch("SELECT id FROM jobs")[0]["id"], "film_reader/train")} == {
        False
    }


def test_what_is_kept_is_nothing_that_the_standard_removes_but_for_the_options_that_are_declared() -> None:
    """Table E.1-1 of PS3.15 as a library of its own keeps it."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions

    removed = {(key[0], key[1]) for key in initialize_actions("dicomfields_2026c") if len(key) == 2}
    tags = {keyword: Tag(tag_for_keyword(keyword) or 0) for keyword in (*KEPT, *KEPT_IN_ITEMS)}
    assert {k for k, tag in tags.items() if (tag.group, tag.element) in removed} == {"PatientSex"}
    assert len(removed) > 400


def test_object_says_how_it_was_de_identified(site: SignedReads, tmp_path: Path) -> None:
    site.read_and_sign(site.film(1, patient="PAT-A", PatientAge="048M"), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    (path,) = (done.folder / "images").iterdir()
    ds = dcmread(path)
    assert (ds.PatientIdentityRemoved, ds.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert [item.CodeValue for item in ds.DeidentificationMethodCodeSequence] == ["113100", "113107", "113108"]
    assert ds.PatientID == table(done.folder)[0]["patient"] != "PAT-A"
    assert (ds.PatientBirthDate, ds.PatientAge) == ("", "004Y")
    assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_exported_film_is_a_valid_instance(modality: Any, tmp_path: Path) -> None:
    study = write_film(tmp_path / "film", modality=modality).study()
    stranger = Stranger("P12", "M", "3", "20200101")
    path = tmp_path / "exported.dcm"
    export_film(study.series[0].instances[0], study, stranger, Pseudonyms(b"1" * 32), path)
    said = subprocess.run(
        [Path(sys.executable).with_name("dciodvfy"), path], capture_output=True, text=True, check=False
    ).stderr
    assert f"{modality}Image" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_films_of_one_patient_stay_one_patients_and_dates_keep_their_distance(
    site: SignedReads, tmp_path: Path
) -> None:
    dates = {1: "20260314", 2: "20260321", 3: "20260314"}
    for number, patient in ((1, "PAT-A"), (2, "PAT-A"), (3, "PAT-B")):
        site.read_and_sign(site.film(number, patient=patient, StudyDate=dates[number]), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    first, second, third = (dcmread(done.folder / line["image"]) for line in table(done.folder))
    assert first.PatientID == second.PatientID != third.PatientID
    assert int(second.StudyDate[-2:]) - int(first.StudyDate[-2:]) in (7, 7 - 28, 7 - 29, 7 - 30, 7 - 31)
    assert done.patients == 2
    (again,) = export(site, tmp_path / "again")
    assert [line["patient"] for line in table(again.folder)] == [line["patient"] for line in table(done.folder)]
    assert again.id != done.id


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"BurnedInAnnotation": "YES"}, "names may stand in the picture: Burned In Annotation is YES"),
        ({"says_clean": False}, "names may stand in the picture: the film has no Burned In Annotation = NO"),
    ],
)
def test_picture_with_names_in_it_is_left_out(
    site: SignedReads, tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    site.read_and_sign(site.film(1, patient="PAT-A", **more), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    assert (done.id, done.cases) == ("", 0)
    assert [reason for reason in done.left_out if reason.startswith(said)]
    assert not done.folder.exists()
    take = Allowed(LearningSettings(signed_reads=True, films_that_do_not_say="take"), frozenset())
    (taken,) = export(site, tmp_path / "take", take)
    assert taken.cases == (0 if "BurnedInAnnotation" in more else 1)


def test_patient_without_id_held_study_and_superseded_read_are_left_out(site: SignedReads, tmp_path: Path) -> None:
    site.read_and_sign(site.film(1, patient=""), ILL, "accept")
    site.read_and_sign(site.film(2, patient="PAT-B"), ILL, "accept")
    job = site.read_and_sign(site.film(3, patient="PAT-C"), ILL, "accept")
    with site.db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held' WHERE id = 2")
        tx.run("UPDATE sign_offs SET superseded_at = '2026-05-01' WHERE job_id = :job", {"job": job})
    (done,) = export(site, tmp_path / "out")
    assert done.cases == 0
    assert list(done.left_out) == ["its study names no patient: nobody could withdraw it, nor keep it in one part"]


def test_what_was_read_outside_the_intended_use_is_left_out(site: SignedReads, tmp_path: Path) -> None:
    site.read_and_sign(site.film(1, patient="PAT-A", PatientAge="064Y"), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    assert dict(done.left_out) == {"it was read outside the intended use of its bundle": 1}


def test_study_that_was_corrected_to_another_patient_is_withdrawn_with_that_patient(
    site: SignedReads, tmp_path: Path
) -> None:
    site.read_and_sign(site.film(1, patient="PAT-WRONG"), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    with site.db.transaction() as tx:
        tx.run("UPDATE revisions SET attributes = json_set(attributes, '$.patient.patient_id', 'PAT-RIGHT ')")
    (copy,) = Withdrawal(site.db, "ann", []).patient("PAT-RIGHT").copies
    assert (copy.cases, copy.is_here) == (1, True)
    assert table(done.folder) == []
    (again,) = export(site, tmp_path / "again")
    assert dict(again.left_out) == {"withdrawn": 1}


def test_only_what_was_signed_since_a_day_is_exported(site: SignedReads, tmp_path: Path) -> None:
    site.read_and_sign(site.film(1, patient="PAT-A"), ILL, "accept")
    assert export(site, tmp_path / "out", since="2999-01-01") == []
    assert [done.cases for done in export(site, tmp_path / "out", since="2020-01-01")] == [1]


def kidneys(images: Any) -> LabelMap:
    """The large object is called the left kidney, the small one the right one."""
    (volume,) = images.values()
    values = np.sort(np.unique(volume.array))
    labels = ((volume.array == values[-2]) + 2 * (volume.array == values[-1])).astype(np.uint8)
    return LabelMap(labels, volume.affine)


def test_accepted_structures_become_a_label_map_on_their_images_and_rejected_ones_nothing(tmp_path: Path) -> None:
    first, second = (KIDNEYS[0] | {"bundle_value": 7}, KIDNEYS[1])
    bundle = write_bundle(tmp_path / "bundles" / "kidneys", first, second)
    site = SignedReads(tmp_path / "data", bundle=bundle)
    site.read_and_sign(site.series(1, patient="PAT-A"), kidneys, "accept", "accept")
    site.read_and_sign(site.series(2, patient="PAT-B"), kidneys, "accept", "reject")
    (done,) = export(site, tmp_path / "out")
    assert dict(done.left_out) == {"Right kidney was rejected": 1}
    (case,) = read_source(done.folder, bundle.manifest).unsplit
    phantom = write_series(tmp_path / "same", orientation="oblique", study_seed="s1", shape=(6, 20, 16))
    np.testing.assert_allclose(case.image, phantom.array)
    np.testing.assert_allclose(case.affine, phantom.affine, atol=1e-4)  # type: ignore[arg-type]
    expected = 7 * (phantom.array == phantom.large_value) + 2 * (phantom.array == phantom.small_value)
    np.testing.assert_array_equal(case.mask, expected)  # type: ignore[arg-type]
    assert case.about["age_years"] == "46"
    exported = all_bytes(done.folder)
    assert [w for w in ("PAT-A", "Secret", "19800229", phantom.study_instance_uid) if w.encode() in exported] == []


def test_export_trains_a_version_that_a_withdrawal_names_and_the_copies_are_gone(
    site: SignedReads, tmp_path: Path
) -> None:
    for number in range(14):
        answer = ILL if number % 2 else WELL
        site.read_and_sign(site.film(number, patient=f"PAT-{number // 2 * 2 + number % 2}"), answer, "accept")
    (done,) = export(site, tmp_path / "out")
    trained = train(
        small_bundle(tmp_path / "start" / "chest"),
        settings(done.folder, tmp_path / "trained", epochs=1, batch_size=4),
    )
    metrics = json.loads((trained.bundle.folder / "training" / "metrics.json").read_text())
    assert metrics["data"]["exports"] == [done.id]
    assert f"Learned from signed reads of a site: export {done.id}." in (
        trained.bundle.folder / "docs" / "README.md"
    ).read_text(encoding="utf-8")
    measured = evaluate(trained.bundle, done.folder, HowRead(tmp_path / "cache", "torch"))
    assert measured.n == 14

    gone = next(line for line in table(done.folder) if line["patient"] == _pseudonym(site, "PAT-3"))
    withdrawal = Withdrawal(site.db, "ann", [tmp_path / "trained", tmp_path / "start"])
    said = withdrawal.patient("PAT-3")
    assert [(v.bundle, v.version, v.exports) for v in said.trained] == [
        (trained.bundle.name, trained.bundle.version, (done.id,))
    ]
    assert [(c.export_id, c.cases, c.is_here) for c in said.copies] == [(done.id, 1, True)]
    assert not (done.folder / gone["image"]).exists()
    left = table(done.folder)
    assert (len(left), gone["image"] in {line["image"] for line in left}) == (13, False)
    assert len(read_source(done.folder, site.bundle.manifest).unsplit) == 13  # type: ignore[union-attr]
    (again,) = export(site, tmp_path / "again")
    assert (again.cases, dict(again.left_out)) == (13, {"withdrawn": 1})
    assert site.actions().count("learning_exported") == 14 + 13
    assert site.actions().count("learning_withdrawn") == 1
    assert "PAT-3" not in "".join(r["detail"] for r in site.db.fetch("SELECT detail FROM events"))


def _pseudonym(site: SignedReads, patient: str) -> str:
    return Pseudonyms(site.db.fetch("SELECT key FROM learning_key")[0]["key"]).patient(patient)


def test_study_is_withdrawn_also_when_it_is_not_here_any_more_and_twice(site: SignedReads, tmp_path: Path) -> None:
    studies = [site.film(number, patient="PAT-A") for number in (1,)]
    site.read_and_sign(studies[0], ILL, "accept")
    other = site.film(2, patient="PAT-A")
    site.read_and_sign(other, WELL, "accept")
    (done,) = export(site, tmp_path / "out")
    with site.db.transaction() as tx:
        tx.run("DELETE FROM studies WHERE id = 1")
    withdrawal = Withdrawal(site.db, "ann", [])
    for _ in range(2):
        (copy,) = withdrawal.study(studies[0].study_instance_uid).copies
        assert (copy.cases, copy.is_here) == (1, True)
    assert len(table(done.folder)) == 1
    assert [c.cases for c in withdrawal.patient("PAT-A").copies] == [2]
    assert table(done.folder) == []
    assert list((done.folder / "images").iterdir()) == []


def test_copies_that_were_taken_away_are_named_as_not_deleted(site: SignedReads, tmp_path: Path) -> None:
    site.read_and_sign(site.film(1, patient="PAT-A"), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    done.folder.rename(tmp_path / "elsewhere")
    (copy,) = Withdrawal(site.db, "ann", []).patient("PAT-A").copies
    assert not copy.is_here
    (tmp_path / "elsewhere").rename(done.folder)
    (copy,) = Withdrawal(site.db, "ann", []).patient("PAT-A").copies
    assert copy.is_here
    assert table(done.folder) == []


def test_erasing_a_study_deletes_its_exported_copies_and_withdraws_nothing(site: SignedReads, tmp_path: Path) -> None:
    studies = [site.film(number, patient="PAT-A") for number in (1,)]
    site.read_and_sign(studies[0], ILL, "accept")
    site.read_and_sign(site.film(2, patient="PAT-A"), ILL, "accept")
    (done,) = export(site, tmp_path / "out")
    config = Config(data_dir=site.folder)
    erase_study(config, studies[0].study_instance_uid)
    assert len(table(done.folder)) == len(list((done.folder / "images").iterdir())) == 1
    assert site.actions()[-2:] == ["erased", "learning_erased"]
    (again,) = export(site, tmp_path / "again")
    assert (again.cases, dict(again.left_out)) == (1, {})


def test_ages_are_whole_years_and_nobody_is_older_than_90() -> None:
    assert [whole_years(age) for age in (None, 0.4, 3.9, 89.0, 94.0)] == ["", "0", "3", "89", "90"]


def test_pseudonyms_depend_on_the_key_and_on_nothing_else() -> None:
    one, other = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
    assert one.patient(" A ") == one.patient("A") != one.patient("B")
    assert one.patient("A") != other.patient("A")
    assert one.uid("1.2.3") != one.uid("1.2.4")
    assert len(one.uid("1.2.3")) <= 64
    assert one.date("20260314", "A") != "20260314"
    assert one.date("unknown", "A") == ""


def test_commands_say_what_happened(
    site: SignedReads, tmp_path: Path, capsys: pytest.CaptureFixture[str], film_reader: Bundle
) -> None:
    study = site.film(1, patient="PAT-A")
    site.read_and_sign(study, ILL, "accept")
    site.db.close()
    path = tmp_path / "wetread.toml"
    text = f'data_dir = "{site.folder}"\n[[listener.called]]\nae_title = "W"\n[bundles]\nfolders = ["b"]\n[learning]\n'
    path.write_text(f"{text}signed_reads = false\n")
    command = ["learn", "export", "--out", str(tmp_path / "out"), "--config", str(path)]
    assert run(command) == 2
    assert "not learned from" in capsys.readouterr().err
    path.write_text(f"{text}signed_reads = true\n")
    assert run([*command, "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)["exports"]
    assert (done["bundle"], done["cases"], done["patients"]) == ("film_reader", 1, 1)
    assert run(["learn", "list", "--config", str(path)]) == 0
    assert done["id"] in capsys.readouterr().out
    assert run(["learn", "withdraw", "--patient", "PAT-A", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "the patient is withdrawn" in out
    assert f"1 read in export {done['id']}  deleted" in out
    assert run(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert run(["studies", "erase", study.study_instance_uid, "--yes", "--config", str(path)]) == 0
