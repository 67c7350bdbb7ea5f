"""Data checked against the model of a handler, and what others are told of such models.

A model is a class of pydantic's, which is imported by whoever has written one.
"""

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from messaging.errors import ConfigurationError, InvalidData

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

logger = logging.getLogger(__name__)

#: Errors told at a time; more would help nobody.
MOST_ERRORS: Final = 20
#: Characters shown of a value that is wrong.
SHOWN_CHARACTERS: Final = 100


def require_model(schema: Any) -> "type[BaseModel] | None":
    """Return a handler's ``schema`` if it is None or a model.

    Raises:
        ConfigurationError: it is something else.
    """
    if schema is None:
        return None
    from pydantic import BaseModel

    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise ConfigurationError(
            f"on_message: expected a pydantic model class as schema, got {schema!r}"
        )
    return schema


def validated(model: "type[BaseModel]", data: Any) -> "BaseModel":
    """Return the data of a message as a new instance of the model.

    Raises:
        InvalidData: it does not validate; the text has a line for each field that is wrong.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(data)
    except ValidationError as exc:
        error = exc
    try:
        # A strict model takes dates and the like as text, and lists as tuples, from JSON only.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as exc:
        # Half a surrogate pair is text to Python and no JSON to pydantic.
        is_unreadable = exc.errors()[0]["type"] == "json_invalid"
        raise InvalidData(_lines(error if is_unreadable else exc, model)) from exc


def json_schema(model: "type[BaseModel]") -> dict[str, Any] | None:
    """Return the JSON Schema (2020-12) of a model; None, logged, if it has none."""
    from pydantic.errors import PydanticUserError

    try:
        schema = model.model_json_schema()
        json.dumps(schema, allow_nan=False)
    except (PydanticUserError, TypeError, ValueError) as exc:
        # The service checks its data all the same; only others cannot do so before they send it.
        logger.warning("%s has no JSON Schema to publish: %s", model.__qualname__, exc)
        return None
    return schema


def _lines(error: "ValidationError", model: "type[BaseModel]") -> str:
    errors = error.errors(include_url=False, include_context=False)
    is_hidden = bool(model.model_config.get("hide_input_in_errors"))
    lines = [_line(each, is_hidden=is_hidden) for each in errors[:MOST_ERRORS]]
    if len(errors) > MOST_ERRORS:
        lines.append(f"and {len(errors) - MOST_ERRORS} more")
    return "\n".join(lines)


def _line(error: "ErrorDetails", *, is_hidden: bool) -> str:
    where = ".".join(map(str, error["loc"])) or "data"
    line = f"{where}: {' '.join(error['msg'].split())}"
    if is_hidden or error["type"] == "missing":  # what lacks a field is no help
        return line
    shown = f"{error['input']!r}"
    if len(shown) > SHOWN_CHARACTERS:
        shown = f"{shown[:SHOWN_CHARACTERS]}…"
    return f"{line}, got {shown}"
