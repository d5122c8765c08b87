"""The kinds of value that a mesh file holds: names, durations, sizes, addresses. Each refuses with the mend.

Types are strict: text is never taken for a number nor the reverse, so what is in force is what was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from weirflow import addresses
from weirflow.config import units

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
HOST_PATTERN = r"^(\*|\*?[A-Za-z0-9._-]+|[A-Za-z0-9._-]+\*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
PREFIX_PATTERN = r"^/[!-\"$->@-~]*$"


class Section(BaseModel):
    """A mapping of the file. Unknown keys are errors; the docstring under a key is its description everywhere."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_all_defaults(cls, value: Any) -> Any:
        # `guard:` with every line under it commented out is an empty section, not a mistake.
        return {} if value is None else value


def refuse(message: str, mend: str = "") -> PydanticCustomError:
    """An error that `check` passes on word for word."""
    return PydanticCustomError("weirflow", "{message}", {"message": message, "mend": mend})


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN, value):
        why = "it becomes an Envoy cluster or route, a runtime key and a metric label"
        if "~" in value:
            raise refuse("may not hold '~'", f"Weirflow adds ~adaptive itself; {why}")
        raise refuse(
            "is not a name",
            f"use letters, digits, '.', '_' and '-', at most 128, with a letter or digit at both ends: {why}",
        )
    return value


def _matching(pattern: str, message: str, mend: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) > 1024 or not re.fullmatch(pattern, value):
            raise refuse(message, mend)
        return value

    return check


def _address(value: str) -> str:
    _parsed(addresses.split, value)
    return value


def _ip(value: str) -> str:
    if not addresses.is_ip(value):
        raise refuse("is not an IP address", "Envoy and Weirflow bind addresses, as in 127.0.0.1 or 0.0.0.0")
    return value


@dataclass(frozen=True, slots=True)
class Duration:
    """Metadata of a float of seconds that is written as text with a unit, from `low` to `high`."""

    low: str = "1ms"
    high: str = "365d"

    def parse(self, value: Any) -> float:
        """Seconds; refuses what has no unit or is out of range."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise refuse("a duration needs a unit", f"write '{value:g}s' for seconds or '{value:g}ms'")
        if not isinstance(value, str):
            raise refuse("must be a duration", "write a number with a unit, as in 250ms, 5s, 1m or 1h")
        seconds = float(_parsed(units.parse_duration, value))
        if not units.parse_duration(self.low) <= seconds <= units.parse_duration(self.high):
            raise refuse(f"must be from {self.low} to {self.high}")
        return seconds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by `parse`, serialise as text again."""
        text = core_schema.plain_serializer_function_ser_schema(
            units.format_duration, return_schema=core_schema.str_schema()
        )
        return core_schema.no_info_plain_validator_function(self.parse, serialization=text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Text. JSON Schema cannot compare durations, so the range is a comment."""
        return {
            "type": "string",
            "pattern": units.DURATION_PATTERN,
            "$comment": f"from {self.low} to {self.high}",
            "examples": ["250ms", "5s", "1m"],
        }


def _parsed(parse: Callable[[str], Any], value: str) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        message, _, mend = str(error).partition("; ")
        raise refuse(message, mend) from None


def _size(value: Any) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise refuse("a size needs a unit", f"write '{value:g}MiB' or '{value:g}GiB'")
    if not isinstance(value, str):
        raise refuse("must be a size", "write a number with a unit, as in 512MiB or 10GiB")
    return int(_parsed(units.parse_size, value))


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Address = Annotated[str, AfterValidator(_address)]
Ip = Annotated[str, AfterValidator(_ip)]
Port = Annotated[int, Field(ge=0, le=65535)]
Percent = Annotated[float, Field(ge=0, le=100)]
HostPattern = Annotated[
    str,
    AfterValidator(
        _matching(
            HOST_PATTERN, "is not a host", "as in Envoy: shop.example, *.example, shop.* or *, with or without :port"
        )
    ),
    WithJsonSchema({"type": "string", "pattern": HOST_PATTERN}),
]
PathPrefix = Annotated[
    str,
    AfterValidator(
        _matching(PREFIX_PATTERN, "is not a path prefix", "it begins with '/' and has no '?', '#' or space")
    ),
    WithJsonSchema({"type": "string", "pattern": PREFIX_PATTERN}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(units.format_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": units.SIZE_PATTERN, "examples": ["512MiB", "10GiB"]}),
]
