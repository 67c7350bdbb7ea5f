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
#: Characters shown of where something is wrong.
SHOWN_CHARACTERS: Final = 100
#: What is said instead of texts of pydantic's that quote the data, or a part of it.
_WITHOUT_VALUES: Final = {
    "bytes_invalid_encoding": "Data should be in a valid encoding",
    "timezone_offset": "Input should have another timezone offset",
    "union_tag_invalid": "Input should have one of the expected tags",
    "uuid_parsing": "Input should be a valid UUID",
}


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
        InvalidData: it does not validate; the text has a line for each field that is wrong, and
            quotes no values: it is shown to people who may not see what messages say. Texts that
            a validator of the model's own raises are passed on as they are.
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
        raise InvalidData(_lines(error if is_unreadable else exc)) from exc


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


def _lines(error: "ValidationError") -> str:
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [_line(each) for each in errors[:MOST_ERRORS]]
    if len(errors) > MOST_ERRORS:
        lines.append(f"and {len(errors) - MOST_ERRORS} more")
    return "\n".join(lines)


def _line(error: "ErrorDetails") -> str:
    where = ".".join(map(str, error["loc"])) or "data"
    if len(where) > SHOWN_CHARACTERS:  # keys of a mapping are fields to pydantic
        where = f"{where[:SHOWN_CHARACTERS]}…"
    what = _WITHOUT_VALUES.get(error["type"]) or " ".join(error["msg"].split())
    return f"{where}: {what}"
