from typing import Any

import pytest

from messaging.brokers import PROFILES, profile_for
from messaging.config import MessagingConfig
from messaging.envelope import MessagePriority
from messaging.errors import ConfigurationError

URL = {"broker_url": "sqlite:////tmp/x.sqlite3"}


def test_keys_in_any_case_and_values_as_text_are_understood() -> None:
    config = MessagingConfig.from_mapping(
        {**URL, "HEARTBEAT_SECONDS": "2.5", "max_message_bytes": "1000", "Namespace": "x"}
    )
    assert (config.heartbeat_seconds, config.max_message_bytes) == (2.5, 1000)
    assert config.namespace == "x"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"hartbeat_seconds": 1}, "did you mean 'heartbeat_seconds'"),
        ({"xyz": 1}, r"MESSAGING\['xyz'\]: unknown setting$"),
        ({"heartbeat_seconds": "soon"}, r"expected float, got 'soon'"),
        ({"heartbeat_seconds": True}, "expected float, got True"),
        ({"heartbeat_seconds": 0}, "expected more than 0"),
        ({"worker_concurrency": 1.5}, "expected int, got 1.5"),
        ({"worker_pool": "gevent"}, "expected one of"),
        ({"suspect_seconds": 40}, "suspect < down < gone"),
        ({"suspect_seconds": 6}, "at least 2 heartbeat_seconds"),
        ({"gateway_name": "a.b"}, "expected a service name"),
        ({"namespace": "a b"}, "expected letters"),
        ({"ageing_seconds": -1}, "expected 0 or more"),
        ({"http_auth": "basic"}, r"expected one of \('token', 'none'\) or nothing, got 'basic'"),
        ({"upstream_networks": "10.0.0.0/8, here"}, "expected a network .*, got 'here'"),
        ({"upstream_networks": "10.0.0.1/8"}, "has host bits set"),
    ],
)
def test_a_wrong_setting_names_key_expectation_and_value(
    settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        MessagingConfig.from_mapping({**URL, **settings})


def test_a_broker_is_required_and_needs_a_scheme() -> None:
    with pytest.raises(ConfigurationError, match="broker_url"):
        MessagingConfig.from_mapping({})
    with pytest.raises(ConfigurationError, match="BROKER_URL"):
        profile_for("/just/a/path")


def test_every_broker_has_a_distinct_number_for_every_priority_in_its_own_direction() -> None:
    for name, profile in PROFILES.items():
        numbers = [profile.priorities[priority] for priority in MessagePriority]
        assert len(set(numbers)) == 4
        assert numbers == sorted(numbers, reverse=name == "redis")
    assert profile_for("amqps://x").name == "amqp"
    assert profile_for("memory://").name == "other"


@pytest.mark.parametrize("url", ["", "broker.sqlite3", "carrier-pigeon://loft"])
def test_a_broker_that_nobody_knows_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="BROKER_URL: expected a URL such as"):
        profile_for(url)
