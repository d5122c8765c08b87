"""What the mesh file says, key by key: how it is tuned, and what reading it again would change.

A list of things that have a name (or an address) is told by that and not by position: a service that is added above
another changes nothing about the other. What is read once, at the start, is told by its name alone: its values may be
meant for nobody who merely looks, as the address of a webhook is, and nothing comes of them before a restart anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from weirflow.config.model import Document
from weirflow.config.problems import key_text

READ_ONCE = ("xds", "admin", "keda", "alerts", "recording", "checkpoint", "adaptive.models.own")
"""What cannot change while it runs."""
TUNED = ("adaptive", "discovery", "logging")
"""Sections of what is tuned rather than described."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key that is otherwise. None: it is not there. `live` False: it takes a restart, and no values are told."""

    key: str
    before: Any
    after: Any
    live: bool = True


@dataclass(frozen=True, slots=True)
class Tuned:
    """One setting as it is in force. `written`: the file says it, else it is the default."""

    key: str
    value: Any
    default: Any
    written: bool
    about: str


def changes(before: Document, after: Document) -> list[Change]:
    """What is otherwise, in the order of the file."""
    old, new = dict(_flat(before.model_dump(mode="json"))), dict(_flat(after.model_dump(mode="json")))
    found: dict[str, Change] = {}
    for key in {**new, **old}:
        if old.get(key) == new.get(key):
            continue
        once = read_once(key)
        found[once or key] = Change(once, None, None, live=False) if once else Change(key, old.get(key), new.get(key))
    return list(found.values())


def read_once(key: str) -> str:
    """The part of it that is read once; "" when it can change at any time."""
    return next((part for part in READ_ONCE if key == part or key.startswith((part + ".", part + "["))), "")


def tuned(document: Document) -> list[Tuned]:
    """Every setting in `TUNED`, with its default."""
    return [row for name in TUNED for row in _tuned(getattr(document, name), name, name in document.model_fields_set)]


def digest(text: str) -> str:
    """Tells one state of the file from another."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            part = key_text((name,))
            yield from _flat(item, f"{key}.{part}".strip(".") if not part.startswith("[") else key + part)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, item in enumerate(value):
            yield from _flat(item, f"{key}[{item.get('name') or item.get('address') or i}]")
    else:
        yield key, value


def _tuned(section: BaseModel, prefix: str, written: bool) -> Iterator[Tuned]:
    values, defaults = section.model_dump(mode="json"), type(section)().model_dump(mode="json")
    for name, value in section:
        key, mine = f"{prefix}.{name}", written and name in section.model_fields_set
        if isinstance(value, BaseModel):
            yield from _tuned(value, key, mine)
        elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
            for service, item in value.items():
                yield from _tuned(item, f"{key}.{service}", mine)
        else:
            about = type(section).model_fields[name].description or ""
            yield Tuned(key, values[name], defaults[name], mine, about)
