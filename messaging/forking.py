"""What a forked child must forget: connections, threads and locks belong to the parent."""

import os
import weakref
from collections.abc import Callable

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
