"""Who said it: signatures, HMAC-SHA256 by keys that have names and can be changed without a pause.

Whoever can check such a signature can make one, so a service is given its own key and those of
whom it hears, and no other (docs/security.md). Knows neither Django nor Celery.
Source: RFC 2104; FIPS 198-1.
"""

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from messaging.envelope import Envelope, is_service_name, utc_now
from messaging.errors import BadSignature, ConfigurationError

#: What is signed, so that one kind of text is never taken for another.
MESSAGE: Final = "message"
CUSTODY: Final = "custody"
CONTROL: Final = "control"

#: As many as the hash has bytes: a shorter secret is the weaker part of the two (RFC 2104, 3).
MIN_SECRET_LENGTH: Final = 32
#: Not signed: the signature itself, and the count of attempts, which a receiver goes on with.
_UNSIGNED: Final = ("signature", "attempt")
_KEY: Final = re.compile(r"(?P<id>[A-Za-z0-9_-]{1,40})(?:@(?P<service>[^:]*))?:(?P<secret>.+)")

_dumps: Final[Callable[[Any], str]] = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, sort_keys=True
).encode


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that signatures are made and checked with."""

    #: Named in every signature it makes.
    id: str
    secret: bytes = field(repr=False)
    #: The only service it speaks for; empty: for all.
    service: str = ""


class Keyring:
    """The keys of one process: the first that may speak for a service signs, all of them check.

    Where there is none, nothing is signed, and nothing is to be checked.

    Args:
        keys: newest first.
        gateway: the service that may speak for others: it makes copies of what they have said, and
            replays it.
        unsigned_until: what is not signed at all is believed until this instant.
    """

    def __init__(
        self,
        keys: Iterable[Key] = (),
        gateway: str = "",
        unsigned_until: datetime | None = None,
    ) -> None:
        self._keys = {key.id: key for key in keys}
        #: Whether messages are signed, and checked.
        self.has_keys = bool(self._keys)
        self._gateway = gateway
        self._unsigned_until = unsigned_until
        self._signing: dict[str, Key | None] = {}

    @classmethod
    def parse(cls, text: str, gateway: str = "", unsigned_until: str = "") -> "Keyring":
        """Return the keys in a setting: ``id:secret`` or ``id@service:secret``, by commas.

        Args:
            text: of the setting.
            gateway: see the class.
            unsigned_until: an ISO 8601 instant with an offset; empty: none.

        Raises:
            ConfigurationError: one of them is none. The text repeats no secret.
        """
        keys: dict[str, Key] = {}
        for number, entry in enumerate(filter(None, re.split(r"[,\s]+", text)), start=1):
            key = _parsed(entry, f"key {number}")
            if key.id in keys:
                raise _wrong(f"two keys are named {key.id!r}")
            keys[key.id] = key
        return cls(keys.values(), gateway, _instant(unsigned_until) if unsigned_until else None)

    def sign(self, what: str, said: Mapping[str, Any], speaker: str) -> str:
        """Return the signature of a service under a JSON object.

        Args:
            what: the kind of text.
            said: JSON values only, as they are read back.
            speaker: the service that says so.

        Raises:
            ConfigurationError: no key here may speak for it.
            ValueError: not a JSON object.
        """
        key = self.key_of(speaker)
        return f"{key.id}:{_digest(key, what, said)}"

    def key_of(self, speaker: str) -> Key:
        """Return the key that a service signs with.

        Raises:
            ConfigurationError: none here may speak for it.
        """
        if speaker not in self._signing:
            fitting = (key for key in self._keys.values() if key.service in ("", speaker))
            self._signing[speaker] = next(fitting, None)
        key = self._signing[speaker]
        if key is None:
            raise _wrong(f"none of the keys may speak for {speaker!r}")
        return key

    @property
    def speakers(self) -> frozenset[str] | None:
        """The services that this process may speak for; None: all."""
        services = frozenset(key.service for key in self._keys.values())
        return None if not services or "" in services else services

    def check(
        self, what: str, said: Mapping[str, Any], signature: str | None, speaker: str
    ) -> None:
        """Make sure that a service said this.

        Args:
            what: the kind of text.
            said: the JSON object as it came.
            signature: what came with it.
            speaker: who is said to have said so.

        Raises:
            BadSignature: nobody can tell that it did.
        """
        if not signature:
            if self._unsigned_until is not None and utc_now() < self._unsigned_until:
                return
            raise BadSignature("it is not signed")
        key_id, _, digest = signature.partition(":")
        key = self._keys.get(key_id)
        if key is None:
            raise BadSignature(f"signed with key {key_id!r:.50}, which is not known here")
        if key.service not in ("", speaker):
            raise BadSignature(f"key {key.id!r} may not speak for {speaker!r}")
        try:
            expected = _digest(key, what, said)
        except (ValueError, RecursionError) as exc:
            raise BadSignature(f"it cannot have been signed: {exc}") from exc
        if not hmac.compare_digest(expected.encode(), digest.encode()):
            raise BadSignature(f"the signature does not fit: altered, or not by key {key.id!r}")

    def check_message(self, envelope: Envelope, mapping: Mapping[str, Any]) -> None:
        """Make sure that a message is of who it says.

        Args:
            envelope: the message.
            mapping: what came, with whatever else is in it beside what was understood.

        Raises:
            BadSignature: nobody can tell. It has the envelope.
        """
        try:
            speaker = self.speaker_of(envelope.source, envelope.custodian)
            self.check(MESSAGE, mapping, envelope.signature, speaker)
        except BadSignature as exc:
            exc.envelope = envelope
            raise

    def speaker_of(self, source: str, custodian: str | None) -> str:
        """Return who signs a message: its source, or the gateway where that answers for it.

        Raises:
            BadSignature: another service would speak for its source.
        """
        if custodian is None or custodian == source:
            return source
        if custodian != self._gateway:
            raise BadSignature(f"{custodian!r} may not speak for {source!r}")
        return custodian


#: For whoever reads what has been checked before, or is never sent.
NO_KEYS: Final = Keyring()


def _digest(key: Key, what: str, said: Mapping[str, Any]) -> str:
    signed = {name: value for name, value in said.items() if name not in _UNSIGNED}
    text = f"{what}\n{_dumps(signed)}".encode()
    return hmac.digest(key.secret, text, "sha256").hex()


def _parsed(entry: str, name: str) -> Key:
    match = _KEY.fullmatch(entry)
    if match is None:
        raise _wrong(f"{name}: expected id:secret or id@service:secret")
    service = match["service"]
    if service is not None and not is_service_name(service):
        raise _wrong(f"{name}: expected a service name after @")
    if len(match["secret"]) < MIN_SECRET_LENGTH:
        raise _wrong(f"{name}: expected a secret of {MIN_SECRET_LENGTH} characters at least")
    return Key(match["id"], match["secret"].encode(), service or "")


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise _wrong(
            f"expected an instant such as 2026-12-01T00:00Z, got {text!r}", "unsigned_until"
        )
    return found


def _wrong(text: str, setting: str = "signing_keys") -> ConfigurationError:
    return ConfigurationError(f"MESSAGING[{setting!r}]: {text}")
