"""Data checked against the JSON Schema that a service published, before it becomes a message.

This happens on the event loop, so it must not take long, whatever the schema and the data are.
Nothing is fetched; patterns and `uniqueItems` are not checked, nor is what takes too many steps.
Nothing is lost by that: the service checks its data with its own model anyway. A client only
learns later that they are wrong.
"""

import functools
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend
from referencing import Registry

from gateway_app.http.problem import Problem

logger = logging.getLogger(__name__)

#: Errors told at a time; more would help nobody.
MOST_ERRORS: Final = 20
#: Of the text of one error, which may show all of the data.
MOST_CHARACTERS: Final = 500
#: Keywords looked at in one check: a fraction of a second. Branches of branches can be billions.
MOST_STEPS: Final = 10_000
#: So many members of a list or an object are about as much work as one keyword.
_MEMBERS_A_STEP: Final = 16
#: Schemas nested deeper than this are described nowhere.
MOST_LEVELS: Final = 100
#: Not checked: a regular expression may take for ever, and pairs of items are too many.
_UNCHECKED: Final = frozenset(
    {"pattern", "patternProperties", "uniqueItems", "unevaluatedProperties", "unevaluatedItems"}
)
#: Numbers are shorter.
_LONGEST_NUMBER: Final = 40
_BOOLEANS: Final = {"true": True, "false": False}

Keyword = Callable[[Any, Any, Any, Any], Any]

_steps_left: ContextVar[int] = ContextVar("_steps_left", default=MOST_STEPS)


class _TooManySteps(Exception):
    """The check would take too long."""


def _counted(name: str, keyword: Keyword) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        left = _steps_left.get() - 1 - (_size(value) + _size(instance)) // _MEMBERS_A_STEP
        if left < 0:
            raise _TooManySteps(f"more than {MOST_STEPS} steps")
        _steps_left.set(left)
        if name == "additionalProperties" and "patternProperties" in schema:
            return ()  # which are additional, only the patterns can tell
        return keyword(validator, value, instance, schema)

    return check


def _skipped(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> Any:
    return ()


_Validator: Final[Any] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        name: _skipped if name in _UNCHECKED else _counted(name, keyword)
        for name, keyword in Draft202012Validator.VALIDATORS.items()
    },
)


class Schema:
    """The JSON Schema of a message type's data.

    Args:
        text: the schema as JSON.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._is_logged = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The schema itself."""
        return dict(json.loads(self._text))

    @functools.cached_property
    def is_deep(self) -> bool:
        """Whether it is nested too deeply to be shown to anybody."""
        return len(list(_levels(self.document))) > MOST_LEVELS

    @functools.cached_property
    def _validator(self) -> Any:
        """Checks data; None: nothing can be checked, which has been logged."""
        try:
            return _validator_of(self.document)
        except Exception as exc:
            self._log(exc)
            return None

    def _log(self, error: Exception) -> None:
        """Log once why not everything is checked."""
        if self._is_logged:
            return
        self._is_logged = True
        # The service checks its data as well; it must not be cut off by a schema of its own.
        text = error.message if isinstance(error, SchemaError) else str(error)
        logger.warning(
            "data are not checked here by the schema %.100s: %s: %.300s",
            self._text,
            type(error).__name__,
            text,
        )

    def typed(self, texts: Mapping[str, Any]) -> dict[str, Any]:
        """Return values from path and query as the schema wants them: text "7" as integer 7.

        What cannot be turned stays text, for `check` to refuse.
        """
        properties = self.properties
        return {name: _typed(value, properties.get(name)) for name, value in texts.items()}

    @property
    def properties(self) -> Mapping[str, Any]:
        """The schemas of the properties, by name; one may be true or false."""
        properties = self.document.get("properties")
        return properties if isinstance(properties, Mapping) else {}

    def check(self, data: Mapping[str, Any]) -> None:
        """Make sure that data is what the schema says, as far as that is checked here.

        Raises:
            Problem: 422, with ``errors``: where, and what is wrong.
        """
        if self._validator is None:
            return
        token = _steps_left.set(MOST_STEPS)
        try:
            errors = list(_errors(self._validator, data))
        except Exception as exc:
            # References that lead nowhere, data too deep or too large: the service will say.
            self._log(exc)
            return
        finally:
            _steps_left.reset(token)
        if errors:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "the data is not what the service takes",
                code="invalid",
                errors=errors,
            )


def _validator_of(document: Mapping[str, Any]) -> Any:
    """Return what checks data by a schema.

    Raises:
        SchemaError: it is none, or none that can be checked here.
    """
    Draft202012Validator.check_schema(document)
    root = {key: value for key, value in document.items() if key != "$schema"}
    if _names_a_dialect(root):
        # By another dialect what is left out here would be checked after all.
        raise SchemaError("a part of it names a dialect of its own")
    # An empty registry knows nowhere to fetch from.
    return _Validator(root, registry=Registry())


def _errors(validator: Any, data: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    found = zip(validator.iter_errors(data), range(MOST_ERRORS), strict=False)
    for error, _ in found:
        yield {
            "pointer": "".join(f"/{_escaped(str(part))}" for part in error.absolute_path),
            "detail": error.message[:MOST_CHARACTERS],
        }


def _escaped(part: str) -> str:
    """Return a part of a JSON pointer (RFC 6901 section 3)."""
    return part.replace("~", "~0").replace("/", "~1")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _levels(document: Any) -> Iterator[list[Any]]:
    """Yield the lists and objects in a document, level by level."""
    level = [document]
    while level:
        yield level
        inner = (
            each.values() if isinstance(each, dict) else each for each in level if _size(each)
        )
        level = [child for children in inner for child in children if _size(child)]


def _names_a_dialect(document: Mapping[str, Any]) -> bool:
    # A property may be called so; the schema of that is no text.
    return any(
        isinstance(each, dict) and isinstance(each.get("$schema"), str)
        for level in _levels(document)
        for each in level
    )


def _typed(value: Any, wanted: Any) -> Any:
    if not isinstance(wanted, Mapping):
        return value
    choices = wanted.get("anyOf")
    kinds = _kinds(wanted).union(*map(_kinds, choices if isinstance(choices, list) else ()))
    if isinstance(value, list):
        return [_typed(each, wanted.get("items")) for each in value]
    if "array" in kinds:
        return [_typed(value, wanted.get("items"))]
    if "string" in kinds:
        return value
    if "boolean" in kinds and value in _BOOLEANS:
        return _BOOLEANS[value]
    if {"integer", "number"} & kinds and len(value) <= _LONGEST_NUMBER:
        return _number(value)
    return value


def _kinds(wanted: Any) -> set[str]:
    kinds = wanted.get("type") if isinstance(wanted, Mapping) else None
    if isinstance(kinds, str):
        return {kinds}
    return {each for each in kinds if isinstance(each, str)} if isinstance(kinds, list) else set()


def _number(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    is_number = type(value) in (int, float) and math.isfinite(value)
    return value if is_number else text
