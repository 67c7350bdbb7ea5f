"""The picture of a soak."""

from xml.etree import ElementTree

from tests.soak.observing import Sample
from tests.soak.plot import picture
from tests.soak.turns import Span


def test_processes_files_and_faults_are_in_the_picture() -> None:
    samples = [
        Sample(float(at), {"web": (1, 100.0 + at)}, {"database": at / 10}) for at in range(10)
    ]
    svg = picture("sqlite <5>", samples, [Span("web killed", 3.0, 5.0)])
    texts = [each.text for each in ElementTree.fromstring(svg).iter() if each.text]
    assert {"sqlite <5>", "web killed", "web: 109.0", "database: 0.9"} <= set(texts)


def test_there_is_a_picture_of_a_run_that_was_too_short_to_look() -> None:
    ElementTree.fromstring(picture("none", [], []))
