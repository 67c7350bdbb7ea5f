"""Waking a waiting consumer at once: a Unix datagram socket for every consuming connection.

An empty datagram says "look again". Sending is never waited for and may fail: a full buffer means
that the receiver has wake-ups pending already, a missing peer that it is gone. Any other datagram
is a message handed over (`messages.handed_over`).
"""

import os
import select
import socket
import weakref
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Final

from messaging.transport.files import BrokerFiles

#: sun_path of sockaddr_un takes 108 bytes; stay below, whatever the kernel counts in.
_LONGEST_ADDRESS: Final = 100
#: More than the kernel queues for one socket (net.unix.max_dgram_qlen, 10 by default).
_DRAIN_LIMIT: Final = 64
#: Larger messages go through the file. A tenth of what a kernel queues for all sockets of a
#: sender together (net.core.wmem_default, 208 KiB) would do; few replies are larger than this.
LARGEST_DATAGRAM: Final = 65_536


class _Addresses:
    """The socket addresses in one folder, however long its name is."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._descriptor = -1
        if len(os.fsencode(folder)) + 24 > _LONGEST_ADDRESS:  # "/" and an id of up to 20 digits
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            self._folder = f"/proc/self/fd/{self._descriptor}"

    def of(self, session_id: int) -> str:
        return f"{self._folder}/{session_id}"

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_socket(owner: object) -> socket.socket:
    """Return a socket that does not block and is closed when its owner is no more.

    Not by a `__del__` of the owner: of a cycle the collector may take the socket first, unclosed.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.setblocking(False)
    weakref.finalize(owner, opened.close).atexit = False
    return opened


class Waker:
    """Sends wake-ups. Thread-safe; never blocks, never raises."""

    def __init__(self, files: BrokerFiles) -> None:
        self._files = files
        self._socket = _open_socket(self)

    @cached_property
    def _addresses(self) -> _Addresses:
        return _Addresses(self._files.wakeups)

    def wake(self, session_ids: Iterable[int]) -> None:
        """Have these sessions look for messages. Costs 4 us each."""
        for session_id in session_ids:
            try:
                self._socket.sendto(b"", self._addresses.of(session_id))
            except OSError:
                continue  # full: it will look anyway; gone: its leases expire by other means

    def send(self, session_id: int, datagram: bytes) -> bool:
        """Hand a message over; return False if the session cannot take it now. Never blocks."""
        if len(datagram) > LARGEST_DATAGRAM:
            return False
        try:
            self._socket.sendto(datagram, self._addresses.of(session_id))
        except OSError:
            return False
        return True

    def remove(self, session_id: int) -> None:
        """Remove the socket file of a session that is dead."""
        Path(self._addresses.of(session_id)).unlink(missing_ok=True)


class WakeSocket:
    """Receives the wake-ups of one session."""

    def __init__(self, files: BrokerFiles, session_id: int) -> None:
        self._addresses = _Addresses(files.wakeups)
        self._address = self._addresses.of(session_id)
        # Both leave the file when they are collected: this may be a child's copy of its parent's.
        self._socket = _open_socket(self)
        self._socket.bind(self._address)
        # Connected: it reaches this socket also when its name is gone.
        self._own_sender = _open_socket(self)
        self._own_sender.connect(self._address)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._buffer = bytearray(LARGEST_DATAGRAM)

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return self._socket.fileno()

    def wake(self) -> None:
        """Have whoever waits here look. From any thread; never blocks, never raises."""
        try:
            self._own_sender.send(b"")
        except OSError:
            return  # full: it will look anyway; closed: nobody waits

    def drain(self) -> tuple[list[bytes], bool]:
        """Take all pending datagrams.

        Returns:
            The messages that were handed over, and whether somebody said to look into the file.
            Look *after* this, or a message may be missed.
        """
        messages, looks = [], False
        for _ in range(_DRAIN_LIMIT):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            if size:
                messages.append(bytes(self._buffer[:size]))
            else:
                looks = True
        # A socket full of messages takes no wake-up any more.
        return messages, looks or len(messages) > 1

    def wait(self, seconds: float) -> None:
        """Block until there is a wake-up, at most that long."""
        self._poll.poll(max(0.0, seconds) * 1000)

    def close(self) -> None:
        """Close the socket and remove its file."""
        Path(self._address).unlink(missing_ok=True)
        self._socket.close()
        self._own_sender.close()
