"""Data checked against the model of a handler, and what others are told of such models.

A model is a class of pydantic's, which is imported by whoever has written one.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from messaging.errors import ConfigurationError, EncodeError, InvalidData

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
    return _published(model.__qualname__, model.model_json_schema)


def _published(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    from pydantic.errors import PydanticUserError

    try:
        schema = make()
        json.dumps(schema, allow_nan=False)
    except (PydanticUserError, TypeError, ValueError) as exc:
        # The service checks its data all the same; only others cannot do so before they send it.
        logger.warning("%s has no JSON Schema to publish: %s", name, exc)
        return None
    return schema


class DeclaredType:
    """What a service says that the data of a message, or an answer, is.

    Args:
        of: a model of pydantic's, or any other type that pydantic knows: a list of models, a
            ``typing_extensions.TypedDict``.
        where: names the place in the text of an error.

    Raises:
        ConfigurationError: pydantic knows no such type.
    """

    def __init__(self, of: Any, where: str) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError

        self._name = getattr(of, "__qualname__", repr(of))
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(of)
        except PydanticUserError as exc:
            reason = str(exc).split("\n", 1)[0]
            raise ConfigurationError(
                f"{where}: expected a pydantic model or another type that pydantic knows, "
                f"got {of!r:.100}: {reason}"
            ) from exc

    @functools.cached_property
    def schema(self) -> dict[str, Any] | None:
        """Its JSON Schema (2020-12); None, logged, if it has none."""
        return _published(self._name, self._adapter.json_schema)

    def check(self, data: Any, what: str) -> None:
        """Make sure that data is of this type, and has no field that the type does not name.

        Strict, as readers of the JSON Schema are: the text "7" is no number.

        Args:
            data: what is about to be sent.
            what: names it in the text of an error.

        Raises:
            EncodeError: it is something else.
        """
        from pydantic import ValidationError

        try:
            text = json.dumps(data)
        except (TypeError, ValueError):
            return  # the codec says what is wrong, as it does of all data
        try:
            self._adapter.validate_json(
                text, strict=True, extra=None if self._takes_others else "forbid"
            )
        except ValidationError as exc:
            lines = "; ".join(_lines(exc).splitlines())
            raise EncodeError(f"{what} is not what was declared, {self._name}: {lines}") from exc

    @functools.cached_property
    def _takes_others(self) -> bool:
        """Whether a model in it takes fields that it does not name."""
        return any(
            "properties" in each and each.get("additionalProperties") not in (None, False)
            for each in _objects(self.schema)
        )


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


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
