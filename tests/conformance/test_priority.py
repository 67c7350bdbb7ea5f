import random

import pytest

from messaging import MessagePriority
from tests.support.installation import Installation
from tests.support.waiting import eventually

ORDER = [
    MessagePriority.CRITICAL,
    MessagePriority.HIGH,
    MessagePriority.NORMAL,
    MessagePriority.LOW,
]


@pytest.mark.promise("strict CRITICAL > HIGH > NORMAL > LOW for what waits, in order inside each")
def test_what_waits_comes_out_by_priority_and_in_order_inside_each(
    installation: Installation,
) -> None:
    wanted = [ORDER[n % 4] for n in range(200)]
    random.Random(7).shuffle(wanted)
    installation.send(
        {"target": "sorted", "type": "work", "data": {"n": number}, "priority": priority}
        for number, priority in enumerate(wanted)
    )

    installation.start_worker("sorted", concurrency=1)
    journal = installation.journal("sorted")
    eventually(lambda: len(journal.lines(event="handled")) == 200, 30)

    seen = [(line["priority"], line["data"]["n"]) for line in journal.lines(event="begun")]
    expected = sorted(
        ((priority.value, number) for number, priority in enumerate(wanted)),
        key=lambda pair: (ORDER.index(MessagePriority(pair[0])), pair[1]),
    )
    assert seen == expected
