"""Where two JSON values differ, and where a replay parts from its recording."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from weirflow.recording.calls import to_json

if TYPE_CHECKING:
    from weirflow.replay.loop import Step

MISSING = "(missing)"
NO_ERROR = "no error"

_OF_ENDPOINT = re.compile(r"services\[(\d+)\](?:\.endpoints\[(\d+)\])?")
_OF_PLAN = re.compile(r"plan\.services\.(\d+)(?:\.(?:weights|tiers|reasons)\.(\d+))?")

Found = tuple[str, Any, Any]  # path, recorded, replayed


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a replay parts from its recording. `path` is within the Decision."""

    now: float
    tick: int | None  # None: the difference is not in a decision but in a failure
    path: str
    recorded: Any
    replayed: Any
    about: str = ""  # the service, and the endpoint, that the path leads to, by name

    def __str__(self) -> str:
        where = "" if self.tick is None else f"tick {self.tick}: "
        return f"{where}{self.path}: recorded {self.recorded!r}, replayed {self.replayed!r}"


def parted(step: Step, service: str | None = None) -> Difference | None:
    """How a step differs from its recording. `service`: only what is decided of that one; failures count always."""
    call = step.call
    if step.failure is not None:
        if step.raised is not None:
            return None
        return Difference(call.now, None, f"{step.failure.verb}()", step.failure.error, NO_ERROR)
    if step.raised is not None:
        verb = "tick" if call.verb == "decided" else call.verb
        return Difference(call.now, None, f"{verb}()", NO_ERROR, _raised(step.raised))
    if call.verb != "decided" or to_json(call.argument) == step.text:
        return None
    recorded, replayed = call.argument, json.loads(step.text)
    if service is None:
        found = difference(recorded, replayed)
    else:
        found = next(_of_service(recorded, replayed, service), None)
    if found is None:
        return None
    path, one, other = found
    return Difference(call.now, recorded.get("tick"), path, one, other, _about(path, recorded))


def difference(recorded: Any, replayed: Any, path: str = "") -> Found | None:
    """The first place where two JSON values differ, as (path, recorded, replayed); MISSING for what is not there.

    Numbers are the same when they are equal (80 and 80.0 are) or both NaN; a boolean is no number.
    """
    return next(differences(recorded, replayed, path), None)


def differences(recorded: Any, replayed: Any, path: str = "") -> Iterator[Found]:
    """All places where they differ, in order."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        for key in [*recorded, *(k for k in replayed if k not in recorded)]:
            place = f"{path}.{key}" if path else key
            yield from differences(recorded.get(key, MISSING), replayed.get(key, MISSING), place)
        return
    if isinstance(recorded, list) and isinstance(replayed, list):
        for i, (a, b) in enumerate(zip_longest(recorded, replayed, fillvalue=MISSING)):
            yield from differences(a, b, f"{path}[{i}]")
        return
    same = recorded == replayed and isinstance(recorded, bool) == isinstance(replayed, bool)
    both_nan = recorded != recorded and replayed != replayed  # NaN alone is unlike itself
    if not (same or both_nan):
        yield path, recorded, replayed


def _raised(error: Exception) -> str:
    """The error, and the line that raised it: a difference of this kind is a bug to be looked for."""
    frames = extract_tb(error.__traceback__)
    where = f" in {'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno}" if frames else ""
    return f"{error!r}{where}"


def _of_service(recorded: Any, replayed: Any, name: str) -> Iterator[Found]:
    """What differs about one service. A path counts alerts and incidents among those of the service."""
    (i, one), (j, other) = _view(recorded, name), _view(replayed, name)
    yield from differences(one, other, f"services[{j if one == MISSING else i}]")
    before, after = _plan(recorded, one), _plan(replayed, other)
    leased = before is not None and after is not None
    yield from differences(before, after, f"plan.services.{_id(one)}" if leased else "plan")
    for what in ("alerts", "incidents"):
        before, after = ([x for x in d[what] if _labelled(x, name)] for d in (recorded, replayed))
        yield from differences(before, after, what)


def _view(decision: Any, name: str) -> tuple[int, Any]:
    found = ((i, s) for i, s in enumerate(decision["services"]) if s["name"] == name)
    return next(found, (-1, MISSING))


def _id(view: Any) -> Any:
    return view["id"] if isinstance(view, dict) else MISSING


def _plan(decision: Any, view: Any) -> Any:
    """The service's part of a plan; None without a plan, so without a lease."""
    if decision["plan"] is None:
        return None
    return decision["plan"]["services"].get(str(_id(view)), MISSING)


def _labelled(thing: Any, service: str) -> bool:
    return bool(thing["labels"].get("service") == service)


def _about(path: str, decision: Any) -> str:
    """Whom a path leads to, by name; empty when that is nobody."""
    services = decision.get("services", [])
    try:
        if match := _OF_ENDPOINT.match(path):
            service = services[int(match[1])]
            endpoint = service["endpoints"][int(match[2])] if match[2] else None
        elif match := _OF_PLAN.match(path):
            service = next(s for s in services if s["id"] == int(match[1]))
            endpoint = next(e for e in service["endpoints"] if e["id"] == int(match[2])) if match[2] else None
        else:
            return ""
    except (IndexError, StopIteration):
        return ""
    return str(service["name"]) if endpoint is None else f"{service['name']} {endpoint['address']}"
