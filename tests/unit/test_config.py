"""The configuration file and its documented example are one and the same."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wetread.config import Config, load_config
from wetread.errors import Misconfigured

EXAMPLE = Path(__file__).parents[2] / "wetread.toml.example"


def _keys(kind: type, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the settings: dotted name and default."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.metadata.get("internal"):
            continue
        hint = hints[field.name]
        inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            yield from _keys(inner, f"{at}{field.name}.")
        else:
            yield f"{at}{field.name}", field.default


def _documented(*, prefix: str = "(?:# )?") -> dict[str, list[Any]]:
    """Every key of the example with its values, the commented-out ones included; with ``# ``, those alone."""
    found: dict[str, list[Any]] = {}
    table = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"(?:# )?\[\[?([\w.]+)\]\]?", line):
            table = header[1] + "."
        elif key := re.fullmatch(prefix + r"(\w+) = (.+)", line):
            value = tomllib.loads(f"x = {key[2]}")["x"]
            found.setdefault(f"{table}{key[1]}", []).append(value)
    return found


def test_example_loads(tmp_path: Path) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8"))
    config = load_config(path)
    assert config.routes[0].bundle == "mr_brain_extraction"
    assert config.data_dir == Path("/var/lib/wetread")
    assert config.bundle_folders == (tmp_path / "monai_bundles",)
    assert [s.name for s in config.senders()] == ["ct1", "pacs"]


def test_every_key_stands_in_the_example_and_no_other() -> None:
    assert set(_documented()) == {key for key, _ in _keys(Config)}


def test_commented_keys_show_the_real_default() -> None:
    commented = _documented(prefix="# ")
    for key, default in _keys(Config):
        if key in commented and default is not dataclasses.MISSING and not re.search("destinations|clients", key):
            shown = commented[key][-1]
            assert (tuple(shown) if isinstance(shown, list) else shown) == default, key


def test_every_commented_example_is_accepted(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    uncommented = [re.sub(r"^# (?=\w+ = |\[)", "", line) for line in lines]
    path = tmp_path / "wetread.toml"
    path.write_text("\n".join(uncommented))
    assert [d.kind for d in load_config(path).destinations] == ["dicom", "folder", "dicomweb"]


def test_engine_names_are_those_of_the_engine_table() -> None:
    from wetread.config import JobsSettings
    from wetread.infer.engines.engine import ENGINES

    hint = typing.get_type_hints(JobsSettings)["engine"]
    assert set(typing.get_args(hint)) == {"auto", *ENGINES}


def test_digest_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text('data_dir = "a"\n')
    first = load_config(path).digest
    path.write_text('data_dir = "b"\n')
    assert load_config(path).digest != first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "data_dir"),
        ('data_dir = "d"\n[results]\ntimezone = "Mars/Olympus"', "there is no time zone 'Mars/Olympus'"),
        ('data_dir = "d"\n[[peers]]\nname = "a"\nae_title = "A"\nmay_send = true', "no network is named"),
        ('data_dir = "d"\n[[peers]]\nname = "a"\nae_title = "A"\n[[peers]]\nname = "a"\nae_title = "B"', "two peers"),
        ('data_dir = "d"\n[[destinations]]\nname = "x"\nkind = "dicom"\npeer = "nobody"', "no known peer: 'nobody'"),
        (
            'data_dir = "d"\n[[destinations]]\nname = "x"\nkind = "ftp"',
            "[[destinations]] 'x': kind must be 'dicom', 'dicomweb' or 'folder', got 'ftp'",
        ),
        (
            'data_dir = "d"\n[[destinations]]\nname = "x"\nkind = "folder"',
            "destination 'x' of kind 'folder' needs a path",
        ),
        ('data_dir = "d"\n[jobs]\nworkers = 3', "jobs.workers must be a block that begins with [jobs.workers]"),
        ('data_dir = "d"\nlisteners = 1', "did you mean 'listener'"),
        ("[spool]\nreserve_mb = 1", "data_dir is missing"),
        ('data_dir = "d"\n[jobs]\nengine = "magic"', "[jobs] engine must be 'auto', "),
        ('data_dir = "d"\n[jobs]\nthreads = -2', "[jobs] threads must be at least 0, got -2"),
        ('data_dir = "d"\n[jobs.workers]\nslots = 0', "[jobs.workers] slots must be at least 1, got 0"),
        ('data_dir = "d"\n[completeness]\nquiet_s = -5', "[completeness] quiet_s must be more than 0.0, got -5"),
        (
            'data_dir = "d"\n[results]\nseries_number_base = -1',
            "[results] series_number_base must be at least 1, got -1",
        ),
        ('data_dir = "d"\n[listener]\nmax_pdu_bytes = 5', "[listener] max_pdu_bytes must be at least"),
        ('data_dir = "d"\n[listener]\nport = 99999', "[listener] port must be at most 65535, got 99999"),
        ('data_dir = "d"\n[listener]\nport = "21112"', "[listener] port must be a whole number, got '21112'"),
        ('data_dir = "d"\n[spool]\nreserve_mb = 1.0', "[spool] reserve_mb must be a whole number, got 1.0"),
        ('data_dir = "d"\n[completeness]\nquiet_s = "9"', "[completeness] quiet_s must be a number, got '9'"),
        ('data_dir = "d"\n[completeness]\nquiet_s = true', "[completeness] quiet_s must be a number, got True"),
        (
            'data_dir = "d"\n[[peers]]\nname = "a"\nae_title = "A"\nquery = "yes"',
            "[[peers]] 'a': query must be true or false, got 'yes'",
        ),
        ('data_dir = "d"\n[listener]\nplain = 1', "[listener] plain must be true or false, got 1"),
        ('data_dir = "d"\n[results]\ntimezone = 2026-01-01', "[results] timezone must be text in quotation marks"),
        (
            'data_dir = "d"\n[delivery]\nfirst_delay_s = 10\nmax_delay_s = 5',
            "[delivery] max_delay_s (5) must not be below first_delay_s (10)",
        ),
        ('data_dir = "d"\n[destinations]\nname = "x"', "[destinations] must be written [[destinations]], with two"),
        ('data_dir = "d"\n[routes.t1]\nbundle = "x"', "[routes] must be written [[routes]], with two brackets"),
        ('data_dir = "d"\n[stow.clients]\nname = "x"', "[stow.clients] must be written [[stow.clients]], with two"),
        ('data_dir = "d"\n[[bundles]]\nfolders = ["x"]', "[[bundles]] must be written [bundles], with one bracket"),
        ('data_dir = "d"\npeers = ["x"]', "peers must be blocks that begin with [[peers]], got ['x']"),
        ('data_dir = "d"\n[bundles]\nfolders = "x"', '[bundles] folders must be a list in brackets, e.g. ["a", "b"]'),
        (
            'data_dir = "d"\n[bundles]\nfolders = ["x", 3]',
            "[bundles] folders, entry 2, must be text in quotation marks",
        ),
        ('data_dir = "d"\n[[routes]]\nname = "t1"\nbundle = "b"\nwhen = 3', "[[routes]] 't1': when must be text"),
        ('data_dir = "d"\n[[routes]]\nname = "t1"\nbundle = "b"', "[[routes]] 't1': when is missing"),
        (
            'data_dir = "d"\n[[peers]]\nhost = "h"',
            "[[peers]] number 1: name is missing; [[peers]] number 1: ae_title is",
        ),
        (
            'data_dir = "d"\n[[peers]]\nname = "a"\nae_title = "A"\n[[peers]]\nport = "x"\n',
            "[[peers]] number 2: port must be a whole number, got 'x'",
        ),
        (
            'data_dir = "d"\n[[peers]]\nname = "a"\nnetwork = ["x"]',
            "unknown key 'network' in [[peers]] 'a'; did you mean 'networks'?",
        ),
    ],
)
def test_wrong_files_are_refused_with_a_sentence(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text(text)
    with pytest.raises(Misconfigured) as refused:
        load_config(path)
    assert expected in str(refused.value)


def test_folder_in_place_of_the_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read: Is a directory"):
        load_config(tmp_path)
