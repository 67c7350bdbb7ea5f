import re

import pytest

from messaging.patterns import is_pattern, matches, specificity, without_empty_hashes

TABLE = [
    # pattern, type, as AMQP 0-9-1 topics match
    ("a", "a", True),
    ("a", "b", False),
    ("a.b", "a", False),
    ("*", "a", True),
    ("*", "a.b", False),
    ("a.*", "a.b", True),
    ("a.*", "a", False),
    ("a.*", "a.b.c", False),
    ("#", "a", True),
    ("#", "a.b.c", True),
    ("a.#", "a", True),
    ("a.#", "a.b.c", True),
    ("a.#", "ab", False),
    ("#.z", "z", True),
    ("#.z", "a.b.z", True),
    ("#.z", "a.z.b", False),
    ("a.#.z", "a.z", True),
    ("a.#.z", "a.b.c.z", True),
    ("a.#.z", "a.b", False),
    ("*.#", "a", True),
    ("#.*", "a.b", True),
    ("a.#.#", "a", True),
    ("a.*.#.c", "a.b.c", True),
    ("a.*.#.c", "a.c", False),
]


@pytest.mark.parametrize(("pattern", "message_type", "expected"), TABLE)
def test_matching(pattern: str, message_type: str, expected: bool) -> None:
    assert matches(pattern, message_type) is expected


@pytest.mark.parametrize(("pattern", "message_type", "expected"), TABLE)
def test_the_bindings_for_redis_let_everything_through_that_matches(
    pattern: str, message_type: str, expected: bool
) -> None:
    # As kombu's virtual topic exchange turns a binding key into a regular expression.
    words = {"*": r".*?[^\.]", "#": r".*?"}
    bound = [
        "^" + r"\.".join(words.get(w, re.escape(w)) for w in key.split(".")) + "$"
        for key in without_empty_hashes(pattern)
    ]
    if expected:
        assert any(re.match(key, message_type) for key in bound)


@pytest.mark.parametrize("text", ["", "a..b", "a.**", "a.b#", "#.#.#.#.#", "x" * 201, None])
def test_no_patterns(text: object) -> None:
    assert not is_pattern(text)


def test_the_more_a_pattern_names_the_more_specific_it_is() -> None:
    patterns = ["#", "a.#", "a.b.#", "*.*", "a.*", "a.b"]
    assert sorted(patterns, key=specificity) == patterns
