"""Does the file make sense as a whole? Names that are not there, names given twice, ports that clash, routes nobody
reaches.

References and repeats are looked for in the plain data, so that they are told beside a wrong type elsewhere in the
same pass. What needs the values themselves (ports, routes, shares) is checked on the entries that are sound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path as FilePath
from typing import Any

from brain.settings import OURS
from weirflow.config.fields import NAME_PATTERN
from weirflow.config.model import Document
from weirflow.config.overlaps import overlaps
from weirflow.config.problems import MOST_PROBLEMS, ConfigError, Path, Problem, mend_of, ordered, shown
from weirflow.config.source import Source, parse, read
from weirflow.config.structure import structure


@dataclass(frozen=True, slots=True)
class Checked:
    """A mesh file without an error in it, and what may not have been meant."""

    file: FilePath
    source: Source
    document: Document
    warnings: tuple[Problem, ...]


def check(file: FilePath) -> Checked:
    """Read and check a file. ConfigError with every mistake in it."""
    return check_text(read(file), file)


def check_text(text: str, file: FilePath) -> Checked:
    """Check text as if it were in that file."""
    source = parse(text, str(file))
    document, found = structure(source, Document)
    found += source.problems
    if isinstance(source.data, dict):
        for looking in (_repeats(source), _clusters(source), _references(source), overlaps(source)):
            found += islice(looking, 2 * MOST_PROBLEMS)
    found = ordered(found)
    if document is None or any(p.severity == "error" for p in found):
        raise ConfigError(found)
    return Checked(file, source, document, tuple(found))


def _names(source: Source, key: str) -> dict[str, int]:
    """Name to position of its first bearer."""
    names: dict[str, int] = {}
    for i, entry in source.entries(key):
        if isinstance(entry.get("name"), str):
            names.setdefault(entry["name"], i)
    return names


def _repeats(source: Source) -> Iterator[Problem]:
    for key in ("nodes", "listeners", "routes", "services"):
        first = _names(source, key)
        for i, entry in source.entries(key):
            name = entry.get("name")
            if isinstance(name, str) and first[name] != i:
                yield _repeat(source, (key, i, "name"), name, (key, first[name], "name"))
    for i, service in source.entries("services"):
        seen: dict[str, Path] = {}
        endpoints = service.get("endpoints")
        for j, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
            address = endpoint.get("address") if isinstance(endpoint, dict) else endpoint
            path: Path = ("services", i, "endpoints", j)
            if isinstance(address, str) and seen.setdefault(address, path) != path:
                yield _repeat(source, path, address, seen[address])


def _clusters(source: Source) -> Iterator[Problem]:
    """A cluster of two services, or one that is called as another service is."""
    first: dict[str, Path] = {name: ("services", i, "name") for name, i in _names(source, "services").items()}
    for i, service in source.entries("services"):
        names = service.get("also_known_as")
        for j, name in enumerate(names if isinstance(names, list) else []):
            path: Path = ("services", i, "also_known_as", j)
            if isinstance(name, str) and first.setdefault(name, path) != path:
                yield _repeat(source, path, name, first[name])


def _repeat(source: Source, path: Path, name: str, first: Path) -> Problem:
    line = source.mark(first)[0]
    return source.problem(path, f"{shown(name)} is given twice, first on line {line}", "keep one, or rename it")


def _references(source: Source) -> Iterator[Problem]:
    """Names that must be some entry's: a node, a listener or a service."""
    nodes, listeners, services = (_names(source, key) for key in ("nodes", "listeners", "services"))
    for i, route in source.entries("routes"):
        yield from _unknown(source, ("routes", i, "service"), route.get("service"), "service", services)
        yield from _unknown_in_list(source, ("routes", i, "listeners"), route.get("listeners"), "listener", listeners)
    for i, node in source.entries("nodes"):
        if node.get("service"):
            yield from _unknown(source, ("nodes", i, "service"), node["service"], "service", services)
    for i, listener in source.entries("listeners"):
        yield from _unknown_in_list(source, ("listeners", i, "nodes"), listener.get("nodes"), "node", nodes)
    adaptive = source.data.get("adaptive")
    overrides = adaptive.get("services") if isinstance(adaptive, dict) else None
    for name in overrides if isinstance(overrides, dict) else {}:
        yield from _unknown(source, ("adaptive", "services", name), name, "service", services, key=True)
    yield from _models(source, adaptive.get("models") if isinstance(adaptive, dict) else None)


def _models(source: Source, section: Any) -> Iterator[Problem]:
    """Models of one's own are not called as ours, and named as `module:factory`; the challenger is one of all."""
    if not isinstance(section, dict):
        return
    own = section.get("own")
    for name, place in own.items() if isinstance(own, dict) else ():
        at: Path = ("adaptive", "models", "own", name)
        if name in OURS:
            yield source.problem(at, f"{shown(name)} is a model of Weirflow's", "call yours otherwise", key=True)
        elif not re.fullmatch(NAME_PATTERN, str(name)):
            yield source.problem(at, f"{shown(name)} is no name", "use letters, digits, '.', '_' and '-'", key=True)
        if isinstance(place, str) and not all(place.partition(":")):
            yield source.problem(at, f"{shown(place)} names no model", "write module:factory, as in mine:make_model")
    known = dict.fromkeys([*OURS, *(own if isinstance(own, dict) else ())], 0)
    yield from _unknown(source, ("adaptive", "models", "challenger"), section.get("challenger"), "model", known)


def _unknown(
    source: Source, path: Path, name: Any, kind: str, known: dict[str, int], *, key: bool = False
) -> Iterator[Problem]:
    if isinstance(name, str) and name not in known:
        yield source.problem(path, f"no {kind} is named {shown(name)}", mend_of(name, known, kind=f"{kind}s"), key=key)


def _unknown_in_list(source: Source, path: Path, names: Any, kind: str, known: dict[str, int]) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, name in enumerate(names if isinstance(names, list) else []):
        yield from _unknown(source, (*path, i), name, kind, known)
        if isinstance(name, str) and name in seen:
            yield source.problem((*path, i), f"{shown(name)} is given twice", "keep one")
        seen.add(str(name))
