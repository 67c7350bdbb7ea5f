"""What the bus says of what waits, on each broker, as far as that tells."""

from messaging.depths import NOTHING, depths
from messaging.envelope import MessagePriority
from tests.support.installation import Installation


def test_what_waits_is_counted_by_priority_with_the_age_of_the_oldest(
    installation: Installation,
) -> None:
    sender = installation.communicator()
    bus = sender.bus
    installation._services |= {"later", "never"}
    assert depths(bus, ["later", "never"]) == {"later": NOTHING, "never": NOTHING}
    for priority, count in (("LOW", 3), ("NORMAL", 1), ("HIGH", 2)):
        for _ in range(count):
            sender.send_to_service("later", "work", {}, priority=priority)
    bus.dispatch.flush(10)
    found = depths(bus, ["later", "never"])
    assert found["never"] == NOTHING
    assert found["later"].waiting == 6
    if installation.features.name == "amqp":
        assert found["later"].by_priority is None
        assert found["later"].oldest_seconds is None
        return
    assert found["later"].by_priority == {
        MessagePriority.LOW: 3,
        MessagePriority.NORMAL: 1,
        MessagePriority.HIGH: 2,
    }
    oldest = found["later"].oldest_seconds
    assert oldest is not None
    assert 0 <= oldest < 60
