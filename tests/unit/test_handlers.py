from typing import Any

import pytest

from messaging.errors import ConfigurationError
from messaging.handlers import HandlerTable
from tests.unit.test_codec import an_envelope


def test_the_most_specific_pattern_has_the_message() -> None:
    table = HandlerTable()
    for pattern in ("#", "document.#", "document.*", "document.created"):
        table.add(pattern, lambda data, pattern=pattern: pattern)

    def chosen(message_type: str) -> str:
        handler = table.find(message_type)
        assert handler is not None
        return handler.pattern

    assert chosen("document.created") == "document.created"
    assert chosen("document.deleted") == "document.*"
    assert chosen("document") == "document.#"
    assert chosen("other") == "#"


def test_nothing_matches_without_a_pattern_for_it() -> None:
    table = HandlerTable()
    table.add("a.*", print)
    assert table.find("b") is None
    table.add("b", print)
    assert table.find("b") is not None


def test_handlers_take_data_or_data_and_message_and_may_be_async() -> None:
    table = HandlerTable()

    class Service:
        def method(self, data: Any, message: Any) -> Any:
            return (data, message.id)

    async def coroutine(data: Any) -> Any:
        return [data]

    envelope = an_envelope(data=5)
    assert table.add("a", lambda data: data + 1).call(envelope) == 6
    assert table.add("b", Service().method).call(envelope) == (5, envelope.id)
    assert table.add("c", coroutine).call(envelope) == [5]
    assert table.add("d", lambda data, message=None: message is envelope).call(envelope) is True


@pytest.mark.parametrize("function", [lambda: None, lambda a, b, c: None])
def test_another_signature_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"\(data\) or \(data, message\)"):
        HandlerTable().add("a", function)


def test_a_second_handler_for_one_pattern_is_refused_but_a_built_in_one_gives_way() -> None:
    table = HandlerTable()
    table.add("a", print)
    with pytest.raises(ConfigurationError, match="handled by print already"):
        table.add("a", repr)
    table.add("service.health.check", print, built_in=True)
    table.add("service.health.check", repr)
    assert table.patterns() == ["a", "service.health.check"]


def test_no_pattern_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="topic pattern"):
        HandlerTable().add("a b", print)
