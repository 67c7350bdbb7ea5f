import pytest

from gateway_app.http.paths import MAX_PATH_BYTES, segments_of
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
