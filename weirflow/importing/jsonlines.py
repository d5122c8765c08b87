"""JSON lines by a mapping: an object a line, a key for each canonical column (Envoy's `json_format`, and others).

A key with dots leads into an object (`http.path`), unless the object has just that key. Keys that are not mapped are
not looked at. A line that is no object is rejected; the rest of its chunk is still read in one go where it can be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

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
            numbers, objects = parsed(chunk, rejects)
            if objects:
                yield Read(numbers, {column: self._column(objects, *way) for column, way in self._keys.items()})

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


def parsed(chunk: Chunk, rejects: Rejects) -> tuple[Sequence[int], list[dict[str, Any]]]:
    """The objects of a chunk and the numbers of their lines."""
    lines = chunk.text.split("\n")
    whole = _in_one(lines)
    if whole is not None:
        rejects.records += len(lines)
        return range(chunk.first, chunk.first + len(lines)), whole
    numbers, objects = [], []
    for number, line in enumerate(lines, chunk.first):
        if not line or line.isspace():
            continue
        rejects.records += 1
        try:
            value = json.loads(line, parse_int=_integer)
        except (ValueError, RecursionError) as error:
            rejects.reject(number, "is not JSON", str(error)[:80])
            continue
        if isinstance(value, dict):
            numbers.append(number)
            objects.append(value)
        else:
            rejects.reject(number, "is JSON, and no object")
    return numbers, objects


def _in_one(lines: list[str]) -> list[dict[str, Any]] | None:
    """All lines as one array: half the calls. None when any is not whole by itself."""
    if not all(line.startswith("{") for line in lines):
        return None
    text = ",".join(lines)
    try:
        found = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        return None
    # Two lines that are only together JSON would make fewer objects.
    return found if len(found) == len(lines) and all(isinstance(o, dict) for o in found) else None


def _integer(text: str) -> int | float:
    """A number of thousands of digits is none; Python would refuse it with an error of its own."""
    return int(text) if len(text) < 400 else float("inf")
