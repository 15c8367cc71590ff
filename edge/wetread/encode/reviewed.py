"""What every object that a person signed says of itself: reviewed, when, and that it is not the object it follows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pydicom import Dataset

from wetread.encode.provenance import offset_minutes
from wetread.encode.uids import derived_uid
from wetread.records.result import EncodedResult
from wetread.records.sign_off import Signature

_NOT_REVIEWED, _REVIEWED = " - NOT REVIEWED", " - REVIEWED"
_SERIES_OFFSET = 8
"""From the Series Number of the preliminary object: out of the way of the other kinds of results."""


def set_reviewed(dataset: Dataset, preliminary: EncodedResult, signature: Signature) -> None:
    """Make the data set of a committed object that of a signed one: instance, series, description and times.

    It is a new instance in a series of its own, because the description of the preliminary series says that nobody has
    reviewed it, and a series has one description. What lies outside the intended use still does.
    """
    dataset.SOPInstanceUID = derived_uid("signed", signature.sign_off_id, preliminary.sop_instance_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SeriesInstanceUID = derived_uid("signed series", preliminary.series_instance_uid)
    dataset.SeriesNumber = int(dataset.SeriesNumber) + _SERIES_OFFSET
    title, _, outside = str(dataset.SeriesDescription).rpartition(_NOT_REVIEWED)
    dataset.SeriesDescription = title + _REVIEWED + outside
    when = signed_time(signature, dataset)
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.ContentDate, dataset.ContentTime = date, time


def signed_time(signature: Signature, dataset: Dataset) -> datetime:
    """In the zone that the object's other times are in: Timezone Offset From UTC speaks for all of them."""
    minutes = offset_minutes(str(dataset.get("TimezoneOffsetFromUTC", "") or "")) or 0
    return signature.signed_at.astimezone(timezone(timedelta(minutes=minutes)))
