"""Headers of proxied requests and responses: what goes on, what ends here, what is added.

RFC 9110 section 7.6.1: some headers are about one connection only. ``X-Forwarded-*`` say what the
instance cannot see any more; what a client wrote there itself is replaced, so that nobody can lie.
A trusted proxy in front of the gateway is the server's business (uvicorn's
``--forwarded-allow-ips``): ``scope["client"]`` and ``scope["scheme"]`` are right by then.
"""

import re
import secrets
from collections.abc import Iterable
from typing import Any, Final

Headers = list[tuple[bytes, bytes]]

_OF_ONE_CONNECTION: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
#: Said anew; ``expect`` is answered by this server.
_REPLACED_IN_REQUESTS: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"forwarded",
        b"x-real-ip",
        b"via",
        b"traceparent",
    }
)
#: All of them, also as ``X_Forwarded_For``, which many servers take for the same.
_FORWARDED: Final = b"x-forwarded-"
#: The server of the gateway adds its own.
_REPLACED_IN_RESPONSES: Final = frozenset({b"date", b"server"})
_WITHOUT_BODY: Final = frozenset({204, 304})
_VIA: Final = b"1.1 gateway"
#: W3C Trace Context, version 00.
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def request_headers(scope: Any, authority: bytes, framing: Headers) -> Headers:
    """Return the headers of a request that is passed on.

    Args:
        scope: of the client's request (ASGI).
        authority: host and port of the instance.
        framing: the headers that say how long the body is.
    """
    # Spaces around a value are none of it, and some parsers refuse them.
    given: Headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
    client = (scope.get("client") or ("unknown",))[0]
    added = [
        (b"host", authority),
        (b"x-forwarded-for", client.encode("latin-1")),
        (b"x-forwarded-proto", scope.get("scheme", "http").encode("latin-1")),
        (b"via", _via(given)),
        (b"traceparent", traceparent(given)),
    ]
    host = first(given, b"host")
    if host is not None:
        added.append((b"x-forwarded-host", host))
    kept = _end_to_end(given, _REPLACED_IN_REQUESTS)
    return [
        *added,
        *framing,
        *(pair for pair in kept if not pair[0].replace(b"_", b"-").startswith(_FORWARDED)),
    ]


def response_headers(status: int, given: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers of a response that is passed on."""
    lowered = [(name.lower(), value) for name, value in given]
    dropped = _REPLACED_IN_RESPONSES
    # The length of what does not come, or of what comes in chunks.
    if status in _WITHOUT_BODY or first(lowered, b"transfer-encoding") is not None:
        dropped = dropped | {b"content-length"}
    return _end_to_end(lowered, dropped)


def traceparent(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the trace that a request belongs to: the client's, or a new one."""
    given = first(headers, b"traceparent")
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given
    token = secrets.token_hex(24)
    return f"00-{token[:32]}-{token[32:]}-01".encode()


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the first header of that name, in small letters; None: it is absent."""
    return next((value for key, value in headers if key == name), None)


def _via(headers: Headers) -> bytes:
    return b", ".join([*(value for name, value in headers if name == b"via"), _VIA])


def _end_to_end(headers: Headers, others: frozenset[bytes]) -> Headers:
    dropped = _OF_ONE_CONNECTION | others | _named_by_connection(headers)
    return [(name, value) for name, value in headers if name not in dropped]


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    values = (value for name, value in headers if name == b"connection")
    return frozenset(part.strip().lower() for value in values for part in value.split(b","))
