"""Many services as few groups by how their names begin, so that a map of them can be read."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

#: Nodes that are drawn one by one; groups are as many, or fewer where there would be more edges
#: than can be told apart, and placed in half a second.
MOST_NODES: Final = 40
SIZES: Final = (MOST_NODES, 24, 16, 12)
MOST_EDGES: Final = 120
#: Of all nodes, those around a group that was opened.
_AROUND: Final = 0.3
#: Ends the name of a group; no service has it in its name.
SIGN: Final = "*"


def groups(
    names: Collection[str], pairs: Iterable[tuple[str, str]], opened: str = ""
) -> dict[str, str]:
    """Return by what each of these names is drawn: itself, or a group such as ``billing-*``.

    The same for the same names and pairs, in whatever order they come.

    Args:
        names: of services.
        pairs: of them, between which something goes.
        opened: how the names begin that are to be told apart as far as there is room; the others
            make room. Empty: none was opened.
    """
    if len(names) <= MOST_NODES:
        return {name: name for name in names}
    known = set(pairs)
    for size in SIZES:
        found = _grouped(names, opened, size)
        if len({(found[source], found[target]) for source, target in known}) <= MOST_EDGES:
            break
    return found


def is_group(name: str) -> bool:
    """Return whether this is the name of a group."""
    return name.endswith(SIGN)


def _grouped(names: Collection[str], opened: str, most: int) -> dict[str, str]:
    inside = sorted(name for name in names if opened and name.startswith(opened))
    outside = sorted(set(names) - set(inside))
    parts = _split(outside, round(most * _AROUND) if inside else most)
    if inside:
        parts += _split(inside, max(most - len(parts), 2))
    return {name: _name(part) for part in parts for name in part}


def _name(part: Sequence[str]) -> str:
    return part[0] if len(part) == 1 else _beginning(part) + SIGN


def _split(names: Sequence[str], most: int) -> list[list[str]]:
    """Return names in as many parts as there may be, each with a beginning of its own.

    Those of about the same size are split together, so that the map is as fine everywhere; alone
    only where there are few.
    """
    parts = [list(names)] if names else []
    while True:
        largest = max(map(len, parts), default=1)
        together = [part for part in parts if len(part) > largest / 2]
        alone = [max(parts, key=len)] if len(parts) < most / 10 else []
        for chosen in (together, alone):
            smaller = [each for part in chosen for each in _by_next_character(part)]
            count = len(parts) - len(chosen) + len(smaller)
            # A map of one node says nothing.
            is_room = count <= most or len(parts) == 1
            if largest > 1 and chosen and is_room:
                parts = [*(part for part in parts if part not in chosen), *smaller]
                break
        else:
            return sorted(parts)


def _beginning(part: Sequence[str]) -> str:
    """Return how all of these names begin."""
    first, last = min(part), max(part)
    length = next(
        (n for n, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1),
        len(first),
    )
    return first[:length]


def _by_next_character(part: Sequence[str]) -> list[list[str]]:
    length = len(_beginning(part))
    found: dict[str, list[str]] = {}
    for name in part:
        found.setdefault(name[: length + 1], []).append(name)
    return list(found.values())
