"""Where the gateway may connect to: the addresses of hosts that services register.

Services say themselves where they are, so a service could have the gateway ask whatever the
gateway can reach: the metadata of the cloud it runs in, or what listens on its own host only. It
is the address connected to that is judged, never a name: who makes a connection looks the name up
once, asks about each address, and connects to one of those and to no other.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from messaging import MessagingConfig

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


#: Of the link, and of what clouds tell their hosts about themselves: AWS, GCP and Azure by the
#: first, then by IPv6, Alibaba, Oracle, Azure. Open only to who names them.
METADATA: Final = _networks(
    *("169.254.0.0/16", "fe80::/10", "fd00:ec2::254", "fd20:ce::254"),
    *("100.100.100.200", "192.0.0.192", "168.63.129.16"),
)
#: This host, many hosts at once, or none.
NOT_A_SERVICE: Final = _networks(
    *("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"),
    *("::", "::1", "ff00::/8"),
)
#: IPv4 addresses as the end of IPv6 ones, which lead to them through a translator: NAT64 (RFC
#: 6052 and 8215), stateless translation (RFC 2765), and the form that RFC 4291 gave up.
_TRANSLATED: Final = _networks("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")


class NotAllowed(OSError):
    """None of the addresses of a host may be connected to.

    Attributes:
        address: one of them.
    """

    def __init__(self, address: str) -> None:
        super().__init__(f"address {address} is not allowed: upstream_networks")
        self.address = address


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks that may be connected to."""

    #: Empty: everything.
    allowed: tuple[Network, ...] = ()
    refused: tuple[Network, ...] = ()

    @classmethod
    def of(cls, config: MessagingConfig) -> "Networks":
        """Return those that ``upstream_networks`` says; see `MessagingConfig`."""
        texts = filter(None, map(str.strip, config.upstream_networks.split(",")))
        allowed = _networks(*texts)
        if allowed:
            # Who writes 0.0.0.0/0 does not mean the cloud's secrets.
            named = (each for each in METADATA if not _names_part(allowed, each))
            return cls(allowed, tuple(named))
        return cls((), METADATA if settings.IS_DEVELOPMENT else METADATA + NOT_A_SERVICE)

    def allows(self, address: str) -> bool:
        """Return whether an address may be connected to, in whatever form it is written.

        One that leads to an IPv4 address has to be allowed as both.
        """
        return all(self._allows(form) for form in _forms(address))

    def refusal(self, host: str) -> str:
        """Return why a host is not connected to, as far as can be told without looking it up.

        Empty where it is allowed, and for names.
        """
        try:
            is_allowed = self.allows(host)
        except ValueError:
            return ""
        return "" if is_allowed else str(NotAllowed(host))

    def allowed_of(self, addresses: Iterable[str]) -> list[str]:
        """Return those addresses of a host that may be connected to, in their order.

        Args:
            addresses: as the host's name was resolved to, at least one.

        Raises:
            NotAllowed: there is none.
        """
        found = list(addresses)
        allowed = [address for address in found if self.allows(address)]
        if not allowed:
            raise NotAllowed(min(found))  # the same whatever their order
        return allowed

    def _allows(self, address: Address) -> bool:
        if any(address in network for network in self.refused):
            return False
        return not self.allowed or any(address in network for network in self.allowed)


def _names_part(networks: Iterable[Network], of: Network) -> bool:
    """Return whether one of the networks is a part of another one, or all of it."""
    parts: Any = of  # of one version: typed as either, they cannot be compared
    return any(each.version == of.version and each.subnet_of(parts) for each in networks)


def _forms(address: str) -> Iterator[Address]:
    """Yield what an address is: an IPv4 address for a mapped one, both for a translated one."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        yield parsed
        return
    if parsed.ipv4_mapped is not None:
        yield parsed.ipv4_mapped
        return
    yield ipaddress.IPv6Address(int(parsed))  # without its zone, which networks do not have
    inner = parsed.sixtofour
    if any(parsed in network for network in _TRANSLATED) and int(parsed) > 1:
        inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    if inner is not None:
        yield inner
