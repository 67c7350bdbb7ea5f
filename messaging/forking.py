"""What a forked child must forget, and when a process must not fork.

Connections, threads and locks belong to the parent.
"""

import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_in_child: "weakref.WeakSet[_Reset]" = weakref.WeakSet()


class _Reset:
    def __init__(self, method: "weakref.WeakMethod[Callable[[], None]]") -> None:
        self.method = method


def after_fork(reset: Callable[[], None]) -> object:
    """Call a bound method in every forked child, as long as its object lives.

    Returns:
        A token. Keep it in the object: when both are gone the call is, too.
    """
    token = _Reset(weakref.WeakMethod(reset))
    _in_child.add(token)
    return token


def _reset_all() -> None:
    for token in list(_in_child):
        method = token.method()
        if method is not None:
            method()


os.register_at_fork(after_in_child=_reset_all)


#: A fork waits no longer. Who is inside may be waiting for the very thread that forks (a handler
#: that starts processes in its transaction) or hang; most children only become another program.
_PATIENCE_SECONDS: Final = 5.0


class _Gate:
    """Lets threads use the database unless the process forks, and forks wait for them.

    SQLite has locks of its own for a whole process. A child that is forked while another thread
    holds one of them waits for it for ever, at its first connect. Threads of a worker that forks
    the children of its pool (the relay, receipts, leases) therefore pass this gate.

    Who has been inside for all of a fork's patience is waited for by no other fork until it has
    left: what hangs (a service's own health check) costs one wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: Idents of threads.
        self._inside: set[int] = set()
        self._outlasted: set[int] = set()
        self._is_forking = False
        self._mine = threading.local()

    @contextmanager
    def inside(self) -> Iterator[None]:
        depth = getattr(self._mine, "depth", 0)
        me = threading.get_ident()
        if not depth:
            with self._changed:
                self._changed.wait_for(lambda: not self._is_forking)
                self._inside.add(me)
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            if not depth:
                with self._changed:
                    self._inside.discard(me)
                    self._outlasted.discard(me)
                    self._changed.notify_all()

    def close(self) -> None:
        """Before a fork: let nobody in and wait, not for ever, until all others are out.

        Not at all for who has outlasted the wait of a fork before.
        """
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._is_forking)
            self._is_forking = True
            if not self._changed.wait_for(lambda: not self._awaited(me), _PATIENCE_SECONDS):
                self._outlasted |= self._awaited(me)

    def _awaited(self, me: int) -> set[int]:
        return self._inside - self._outlasted - {me}

    def open(self) -> None:
        """After a fork, in the parent."""
        with self._changed:
            self._is_forking = False
            self._changed.notify_all()


_gate = _Gate()


def no_fork_meanwhile() -> AbstractContextManager[None]:
    """Return a context manager: work with the database inside, and no fork comes in between.

    May be nested. Keep it short and out of the way of the network: who forks waits, up to
    5 seconds; what takes longer than that is in the child's way no more than if it were outside.
    """
    return _gate.inside()


def without_fork(function: Callable[P, T]) -> Callable[P, T]:
    """Run each call of the decorated function inside `no_fork_meanwhile`."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        with _gate.inside():
            return function(*args, **kwargs)

    return guarded


def _new_gate() -> None:
    global _gate
    _gate = _Gate()


os.register_at_fork(
    before=lambda: _gate.close(),
    after_in_parent=lambda: _gate.open(),
    after_in_child=_new_gate,
)
