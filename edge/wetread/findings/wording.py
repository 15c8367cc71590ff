"""Words for calibrated scores, so that a report says ``likely, 87 %`` and not a bare number.

The scale is that of the IPCC's guidance note on uncertainty (Mastrandrea et al. 2010), cut so that its steps do not
overlap: readers understand it, and unlike most radiological scales it is defined by probabilities. A bundle may bring
its own (``ScoreRule.wording``).
"""

from __future__ import annotations

from wetread.bundles.manifest import ScoreRule, Words

SCALE = (
    Words(at_least=0.0, words="very unlikely"),
    Words(at_least=0.10, words="unlikely"),
    Words(at_least=0.33, words="about as likely as not"),
    Words(at_least=0.66, words="likely"),
    Words(at_least=0.90, words="very likely"),
)


def words_for(score: float, rule: ScoreRule) -> str:
    """What a score is called; '' where it is no probability: words would promise what nobody measured."""
    if not rule.calibrated:
        return ""
    return next(step.words for step in reversed(rule.wording or SCALE) if score >= step.at_least)
