"""Says what the scenarios named on the command line say; prints what the requests came to.

STORY_JOURNAL is the file in which it notes what happens.
"""

import json
import os
import sys
from pathlib import Path

import django

django.setup()

from messaging import ServiceCommunicator  # noqa: E402
from messaging.clock import SYSTEM_CLOCK  # noqa: E402
from messaging.testing.facts import recording  # noqa: E402
from tests.support.journal import Journal  # noqa: E402
from tests.support.stories import SCENARIOS  # noqa: E402

journal = Journal(Path(os.environ["STORY_JOURNAL"]))
communicator = ServiceCommunicator("tester")
answers = {}
with recording(lambda fact: journal.write(event="fact", **fact.to_json()), SYSTEM_CLOCK.now):
    for name in sys.argv[1:]:
        answers[name] = SCENARIOS[name](communicator, name)
    communicator.close()
print(json.dumps(answers))
