"""What the edge says about a read: its state, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.records.job import JobState
from wetread_desktop.client.fields import Fields

FINAL = frozenset({JobState.DONE, JobState.REJECTED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Job:
    """One read of one study by one bundle."""

    job_id: str
    study_instance_uid: str
    bundle: str
    state: JobState
    reason: str
    finished_at: str
    """ISO 8601, UTC; empty before."""
    code: str = ""
    """What kind of reason; as in ``wetread/errors.py``."""

    @classmethod
    def read(cls, fields: Fields) -> Job:
        """Raises: ``AnswerInvalid``."""
        return cls(
            job_id=fields.text("id"),
            study_instance_uid=fields.text("study_instance_uid"),
            bundle=fields.text("bundle"),
            state=fields.choice("state", JobState),
            reason=fields.text("reason", ""),
            finished_at=fields.text("finished_at", ""),
            code=fields.text("code", ""),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a read is; what is not known is ``None``."""

    state: JobState
    stage: str = ""
    percent: float | None = None
    """0 to 100."""
    queue_place: int | None = None
    """1: the next one."""
    eta_s: float | None = None
    reason: str = ""
    code: str = ""
    """What kind of reason."""

    @classmethod
    def read(cls, fields: Fields) -> Progress:
        """Raises: ``AnswerInvalid``."""
        percent = fields.number_or_none("percent")
        return cls(
            state=fields.choice("state", JobState),
            stage=fields.text("stage", ""),
            percent=None if percent is None else min(max(percent, 0.0), 100.0),
            queue_place=fields.integer_or_none("queue_place"),
            eta_s=fields.number_or_none("eta_s"),
            reason=fields.text("reason", ""),
            code=fields.text("code", ""),
        )

    @property
    def is_final(self) -> bool:
        """Nothing more will come."""
        return self.state in FINAL
