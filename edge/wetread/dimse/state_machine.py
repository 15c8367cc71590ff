"""The upper layer's state machine (PS3.8 9.2), without the ways in which pynetdicom's leaves a connection behind.

There, an event the table does not know, or an error inside an action, ends the network thread: the socket stays open,
the association never ends, and its place is lost. A peer brings that about with data before the answer to its request.
"""

from __future__ import annotations

import logging

from pynetdicom.fsm import TRANSITION_TABLE, StateMachine

from wetread import log

logger = logging.getLogger(__name__)

_AWAITING_CLOSE = "Sta13"  # we have aborted: only the end of the connection, or of the wait for it, matters


class SteadyStateMachine(StateMachine):
    """Always ends in a closed connection."""

    def do_action(self, event: str) -> None:
        """Let one event happen. Never raises."""
        if (event, self.current_state) not in TRANSITION_TABLE and self.current_state == _AWAITING_CLOSE:
            self._end()  # our own answer to what was aborted meanwhile; the peer has been told
            return
        try:
            super().do_action(event)
        except Exception as exc:  # the outcome is recorded: the association ends as aborted
            logger.warning("an association is ended: %s", log.place_of(exc))
            self._end()

    def _end(self) -> None:
        """Close the connection and let both threads of the association end."""
        assoc = self.dul.assoc
        assoc.is_aborted, assoc.is_established = True, False
        if self.dul.socket is not None:
            self.dul.socket.close()
        assoc._kill = True
        assoc._reactor_checkpoint.set()  # it may sleep while somebody else reads
        self.dul._kill_thread = True
