"""Boxes become detections, best score first; a class of the bundle without any box becomes a class not detected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from wetread.bundles import Bundle
from wetread.bundles.manifest import BoxRule
from wetread.errors import OutputInvalid
from wetread.findings.from_scores import checked_score
from wetread.findings.grid import check_place
from wetread.findings.measure import certainty, diameter
from wetread.findings.tracking import tracking_uid
from wetread.records.finding import Detection, Index, Undetected
from wetread.records.output import Box, Boxes
from wetread.records.volume import Volume


def read_boxes(boxes: Boxes, volume: Volume, bundle: Bundle) -> tuple[Detection | Undetected, ...]:
    """Cut to the image, measure and code every box whose score reaches the threshold of its class.

    Raises: ``OutputInvalid`` when boxes are not on the grid of ``volume``, not finite, inside out or outside the image,
    of a class that the bundle does not declare, or have a score that is not 0 to 1.
    """
    check_place("set of boxes", boxes.affine, volume)
    rules = {rule.label: rule for rule in bundle.manifest.boxes}
    unknown = sorted({box.label for box in boxes.boxes} - set(rules))
    if unknown:
        raise OutputInvalid(f"bundle {bundle.name} answered with the classes {unknown}, it declares {sorted(rules)}")
    detections = tuple(_detections(boxes, rules, volume, bundle.name))
    seen = {detection.name for detection in detections}
    return (*detections, *(_undetected(r, volume, bundle.name) for r in rules.values() if r.name not in seen))


def _detections(boxes: Boxes, rules: dict[int, BoxRule], volume: Volume, bundle: str) -> Iterator[Detection]:
    scored = [(checked_score(box.score, rules[box.label].name), box) for box in boxes.boxes]
    kept = [(score, box) for score, box in scored if score >= rules[box.label].score_threshold]
    kept.sort(key=lambda pair: (-pair[0], pair[1].label, pair[1].low, pair[1].high))
    at_one_place: Counter[tuple[object, ...]] = Counter()
    for number, (score, box) in enumerate(kept, start=1):
        rule = rules[box.label]
        low, high = _inside(box, volume.array.shape, rule.name)
        place = (rule.label, *(round((a + b) / 2) for a, b in zip(low, high, strict=True)))
        uid = tracking_uid(volume, bundle, "box", *place, at_one_place[place])
        at_one_place[place] += 1
        yield Detection(
            number=number,
            name=rule.name,
            category=rule.category.term(),
            type=rule.type.term(),
            colour_rgb=rule.colour_rgb,
            low=low,
            high=high,
            slice_index=min(math.floor((low[0] + high[0]) / 2 + 0.5), volume.array.shape[0] - 1),
            is_cut=(low, high) != (box.low, box.high),
            score=score,
            threshold=rule.score_threshold,
            measurements=(diameter(low, high, volume), certainty(score)),
            tracking_id=f"{rule.name} {number} ({bundle})",
            tracking_uid=uid,
            site=rule.site.term() if rule.site else None,
        )


def _inside(box: Box, shape: tuple[int, ...], name: str) -> tuple[Index, Index]:
    """The part of the box that lies in the image, whose voxels reach half an index beyond their centres."""
    if not all(map(math.isfinite, (*box.low, *box.high))):
        raise OutputInvalid(f"a box of {name!r} has corners that are no numbers: {box.low} to {box.high}")
    if any(a > b for a, b in zip(box.low, box.high, strict=True)):
        raise OutputInvalid(f"a box of {name!r} is inside out: {box.low} to {box.high} (slice, row, column)")
    low = tuple(max(float(a), -0.5) for a in box.low)
    high = tuple(min(float(b), size - 0.5) for b, size in zip(box.high, shape, strict=True))
    if low[0] > high[0] or low[1] >= high[1] or low[2] >= high[2]:
        raise OutputInvalid(
            f"a box of {name!r} from {box.low} to {box.high} (slice, row, column) has no area in its image of {shape}"
        )
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _undetected(rule: BoxRule, volume: Volume, bundle: str) -> Undetected:
    return Undetected(
        name=rule.name,
        type=rule.type.term(),
        threshold=rule.score_threshold,
        tracking_id=f"{rule.name} ({bundle})",
        tracking_uid=tracking_uid(volume, bundle, "no box", rule.label),
        site=rule.site.term() if rule.site else None,
    )
