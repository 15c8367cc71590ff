"""Which SOP classes are images to read and which are somebody's result (PS3.4 B.5)."""

from __future__ import annotations

_STORAGE = "1.2.840.10008.5.1.4.1.1."

_DERIVED = (
    f"{_STORAGE}7",  # Secondary Capture and its multi-frame kinds
    f"{_STORAGE}11",  # presentation states
    f"{_STORAGE}30",  # Parametric Map
    f"{_STORAGE}66",  # Raw Data, Spatial Registration, Segmentation, Surface Segmentation, Label Map
    f"{_STORAGE}67",  # Real World Value Mapping
    f"{_STORAGE}68",  # surface scans
    f"{_STORAGE}88",  # structured reports and Key Object Selection
    f"{_STORAGE}104",  # encapsulated documents
    f"{_STORAGE}481.3",  # RT Structure Set
    f"{_STORAGE}481.5",  # RT Plan
    f"{_STORAGE}481.2",  # RT Dose
)

_FILMS = frozenset(
    {
        f"{_STORAGE}1",  # Computed Radiography
        f"{_STORAGE}1.1",  # Digital X-Ray, for presentation
        f"{_STORAGE}1.1.1",  # Digital X-Ray, for processing
    }
)


def is_film(sop_class_uid: str) -> bool:
    """Whether instances of this class are projection radiographs, each an image of its own."""
    return sop_class_uid in _FILMS


def is_derived(sop_class_uid: str) -> bool:
    """Whether instances of this class are results, not acquisitions: they never trigger a read nor feed a bundle."""
    return any(sop_class_uid == root or sop_class_uid.startswith(root + ".") for root in _DERIVED)
