"""Plain values checked against typed models; every complaint in words a reader can act on."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ex_cx.errors import ExCxError, nearest

__all__ = ["Complaint", "Location", "Strict", "check", "shown", "spelled"]

T = TypeVar("T")

Location = tuple[str | int, ...]
"""Keys and list positions from the top of the values down to one of them."""
Complaint = tuple[Location, str]
"""Where in the values, and what is wrong there."""
_TEXTS = "tuple[str, ...]"
"""What pydantic puts into a location where text or a list of texts is wanted."""


class Strict(BaseModel):
    """Base of the models here: frozen, no unknown key, no coercion of one type into another."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def check(kind: type[T], values: object) -> tuple[T | None, list[Complaint]]:
    """`values` as a `kind`, or what is wrong with them.

    Parameters
    ----------
    kind : a `Strict` model; dataclasses inside it are held to the same strictness.
    values : what JSON can hold. Lists become tuples; nothing else changes its type.

    Examples
    --------
    >>> class Point(Strict):
    ...     x: int
    >>> check(Point, {"x": "1"})
    (None, [(('x',), "must be a whole number; found the text '1'.")])
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True), []
    except ValidationError as error:
        found = [_complaint(kind, detail) for detail in error.errors(include_url=False)]
        return None, list(_of_texts(found))
    except ExCxError as error:
        return None, [(_raised_at(kind, values, ()), str(error))]


def _of_texts(complaints: Sequence[Complaint]) -> Iterator[Complaint]:
    """Where text or a list of texts is wanted, one complaint in place of one for each of both."""
    lists = {location[: location.index(_TEXTS)] for location, _ in complaints if _TEXTS in location}
    for location, words in complaints:
        if _TEXTS in location:
            at = location.index(_TEXTS)
            words = words.replace("must be a list;", "must be text or a list of texts;")
            yield (*location[:at], *location[at + 1 :]), words
        elif not (location and location[-1] == "str" and location[:-1] in lists):
            yield location, words


def _raised_at(kind: Any, values: Any, location: Location) -> Location:
    """Where a dataclass inside `values` refuses itself: the deepest place that still does."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for part, child in items:
        if isinstance(child, dict | list) and _refuses(_step(kind, part), child):
            return _raised_at(_step(kind, part), child, (*location, part))
    return location


def _refuses(kind: Any, values: Any) -> bool:
    try:
        TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ExCxError:
        return True
    except ValidationError:
        return False
    return False


_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "`key: value` pairs",
    "model_type": "`key: value` pairs",
    "model_attributes_type": "`key: value` pairs",
    "dataclass_type": "`key: value` pairs",
}


def _complaint(kind: Any, detail: Any) -> Complaint:
    location = tuple(part for part in detail["loc"])
    fault, context = detail["type"], detail.get("ctx", {})
    if fault in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(kind, location[:-1])
        hint = nearest(str(location[-1]), known) or f" Known here: {', '.join(sorted(known))}."
        return location, f"there is no such key.{hint}"
    if fault in ("missing", "missing_argument"):
        return location, "is required."
    if fault in _WANTED:
        return (
            location,
            f"must be {_WANTED[fault]}; found {shown(detail['input'])}.{_quote(detail)}",
        )
    if fault == "literal_error":
        options = [
            option.strip(" '") for option in context["expected"].replace(" or ", ",").split(",")
        ]
        hint = nearest(str(detail["input"]), options)
        return location, f"must be {context['expected']}; found {shown(detail['input'])}.{hint}"
    if fault == "value_error":
        return location, str(context["error"])
    text = detail["msg"].removeprefix("Input should be ")
    return location, f"must be {text}; found {shown(detail['input'])}."


def _quote(detail: Any) -> str:
    is_plain = isinstance(detail["input"], int | float) and detail["type"] == "string_type"
    return " Put it in quotes." if is_plain else ""


def spelled(location: Location) -> str:
    """A location for people: positions count from 1.

    >>> spelled(("roles", "exposures", 0))
    'roles.exposures item 1'
    """
    parts = [f" item {p + 1}" if isinstance(p, int) else f".{p}" for p in location]
    return "".join(parts).lstrip(". ")


def shown(value: object) -> str:
    """A value with its type in plain words, as messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) < 60 else f"the text {value[:57]!r}..."
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, Mapping):
        return "`key: value` pairs"
    return f"a list of {len(value)}" if isinstance(value, Sequence) else f"a {type(value).__name__}"


def _known_keys(kind: Any, location: Location) -> list[str]:
    """Field names of the model or dataclass found by following `location` from `kind`."""
    for part in location:
        kind = _step(kind, part)
    fields = _fields(_plain(kind))
    return [name for name in fields if not name.startswith("_")]


def _step(kind: Any, part: str | int) -> Any:
    kind = _plain(kind)
    fields = _fields(kind)
    if part in fields:
        return fields[str(part)]
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (dict, Mapping):
        return arguments[1]
    return arguments[0] if arguments and isinstance(part, int) else kind


def _plain(kind: Any) -> Any:
    """`kind` without `Annotated` and without the None of an optional."""
    while typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        kept = [a for a in typing.get_args(kind) if a is not type(None)]
        kind = kept[0]
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {}
