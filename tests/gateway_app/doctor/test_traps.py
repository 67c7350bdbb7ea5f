import re
from pathlib import Path

from django.conf import settings

from gateway_app import traps
from messaging import checks

TRAPS = (*checks.TRAPS, *traps.TRAPS)


def test_every_trap_is_in_the_document_as_the_code_says_it() -> None:
    text = (Path(settings.BASE_DIR) / "docs/doctor.md").read_text()
    stated = re.findall(r"^\| `(\w+\.[EW]\d+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert stated == [(trap.id, trap.meaning, trap.fix) for trap in TRAPS]


def test_an_id_is_that_of_one_trap() -> None:
    ids = [trap.id for trap in TRAPS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"(messaging|gateway_app)\.[EW]\d{3}", name) for name in ids)


def test_meaning_and_fix_take_one_line_each() -> None:
    for trap in TRAPS:
        assert trap.meaning.endswith(".")
        assert trap.fix.endswith(".")
        assert max(len(trap.meaning), len(trap.fix)) <= 100
