"""What a model may be asked about. A new kind of input is a line here, and mypy shows who has to know it."""

from __future__ import annotations

from wetread.records.radiograph import Radiograph
from wetread.records.volume import Volume

ModelInput = Volume | Radiograph
