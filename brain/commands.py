"""What an operator may tell the brain. Recorded like telemetry, so that a replay hears it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from brain.settings import Mode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Freeze:
    """Hold the present plan and keep renewing it (`on`), or let the brain decide again."""

    on: bool = True


@dataclass(frozen=True, slots=True)
class Rollback:
    """Back to the static rules: every service goes to shadow, and its learned weights to the operator's."""


@dataclass(frozen=True, slots=True)
class SetMode:
    """Change one service's mode, and its share of traffic on the adaptive arm when one is given (0 to 100)."""

    service: str
    mode: Mode
    share_percent: float | None = None


@dataclass(frozen=True, slots=True)
class PromoteModel:
    """Let this model decide, by its name among the brain's. The proof watches it and may take it back.

    None: the one that decides when nobody orders, as if none had been promoted.
    """

    name: str | None


@dataclass(frozen=True, slots=True)
class DropModel:
    """Let a model of an operator's own go: the driver's word on one that takes too long."""

    name: str
    why: str


Command = DropModel | Freeze | Rollback | SetMode | PromoteModel


def by_name(name: str, there: Mapping[str, T]) -> T:
    """What is there under the name of a service. KeyError, with the nearest right name, when nothing is."""
    if name in there:
        return there[name]
    near = get_close_matches(name, there, n=1, cutoff=0.4) or sorted(there)[:1]
    raise KeyError(f"there is no service {name!r}" + "".join(f"; did you mean {n!r}?" for n in near))
