"""What a reader signs, to be read once more before it is signed."""

from __future__ import annotations

from dataclasses import dataclass

from wetread_desktop.client.panel_state import FindingRow, PanelState, PatientBar, RowState
from wetread_desktop.client.results import Result
from wetread_desktop.client.settings import DeskSettings
from wetread_desktop.client.wording import person_name


@dataclass(frozen=True, slots=True)
class SignOff:
    """All that the dialog repeats."""

    patient: PatientBar
    accepted: tuple[FindingRow, ...]
    rejected: tuple[FindingRow, ...]
    undecided: tuple[FindingRow, ...]
    """Will not be in the report."""
    never_seen: tuple[FindingRow, ...]
    """Accepted or rejected without having been looked at here, or neither."""
    bundle: str
    outside: bool
    """Read outside the intended use of the bundle."""
    reader: str
    organization: str


def sign_off(state: PanelState, result: Result, settings: DeskSettings) -> SignOff:
    """Of what is on the screen, which must have a patient."""
    if state.patient is None:
        raise ValueError("nothing is signed without a patient")
    rows = state.findings
    return SignOff(
        patient=state.patient,
        accepted=tuple(r for r in rows if r.state is RowState.ACCEPTED),
        rejected=tuple(r for r in rows if r.state is RowState.REJECTED),
        undecided=tuple(r for r in rows if r.state is RowState.PROPOSED),
        never_seen=tuple(r for r in rows if not r.is_seen),
        bundle=result.bundle.label,
        outside=result.outside,
        reader=person_name(settings.reader),
        organization=settings.organization,
    )
