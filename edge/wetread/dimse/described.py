"""Describe instances one by one, and those that say the same of their series only once.

Converting what describes study and series costs more than reading the file, and the instances of a series say the same.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from wetread.dimse.describe import DESCRIBING, GEOMETRY, build_study
from wetread.records.study import InstanceRef, StudyRef

_KEPT = 64
"""Series under way at one time whose description is kept."""
_SHORT = 4096
"""Bytes of a value; a longer one describes nothing, and is not kept."""

_Said = tuple[object, ...]


def _tags(keywords: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None)


_DESCRIBING = _tags(("SpecificCharacterSet", *DESCRIBING))
_GEOMETRY = _tags(GEOMETRY)


class Described:
    """``build_study`` for one instance, remembering what it answered for the last series."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Said, StudyRef] = OrderedDict()

    def __call__(self, ds: Dataset, ref: InstanceRef) -> StudyRef:
        """The study of one instance, as ``build_study`` gives it; ``ds`` fresh from the reader."""
        said = _said(ds)
        known = self._known.get(said) if said else None
        if known is None:
            known = build_study([(ds, ref)])[0]
            if said:
                self._keep(said, known)
            return known
        series = dataclasses.replace(known.series[0], instances=(ref,))
        return dataclasses.replace(known, series=(series,))

    def _keep(self, said: _Said, study: StudyRef) -> None:
        self._known[said] = study
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)


def _said(ds: Dataset) -> _Said:
    """All that ``build_study`` looks at, as it was encoded; empty when that cannot be compared."""
    elements: dict[int, RawDataElement | DataElement] = dict(ds.items())  # as read: looking one up would convert it
    said = [_encoded(elements.get(tag)) for tag in _DESCRIBING]
    said += [_is_there(_encoded(elements.get(tag))) for tag in _GEOMETRY]
    return () if None in said else tuple(said)


def _encoded(element: RawDataElement | DataElement | None) -> _Said | None:
    """VR, byte order and value; empty where the element is not there, ``None`` where it cannot be compared."""
    if element is None:
        return ()
    if not isinstance(element, RawDataElement):
        return (element.VR, str(element.value)) if element.tag == _DESCRIBING[0] else None
    if len(element.value or b"") > _SHORT:
        return None
    return element.VR, element.is_little_endian, element.is_implicit_VR, element.value


def _is_there(encoded: _Said | None) -> _Said | None:
    """Of numbers it is only asked whether there are any: they differ from slice to slice."""
    if not encoded:
        return encoded
    vr, _, _, value = encoded
    plain = vr in (None, "DS") and isinstance(value, bytes) and value.strip(b" \0")
    return ("there",) if plain else encoded
