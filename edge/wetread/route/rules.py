"""``when`` of a route: a CEL expression over the study (https://cel.dev), checked when the configuration is loaded.

Every field exists ('' or []), so a rule never fails on an absent attribute. CEL's ``||`` and ``&&`` swallow errors of
the side that does not matter, so a misspelled field could hide behind them: field names are checked by themselves.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

import cel

from wetread.errors import Misconfigured
from wetread.records.study import Patient, SeriesRef, StudyRef

_STRING = re.compile(r"""r?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_FIELD = re.compile(r"\.\s*([A-Za-z_]\w*)\b(?!\s*\()")  # a name after a dot that is not called


class Rule:
    """One compiled ``when``."""

    def __init__(self, expression: str) -> None:
        """Compile and check against a synthetic study.

        Raises: ``Misconfigured`` with the expression and what is wrong with it.
        """
        self.expression = expression
        self._check_fields()
        try:
            self._program = cel.compile(expression)
        except ValueError as exc:
            raise Misconfigured(f"rule {expression!r} cannot be parsed: {str(exc).splitlines()[0]}") from exc
        self.matches(_SYNTHETIC)

    def matches(self, study: StudyRef) -> bool:
        """Whether the study fits.

        Raises: ``Misconfigured`` when the expression does not give true or false.
        """
        try:
            answer = self._program.execute({"study": study_fields(study)})
        except Exception as exc:  # the library has no type of its own for faults of an expression: told with the rule
            # A field of something else (study.modality) passes _check_fields, and the library says its name alone.
            problem = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            what = f"there is no field {problem} where it is asked for" if isinstance(exc, KeyError) else problem
            raise Misconfigured(f"rule {self.expression!r}: {what}") from exc
        if not isinstance(answer, bool):
            raise Misconfigured(f"rule {self.expression!r} gives {answer!r}, it must give true or false")
        return answer

    def _check_fields(self) -> None:
        known = _known_fields()
        text = _STRING.sub("''", self.expression)
        for field in _FIELD.findall(text):
            if field not in known:
                near = difflib.get_close_matches(field, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; fields: {', '.join(sorted(known))}"
                raise Misconfigured(f"rule {self.expression!r}: there is no field {field!r}{hint}")


def study_fields(study: StudyRef) -> dict[str, Any]:
    """What a rule sees. Text is '' when absent, numbers are 0, lists are []."""
    return {
        "study_instance_uid": study.study_instance_uid,
        "accession_number": study.accession_number,
        "description": study.description,
        "date": study.date,
        "modalities": list(study.modalities),
        "instance_count": study.instance_count,
        "patient": {
            "patient_id": study.patient.patient_id,
            "issuer": study.patient.issuer,
            "birth_date": study.patient.birth_date,
            "sex": study.patient.sex,
            "age": study.patient_age,
        },
        "series": [_series_fields(s) for s in study.series],
    }


def _series_fields(series: SeriesRef) -> dict[str, Any]:
    return {
        "series_instance_uid": series.series_instance_uid,
        "modality": series.modality,
        "description": series.description,
        "number": series.number or 0,
        "protocol": series.protocol,
        "body_part": series.body_part,
        "laterality": series.laterality,
        "manufacturer": series.manufacturer,
        "image_type": list(series.image_type),
        "contrast_agent": series.contrast_agent,
        "sop_class_uids": sorted(series.sop_class_uids),
        "instance_count": len(series.instances),
    }


_SYNTHETIC = StudyRef("1.2.3", Patient("P1"), (SeriesRef("1.2.3.1", "MR", ()),))


def _known_fields() -> set[str]:
    fields = study_fields(_SYNTHETIC)
    return set(fields) | set(fields["patient"]) | set(fields["series"][0])
