"""Before sending: reasons to hold the results of one job until a person decides."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from wetread.deliver.destination import Archive
from wetread.deliver.right_patient import differences, identity_of


def too_old(age_s: float, stale_after_h: float) -> str:
    """Why results this long after the last image are held; '' if they are not."""
    if not stale_after_h or age_s <= stale_after_h * 3600.0:
        return ""
    return f"stale: not sent within {stale_after_h:g} h after the last image"


def wrong_patient(
    archive: Archive, study_instance_uid: str, result: Path, *, destination: str, unknown_study: Literal["send", "hold"]
) -> str:
    """Why results are held that disagree with what the destination has of their study; '' if they agree.

    Raises: ``DestinationUnavailable`` when it cannot be asked: then nothing is sent either.
    """
    ours = identity_of(result)
    known = archive.study(study_instance_uid)
    if not known:
        return f"{destination} does not have the study" if unknown_study == "hold" else ""
    differ = sorted({name for theirs in known for name in differences(ours, theirs)})
    if not differ:
        return ""
    several = f" (it has {len(known)} studies with this UID)" if len(known) > 1 else ""
    return f"patient check: {destination} has the study with another {', '.join(differ)}{several}"
