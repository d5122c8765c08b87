"""A call to the brain, and what was said in it as JSON.

A run is a list of calls, and so is a recording. What is not columns (topologies, settings, commands, verdicts) goes
through pydantic, which reads back the very dataclasses that were written, with every float exact.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from brain.commands import DropModel, Freeze, PromoteModel, Rollback, SetMode
from brain.settings import Settings
from dataplane.contract import Dropped, InFlight, Presence, Topology, Verdict
from dataplane.mesh import Mesh


class Call(NamedTuple):
    """One thing that happened to the brain. Unpacks as `(now, verb, argument)`.

    verb       argument
    started    Start: how the brain was made
    restored   dict: the checkpoint that it took up
    moved      Topology
    configured Settings
    told       Requests, Felt, InFlight or Dropped
    heard      Verdict or Presence
    commanded  DropModel, Freeze, Rollback, SetMode or PromoteModel
    overran    int: ticks that were skipped
    failed     Failure: the brain raised; the call before this one, or a tick
    decided    dict: the brain ticked, and this was the Decision, as `Decision.to_dict` has it
    """

    now: float
    verb: str
    argument: Any


@dataclass(frozen=True, slots=True)
class Start:
    """How the brain was made."""

    settings: Settings
    topology: Topology


@dataclass(frozen=True, slots=True)
class Failure:
    """The brain raised on this verb (`tick` for a tick), with these words."""

    verb: str
    error: str


@dataclass(frozen=True, slots=True)
class ReportHead:
    """What an InFlight has beside its rows."""

    node_id: int
    interval_s: float


_TYPES: dict[str, Any] = {
    t.__name__: t
    for t in (
        Start,
        Failure,
        Topology,
        Settings,
        Dropped,
        Verdict,
        Presence,
        DropModel,
        Freeze,
        Rollback,
        SetMode,
        PromoteModel,
        Mesh,
    )
} | {"InFlight": ReportHead, "int": int}


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_TYPES[kind])


def plain(value: Any) -> Any:
    """What was said as dicts, lists, strings and numbers; None for what is rows and nothing else."""
    kind = type(value).__name__
    if isinstance(value, InFlight):
        value = ReportHead(value.node_id, value.interval_s)
    return _adapter(kind).dump_python(value, warnings=False) if kind in _TYPES else None


def revive(kind: str, value: Any) -> Any:
    """What `plain` was given. ValueError with the place and the reason for anything else."""
    if kind not in _TYPES:
        raise ValueError(f"nothing is called {kind!r}")
    try:
        # As JSON, for pydantic is then lenient about lists and tuples and strict about the rest.
        return _adapter(kind).validate_json(to_json(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{kind}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def without_addresses(mesh: Mesh | None) -> Mesh | None:
    """The static rules as a recording keeps them: without the hosts and path prefixes that routes match on, and without
    where spans go."""
    if mesh is None:
        return None
    return replace(mesh, routes=tuple(replace(r, hosts=("*",), prefix="/") for r in mesh.routes), tracing=None)


def to_json(value: Any) -> str:
    """Compact JSON. NumPy's numbers become Python's; NaN and infinities are written as Python writes them.

    A dataclass is an object of its fields, as `asdict` has it, without the copies that `asdict` makes.
    """
    return json.dumps(value, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    kind = type(value)
    if is_dataclass(kind):
        return {name: getattr(value, name) for name in _field_names(kind)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{kind.__name__} cannot be written as JSON")


@cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
