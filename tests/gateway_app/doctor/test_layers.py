import threading
from collections.abc import Iterator

import pytest

from gateway_app import traps
from gateway_app.doctor import Finding, Grade, layers
from gateway_app.doctor.finding import LayerBroken, fine
from gateway_app.doctor.layers import LAYERS, Layer, examine


def sound() -> Iterator[Finding]:
    yield fine("Sound", "is well")


def broken() -> Iterator[Finding]:
    yield fine("First", "is well")
    raise LayerBroken("Second", traps.NO_BROKER, "is\n away")


def failing() -> Iterator[Finding]:
    yield fine("First", "is well")
    raise RuntimeError("what nobody thought of")


def test_what_needs_a_broken_layer_is_not_looked_at_and_all_else_is() -> None:
    found = examine(
        (
            Layer("ground", broken),
            Layer("middle", sound, needs=("ground",)),
            Layer("top", sound, needs=("middle",)),
            Layer("beside", sound),
        )
    )
    assert [(each.layer, each.name, each.grade, each.text) for each in found] == [
        ("ground", "First", Grade.FINE, "is well"),
        ("ground", "Second", Grade.BROKEN, "is away"),
        ("middle", "Middle", Grade.NOT_LOOKED_AT, "needs the ground"),
        ("top", "Top", Grade.NOT_LOOKED_AT, "needs the middle"),
        ("beside", "Sound", Grade.FINE, "is well"),
    ]


def test_an_error_that_nobody_thought_of_is_a_finding_too() -> None:
    first, failed, other = examine((Layer("one", failing), Layer("two", sound)))
    assert (first.grade, other.grade) == (Grade.FINE, Grade.FINE)
    assert (failed.id, failed.text) == (
        traps.CHECK_FAILED.id,
        "RuntimeError: what nobody thought of",
    )


def test_a_layer_that_never_answers_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()

    def hang() -> Iterator[Finding]:
        never.wait()
        yield from ()

    monkeypatch.setattr(layers, "LAYER_SECONDS", 0.05)
    try:
        (found,) = examine((Layer("slow", hang),))
    finally:
        never.set()
    assert found.id == traps.CHECK_TOOK_TOO_LONG.id


def test_a_layer_comes_after_what_it_needs() -> None:
    names = [layer.name for layer in LAYERS]
    for layer in LAYERS:
        assert all(names.index(need) < names.index(layer.name) for need in layer.needs)
