"""Names in the engine cache: everything that decides a thing, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def key_of(what: Mapping[str, str]) -> str:
    """SHA-256 (hex) of everything that decides something: its name in the cache."""
    return hashlib.sha256(json.dumps(dict(what), sort_keys=True).encode()).hexdigest()
