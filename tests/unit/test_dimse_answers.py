"""Answers of a quick peer are not lost between pynetdicom's own thread and the one that asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pynetdicom.dimse_primitives import C_ECHO

from remembering_pacs import RememberingPacs
from wetread.dimse.contexts import VERIFICATION
from wetread.dimse.scu import Remote, association


@pytest.fixture
def pacs() -> Iterator[RememberingPacs]:
    pacs = RememberingPacs()
    yield pacs
    pacs.stop()


def _answer(message_id: int) -> C_ECHO:
    answer = C_ECHO()
    answer.MessageIDBeingRespondedTo = message_id
    answer.AffectedSOPClassUID = str(VERIFICATION)
    answer.Status = 0x0000
    return answer


def test_answer_taken_by_the_wrong_thread_is_put_back_in_its_place(pacs: RememberingPacs) -> None:
    """The race itself, one step after the other: pynetdicom's thread takes the first answer, a second one arrives."""
    with association(Remote("127.0.0.1", pacs.port, "ORTHANC"), {(str(VERIFICATION), "1.2.840.10008.1.2")}) as assoc:
        assoc._reactor_checkpoint.clear()
        assoc.dimse.msg_queue.put((1, _answer(2)))
        assoc._serve_request(_answer(1), 1)
        found = [assoc.dimse.get_msg(block=True)[1].MessageIDBeingRespondedTo for _ in range(2)]
        assoc._reactor_checkpoint.set()
    assert found == [1, 2]
