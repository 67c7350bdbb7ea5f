"""What a channel has taken and not settled, in the order of delivery."""

import threading


class Unsettled:
    """Stands in for kombu's ``virtual.QoS``, which gives back by publishing a second message.

    Thread-safe: settling happens in pool threads, claiming in the consuming one. Delivery tags
    are message ids; a tag is good for one session.
    """

    def __init__(self) -> None:
        #: As ``basic.qos`` set it; 0 is no limit.
        self.prefetch_count = 0
        self._tags: dict[int, None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tags)

    def window(self, at_most: int) -> int:
        """Return how many messages may be claimed now."""
        if not self.prefetch_count:
            return at_most
        return max(0, min(self.prefetch_count - len(self._tags), at_most))

    def can_consume(self) -> bool:
        """Return whether at least one message may be claimed."""
        return self.window(1) > 0

    def add(self, tag: int) -> None:
        """Note a claimed message."""
        with self._lock:
            self._tags[tag] = None

    def remove(self, tag: int) -> bool:
        """Forget one; return whether it was there."""
        with self._lock:
            return self._tags.pop(tag, 0) is None

    def take_up_to(self, tag: int) -> list[int]:
        """Forget this one and all delivered before it, and return them (AMQP's ``multiple``)."""
        with self._lock:
            tags = list(self._tags)
            taken = tags[: tags.index(tag) + 1] if tag in self._tags else []
            for each in taken:
                del self._tags[each]
            return taken

    def take_all(self) -> list[int]:
        """Forget all and return them."""
        with self._lock:
            tags = list(self._tags)
            self._tags.clear()
            return tags
