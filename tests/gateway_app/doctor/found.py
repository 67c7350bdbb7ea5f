"""What the doctor finds, by the ids of traps."""

from collections.abc import Callable, Iterator

from gateway_app.doctor.finding import Finding, LayerBroken

Look = Callable[[], Iterator[Finding]]


def findings(look: Look) -> list[Finding]:
    """All that a layer says, also when it breaks off."""
    found: list[Finding] = []
    try:
        for finding in look():
            found.append(finding)
    except LayerBroken as exc:
        found.append(exc.finding)
    return found


def ids(look: Look) -> set[str]:
    """The traps that a layer finds; each with a fix."""
    trapped = [finding for finding in findings(look) if finding.id]
    assert all(finding.fix and finding.text for finding in trapped)
    return {finding.id for finding in trapped}
