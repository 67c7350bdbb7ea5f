"""What a soak found: as text for people, as JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.soak.evidence import Evidence
from tests.soak.growth import Trend
from tests.soak.verdict import Check


def as_text(
    checks: Sequence[Check], trends: Sequence[Trend], evidence: Evidence, left_out: dict[str, str]
) -> str:
    """Return the report."""
    lines = ["", "promises"]
    for check in checks:
        lines.append(f"  {'kept  ' if check.is_kept else 'BROKEN'}  {check.name}: {check.text}")
        if not check.is_kept:
            lines += [f"            {detail}" for detail in check.details]
    lines += ["", "growth over the second half, MB"]
    lines += [f"  {_trend(trend)}" for trend in trends]
    lines += ["", "faults"]
    for name, count in sorted(Counter(span.name for span in evidence.spans).items()):
        lines.append(f"  {count} of {name}")
    lines += [f"  left out: {name}: {why}" for name, why in sorted(left_out.items())]
    lines += ["", f"duplicates (at least once, else): {duplicates(evidence)}"]
    lines.append("exceptions in logs, by process")
    for name, counts in evidence.tracebacks.items():
        lines += [f"  {name}: {count} times {text}" for text, count in counts.most_common(5)]
    return "\n".join(lines)


def as_json(
    checks: Sequence[Check], trends: Sequence[Trend], evidence: Evidence, left_out: dict[str, str]
) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "broker": evidence.broker,
        "is_good": all(check.is_kept for check in checks),
        "sent": Counter(sending.how for sending in evidence.sendings),
        "accepted": sum(sending.is_accepted for sending in evidence.sendings),
        "effects": sum(evidence.effects.values()),
        "duplicates": duplicates(evidence),
        "refused": Counter(
            f"{sending.how} {sending.priority} {sending.error}"
            for sending in evidence.sendings
            if sending.error
        ),
        "checks": [asdict(check) for check in checks],
        "trends": [{**asdict(trend), "is_flat": trend.is_flat} for trend in trends],
        "faults": [asdict(span) for span in evidence.spans],
        "left_out": left_out,
        "account": {key: value for key, value in evidence.account.items() if key != "messages"},
        "dead_letters": [asdict(letter) for letter in evidence.letters],
        "ended": [asdict(each) for each in evidence.ended],
        "tracebacks": evidence.tracebacks,
    }


def duplicates(evidence: Evidence) -> int:
    """Return how many effects there are beyond one for a message and a service."""
    return sum(count - 1 for count in evidence.effects.values())


def _trend(trend: Trend) -> str:
    rate = "too few samples" if trend.mb_an_hour is None else f"{trend.mb_an_hour:+8.1f} MB/h"
    if not trend.is_judged or trend.mb_an_hour is None:
        word = "not judged"
    else:
        word = f"{'flat' if trend.is_flat else 'GROWS'} (limit {trend.limit:.1f})"
    return (
        f"{trend.name:<16} {trend.first_mb:8.1f} to {trend.last_mb:8.1f}, "
        f"most {trend.most_mb:8.1f}: {rate}  {word}"
    )
