"""One instance of ``incoming/``, read: what the index writes down of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID

from wetread.db import now
from wetread.dimse.attributes import integer
from wetread.dimse.dataset import describe_film, read_dataset, read_instance
from wetread.dimse.described import Described
from wetread.dimse.digest import header_digest
from wetread.records.received import Provenance
from wetread.records.study import InstanceRef, SeriesRef, StudyRef
from wetread.store.attributes import film_to_json
from wetread.store.part10 import provenance_in

_ANNOUNCED = {
    "study_series": "NumberOfStudyRelatedSeries",
    "study_instances": "NumberOfStudyRelatedInstances",
    "series_instances": "NumberOfSeriesRelatedInstances",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file of ``incoming/``, read."""

    source: Path
    study: StudyRef
    series: SeriesRef
    ref: InstanceRef
    pixel_digest: str
    provenance: Provenance | None
    announced: dict[str, int]
    """How many series and instances it says there are; 0 where it says nothing."""

    @property
    def peer(self) -> str:
        """Who sent it; empty where nobody did."""
        return self.provenance.peer if self.provenance else ""

    def row(self, *, study_id: int, role: str, path: str) -> dict[str, Any]:
        """Its row of ``instances``; ``path`` is relative to the spool."""
        provenance = self.provenance
        return {
            "sop_instance_uid": self.ref.sop_instance_uid,
            "sop_class_uid": self.ref.sop_class_uid,
            "instance_number": self.ref.instance_number,
            "film": film_to_json(self.ref.film),
            "study_id": study_id,
            "series_instance_uid": self.series.series_instance_uid,
            "role": role,
            "content_digest": self.ref.digest,
            "pixel_digest": self.pixel_digest,
            "path": path,
            "peer": self.peer,
            "association_id": provenance.association_id if provenance else "",
            "received_at": provenance.received_at.isoformat() if provenance else now(),
        }


def read_arrival(path: Path, describe: Described) -> Arrival:
    """Read one file. Raises: ``NotDicom``, ``SpoolUnavailable``, and what a value nobody can convert leads to."""
    header, digest, pixel_digest = read_instance(path)
    number = header.get("InstanceNumber")
    ref = InstanceRef(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        path=path,
        digest=digest,
        instance_number=None if number is None else int(number),
        film=describe_film(header),
    )
    study = describe(header, ref)
    announced = {name: max(integer(header, keyword) or 0, 0) for name, keyword in _ANNOUNCED.items()}
    instance = study.series[0].instances[0]
    return Arrival(path, study, study.series[0], instance, pixel_digest, provenance_in(header.file_meta), announced)


def may_be_recompressed(one: Path, other: Path) -> bool:
    """Whether the bytes of the pixels need not be the same for the same picture: one of the two is compressed."""
    syntaxes = {UID(str(read_file_meta_info(path).TransferSyntaxUID)) for path in (one, other)}
    return any(syntax.is_encapsulated for syntax in syntaxes)


def same_header(one: Path, other: Path) -> bool:
    """Whether two files say the same in all that we use of a header."""
    return header_digest(read_dataset(one)) == header_digest(read_dataset(other))
