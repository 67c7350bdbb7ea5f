"""Deliveries of one kind of message from one service to another, added up."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from messaging import MessagePriority, histogram
from messaging.envelope import MessageKind, is_message_type, is_service_name
from messaging.histogram import Histogram
from messaging.text import storable

#: Of the text of an error.
MOST_CHARACTERS: Final = 200
#: Of one heartbeat; workers keep fewer.
MOST_ROWS: Final = 500
#: Of deliveries in one second: sums of them fit into the whole numbers of every database.
MOST_COUNT: Final = 10**9
#: The columns of a sum.
SUMS: Final = ("count", "failures", "waiting_json", "handling_json", "total_json")
#: Rows in one statement, and levels of one expression; SQLite takes a thousand.
CHUNK: Final = 200
#: Seconds since 1970, for some thousand years.
LAST_SECOND: Final = 10**11


class Edge(NamedTuple):
    """What is told apart. Source and type are empty where a worker had too many of them."""

    source: str
    target: str
    type: str
    kind: str
    priority: str


@dataclass(slots=True)
class Deliveries:
    """How many there were, and how they went."""

    count: int = 0
    #: Of them, those that were not handled: tried again later, or parked.
    failures: int = 0
    #: Seconds from sent to begun.
    waiting: Histogram = field(default_factory=dict)
    #: Seconds with the handler.
    handling: Histogram = field(default_factory=dict)
    #: Seconds from sent to handled, attempts before included; of those that were handled.
    total: Histogram = field(default_factory=dict)
    last_error: str = ""

    def add(self, other: "Deliveries") -> None:
        """Add others, which are later."""
        self.count += other.count
        self.failures += other.failures
        histogram.add(self.waiting, other.waiting)
        histogram.add(self.handling, other.handling)
        histogram.add(self.total, other.total)
        self.last_error = other.last_error or self.last_error


class Sums(Protocol):
    """A row of a table that keeps sums."""

    count: Any
    failures: Any
    waiting_json: Any
    handling_json: Any
    total_json: Any


class Row(NamedTuple):
    """Deliveries of one second."""

    #: Whole seconds since 1970, by the clock of whoever handled them.
    second: int
    edge: Edge
    deliveries: Deliveries


def said_by(target: str, said: Any) -> list[Row]:
    """Return the rows that a heartbeat carries, as far as they can be believed.

    It comes from a service, in whatever language that is written; what is wrong is left out.

    Args:
        target: the service whose heartbeat it is.
        said: a list of objects, see `messaging.worker.flow`.
    """
    if not isinstance(said, list):
        return []
    return [row for each in said[:MOST_ROWS] if (row := _row(target, each)) is not None]


def to_text(rows: Iterable[Row]) -> str:
    """Return rows of one target as they are stored."""
    return json.dumps(
        [
            (
                row.second,
                row.edge.source,
                row.edge.type,
                row.edge.kind,
                row.edge.priority,
                row.deliveries.count,
                row.deliveries.failures,
                to_pairs(row.deliveries.waiting),
                to_pairs(row.deliveries.handling),
                to_pairs(row.deliveries.total),
                row.deliveries.last_error,
            )
            for row in rows
        ],
        separators=(",", ":"),
        ensure_ascii=False,
    )


def from_text(target: str, text: str) -> Iterator[Row]:
    """Yield the rows that were stored."""
    for second, source, message_type, kind, priority, *numbers, error in json.loads(text):
        count, failures, *pairs = numbers
        waiting, handling, total = map(histogram.from_pairs, pairs)
        yield Row(
            second,
            Edge(source, target, message_type, kind, priority),
            Deliveries(count, failures, waiting, handling, total, error),
        )


def to_pairs(counts: Histogram) -> list[tuple[int, int]]:
    """Return a histogram as it is written to JSON."""
    return sorted(counts.items())


def to_columns(deliveries: Deliveries) -> dict[str, Any]:
    """Return a sum as the columns that `from_columns` reads."""
    return {
        "count": deliveries.count,
        "failures": deliveries.failures,
        "waiting_json": json.dumps(to_pairs(deliveries.waiting), separators=(",", ":")),
        "handling_json": json.dumps(to_pairs(deliveries.handling), separators=(",", ":")),
        "total_json": json.dumps(to_pairs(deliveries.total), separators=(",", ":")),
    }


def from_columns(stored: Sums) -> Deliveries:
    """Return the sum that a row keeps."""
    return Deliveries(
        stored.count,
        stored.failures,
        # Sums have no bound to check: they must be read whatever was added.
        dict(json.loads(stored.waiting_json)),
        dict(json.loads(stored.handling_json)),
        dict(json.loads(stored.total_json)),
    )


def add_to(table: Any, sums: Mapping[Any, Deliveries], stored: Iterable[Any]) -> None:
    """Add sums to those that a table has. For `flow.summaries`, which lets one in at a time.

    Args:
        table: a model with the columns of sums, and one for each field of a place.
        sums: by place, a named tuple.
        stored: rows of the table, among them those of these places.
    """
    if not sums:
        return
    place_of = type(next(iter(sums)))
    total = {place: Deliveries() for place in sums}
    for row in stored:
        place = place_of(*(getattr(row, name) for name in place_of._fields))
        if place in total:
            total[place].add(from_columns(row))
    for place, deliveries in sums.items():
        total[place].add(deliveries)
    table.objects.bulk_create(
        [
            table(**place._asdict(), **to_columns(deliveries))
            for place, deliveries in total.items()
        ],
        batch_size=CHUNK,
        update_conflicts=True,
        unique_fields=place_of._fields,
        update_fields=SUMS,
    )


def _row(target: str, said: Any) -> Row | None:
    try:
        source, message_type = str(said["source"]), str(said["type"])
        if not (source == "" or is_service_name(source)):
            return None
        if not (message_type == "" or is_message_type(message_type)):
            return None
        edge = Edge(
            source,
            target,
            message_type,
            MessageKind(said["kind"]).value,
            MessagePriority(said["priority"]).value,
        )
        deliveries = Deliveries(
            count=_whole(said["count"], MOST_COUNT),
            failures=_whole(said.get("failures", 0), MOST_COUNT),
            waiting=histogram.from_pairs(map(tuple, said["waiting"])),
            handling=histogram.from_pairs(map(tuple, said["handling"])),
            total=histogram.from_pairs(map(tuple, said["total"])),
            last_error=storable(str(said.get("last_error", "")))[:MOST_CHARACTERS],
        )
        row = Row(_whole(said["at"], LAST_SECOND), edge, deliveries)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    histograms = (deliveries.waiting, deliveries.handling, deliveries.total)
    counted = max(sum(each.values()) for each in histograms)
    is_sound = deliveries.failures <= deliveries.count and counted <= deliveries.count
    return row if is_sound and deliveries.count else None


def _whole(value: Any, most: int) -> int:
    """Return a whole number from 0 to the most it may be.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"expected a whole number from 0 to {most}")
    return value
