"""The loop that every replay runs: each recorded call made again to a new brain, in order, at its recorded time.

Telemetry is what it was: a brain that decides otherwise is still told what the recorded decisions brought about. So a
replay says where two brains part, and not what would have come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, Protocol

from brain.settings import Settings
from dataplane.contract import Topology
from weirflow.recording.calls import Call, Failure, to_json
from weirflow.replay.differences import Difference, parted

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


class ReplayError(ValueError):
    """The calls are no run of a brain."""


class Calls(Protocol):
    """What can be replayed: a `Recording`."""

    def calls(self) -> Iterable[Call]:
        """Every call in order, the first one `started`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call, made again. A tick's call is `decided`, or `failed` where the recorded one raised."""

    call: Call
    decision: Any = None  # what the tick came to now; None for what is no tick, or raised
    text: str = ""  # the same as a recording has it
    raised: Exception | None = None  # by the brain, now
    failure: Failure | None = None  # what the recording says that it raised

    @property
    def is_tick(self) -> bool:
        """Whether the brain was to decide."""
        return self.call.verb == "decided" or (self.failure is not None and self.failure.verb == "tick")


def steps(recording: Calls, brain_factory: BrainFactory, *, written: bool = True) -> Iterator[Step]:
    """Make every call to a new brain. What the brain raises is told in the step, and the next call follows, as live.

    `written`: whether a step has its decision as text too, which is a good part of the time.
    RecordingError when the calls cannot be read from the start to the end; ReplayError when they do not begin with
    `started`.
    """
    brain: Any = None
    foretold = False  # whether the call before was looked at together with its failure
    for call, after in pairwise(chain(recording.calls(), [None])):
        if call is None or (brain is None) != (call.verb == "started"):
            raise ReplayError("the calls of a recording begin with one `started`")
        if call.verb == "started":
            brain = brain_factory(call.argument.topology, call.argument.settings)
            yield Step(call)
        elif call.verb == "decided":
            yield _tick(brain, call, None, written)
        elif call.verb == "failed":
            if call.argument.verb == "tick":
                yield _tick(brain, call, call.argument, written)
            elif call.argument.verb in _OF_THE_BRAIN and not foretold:
                yield Step(call, failure=call.argument)
        else:
            failure = _failure_of(call, after)
            yield _tell(brain, call, failure)
            foretold = failure is not None
            continue
        foretold = False
    if brain is None:
        raise ReplayError("the recording holds no calls: none of its parts was closed")


def replay(recording: Calls, brain_factory: BrainFactory) -> Difference | None:
    """Feed every call to a new brain; the first difference, or None when every decision is the same.

    An exception of the brain that was not recorded as one passes through: a bug crashes in a replay. RecordingError
    and ReplayError as in `steps`.
    """
    for step in steps(recording, brain_factory):
        if step.raised is not None and step.failure is None:
            raise step.raised
        found = parted(step)
        if found is not None:
            return found
    return None


def _failure_of(call: Call, after: Call | None) -> Failure | None:
    """What the next call says, if it says that the brain raised on this one."""
    if after is None or after.verb != "failed" or after.argument.verb != call.verb:
        return None
    failure: Failure = after.argument
    return failure


def _tell(brain: Any, call: Call, failure: Failure | None) -> Step:
    try:
        getattr(brain, _METHODS[call.verb])(call.argument, call.now)
    except Exception as error:
        return Step(call, raised=error, failure=failure)
    return Step(call, failure=failure)


def _tick(brain: Any, call: Call, failure: Failure | None, written: bool) -> Step:
    try:
        decision = brain.tick(call.now)
        text = _text(decision) if written else ""
    except Exception as error:
        return Step(call, raised=error, failure=failure)
    return Step(call, decision, text, failure=failure)


def _text(decision: Any) -> str:
    """What a recording would hold: `to_json(decision.to_dict())`.

    What is many goes to JSON as it is: plain data of it first would be most of a replay at 10,000 endpoints.
    """
    many = ("services", "nodes", "alerts", "incidents")
    document = replace(decision, **dict.fromkeys(many, ())).to_dict()
    return to_json(document | {name: getattr(decision, name) for name in many})
