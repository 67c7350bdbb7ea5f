"""What a page is: regions that are read, shown and sent again each on its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_app.ops.question import Question


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page that is read, shown and sent again on its own."""

    name: str
    #: Returns what its template shows.
    read: Callable[[Question], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page: ``ops/<name>/page.html`` places its regions, ``ops/<name>/<region>.html``."""

    name: str
    title: str
    #: Under ``/ops/``, as Django writes paths.
    path: str
    #: In the navigation; empty: it is not there.
    icon: str
    regions: tuple[Region, ...]
    #: What can be chosen at the top; the first is what is shown else.
    ranges: tuple[str, ...] = ()
    #: Above it in the navigation, where a new section begins.
    heading: str = ""
