"""What the package asks for is what this repository is tested with."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from messaging.libraries import DISTRIBUTION

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
ASKED = [
    *map(Requirement, PROJECT["dependencies"]),
    *(Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra),
    *map(Requirement, PYPROJECT["build-system"]["requires"]),
]
PINNED = {
    need.name.lower(): need
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
    for need in [Requirement(line)]
}


def version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


def test_what_the_package_asks_for_is_pinned_here_within_its_bounds() -> None:
    outside = [
        str(need)
        for need in ASKED
        if need.name.lower() not in PINNED
        or not need.specifier.contains(version(PINNED[need.name.lower()]))
    ]
    assert outside == []


def test_errors_name_the_distribution_and_extras_that_there_are() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    sources = [
        path.read_text()
        for folder in ("messaging", "gateway_app")
        for path in (ROOT / folder).rglob("*.py")
    ]
    named = {extra for text in sources for extra in re.findall(r"\bneed\(\s*\"(\w+)\"", text)}
    assert named == {"redis", "postgresql", "gateway"}
    assert named <= set(PROJECT["optional-dependencies"])
