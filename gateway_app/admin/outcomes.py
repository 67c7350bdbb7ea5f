"""Doing something to each row that is selected, and telling the user how it went."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from django.contrib import admin, messages
from django.http import HttpRequest

#: One message each; more would push the list off the page.
_REFUSALS_SHOWN: Final = 5


class Refused(Exception):
    """A row stays as it is; the text says why."""


def do_each(
    page: "admin.ModelAdmin[Any]",
    request: HttpRequest,
    rows: Iterable[Any],
    act: Callable[[Any], bool],
    outcome: str,
) -> None:
    """Do something to each row, and tell the user of how many it was done and of which not.

    Args:
        page: whose list is shown again.
        request: the user's.
        rows: what is selected, in the order in which it is done.
        act: does it; returns whether anything had to be done, raises `Refused` where it may not.
        outcome: what has become of the rows, as in "3 replayed."
    """
    done, refused = 0, []
    for row in rows:
        try:
            done += act(row)
        except Refused as exc:
            refused.append(str(exc))
    page.message_user(request, f"{done} {outcome}.", messages.SUCCESS)
    for text in refused[:_REFUSALS_SHOWN]:
        page.message_user(request, text, messages.WARNING)
