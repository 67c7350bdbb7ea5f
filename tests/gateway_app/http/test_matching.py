import pytest

from gateway_app.http.matching import NoSuchMethod, NoSuchPath, RouteTree, Target


def target(method: str, path: str, service: str = "s") -> Target:
    return Target(method, path, service, "m")


TREE = RouteTree(
    [
        target("GET", "/api/users/{id}", "by-id"),
        target("GET", "/api/users/me", "me"),
        target("PUT", "/api/users/{id}", "put"),
        target("GET", "/api/{kind}/me/docs", "docs"),
        target("GET", "/api/{any}/{thing}", "any"),
        target("GET", "/api/users/{other}", "second of that shape"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "service", "parameters"),
    [
        ("GET", "api/users/me", "me", {}),
        ("GET", "api/users/7", "by-id", {"id": "7"}),
        ("HEAD", "api/users/7", "by-id", {"id": "7"}),
        ("PUT", "api/users/me", "put", {"id": "me"}),
        ("GET", "api/users/me/docs", "docs", {"kind": "users"}),
        ("GET", "api/x/y", "any", {"any": "x", "thing": "y"}),
    ],
)
def test_the_most_specific_route_with_the_method_wins(
    method: str, path: str, service: str, parameters: dict[str, str]
) -> None:
    match = TREE.match(method, path.split("/"))
    assert (match.target.service, match.parameters) == (service, parameters)


@pytest.mark.parametrize("path", ["api/users", "api/users/", "api//me", "api/a/b/c", "other"])
def test_no_route_has_another_path(path: str) -> None:
    with pytest.raises(NoSuchPath):
        TREE.match("GET", path.split("/"))


def test_a_wrong_method_names_those_of_every_route_that_fits() -> None:
    with pytest.raises(NoSuchMethod) as refused:
        TREE.match("DELETE", ["api", "users", "me"])
    assert refused.value.allowed == ["GET", "HEAD", "PUT"]


def test_a_match_looks_at_no_more_nodes_with_ten_thousand_routes() -> None:
    """Cost follows the length of the path; `make bench` has the figure."""
    tree = RouteTree(target("GET", f"/api/s{n % 100}/r{n}/{{id}}") for n in range(10_000))
    segments = Counted(["api", "s42", "r9942", "7"])
    assert tree.match("GET", segments).parameters == {"id": "7"}
    assert segments.reads <= 3 * len(segments)


class Counted(list[str]):
    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)
