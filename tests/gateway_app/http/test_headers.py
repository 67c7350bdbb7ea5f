from gateway_app.http.headers import first, request_headers, response_headers, traceparent

CLIENT = {
    "client": ("10.0.0.9", 1234),
    "scheme": "https",
    "headers": [
        (b"host", b"shop.example"),
        (b"connection", b"keep-alive, X-Secret"),
        (b"x-secret", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"10"),
        (b"expect", b"100-continue"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"x-forwarded-host", b"evil.example"),
        (b"forwarded", b"for=1.2.3.4"),
        (b"x_forwarded_for", b"1.2.3.4"),
        (b"x-forwarded-prefix", b"/admin"),
        (b"x-padded", b" a b\t "),
        (b"via", b"1.1 second"),
        (b"via", b"1.0 first"),
        (b"accept", b"a"),
        (b"accept", b"b"),
    ],
}


def test_what_is_of_one_connection_ends_here_and_nobody_can_lie_about_where_he_is() -> None:
    headers = request_headers(CLIENT, b"i1:80", [(b"content-length", b"7")])
    assert headers[:3] == [
        (b"host", b"i1:80"),
        (b"x-forwarded-for", b"10.0.0.9"),
        (b"x-forwarded-proto", b"https"),
    ]
    names = [name for name, _ in headers]
    for dropped in (b"connection", b"x-secret", b"keep-alive", b"te", b"expect", b"forwarded"):
        assert dropped not in names
    assert [value for name, value in headers if name == b"accept"] == [b"a", b"b"]
    assert [value for name, value in headers if name == b"content-length"] == [b"7"]
    assert first(headers, b"x-forwarded-host") == b"shop.example"
    assert first(headers, b"via") == b"1.1 second, 1.0 first, 1.1 gateway"
    assert first(headers, b"x-padded") == b"a b"
    assert {n for n in names if b"forwarded" in n} == {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
    }


def test_a_trace_goes_on_and_nonsense_begins_a_new_one() -> None:
    good = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    assert traceparent([(b"traceparent", good)]) == good
    for bad in (b"x", b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01"):
        made = traceparent([(b"traceparent", bad)])
        assert made != bad
        assert traceparent([(b"traceparent", made)]) == made


def test_an_answer_keeps_its_headers_but_for_those_of_the_connection() -> None:
    given = [(b"Content-Type", b"x"), (b"Connection", b"close"), (b"Server", b"s"), (b"A", b"1")]
    assert response_headers(200, given) == [(b"content-type", b"x"), (b"a", b"1")]


def test_the_length_of_what_does_not_come_is_not_told() -> None:
    length = (b"Content-Length", b"10")
    assert response_headers(200, [length]) == [(b"content-length", b"10")]
    assert response_headers(304, [length]) == []
    assert response_headers(200, [length, (b"Transfer-Encoding", b"chunked")]) == []
