import pytest

from gateway_app.registry.registrations import InvalidRegistration
from tests.gateway_app.registry.test_registry import a_registration


@pytest.mark.parametrize(
    "host",
    ["é.example", "a b", "host:22", "", "a..b", "h/x", "u@h", "[h]", "[1.2.3.4]", "%41", "h\n"],
)
def test_an_instance_that_nothing_can_connect_to_is_refused(host: str) -> None:
    with pytest.raises(InvalidRegistration, match=r"^host: "):
        a_registration(host=host, port=80)


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("web-1.shop.example", "web-1.shop.example"),
        ("user_service", "user_service"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ],
)
def test_an_instance_has_a_name_or_an_address(host: str, kept: str) -> None:
    assert a_registration(host=host, port=80).host == kept


def test_a_host_without_a_port_is_for_people_to_read() -> None:
    assert a_registration(host="é, the old one").host == "é, the old one"
