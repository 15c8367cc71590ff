"""What stands in addresses: ids and UIDs of the right form only, so that none is ever a path."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from wetread.records.states import JOB_STATES, STUDY_STATES

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="Of the job, whole.")]
Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$", description="A UID.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Text = Annotated[str, Query(max_length=64)]
StudyState = Annotated[str, Query(pattern=f"^(|{'|'.join(STUDY_STATES)})$", description="Empty: in any.")]
JobState = Annotated[str, Query(pattern=f"^(|{'|'.join(JOB_STATES)})$", description="Empty: in any.")]
