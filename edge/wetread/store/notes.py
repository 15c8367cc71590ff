"""What the entrances noted becomes rows: ends of associations, refused senders, events."""

from __future__ import annotations

import dataclasses

from wetread.db import Queries, Transaction
from wetread.records.notes import AssociationEnd, Note, Refusal

KEPT_REFUSALS = 1000
"""Titles and addresses of strangers are theirs to choose: without a limit a port scan would fill the disk."""


def record(tx: Transaction, queries: Queries, note: Note) -> None:
    """Write one note; the same note twice (a crash between commit and delete) changes nothing but a refusal's count."""
    if isinstance(note, AssociationEnd):
        tx.run(queries["add_association"], dataclasses.asdict(note))
    elif isinstance(note, Refusal):
        tx.run(queries["add_refusal"], dataclasses.asdict(note))
        tx.run(queries["forget_refusals"], {"kept": KEPT_REFUSALS})
    else:
        tx.event(note.action, note.detail)
