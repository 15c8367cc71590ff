"""Every error Wetread raises on purpose; the class decides what happens next.

::

    WetreadError
    ├── Misconfigured              refuse to start, exit code 2
    │   ├── BundleInvalid          a bundle's files do not fit together
    │   ├── BundleNotTrusted       nobody vouched for what the bundle would run, or it changed since
    │   ├── UnknownBundle          no bundle of that name in the bundle folders
    │   ├── WeightsMissing         the bundle is here, its weights are not installed
    │   ├── EngineUnavailable      the engine's library is not installed on this machine
    │   ├── EngineDisagrees        a compiled engine does not give the reference answer
    │   ├── DataUnusable           images or labels cannot be learned from or measured on as they are
    │   ├── NotHere                no such study, job or object
    │   ├── NotPossible            what was asked for makes no sense for this study or read
    │   └── Conflict               it makes sense, and not as things are
    │       ├── HeldByAnother      another reader decides at the moment, or nobody does
    │       ├── AlreadySigned      a signed review is final
    │       ├── ReviewChanged      not the review that was looked at
    │       └── Undecided          findings are neither accepted nor rejected
    ├── StudyRejected              the data will not get better: reason recorded, no retry, exit code 3
    │   ├── NotDicom               a file that is not, or no longer, a readable DICOM instance
    │   ├── PatientConflict        one Study Instance UID with two patients: never read
    │   ├── NoSuitableSeries       nothing in the study fits the bundle's input rules
    │   ├── NotIntended            the bundle was not made for this patient or acquisition
    │   ├── ImageUnusable          pixels or header cannot make an image
    │   │   ├── NoPixels           an instance without pixel data
    │   │   ├── TruncatedPixels    fewer pixel bytes than the header promises, or undecodable
    │   │   ├── UnsupportedImage   an image kind this version does not read (colour, multi-frame, ...)
    │   │   └── LocalizerImage     a localizer or projection, not a volume
    │   ├── GeometryInvalid        the instances do not form one regular volume
    │   │   ├── NoGeometry         position, orientation or pixel spacing is missing
    │   │   ├── MixedOrientation   slices are not parallel
    │   │   ├── MixedSize          slices differ in rows, columns or pixel spacing
    │   │   ├── DuplicatePosition  two instances lie at one position
    │   │   ├── MissingSlice       a gap of a whole number of slices
    │   │   ├── UnevenSpacing      neighbouring gaps differ
    │   │   └── TooFewSlices       fewer slices than the bundle needs
    │   ├── TooLargeForMachine     reading it needs more memory than this machine may give, whatever else runs
    │   └── OutputInvalid          the model's answer breaks its own declaration
    ├── Temporary                  try again later
    │   ├── WorkerDied             the worker process ended without an answer
    │   ├── WorkerSilent           the worker gave no sign of life for too long
    │   ├── MemoryShort            a read would fit, but not beside what runs now
    │   ├── OutOfMemory            a read used more memory than it may and was ended
    │   ├── DestinationUnavailable the peer did not take the result
    │   │   └── ServiceNotOffered  the peer is there and does not do what was asked for
    │   └── SpoolUnavailable       the disk is full or cannot be written
    ├── TrainingStopped            training ended before its end; the last good checkpoint is kept
    ├── InstanceRefused            an instance we do not keep; the sender gets a failure status
    └── UploadRefused              an upload of which nothing is kept
        └── UploadTooLarge         more than is taken at one time
"""

from __future__ import annotations

import re


class WetreadError(Exception):
    """Base of all; the message is a sentence for a person: what was found, what was expected, where."""

    @property
    def code(self) -> str:
        """A stable word for machines, from the class name: ``MissingSlice`` is ``missing-slice``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()


class Misconfigured(WetreadError):
    """Refuse to start."""


class BundleInvalid(Misconfigured):
    """The bundle's files do not fit together."""


class BundleNotTrusted(Misconfigured):
    """Nobody this site trusts vouched for what the bundle would run, or it has changed since."""


class UnknownBundle(Misconfigured):
    """No bundle of that name in the bundle folders."""


class WeightsMissing(Misconfigured):
    """The bundle is here, its weights are not installed, or not the ones it names."""


class EngineUnavailable(Misconfigured):
    """The engine's library is not installed, or the hardware it needs is absent."""


class EngineNotReady(EngineUnavailable):
    """The engine must be built or proven first, and whoever asked does not wait for that."""

    def __init__(self, message: str, *, network: str = "", shape: tuple[int, ...] = ()) -> None:
        """``network`` and ``shape`` ``(batch, channel, *spatial)``: for which images, where that is known."""
        super().__init__(message)
        self.network, self.shape = network, shape


class EngineDisagrees(Misconfigured):
    """A compiled engine did not reproduce the stored reference output within the bundle's tolerance."""


class NotHere(Misconfigured):
    """There is no such study, job or object."""


class NotPossible(Misconfigured):
    """What was asked for makes no sense for this study or read."""


class Conflict(Misconfigured):
    """What was asked for makes sense, and cannot be done as things are."""


class HeldByAnother(Conflict):
    """Another reader decides about this read at the moment, or nobody has said to."""

    def __init__(self, message: str, *, reader: str = "", since: str = "") -> None:
        """``reader`` and ``since`` (ISO 8601): who holds it; empty when nobody does."""
        super().__init__(message)
        self.reader, self.since = reader, since


class AlreadySigned(Conflict):
    """A person signed this review: that is final."""


class ReviewChanged(Conflict):
    """The review is not the one that was looked at."""


class Undecided(Conflict):
    """Findings are neither accepted nor rejected."""


class DataUnusable(Misconfigured):
    """Images or labels cannot be learned from or measured on as they are."""


class TrainingStopped(WetreadError):
    """Training ended before its end: the loss is no number, or the state on disk is not of this training."""


class StudyRejected(WetreadError):
    """The data will not get better by waiting: record why, do not retry."""


class NotDicom(StudyRejected):
    """A file that is not, or no longer, a readable DICOM instance."""


class PatientConflict(StudyRejected):
    """One Study Instance UID with two patients."""


class NoSuitableSeries(StudyRejected):
    """Nothing in the study fits the bundle's input rules."""


class NotIntended(StudyRejected):
    """The bundle was not made for this patient or acquisition."""


class ImageUnusable(StudyRejected):
    """Pixels or header cannot make an image."""


class NoPixels(ImageUnusable):
    """An instance without pixel data."""


class TruncatedPixels(ImageUnusable):
    """Fewer pixel bytes than the header promises, or a stream that cannot be decoded."""


class UnsupportedImage(ImageUnusable):
    """An image kind this version does not read."""


class LocalizerImage(ImageUnusable):
    """A localizer or projection image, not part of a volume."""


class GeometryInvalid(StudyRejected):
    """The instances do not form one regular volume."""


class NoGeometry(GeometryInvalid):
    """Image Position, Image Orientation or Pixel Spacing is missing or not usable."""


class MixedOrientation(GeometryInvalid):
    """The slices of the series are not parallel."""


class MixedSize(GeometryInvalid):
    """The slices differ in rows, columns, pixel spacing or frame of reference."""


class DuplicatePosition(GeometryInvalid):
    """Two instances lie at one position."""


class MissingSlice(GeometryInvalid):
    """A gap of a whole number of slices."""


class UnevenSpacing(GeometryInvalid):
    """Neighbouring gaps differ by more than the tolerance."""


class TooFewSlices(GeometryInvalid):
    """Fewer slices than the bundle needs."""


class TooLargeForMachine(StudyRejected):
    """Reading it needs more memory than this machine may give: another attempt here would end the same way."""


class OutputInvalid(StudyRejected):
    """The model's answer breaks its own declaration (grid, labels, finite values)."""

    def __init__(self, message: str, *, of_these_images: bool = False) -> None:
        """``of_these_images``: keeps to the form of an answer, so that one about other images may be taken."""
        super().__init__(message)
        self.of_these_images = of_these_images


class Temporary(WetreadError):
    """Try again later."""


class WorkerDied(Temporary):
    """The worker process ended without an answer."""


class WorkerSilent(Temporary):
    """The worker gave no sign of life for too long."""


class MemoryShort(Temporary):
    """A read would fit into this machine, but not beside what runs now."""


class OutOfMemory(Temporary):
    """A read used more memory than it may and was ended."""


class DestinationUnavailable(Temporary):
    """The peer could not be reached or did not take the object."""


class ServiceNotOffered(DestinationUnavailable):
    """The peer answers and accepts none of the services or SOP classes that were proposed."""


class CacheUnavailable(Temporary):
    """The engine cache cannot be written: the disk is full."""


class SpoolUnavailable(Temporary):
    """The spool cannot be written: disk full, read-only, gone."""


class InstanceRefused(WetreadError):
    """An instance that is not kept; the sender is answered with a failure status (PS3.4 B.2.3)."""


class UploadRefused(WetreadError):
    """An upload that is not what it should be; nothing of it is kept."""


class UploadTooLarge(UploadRefused):
    """An upload larger than is taken at one time."""
