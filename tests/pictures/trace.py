"""Take the picture of one trace over three services: ``python -m tests.pictures.trace``."""

import html
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from gateway_app.process import stopped_by_signals
from tests.bench.peers.bus import migrated_database
from tests.browser.chromium import ARGUMENTS, executable
from tests.support.brokers import BROKERS
from tests.support.collector import Seen
from tests.support.installation import ROOT, Installation
from tests.support.traced import trace_of_a_request

PICTURE: Final = ROOT / "docs" / "pictures" / "trace.png"
COLOURS: Final = {
    "api-gateway": "#3b6fd4",
    "scraper-service": "#c2611f",
    "document-service": "#2f8a57",
    "user-service": "#8a4fb3",
}
ROW, LEFT, WIDTH = 26, 440, 950


def main() -> int:
    chromium = executable()
    if chromium is None:
        print("no Chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    with stopped_by_signals(), tempfile.TemporaryDirectory() as folder:
        installation = Installation(BROKERS["sqlite"], Path(folder), migrated_database())
        try:
            spans = trace_of_a_request(installation)
        finally:
            installation.close()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1480, "height": 200})
        page.set_content(drawn(spans))
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()
    return 0


def drawn(spans: Sequence[Seen]) -> str:
    """Return a page with one row for each span, below the one that led to it."""
    ordered = list(_below(spans, ""))
    begin = min(span.starts_at for span in spans)
    seconds = max(span.ends_at for span in spans) - begin
    rows = []
    for number, (depth, span) in enumerate(ordered):
        top = 60 + number * ROW
        colour = COLOURS.get(span.service, "#666")
        x = LEFT + (span.starts_at - begin) / seconds * WIDTH
        width = max(2.0, (span.ends_at - span.starts_at) / seconds * WIDTH)
        text = html.escape(f"{span.service}: {span.name}")
        took = f"{(span.ends_at - span.starts_at) * 1000:.1f} ms"
        rows += [
            f'<text x="{16 + depth * 14}" y="{top + 16}" fill="{colour}">{text}</text>',
            f'<rect x="{x:.1f}" y="{top + 5}" width="{width:.1f}" height="14" fill="{colour}"/>',
            f'<text x="{x + width + 6:.1f}" y="{top + 16}" fill="#555">{took}</text>',
        ]
    height = 80 + len(ordered) * ROW
    services = len({span.service for span in spans})
    title = f"trace {spans[0].trace_id}: {len(spans)} spans, {services} services, {seconds:.2f} s"
    return (
        f'<body style="margin:0"><svg xmlns="http://www.w3.org/2000/svg" width="1480" '
        f'height="{height}" font-family="sans-serif" font-size="13">'
        f'<text x="16" y="34" font-size="17" fill="#222">{title}</text>{"".join(rows)}</svg>'
    )


def _below(spans: Sequence[Seen], parent_id: str, depth: int = 0) -> list[tuple[int, Seen]]:
    known = {span.span_id for span in spans}
    found: list[tuple[int, Seen]] = []
    for span in spans:
        is_child = span.parent_id == parent_id if parent_id else span.parent_id not in known
        if is_child:
            found += [(depth, span), *_below(spans, span.span_id, depth + 1)]
    return found


if __name__ == "__main__":
    sys.exit(main())
