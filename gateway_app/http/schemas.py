"""Data checked against the JSON Schema that a service published, before it becomes a message."""

import functools
import json
import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from gateway_app.http.problem import Problem

logger = logging.getLogger(__name__)

#: Errors told at a time; more would help nobody.
MOST_ERRORS: Final = 20
#: Numbers are shorter.
_LONGEST_NUMBER: Final = 40
_BOOLEANS: Final = {"true": True, "false": False}


class Schema:
    """The JSON Schema of a message type's data.

    Args:
        text: the schema as JSON.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The schema itself."""
        return dict(json.loads(self._text))

    @functools.cached_property
    def _validator(self) -> Draft202012Validator | None:
        try:
            Draft202012Validator.check_schema(self.document)
        except SchemaError as exc:
            # The service checks its data as well; it must not be cut off by a schema of its own.
            logger.warning("a registered schema is none, so nothing is checked: %s", exc.message)
            return None
        return Draft202012Validator(self.document)

    def typed(self, texts: Mapping[str, Any]) -> dict[str, Any]:
        """Return values from path and query as the schema wants them: text "7" as integer 7.

        What cannot be turned stays text, for `check` to refuse.
        """
        properties = self.document.get("properties", {})
        return {name: _typed(value, properties.get(name, {})) for name, value in texts.items()}

    def check(self, data: Mapping[str, Any]) -> None:
        """Make sure that data is what the schema says.

        Raises:
            Problem: 422, with ``errors``: where, and what is wrong.
        """
        if self._validator is None:
            return
        errors = [
            {"pointer": "/" + "/".join(map(str, error.absolute_path)), "detail": error.message}
            for error, _ in zip(
                self._validator.iter_errors(data), range(MOST_ERRORS), strict=False
            )
        ]
        if errors:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "the data is not what the service takes",
                code="invalid",
                errors=errors,
            )


def _typed(value: Any, wanted: Mapping[str, Any]) -> Any:
    kinds = {wanted.get("type"), *(each.get("type") for each in wanted.get("anyOf", ()))}
    if isinstance(value, list):
        items = wanted.get("items", {})
        return [_typed(each, items) for each in value]
    if "array" in kinds:
        return [_typed(value, wanted.get("items", {}))]
    if "string" in kinds:
        return value
    if "boolean" in kinds and value in _BOOLEANS:
        return _BOOLEANS[value]
    if {"integer", "number"} & kinds and len(value) <= _LONGEST_NUMBER:
        return _number(value)
    return value


def _number(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    is_number = type(value) in (int, float) and math.isfinite(value)
    return value if is_number else text
