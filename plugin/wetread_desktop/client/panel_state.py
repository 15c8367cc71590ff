"""All that the panel shows, as one frozen value: widgets draw it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wetread.records.finding import Evaluation
from wetread_desktop.client.cards import Card
from wetread_desktop.client.studies import StudyLine, Suggestion
from wetread_desktop.client.words import Sentence, say
from wetread_desktop.host import Capability


class Phase(StrEnum):
    """Where the reader is with the study."""

    NO_STUDY = "no_study"
    ASKING = "asking"
    """The edge is being asked what it knows of the study."""
    STUDY_OPEN = "study_open"
    SENDING = "sending"
    """The study is on its way to the edge."""
    READING = "reading"
    FINDINGS = "findings"
    """There is a result; nobody decides here yet."""
    REVIEWING = "reviewing"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class PatientBar:
    """Whose study this is; always in sight."""

    name: str
    """For reading, not DICOM PN."""
    patient_id: str
    birth_date: str
    """``1950-03-04``."""
    age_years: int | None
    sex: str
    """``M``, ``F``, ``O`` or empty."""
    accession_number: str
    study: str
    """Description and date."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be pressed."""

    label: Sentence
    enabled: bool = True
    why_not: Sentence = ""
    """Said when it is not enabled; a control is never hidden for a reason that can be told."""


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How far the read is."""

    stage: Sentence
    percent: float | None
    """0 to 100; none: not known."""
    detail: Sentence = ""
    """Queue place or time left."""
    can_cancel: bool = True
    trouble: Sentence = ""
    """The edge does not answer right now."""


class RowState(StrEnum):
    """Of one finding."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One line of the list of findings."""

    tracking_uid: str
    tag: str
    """Its number in list, legend and picture: colours are not needed to tell findings apart."""
    name: str
    laterality: str
    evaluation: Evaluation
    is_abnormal: bool
    """A finding and not a normal structure that was measured."""
    state: RowState
    comment: str
    colour_rgb: tuple[int, int, int]
    measurements: tuple[tuple[str, str], ...]
    """What, and how much."""
    wording: str
    slice_number: int | None
    has_heatmap: bool
    is_seen: bool
    """The reader looked at it here."""
    is_unsent: bool
    """Decided here, and the edge does not know yet."""


@dataclass(frozen=True, slots=True)
class LegendRow:
    """One class of the overlay."""

    label_value: int
    tag: str
    name: str
    colour_rgb: tuple[int, int, int]
    visible: bool


@dataclass(frozen=True, slots=True)
class OverlayView:
    """How overlay and heat map are drawn."""

    legend: tuple[LegendRow, ...] = ()
    visible: bool = True
    opacity: float = 0.4
    contour: bool = False
    heatmap_of: str = ""
    """Tracking UID of the finding whose heat map is shown; empty: none."""


@dataclass(frozen=True, slots=True)
class ReviewView:
    """How far the review is."""

    decided: int = 0
    total: int = 0
    unsent: int = 0
    can_undo: bool = False
    holder: Sentence = ""
    """Who else holds the review."""
    signed: Sentence = ""
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class UnsentView:
    """Decisions on other reads than the one on the screen that the edge does not have."""

    count: int = 0
    why: tuple[Sentence, ...] = ()
    """Each reason once, also why some cannot even be counted."""
    can_forget: bool = False
    """Some of them can never be sent."""


@dataclass(frozen=True, slots=True)
class PanelState:
    """The whole panel."""

    phase: Phase = Phase.NO_STUDY
    patient: PatientBar | None = None
    edge: Sentence = ""
    """Which edge this is."""
    worklist: tuple[StudyLine, ...] = ()
    """While no study is open: what the edge has."""
    suggestions: tuple[Suggestion, ...] = ()
    chosen: str = ""
    """Name of the bundle that is chosen."""
    primary: Action = field(default_factory=lambda: Action(say("Read"), enabled=False))
    """The one button."""
    progress: ProgressView | None = None
    about: tuple[Sentence, ...] = ()
    """What the result says of itself: by which bundle, for what it was made, its notes."""
    caution: Sentence = ""
    """What must not be overlooked of this result."""
    findings: tuple[FindingRow, ...] = ()
    selected: str = ""
    """Tracking UID."""
    overlay: OverlayView = OverlayView()
    review: ReviewView = ReviewView()
    sign: Action = field(default_factory=lambda: Action(say("Sign…"), enabled=False))
    lock: Sentence = ""
    """Why nothing can be done here now; empty: it can."""
    card: Card | None = None
    unsent: UnsentView = UnsentView()
    capabilities: frozenset[Capability] = frozenset()
