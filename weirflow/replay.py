"""A recording told to a new brain, in virtual time: the same calls must bring the same decisions.

This is how a bug of a night becomes a test, and how a change of the brain shows what it changes. Decisions are compared
as the plain data that was recorded, number by number, with no tolerance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from typing import Any, Protocol

from brain.settings import Settings
from dataplane.contract import Topology
from weirflow.recording.calls import Call, Failure, to_json

MISSING = "(missing)"

_METHODS = {
    "restored": "restore",
    "moved": "moved",
    "configured": "configured",
    "told": "told",
    "heard": "heard",
    "commanded": "command",
    "overran": "overran",
}

_OF_THE_BRAIN = {*_METHODS, "tick"}  # other failures were the driver's, and taught the brain nothing

BrainFactory = Callable[[Topology, Settings], Any]  # makes a `brain.Brain`, or whatever has its verbs


class Calls(Protocol):
    """What can be replayed: a `Recording`."""

    def calls(self) -> Iterable[Call]:
        """Every call in order, the first one `started`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a replay parts from its recording. `path` is within the Decision."""

    now: float
    tick: int | None  # None: the difference is not in a decision but in a failure
    path: str
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        where = "" if self.tick is None else f"tick {self.tick}: "
        return f"{where}{self.path}: recorded {self.recorded!r}, replayed {self.replayed!r}"


def replay(recording: Calls, brain_factory: BrainFactory) -> Difference | None:
    """Feed every call to a new brain; the first difference, or None when every decision is the same.

    An exception of the brain that was not recorded as one passes through: a bug crashes in a replay. RecordingError
    when the calls cannot be read from the start to the end; ValueError when they do not begin with `started`.
    """
    brain: Any = None
    raised = False  # whether the call before did
    for call, after in pairwise(chain(recording.calls(), [None])):
        if call is None or (brain is None) != (call.verb == "started"):
            raise ValueError("the calls of a recording begin with one `started`")
        found, raised_before, raised = None, raised, False
        if call.verb == "started":
            brain = brain_factory(call.argument.topology, call.argument.settings)
        elif call.verb == "decided":
            found = difference(call.argument, json.loads(to_json(brain.tick(call.now).to_dict())))
        elif call.verb == "failed" and call.argument.verb in _OF_THE_BRAIN:
            found = _failed(brain, call, raised_before)
        elif call.verb != "failed":
            raised = _tell(brain, call, expect_error=_told_of(after, call.verb))
        if found is not None:
            path, recorded, replayed = found
            tick = call.argument["tick"] if call.verb == "decided" else None
            return Difference(call.now, tick, path, recorded, replayed)
    if brain is None:
        raise ValueError("the recording holds no calls: none of its parts was closed")
    return None


def difference(recorded: Any, replayed: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ, as (path, recorded, replayed); MISSING for what is not there.

    Numbers are the same when they are equal (80 and 80.0 are) or both NaN; a boolean is no number.
    """
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        for key in [*recorded, *(k for k in replayed if k not in recorded)]:
            place = f"{path}.{key}" if path else key
            found = difference(recorded.get(key, MISSING), replayed.get(key, MISSING), place)
            if found is not None:
                return found
        return None
    if isinstance(recorded, list) and isinstance(replayed, list):
        for i, (a, b) in enumerate(zip_longest(recorded, replayed, fillvalue=MISSING)):
            found = difference(a, b, f"{path}[{i}]")
            if found is not None:
                return found
        return None
    same = recorded == replayed and isinstance(recorded, bool) == isinstance(replayed, bool)
    both_nan = recorded != recorded and replayed != replayed  # NaN alone is unlike itself
    return None if same or both_nan else (path, recorded, replayed)


def _told_of(after: Call | None, verb: str) -> bool:
    """Whether the next call says that the brain raised on this one."""
    return after is not None and after.verb == "failed" and after.argument.verb == verb


def _tell(brain: Any, call: Call, *, expect_error: bool) -> bool:
    """Make one call; whether the brain raised, as the recording says that it did."""
    try:
        getattr(brain, _METHODS[call.verb])(call.argument, call.now)
    except Exception:
        if expect_error:
            return True
        raise
    return False


def _failed(brain: Any, call: Call, raised: bool) -> tuple[str, Any, Any] | None:
    """Compare a recorded failure: of the call before this one, which was made already, or of a tick, made here."""
    failure: Failure = call.argument
    if failure.verb == "tick":
        try:
            brain.tick(call.now)
        except Exception:
            return None
    elif raised:
        return None
    return f"{failure.verb}()", failure.error, "no error"
