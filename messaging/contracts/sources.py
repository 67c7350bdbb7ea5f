"""Where contracts come from: a service's code, a file, or a gateway over HTTP."""

import importlib
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from messaging.communicator import ServiceCommunicator
from messaging.contracts.contract import Contract
from messaging.errors import MessagingError

#: Where a gateway publishes the contracts of what runs.
PATH: Final = "/ops/contracts.json"
#: A gateway that takes longer to answer counts as away.
TIMEOUT_SECONDS: Final = 30.0
#: More is no answer of a gateway.
MOST_BYTES: Final = 64 * 2**20


class GatewayUnreachable(MessagingError):
    """The gateway did not tell what runs. Nothing was changed; asking again is safe."""


def contract_of(name: str) -> Contract:
    """Return the contract of a checkout.

    Args:
        name: a module that holds a communicator, as ``services.user``, ``services.user.celery`` or
            ``services.user.handlers:communicator``; or a file that ``bus_contracts export`` wrote,
            whose name ends in ``.json``.

    Raises:
        ValueError: there is no such module or file, or no contract in it.
    """
    if name.endswith(".json"):
        found = contracts_in_file(name)
        if len(found) != 1:
            raise ValueError(f"{name}: expected the contract of one service, got {len(found)}")
        return found[0]
    return Contract.of(_communicator(name))


def contracts_in_file(name: str) -> list[Contract]:
    """Return the contracts in a file: one, a list of them, or what a gateway publishes.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    try:
        data = json.loads(Path(name).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise ValueError(f"{name}: expected a JSON file with contracts: {exc}") from exc
    return _contracts(data, name)


def contracts_of_gateway(url: str, token: str | None) -> list[Contract]:
    """Return the contracts of what runs, as a gateway publishes them.

    Args:
        url: of the gateway, as ``https://gateway.example.com``.
        token: an API token with the scope `PATH`; None: none is shown.

    Raises:
        ValueError: the URL is none, or the gateway refuses the token.
        GatewayUnreachable: it does not answer, or not with contracts.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--gateway: expected a URL such as https://gateway, got {url!r:.100}")
    request = urllib.request.Request(url.rstrip("/") + PATH)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with _opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
            text = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as exc:
        with exc:
            raise _refusal(exc, url) from exc
    except (OSError, HTTPException, ValueError) as exc:
        raise GatewayUnreachable(f"{url} does not answer: {exc}") from exc
    if len(text) > MOST_BYTES:
        raise GatewayUnreachable(f"{url}: the answer is larger than {MOST_BYTES} bytes")
    try:
        return _contracts(json.loads(text), url)
    except ValueError as exc:
        raise GatewayUnreachable(f"{url}{PATH} answers with no contracts: {exc}") from exc


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Where a redirect leads to gets no token."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _refusal(error: urllib.error.HTTPError, url: str) -> Exception:
    where = error.headers.get("Location")
    if where:
        return ValueError(f"--gateway: {url} leads on to {where:.200}; give that address itself")
    if error.code in (401, 403):
        return ValueError(
            f"--token: {url} refuses it; expected an API token with the scope {PATH}"
        )
    return GatewayUnreachable(f"{url}{PATH} answers {error.code} {error.reason}")


def _contracts(data: Any, where: str) -> list[Contract]:
    if isinstance(data, dict) and "contracts" in data:
        data = data["contracts"]
    try:
        each = data if isinstance(data, list) else [data]
        return [Contract.from_json(one) for one in each]
    except ValueError as exc:
        raise ValueError(f"{where}: {exc}") from exc


def _communicator(name: str) -> ServiceCommunicator:
    module_name, _, attribute = name.partition(":")
    module = _module(module_name)
    if attribute:
        found: Sequence[Any] = [getattr(module, attribute, None)]
    else:
        found = list({id(each): each for each in vars(module).values() if _speaks(each)}.values())
    if len(found) != 1 or not _speaks(found[0]):
        raise ValueError(
            f"{name}: expected one ServiceCommunicator, got {len(found)}; "
            f"name it as {module.__name__}:communicator"
        )
    communicator: ServiceCommunicator = found[0]
    return communicator


def _module(name: str) -> Any:
    """Import a module; of a package the ``celery`` in it, as ``celery -A`` does."""
    try:
        module = importlib.import_module(name)
        if hasattr(module, "__path__") and not any(map(_speaks, vars(module).values())):
            return importlib.import_module(f"{name}.celery")
    except Exception as exc:
        # Whatever its code raises: a line about that is what whoever runs the check can use.
        raise ValueError(
            f"{name}: expected a module of a service, or a .json file: {type(exc).__name__}: {exc}"
        ) from exc
    return module


def _speaks(value: Any) -> bool:
    return isinstance(value, ServiceCommunicator)
