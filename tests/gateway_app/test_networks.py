"""Which addresses the gateway may connect to."""

from typing import Any

import pytest

from gateway_app.networks import Networks, NotAllowed
from messaging import MessagingConfig

METADATA = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
]
THIS_HOST = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
]
SERVICES = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "fc00::1", "fd12::1", "93.184.216.34"]


def networks(text: str = "") -> Networks:
    return Networks.of(MessagingConfig(broker_url="sqlite:////x", upstream_networks=text))


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("text", ["", "0.0.0.0/0, ::/0"])
@pytest.mark.parametrize("is_development", [True, False])
def test_what_clouds_tell_their_hosts_is_nobodys(
    address: str, text: str, is_development: bool, settings: Any
) -> None:
    settings.IS_DEVELOPMENT = is_development
    assert not networks(text).allows(address)


@pytest.mark.parametrize("address", THIS_HOST)
def test_this_host_is_no_service_but_on_a_laptop(address: str, settings: Any) -> None:
    settings.IS_DEVELOPMENT = False
    assert not networks().allows(address)
    settings.IS_DEVELOPMENT = True
    assert networks().allows(address)


@pytest.mark.parametrize("address", SERVICES)
@pytest.mark.parametrize("is_development", [True, False])
def test_services_are_where_services_live(
    address: str, is_development: bool, settings: Any
) -> None:
    settings.IS_DEVELOPMENT = is_development
    assert networks().allows(address)


def test_networks_that_are_named_are_the_only_ones() -> None:
    named = networks("10.0.0.0/8, 127.0.0.1, fd12::/16")
    assert [each for each in SERVICES if named.allows(each)] == ["10.1.2.3", "fd12::1"]
    assert [each for each in THIS_HOST if named.allows(each)] == ["127.0.0.1", "::ffff:127.0.0.1"]
    # A translated address leads to the one inside: both have to be named.
    assert not named.allows("64:ff9b::a01:203")
    assert networks("10.0.0.0/8, 64:ff9b::/96").allows("64:ff9b::a01:203")


def test_metadata_is_open_to_who_names_it() -> None:
    assert networks("169.254.0.0/16").allows("169.254.169.254")
    assert networks("169.254.169.254/32, 10.0.0.0/8").allows("::ffff:169.254.169.254")
    assert not networks("169.0.0.0/8").allows("169.254.169.254")


def test_of_several_addresses_those_that_are_allowed_are_left() -> None:
    found = ["169.254.169.254", "10.0.0.1", "::ffff:169.254.169.254", "10.0.0.2"]
    assert networks().allowed_of(found) == ["10.0.0.1", "10.0.0.2"]
    with pytest.raises(NotAllowed, match=r"^address 169\.254\.0\.1 is not allowed: upstream_n"):
        networks().allowed_of(["169.254.0.9", "169.254.0.1"])
