"""HTTP requests changed at random, by a seed: what broken clients and hostile ones may send."""

import random
from collections.abc import Callable, Sequence
from typing import Final

#: Header lines that mean something to servers, and something else to the next one.
HEADERS: Final = (
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 1e3"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length : 3", b"Content-Length: 3, 4"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:\tchunked",
    ),
    *(b"Transfer-Encoding: chunked, identity", b"X: y\r\n folded", b" X: y", b"X\0: y", b"X: \0"),
    *(b": no name", b"no colon", b"X: " + b"x" * 70_000, b"X: \xff\xfe", b"Host: a\r\nHost: b"),
    *(
        b"Host:",
        b"Host: [::1",
        b"Expect: 100-continue",
        b"Expect: nonsense",
        b"Upgrade: websocket",
    ),
    *(
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"Connection: close, content-length",
    ),
    *(b"Authorization: Bearer \xff", b"Authorization: Basic !!!", b"Idempotency-Key: \x7f"),
    *(
        b"Idempotency-Key: a",
        b"Message-Priority: URGENT",
        b"Message-Priority: \xe9",
        b"Prefer: ,;,",
    ),
    *(b"traceparent: 00-zz-zz-zz", b"X-Forwarded-For: " + b"1.2.3.4, " * 500, b"Origin: null"),
    *(b"Content-Type: application/json; charset=nonsense", b"Content-Type: text/\xff"),
    *(b"Range: bytes=0-0,1-1,-1", b"Accept-Encoding: \0", b"Cookie: " + b"a=b; " * 2_000),
)
#: What stands in the place of the path.
PATHS: Final = (
    *(b"*", b"/", b"//", b"/api", b"/api/", b"/api//web", b"/bus", b"/bus/", b"/bus/messages/"),
    *(b"/bus/messages/%00", b"/bus/messages/" + b"x" * 9_000, b"/api/web/echo/%00", b"http://"),
    *(
        b"/api/web/echo/%ff%fe",
        b"/api/web/echo/\xff\xfe",
        b"/api/web/echo/%",
        b"/api/web/echo/%zz",
    ),
    *(b"/api/web/echo/..", b"/api/web/echo/%2e%2e/who", b"/api/web/../../etc/passwd", b"?", b"#"),
    *(b"/api/web/echo/%2f", b"/api/web/echo/a;b=c", b"/api/web/orders/" + b"9" * 5_000, b"\\api"),
    *(
        b"/api/web/orders/%F0%9F%92%A9",
        b"/api/web/orders/1?id=2&id=3",
        b"/api/web/orders/1?%00=%00",
    ),
    *(b"/api/web/orders/1?" + b"a=1&" * 5_000, b"http://elsewhere/api/web/who", b"elsewhere:443"),
    *(b"http://user:x@[::1/api/web/who", b"/api/web/orders/NaN", b"/api/web/orders/\xed\xa0\x80"),
)
METHODS: Final = (
    *(b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH"),
    *(b"get", b"G\0T", b"", b"PRI", b"X" * 300, b"GET GET", b"\xff"),
)
VERSIONS: Final = (
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/11",
    b"http/1.1",
    b"",
)
#: Bodies, whatever the headers say of them.
BODIES: Final = (
    *(b"", b"{", b"null", b"[]", b'"x"', b'{"amount": NaN}', b'{"amount": Infinity}', b"\xff\xfe"),
    *(b'{"amount": ' + b"9" * 5_000 + b"}", b'{"amount": 1e999}', b'{"amount": -1e-999}'),
    *(b'{"a":' * 5_000, b"[" * 5_000, b'{"note": "\\ud800"}', b'{"note": "\\u0000"}', b"\0" * 100),
    *(b'{"note": "\0"}', b'{"note": 1, "note": 2}', b'{"\\ud800": 1}', b"x" * 300_000),
    b"\xef\xbb\xbf{}",
)
#: What a chunked body may look like.
CHUNKS: Final = (
    *(b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n", b"2\r\n{}", b"-1\r\n{}\r\n0\r\n\r\n"),
    *(b"ffffffffffffffffff\r\n{}", b"zz\r\n{}\r\n0\r\n\r\n", b"2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n"),
    *(
        b"2\n{}\n0\n\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"0\r\nContent-Length: 9\r\n\r\n",
        b"1\r\n{\r\n" * 50,
    ),
    b"2 \r\n{}\r\n0\r\n\r\nGET /api/web/who HTTP/1.1\r\nHost: a\r\n\r\n",
)
#: Pieces put anywhere.
PIECES: Final = (
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\xff", b" ", b"\t", b":", b"%00", b"HTTP/1.1"),
    *(b"\xc0\xaf", b"x" * 10_000, b"\r\n" * 100, b"\r\nX: y"),
)


def mutated(request: bytes, seed: int) -> bytes:
    """Return a request with one to three changes; the same seed makes the same ones."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        request = chance.choice(CHANGES)(request, chance)
    return request


def _of_header(request: bytes, chance: random.Random) -> bytes:
    """Add a header line, double one, take one away, or change the order."""
    first, *lines = _head(request).split(b"\r\n")
    at = chance.randint(0, len(lines))
    match chance.randrange(5):
        case 0 if lines:
            lines.insert(at, chance.choice(lines))
        case 1 if lines:
            del lines[at - 1]
        case 2:
            chance.shuffle(lines)
        case _:
            lines.insert(at, chance.choice(HEADERS))
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n" + _body(request)


def _of_first_line(request: bytes, chance: random.Random) -> bytes:
    first, _, rest = request.partition(b"\r\n")
    words = first.split(b" ")
    place = chance.choice((0, 1, 1, 1, 2))
    choices: Sequence[bytes] = (METHODS, PATHS, VERSIONS)[place]
    words[place : place + 1] = [chance.choice(choices)]
    return b" ".join(words) + b"\r\n" + rest


def _of_body(request: bytes, chance: random.Random) -> bytes:
    """Put another body in its place, with the length that it has, or with what was said before."""
    head = _head(request)
    body = chance.choice(BODIES)
    if chance.random() < 0.7:
        lines = [each for each in head.split(b"\r\n") if not each.lower().startswith(b"content-l")]
        head = b"\r\n".join([*lines, b"Content-Length: %d" % len(body)])
    return head + b"\r\n\r\n" + body


def _of_framing(request: bytes, chance: random.Random) -> bytes:
    """Send the body in chunks, whole or broken, with or without a length beside them."""
    head = _head(request)
    if chance.random() < 0.5:
        lines = [each for each in head.split(b"\r\n") if not each.lower().startswith(b"content-l")]
        head = b"\r\n".join(lines)
    return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chance.choice(CHUNKS)


def _of_bytes(request: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(request))
    match chance.randrange(4):
        case 0:
            return request[:at]
        case 1:
            return request[:at] + chance.choice(PIECES) + request[at:]
        case 2:
            return request[:at] + bytes([chance.randrange(256)]) + request[at + 1 :]
        case _:
            return request[:at] + request[chance.randint(at, len(request)) :]


def _head(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[0]


def _body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


CHANGES: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    *(_of_header, _of_first_line, _of_body, _of_framing, _of_bytes),
)
