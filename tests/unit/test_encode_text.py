"""Text keeps the source's character set while it can hold everything, and fits its field."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from wetread.encode.text import choose_character_set, text_line


def _source(*terms: str) -> Dataset:
    source = Dataset()
    if terms:
        source.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]
    return source


def _result(name: str, description: str) -> Dataset:
    dataset = Dataset()
    dataset.PatientName, dataset.SeriesDescription = name, description
    return dataset


@pytest.mark.parametrize(
    ("terms", "name", "description", "expected"),
    [
        ((), "Doe^Jane", "AI", None),
        ((), "Doe^Jane", "Gehör", "ISO_IR 192"),
        (("ISO_IR 100",), "Müller^Jörg", "AI", "ISO_IR 100"),
        (("ISO_IR 100",), "Müller^Jörg", "AI 山", "ISO_IR 192"),
        (("ISO_IR 192",), "王^小東", "Gehör", "ISO_IR 192"),
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎", "AI", ["", "ISO 2022 IR 87"]),
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎", "Gehör", "ISO_IR 192"),
        (("ISO_IR 999",), "Doe^Jane", "AI", None),
        (("ISO_IR 999",), "Müller^Jörg", "AI", "ISO_IR 192"),
    ],
)
def test_source_character_set_is_kept_if_it_expresses_everything(
    terms: tuple[str, ...], name: str, description: str, expected: object
) -> None:
    result = _result(name, description)
    choose_character_set(result, _source(*terms))
    assert result.get("SpecificCharacterSet") == expected
    buffer = BytesIO()
    dcmwrite(buffer, result, implicit_vr=False, little_endian=True)
    back = dcmread(BytesIO(buffer.getvalue()), force=True)
    assert (str(back.PatientName), back.SeriesDescription) == (name, description)


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("short", 64, "short"),
        ("a\\b\nc  d", 64, "a/b c d"),
        ("x" * 70, 64, "x" * 61 + "..."),
        ("ä" * 40, 64, "ä" * 30 + "..."),
    ],
)
def test_line_is_one_value_that_fits(text: str, limit: int, line: str) -> None:
    assert text_line(text, limit) == line
    assert len(line.encode()) <= limit
