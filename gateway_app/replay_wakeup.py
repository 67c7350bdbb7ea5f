"""Telling the gateway's workers that a replay run has something to do."""

import logging
from typing import Final

from gateway_app.bus import communicator
from messaging import MessagingError
from messaging.registration import REPLAY_STEP

logger = logging.getLogger(__name__)

#: Worth nothing later: beat has sent another one.
EXPIRES_SECONDS: Final = 10.0


def wake() -> None:
    """Have a worker of the gateway step the runs now, rather than when beat says so."""
    try:
        communicator.tell(communicator.name, REPLAY_STEP, {}, expires_in=EXPIRES_SECONDS)
    except MessagingError as exc:
        logger.warning("replay runs go on with the next message of beat: %s", exc)
