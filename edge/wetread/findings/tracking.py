"""Tracking UIDs: which finding of one read is the same thing as which finding of another."""

from __future__ import annotations

import uuid

from wetread.records.model_input import ModelInput
from wetread.records.radiograph import Radiograph

_NAMESPACE = uuid.UUID("5d0f1c2e-7a55-5c59-9a0b-3f6f6d2f3f10")
"""Never change it: a structure would lose its identity between two versions of Wetread."""


def tracking_uid(image: ModelInput, bundle: str, *what: object) -> str:
    """The same thing in the same series, or on the same film, by the same bundle keeps its UID, also after the bundle
    was retrained.

    The UID of series or film stands for the study too: it is globally unique (PS3.3 C.7.3.1). Form: PS3.5 B.2.
    """
    film = isinstance(image, Radiograph)
    uid = image.instances[0].sop_instance_uid if film else image.series.series_instance_uid
    name = "\0".join((uid, bundle, *map(str, what)))
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
