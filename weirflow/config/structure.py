"""Is each key known, and each value of its kind? pydantic finds what is wrong; this says it in an operator's words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from weirflow.config.problems import MOST_PROBLEMS, Path, Problem, mend_of, shown
from weirflow.config.source import Source

_WORDS_FOR_TRUE_AND_FALSE = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


Model = TypeVar("Model", bound=BaseModel)


def structure(source: Source, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """The data as this model, or None with what is wrong with its keys and values."""
    if not isinstance(source.data, dict):
        message = f"a {source.kind.name} file is a mapping of keys, not {_kind(source.data)}"
        return None, [source.problem((), message, source.kind.begin)]
    try:
        return model.model_validate(source.data), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=True)
        # Not all of them: looking for near names takes long where a hostile file has a hundred thousand.
        return None, [_problem(source, model, detail) for detail in details[: 2 * MOST_PROBLEMS]]


def _problem(source: Source, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    kind, value, limits = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return source.problem(
            path, "unknown key", mend_of(path[-1], _known_keys(model, path[:-1]), kind="known keys"), key=True
        )
    if kind == "missing":
        return source.problem(path, "is missing", f"give it {_a_value_for(path)}", key=True)
    if kind == "weirflow":
        message, mend = limits["message"], limits["mend"]
        return source.problem(path, message if _about_kind(message) else f"{shown(value)} {message}", mend)
    if kind in ("literal_error", "enum"):
        return source.problem(path, f"{shown(value)} is not one of its values", mend_of(value, _choices(model, path)))
    return source.problem(path, *_plain(kind, value, limits, detail["msg"]))


def _about_kind(message: str) -> bool:
    return message.startswith(("a ", "must be a "))


def _plain(kind: str, value: Any, limits: Mapping[str, Any], fallback: str) -> tuple[str, str]:
    """Message and mend for pydantic's own kinds of error."""
    match kind:
        case "string_type":
            scalar = isinstance(value, (int, float)) and not isinstance(value, bool)
            return f"must be text, not {_kind(value)}", f"quote it: '{value}'" if scalar else ""
        case "bool_type":
            word = _WORDS_FOR_TRUE_AND_FALSE.get(str(value).casefold())
            return f"must be true or false, not {shown(value)}", f"write {word}" if word else ""
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number, not {shown(value)}", _unquote(value)
        case "float_type" | "float_parsing":
            return f"must be a number, not {shown(value)}", _unquote(value)
        case "finite_number":
            return "must be a finite number", ""
        case "list_type":
            return f"must be a list, not {_kind(value)}", "write its items as '- ...' lines"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping of keys, not {_kind(value)}", ""
        case "too_short":
            return "must not be empty", "list at least one"
        case "string_too_short":
            return "must not be empty", ""
        case "too_long":
            return f"must have at most {limits.get('max_length')} items", ""
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            bound, words = _BOUNDS[kind]
            return f"{shown(value)} is out of range", f"it must be {words} {limits.get(bound):g}"
        case _:
            return fallback[:1].lower() + fallback[1:], ""


_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def _unquote(value: Any) -> str:
    return "take the quotes off" if isinstance(value, str) and value.strip("+-").replace(".", "", 1).isdigit() else ""


def _kind(value: Any) -> str:
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return "nothing" if value is None else kinds.get(type(value), "something else")


def _a_value_for(path: Path) -> str:
    return {"name": "a name", "service": "a service's name", "endpoints": "at least one address"}.get(
        str(path[-1]), "a value"
    )


def _annotation(model: type[BaseModel], path: Path) -> Any:
    """The type that the model gives to what stands at this path, None when it knows nothing of it."""
    here: Any = model
    for part in path:
        here = _model_or_container(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            if field is None:
                return None
            here = field.annotation
        elif get_origin(here) in (list, dict):
            here = get_args(here)[-1]
        else:
            return None
    return _model_or_container(here)


def _model_or_container(annotation: Any) -> Any:
    """Strip `Annotated[...]` and `... | None`."""
    while get_args(annotation) and get_origin(annotation) not in (list, dict, Literal):
        annotation = next((a for a in get_args(annotation) if a is not type(None)), None)
    return annotation


def _known_keys(model: type[BaseModel], path: Path) -> list[str]:
    here = _annotation(model, path)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _choices(model: type[BaseModel], path: Path) -> list[str]:
    annotation = _annotation(model, path)
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(choice.value) for choice in annotation]
    return []
