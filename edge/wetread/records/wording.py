"""What a finding says of itself, in one sentence: the same in reports, pictures, tables and viewers."""

from __future__ import annotations

from wetread.records.finding import Condition, Detection, Evaluation, Finding, Segment, Undetected


def sentence(finding: Finding) -> str:
    """Why it is called what it is called; '' about a structure that was found: its measurements say it."""
    match finding:
        case Condition():
            steady = steadiness(finding)
            return f"{_score(finding)} {steady[0].upper()}{steady[1:]}." if steady else _score(finding)
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


def steadiness(condition: Condition) -> str:
    """How far the score moves when the image is changed a little; '' where nobody looked."""
    spread = condition.spread
    if spread is None:
        return ""
    scores = f"{_short(spread.least)} to {_short(spread.most)} %"
    if condition.threshold is None:
        return f"slightly changed {len(spread.values)} times, the image scores {scores}"
    called = f"{spread.reached(condition.threshold)} of {len(spread.values)}"
    return f"slightly changed {len(spread.values)} times, the image scores {scores}; {called} reach the threshold"


def _short(share: float) -> str:
    return f"{100 * share:.3g}"


def _score(condition: Condition) -> str:
    meaning = "" if condition.calibrated else " The score is not calibrated: it is not a probability."
    score = f"score {percent(condition.score)}"
    if condition.words:
        score = f"{condition.words}, {percent(condition.score)}; it"
    if condition.threshold is None:
        return f"{score}; the model has no threshold, so nothing is called.{meaning}"
    reaches = "reaches" if condition.evaluation is Evaluation.PRESENT else "is below"
    return f"{score} {reaches} the threshold of {percent(condition.threshold)}.{meaning}"
