"""Tags and filters of the operator pages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import template
from django.contrib.messages.storage.base import Message
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from gateway_app.ops import dead_letter_actions, drawing, figures
from gateway_app.ops.figures import NOTHING
from gateway_app.ops.question import Question

register = template.Library()

_STATE_ICONS = {
    "UP": "circle-check",
    "SUSPECT": "triangle-alert",
    "DOWN": "octagon-x",
    "MAINTENANCE": "circle-pause",
    "UNKNOWN": "circle-dashed",
}
#: Of 3 bars.
_BARS = {"HIGH": 3, "NORMAL": 2, "LOW": 1}


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """Return an icon that says nothing to who cannot see it."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>',
        css,
        static("ops/vendor/icons.svg"),
        name,
    )


@register.simple_tag
def state_icon(state: str) -> SafeString:
    """Return the shape of a state in its colour, with its word for who cannot see it."""
    state = str(state)
    return format_html("{}{}", icon(_STATE_ICONS[state], state.lower()), _said(state))


@register.simple_tag
def glyph(priority: str) -> SafeString:
    """Return the shape of a priority."""
    if priority == "CRITICAL":
        return mark_safe(  # nosec B308
            '<svg class="glyph" viewBox="0 0 13 13" aria-hidden="true">'
            '<rect width="13" height="13" rx="3"/><path class="mark" d="M5.6 2.6h1.8v5H5.6zM5.6 '
            '8.8h1.8v1.7H5.6z"/></svg>'
        )
    filled = _BARS.get(priority, 0)
    shown = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="3" height="{}" rx="1"/>',
        (
            ("" if number < filled else "off", number * 5, 8 - number * 4, 5 + number * 4)
            for number in range(3)
        ),
    )
    return format_html('<svg class="glyph" viewBox="0 0 13 13" aria-hidden="true">{}</svg>', shown)


@register.simple_tag
def priority(name: str) -> SafeString:
    """Return a priority: its shape and its word."""
    return format_html('<span class="priority {}">{}{}</span>', name, glyph(name), name)


@register.simple_tag
def spark(values: Sequence[float | None], css: str, label: str, area: bool = False) -> SafeString:
    """Return values as a line; the label says the same in words."""
    drawn = drawing.spark(values)
    parts = [format_html('<path d="{}"/>', drawn.line)]
    if area:
        parts.insert(0, format_html('<path class="area" d="{}"/>', drawn.area))
    if drawn.dot is not None:
        parts.append(format_html('<circle class="dot" cx="{}" cy="{}" r="2"/>', *drawn.dot))
    return format_html(
        '<svg class="spark {}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}" data-testid="sparkline" data-points="{}">{}</svg>',
        css,
        drawing.SPARK_WIDTH,
        drawing.SPARK_HEIGHT,
        label,
        drawn.points,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


@register.simple_tag
def ring(states: Sequence[str]) -> SafeString:
    """Return one arc for each instance."""
    arcs = drawing.ring([str(state) for state in states])
    return format_html(
        '<svg class="ring" viewBox="0 0 20 20" aria-hidden="true">{}</svg>',
        format_html_join("", '<path class="{}" d="{}"/>', arcs),
    )


@register.simple_tag
def bars(counts: Sequence[int], label: str, marks: Sequence[float] = ()) -> SafeString:
    """Return counts as bars, oldest first, with marks between 0, the left end, and 1."""
    drawn = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>',
        (
            ("some" if bar.count else "none", bar.x, bar.y, bar.width, bar.height)
            for bar in drawing.bars(counts)
        ),
    )
    drawn += format_html_join(
        "",
        '<path class="deploy" d="M{} 0V{}"/>',
        ((round(mark * drawing.BARS_WIDTH, 1), drawing.SPARK_HEIGHT) for mark in marks),
    )
    return format_html(
        '<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        drawing.BARS_WIDTH,
        drawing.SPARK_HEIGHT,
        label,
        drawn,
    )


@register.filter
def number(value: int | None) -> str:
    """Return a whole number with its thousands apart; a dash where it is not known."""
    return NOTHING if value is None else f"{value:,}"


@register.filter
def duration(seconds: float | None) -> SafeString:
    """Return a duration, its unit smaller."""
    return _with_unit(*figures.duration(seconds))


@register.filter
def per_second(value: float) -> SafeString:
    """Return a rate, its unit smaller."""
    return _with_unit(*figures.rate(value))


@register.simple_tag
def at(instant: datetime | None, now: datetime) -> SafeString:
    """Return an instant, the whole of it where the pointer rests."""
    if instant is None:
        return mark_safe(NOTHING)  # nosec B308
    return format_html(
        '<time datetime="{0}" title="{0}">{1}</time>',
        instant.isoformat(timespec="milliseconds"),
        figures.instant(instant, now),
    )


@register.simple_tag
def undo_of(message: Message) -> dict[str, str] | None:
    """Return the fields of the form that undoes what a message tells of; None: it has none."""
    return dead_letter_actions.undo_of(message.extra_tags)


@register.simple_tag
def address(asked: Question, **changes: Any) -> str:
    """Return the query string of this page with some parameters changed."""
    return asked.address(**{name: value or None for name, value in changes.items()})


def _with_unit(figure: str, unit: str) -> SafeString:
    if not unit:
        return format_html("{}", figure)
    return format_html('{} <span class="unit">{}</span>', figure, unit)


def _said(text: str) -> SafeString:
    return format_html('<span class="sr">{}</span>', text)
