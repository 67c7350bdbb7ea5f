"""The client for Node reads messages as the library does: what one takes the other takes."""

import base64
import json
import random
import subprocess
from typing import Any

from messaging import codec
from messaging.errors import DecodeError
from messaging.histogram import bucket_of
from messaging.signing import _dumps
from tests.support.installation import ROOT
from tests.support.mutations import mutated
from tests.support.node import require_node
from tests.unit.test_codec import an_envelope

COUNT = 1_500
#: Where the two languages write JSON differently.
DATA = {
    "numbers": [1, 2.5, 1.0, -0.0, 1e22, 5e-324, 0.0001, 0.00001, 1e16, 123456789012345678901],
    "text": 'ü\u2028\x7f\x01"\\𝄞',
    # By code points; by the units of UTF-16, as JavaScript sorts, the other way round.
    "𝄞": 1,
    "\uffff": 2,
    "__proto__": 3,
}


def in_node(bodies: list[bytes]) -> list[Any]:
    done = subprocess.run(
        [require_node(), str(ROOT / "tests/support/node_codec.mjs")],
        input=b"".join(base64.b64encode(body) + b"\n" for body in bodies),
        stdout=subprocess.PIPE,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.split(b"\n") if line]
    assert len(answers) == len(bodies)
    return answers


def test_changed_at_random_it_is_read_or_refused_by_both_alike() -> None:
    body = codec.encode(an_envelope(data=DATA), None)
    bodies = [body.encode(), *(mutated(body, seed) for seed in range(COUNT))]
    taken = 0
    for sent, answer in zip(bodies, in_node(bodies), strict=True):
        try:
            codec.decode(sent)
        except DecodeError:
            assert "error" in answer, sent
            continue
        if "error" in answer:
            # Python takes more ways to write an instant than anybody writes.
            assert "_at is wrong" in answer["error"], (sent, answer)
            continue
        mapping = json.loads(sent)[0][0]
        assert answer["canonical"] == _dumps(mapping)
        assert _dumps(json.loads(answer["written"])) == _dumps(mapping)
        taken += 1
    assert COUNT / 10 < taken < COUNT


def test_numbers_are_signed_as_python_writes_them() -> None:
    chance = random.Random(7)
    numbers = [chance.uniform(-1, 1) * 10.0 ** chance.randint(-320, 305) for _ in range(5_000)]
    numbers += [float(10**power) for power in range(30)] + [10.0**-power for power in range(30)]
    sent = codec.encode(an_envelope(data=numbers), None).encode()
    (answer,) = in_node([sent])
    assert json.loads(answer["canonical"])["data"] == numbers
    assert answer["canonical"] == _dumps(json.loads(sent)[0][0])


def test_durations_are_counted_in_the_same_buckets() -> None:
    chance = random.Random(7)
    seconds = [10.0 ** chance.uniform(-6, 6) for _ in range(2_000)]
    seconds += [2.0**power for power in range(-20, 25)] + [0.0, -1.0]
    code = (
        "import { bucketOf } from './clients/node/lib/flow.js';"
        f"console.log(JSON.stringify({json.dumps(seconds)}.map(bucketOf)))"
    )
    command = (require_node(), "--input-type=module", "--eval", code)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout) == [bucket_of(each) for each in seconds]
