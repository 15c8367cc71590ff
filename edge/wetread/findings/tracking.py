"""Tracking UIDs: which finding of one read is the same thing as which finding of another."""

from __future__ import annotations

import uuid

from wetread.records.volume import Volume

_NAMESPACE = uuid.UUID("5d0f1c2e-7a55-5c59-9a0b-3f6f6d2f3f10")
"""Never change it: a structure would lose its identity between two versions of Wetread."""


def tracking_uid(volume: Volume, bundle: str, *what: object) -> str:
    """The same thing in the same series by the same bundle keeps its UID, also after the bundle was retrained.

    The Series Instance UID stands for the study too: it is globally unique (PS3.3 C.7.3.1). Form: PS3.5 B.2.
    """
    name = "\0".join((volume.series.series_instance_uid, bundle, *map(str, what)))
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
