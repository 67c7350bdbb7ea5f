"""What a channel has taken and not settled, in the order of delivery."""

import threading
from collections.abc import Iterable


class Unsettled:
    """Stands in for kombu's ``virtual.QoS``, which gives back by publishing a second message.

    Thread-safe: settling happens in pool threads, claiming in the consuming one. Delivery tags
    are message ids; a tag is good for one session.
    """

    def __init__(self) -> None:
        #: As ``basic.qos`` set it; 0 is no limit.
        self.prefetch_count = 0
        self._tags: dict[int, None] = {}
        #: Being settled at this moment, by some thread.
        self._settling: set[int] = set()
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

    def leased(self) -> set[int]:
        """Return all that may have a lease: what is held, and what is being settled."""
        with self._lock:
            return self._settling.union(self._tags)

    def end_settling(self, tags: Iterable[int]) -> None:
        """Note what is settled, or held again."""
        with self._lock:
            self._settling.difference_update(tags)

    def remove(self, tag: int) -> bool:
        """Forget one; return whether it was there."""
        with self._lock:
            return self._tags.pop(tag, 0) is None

    def take(self, tag: int, *, multiple: bool) -> list[int]:
        """Forget one, to be settled now, and return it; with all before it if ``multiple``.

        `end_settling` follows.
        """
        with self._lock:
            if tag not in self._tags:
                return []
            taken = [tag]
            if multiple:
                tags = list(self._tags)
                taken = tags[: tags.index(tag) + 1]
            for each in taken:
                del self._tags[each]
            self._settling.update(taken)
            return taken

    def take_all(self) -> list[int]:
        """Forget all and return them."""
        with self._lock:
            tags = list(self._tags)
            self._tags.clear()
            return tags
