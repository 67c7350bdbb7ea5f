import pytest

from gateway_app.http.paths import MAX_PATH_BYTES, has_hidden_separator, segments_of
from gateway_app.http.problem import Problem


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        (b"/api/users/7", ("api", "users", "7")),
        (b"/api/users/a%2Fb", ("api", "users", "a/b")),
        (b"/api//users", ("api", "", "users")),
        (b"/api/users/", ("api", "users", "")),
        (b"/%61pi/caf%C3%A9", ("api", "café")),
        (b"/api/a+b%20c", ("api", "a+b c")),
        (b"/api/..hidden", ("api", "..hidden")),
        (b"/api/a;v=1..", ("api", "a;v=1..")),
    ],
)
def test_segments_are_decoded_one_by_one(raw: bytes, segments: tuple[str, ...]) -> None:
    assert segments_of(raw) == segments


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"/api/../admin", 400),
        (b"/api/%2e%2E/admin", 400),
        (b"/api/./x", 400),
        (b"/api/x%2F..%2Fadmin", 400),
        (b"/api/x%5C..%5Cadmin", 400),
        (b"/api/..;/admin", 400),
        (b"/api/..;x=1/admin", 400),
        (b"/api/%2e%2e%3Bx/admin", 400),
        (b"/api/x%2F..;%2Fadmin", 400),
        (b"/api/x%00", 400),
        (b"/api/x%0d%0aSet-Cookie:a", 400),
        (b"/api/%ff", 400),
        (b"api/x", 400),
        (b"*", 400),
        (b"/" + b"x" * MAX_PATH_BYTES, 414),
    ],
)
def test_what_servers_read_differently_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Problem) as refused:
        segments_of(raw)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("raw", "is_hidden"),
    [(b"/api/a%2fb", True), (b"/api/a%5Cb", True), (b"/api/a\\b", True), (b"/api/a/b%20", False)],
)
def test_separators_inside_a_segment_are_found(raw: bytes, is_hidden: bool) -> None:
    assert has_hidden_separator(segments_of(raw)) is is_hidden
