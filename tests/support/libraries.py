"""The libraries of this environment, lent to another one by what a distribution says it needs."""

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def lend(folder: Path, to: Distribution, *extras: str) -> None:
    """Link into the folder what the distribution needs with these extras, and no more.

    What it imports and does not ask for is missing there, as it is where pip installs it.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = _needs(to, frozenset(extras))
    while waiting:
        need = waiting.pop()
        key = (need.name.lower(), frozenset(need.extras))
        if key in seen:
            continue
        seen.add(key)
        library = distribution(need.name)
        assert need.specifier.contains(library.version), f"{need}, and {library.version} is tested"
        for top in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(library.locate_file(top))))
        waiting += _needs(library, key[1])


def _needs(of: Distribution, extras: frozenset[str]) -> list[Requirement]:
    return [
        need
        for need in map(Requirement, of.requires or ())
        if need.marker is None
        or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]
