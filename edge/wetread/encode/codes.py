"""Coded terms that our objects use beyond those of the bundle, and the step from our records to highdicom's."""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code

from wetread.records.coded import CodedTerm

ARTIFICIAL_INTELLIGENCE = CodedConcept("123110", "DCM", "Artificial Intelligence")
"""Algorithm Family, CID 7162."""
COMMENT = CodedConcept("121106", "DCM", "Comment")
PROCEDURE_SUMMARY = CodedConcept("111017", "DCM", "CAD Processing and Findings Summary")
WITH_FINDINGS = CodedConcept("111242", "DCM", "All algorithms succeeded; with findings")
WITHOUT_FINDINGS = CodedConcept("111241", "DCM", "All algorithms succeeded; without findings")
NOT_READ = CodedConcept("111245", "DCM", "No algorithms succeeded; without findings")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
PRESENT = CodedConcept("52101004", "SCT", "Present")
ABSENT = CodedConcept("272519000", "SCT", "Absent")
UNDETERMINED = CodedConcept("373068000", "SCT", "Undetermined")
"""CID 240 Present-Absent. A structure that was not seen may lie outside the image: it is not called absent."""
PERCENT = CodedConcept("%", "UCUM", "Percent")


def concept(term: CodedTerm) -> CodedConcept:
    """highdicom's form of a coded term."""
    return CodedConcept(value=term.value, scheme_designator=term.scheme, meaning=term.meaning)


def code_item(code: Code) -> CodedConcept:
    """A code of the Standard's own dictionary as an item of a code sequence."""
    return CodedConcept.from_code(code)
