"""In the place of a model input: a study, or a film of it, that was not read, and why."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.records.study import InstanceRef, StudyRef

_OF_A_SERIES = 1
"""Of a series that is no set of films: one slice stands for all."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What a rejection speaks of."""

    reason: str
    """A sentence."""
    instances: tuple[InstanceRef, ...]
    """What was looked at: each film, and the first instance of any other series. At least one."""

    @classmethod
    def of(cls, study: StudyRef, reason: str, *, modalities: frozenset[str]) -> Refused:
        """``modalities``: those that the bundle reads; of a study that has none of them everything was looked at."""
        series = [s for s in study.series if s.modality in modalities] or list(study.series)
        looked_at = [i for s in series for i in (s.instances if _films(s.instances) else s.instances[:_OF_A_SERIES])]
        return cls(reason, tuple(looked_at))


def _films(instances: tuple[InstanceRef, ...]) -> bool:
    return all(instance.film for instance in instances)
