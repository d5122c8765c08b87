"""What `weirflow top` is asked to show, and the room that there is for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weirflow.commands.output import UNBOUNDED


class Sort(StrEnum):
    """What endpoints are ordered by, the largest first; what is unknown comes last."""

    WEIGHT = "weight"
    P99 = "p99"
    ERRORS = "errors"
    IN_FLIGHT = "in-flight"


@dataclass(frozen=True, slots=True)
class View:
    """What is asked for, and the room that there is. `height` None: lines without end."""

    service: str | None = None
    sort: Sort = Sort.WEIGHT
    width: int = UNBOUNDED
    height: int | None = None
    first: int = 0  # endpoints scrolled past
    notes: tuple[str, ...] = ()  # above all else
    grey: bool = False  # it is of the past
    unicode: bool = True
    keys: bool = False  # somebody can press one
