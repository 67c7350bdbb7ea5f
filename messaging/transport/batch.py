"""Many messages in one transaction, which is open only while they are written."""

from collections.abc import Callable, Mapping
from typing import Any

from messaging.transport.messages import Outgoing, outgoing


class PublishBatch:
    """Messages gathered in memory. Also what kombu's ``Producer.batch`` drives.

    One thread at a time. Messages of one transaction are all written or none of them.
    """

    def __init__(
        self, channel: Any, max_size: int, write: Callable[[list[Outgoing], bool], None]
    ) -> None:
        self.channel = channel
        self._max_size = max_size
        self._write = write
        self._rows: list[Outgoing] = []
        self._is_full = False

    def publish(
        self,
        message: Mapping[str, Any],
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        **kwargs: Any,
    ) -> None:
        """Add a message of kombu's; see ``Channel.basic_publish``."""
        is_full = message["properties"].get("durability") == "full"
        self.add(outgoing(message, exchange or "", routing_key, mandatory), is_full=is_full)

    def add(self, row: Outgoing, *, is_full: bool) -> None:
        """Add a message, and write all of them if that makes max_size.

        Args:
            row: the message.
            is_full: whether its transaction has to survive a power cut.
        """
        self._rows.append(row)
        self._is_full = self._is_full or is_full
        if len(self._rows) >= self._max_size:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last time.

        Raises:
            NoRoute: one of them was mandatory and no queue took it. None of them was written.
            BrokerBusy, BrokerUnavailable: none of them was written; all are kept for another try.
            PublishUncertain: the file vanished while they were written.
        """
        if self._rows:
            self._write(self._rows, self._is_full)
            self.discard()

    def discard(self) -> None:
        """Forget what was not written."""
        self._rows = []
        self._is_full = False

    def close(self) -> None:
        """End the batch; what was not written is dropped."""
        self.discard()
