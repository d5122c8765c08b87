"""JSON lines by a mapping: an object a line, a key for each canonical column (Envoy's `json_format`, and others).

A key with dots leads into an object (`http.path`), unless the object has just that key. Keys that are not mapped are
not looked at. A line that is no object is rejected; what is around it is still read in one go where it can be.

What JSON means here is what Python's own parser says. orjson says the same three times faster of nearly every line, so
it is asked first. What it refuses (NaN, half a surrogate, a number beyond all floats) Python is asked about; and where
a value looks like an integer beyond 64 bits, of which orjson makes a float, its lines are read by Python alone. What is
nested a thousand deep either refuses, a few levels apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson

from weirflow.importing.attempts import Read
from weirflow.importing.lines import Chunk, chunks
from weirflow.importing.opening import Source
from weirflow.importing.rejects import Rejects


class JsonReader:
    """Reads by a mapping of canonical column to key."""

    retries_hidden = True

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {column: (key, tuple(key.split("."))) for column, key in keys.items()}

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`."""
        for chunk in chunks(source.blocks(), rejects):
            numbers: list[int] = []
            columns: dict[str, list[Any]] = {column: [] for column in self._keys}
            for piece in chunk.pieces():
                told, objects = parsed(piece, rejects, ask=orjson.loads)
                found = self._columns(objects)
                if any(map(_rounded, found)):
                    told, objects = parsed(piece, Rejects())
                    found = self._columns(objects)
                numbers += told
                for column, values in zip(columns.values(), found, strict=True):
                    column += values
            if numbers:
                yield Read(numbers, columns)

    def _columns(self, objects: list[dict[str, Any]]) -> list[list[Any]]:
        return [self._column(objects, *way) for way in self._keys.values()]

    @staticmethod
    def _column(objects: list[dict[str, Any]], key: str, way: tuple[str, ...]) -> list[Any]:
        if len(way) == 1:
            try:
                return list(map(itemgetter(key), objects))
            except KeyError:
                return [o.get(key) for o in objects]
        return [_inside(o, key, way) for o in objects]


def _inside(value: Any, key: str, way: tuple[str, ...]) -> Any:
    if key in value:
        return value[key]
    for step in way:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


Loads = Callable[[str], Any]


def parsed(chunk: Chunk, rejects: Rejects, ask: Loads = json.loads) -> tuple[Sequence[int], list[dict[str, Any]]]:
    """The objects of a chunk and the numbers of their lines. `ask`: the parser that is asked before Python's."""
    whole = _in_one(chunk.text, ask)
    if whole is not None:
        rejects.records += len(whole)
        return range(chunk.first, chunk.first + len(whole)), whole
    numbers, objects = [], []
    for number, line in enumerate(chunk.text.split("\n"), chunk.first):
        if not line or line.isspace():
            continue
        rejects.records += 1
        try:
            value = _either(line, ask, _loads)
        except (ValueError, RecursionError) as error:
            rejects.reject(number, "is not JSON", str(error)[:80])
            continue
        if isinstance(value, dict):
            numbers.append(number)
            objects.append(value)
        else:
            rejects.reject(number, "is JSON, and no object")
    return numbers, objects


def _in_one(text: str, ask: Loads) -> list[dict[str, Any]] | None:
    """All lines as one array: half the calls. None when any is not whole by itself."""
    ends = text.count("\n")
    if not text.startswith("{") or text.count("\n{") != ends:
        return None
    try:
        found = _either(f"[{text.replace(chr(10), ',')}]", ask, json.loads)
    except (ValueError, RecursionError):
        return None
    # Two lines that are only together JSON would make fewer objects.
    return found if len(found) == ends + 1 and set(map(type, found)) == {dict} else None


def _either(text: str, first: Loads, last: Loads) -> Any:
    """By the first parser, or if it refuses by the last one, whose errors are told."""
    try:
        return first(text)
    except (ValueError, RecursionError):
        return last(text)


def _loads(line: str) -> Any:
    return json.loads(line, parse_int=_integer)


def _integer(text: str) -> int | float:
    """A number of thousands of digits is none; Python would refuse it with an error of its own."""
    return int(text) if len(text) < 400 else float("inf")


def _rounded(column: list[Any]) -> bool:
    """Whether a float of this column may be an integer beyond 64 bits that was not kept."""
    return float in set(map(type, column)) and any(type(v) is float and abs(v) >= 2.0**63 for v in column)
