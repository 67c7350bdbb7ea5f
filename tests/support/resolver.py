"""What names mean, as a test says it: a DNS server that may lie."""

import ipaddress
import socket
from typing import Any

import pytest


class Resolver:
    """Answers look-ups of the names it was given, each answer in turn, the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers: dict[str, list[list[str]]] = {}
        #: Every name that was looked up.
        self.asked: list[str] = []
        real = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *args: Any, **more: Any) -> Any:
            if host not in self._answers:
                return real(host, port, *args, **more)
            self.asked.append(host)
            answers = self._answers[host]
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(_family(each), socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def set(self, name: str, *answers: list[str]) -> None:
        """Say what a name means: one list of addresses for each look-up."""
        self._answers[name] = list(answers)


def _family(address: str) -> socket.AddressFamily:
    is_v4 = ipaddress.ip_address(address).version == 4
    return socket.AF_INET if is_v4 else socket.AF_INET6
