"""What a finding says of itself, in one sentence: the same in reports, pictures, tables and viewers."""

from __future__ import annotations

from wetread.records.finding import Condition, Detection, Evaluation, Finding, Segment, Undetected


def sentence(finding: Finding) -> str:
    """Why it is called what it is called; '' about a structure that was found: its measurements say it."""
    match finding:
        case Condition():
            return _score(finding)
        case Detection():
            return f"score {percent(finding.score)}."
        case Undetected():
            return f"no detection with a score of at least {percent(finding.threshold)}."
        case Segment() if not finding.voxel_count:
            return "no voxel found."
        case _:
            return ""


def percent(share: float) -> str:
    """``0.874`` is ``87.4 %``."""
    return f"{100 * share:.4g} %"


def _score(condition: Condition) -> str:
    meaning = "" if condition.calibrated else " The score is not calibrated: it is not a probability."
    score = f"score {percent(condition.score)}"
    if condition.words:
        score = f"{condition.words}, {percent(condition.score)}; it"
    if condition.threshold is None:
        return f"{score}; the model has no threshold, so nothing is called.{meaning}"
    reaches = "reaches" if condition.evaluation is Evaluation.PRESENT else "is below"
    return f"{score} {reaches} the threshold of {percent(condition.threshold)}.{meaning}"
