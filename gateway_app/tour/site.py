"""A small web site on the loopback interface, for the scraper to visit."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

#: Name of each free zone and what its page says.
ZONES: Final = {
    "Harbour Free Zone": "Warehousing and shipping. A licence takes five working days.",
    "Airport Free Zone": "Aviation and logistics. Full foreign ownership.",
    "Media Free Zone": "Publishing, film and software. Offices by the desk.",
}


def _path(zone: str) -> str:
    return "/" + zone.lower().replace(" ", "-")


_OVERVIEW = "".join(f'<li><a href="{_path(zone)}">{zone}</a></li>' for zone in ZONES)
_PAGES: Final = {
    "/": f"<html><body><h1>Free zones</h1><ul>{_OVERVIEW}</ul></body></html>",
    **{
        _path(zone): f"<html><body><h1>{zone}</h1><p>{text}</p></body></html>"
        for zone, text in ZONES.items()
    },
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = _PAGES.get(self.path)
        if page is None:
            self.send_error(404)
            return
        body = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the screen belongs to the tour."""


@contextmanager
def serve_site() -> Iterator[str]:
    """Serve the site on a free port within the block; give the URL of its overview."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="tour-site", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
