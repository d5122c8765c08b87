"""A model of one's own by its name, `module:factory`: imported, made, and set among ours (`brain.own`).

A factory without arguments returns a model with river's verbs (`learn_one`, `predict_one`) or scikit-learn's (`fit`
or `partial_fit`, and `predict`). At each tick it foretells for each endpoint the mean latency, seconds, of the
attempts that end in the next second, and then it is taught those that had five attempts or more. Of the features, in
this order, `found` is the requests open there, and the others are figures of the tick before. A regressor with `fit`
alone is fitted over its last 2000 rows after every 300. The factory is called anew whenever a model has to learn from
the start.

* `weirflow models compare RECORDING --model mine:make` scores it on a recording, and so does
  `weirflow.scored.score(seen.recording, weirflow.own.roster({"mine": make}))`.
* `adaptive.models.own: {mine: "mine:make"}` in the mesh file makes it known to a brain that runs, and
  `adaptive.models.challenger: mine` lets it learn in the shadow. It takes over when it is surely better, or by
  `weirflow models promote mine`; `--auto` undoes that.
* Where it decides, an endpoint of which it expects twice what the queueing model expects is taken to bear half as much,
  within four times either way. All else (failures, hangs, lanes, the guard) stays as it is.
* One that raises, has nothing to say for five minutes, or takes more than a fifth of a tick five times in a row is
  dropped with a note, and the tick goes on. One that never returns holds up the tick: then the lease ends, and the
  static rules serve. It is in no checkpoint: after a restart it learns anew.

Importing runs the module: name only what you would run. A replay has the models that are named to it, and a what-if
runs ours alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain.champion import ROSTER
from brain.own import OwnLearners
from models.own import VERBS, Own
from weirflow.config.problems import shown

if TYPE_CHECKING:
    from brain.champion import Model, Roster
    from brain.settings import Settings
    from dataplane.contract import Topology
    from models.own import Timed


SLOW_SHARE = 0.2
"""Of a tick, that a model may take."""
SLOW_TICKS = 5
"""In a row, before a slow one is dropped: a batch model may be slow whenever it is fitted."""


class OwnError(ValueError):
    """No model comes of that name: which, why, and the mend."""


class Stopwatch:
    """How long each model works, by a clock: who is slow again and again holds up the ticks of all."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent_s: dict[str, float] = {}
        self._slow: dict[str, int] = {}  # ticks in a row

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Around what a model does."""
        began = self._now()
        try:
            yield
        finally:
            self._spent_s[name] = self._spent_s.get(name, 0.0) + self._now() - began

    def ticked(self, tick_s: float) -> dict[str, str]:
        """Close a tick. Who was slow in the last `SLOW_TICKS` by now, with the words that tell it."""
        out = {}
        for name, spent_s in self._spent_s.items():
            slow = spent_s > SLOW_SHARE * tick_s
            self._slow[name] = self._slow.get(name, 0) + 1 if slow else 0
            if self._slow[name] == SLOW_TICKS:
                out[name] = f"it took {1000 * spent_s:.0f} ms of a tick of {1000 * tick_s:.0f} ms, {SLOW_TICKS} times"
        self._spent_s.clear()
        return out


def roster(named: Mapping[str, str | Callable[[], Any]], stopwatch: Stopwatch | None = None) -> Roster:
    """Models to put beside ours, by name, from `module:factory` or the factory itself. Each is made once, as a trial.

    OwnError when one cannot be imported or made, has not the verbs, or is named like one of ours.
    """
    out = {}
    for name, given in named.items():
        if name in ROSTER:
            raise OwnError(f"{name!r} is a model of Weirflow's: call yours otherwise")
        if "/" in name:
            raise OwnError(f"{name!r} is no name for a model: leave '/' out")
        factory = _found(given) if isinstance(given, str) else given
        try:
            Own(factory(), ())
        except Exception as error:  # somebody else's code
            raise OwnError(f"model {name!r}: {given} made none: {error}") from error
        out[name] = partial(_seated, factory, nullcontext if stopwatch is None else partial(stopwatch.timed, name))
    return out


def named(words: list[str]) -> dict[str, str]:
    """`NAME=module:factory`, or `module:factory` under the factory's name, as a command line has them."""
    out: dict[str, str] = {}
    for word in words:
        name, equals, place = word.rpartition("=")
        name = name if equals else place.rpartition(":")[2]
        if name in out:
            raise OwnError(f"two models are called {name!r}: write NAME=module:factory")
        out[name] = place
    return out


def _seated(factory: Callable[[], Any], timed: Timed, topology: Topology, settings: Settings) -> Model:
    return OwnLearners(topology, settings, factory(), timed)


def _found(place: str) -> Callable[[], Any]:
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise OwnError(f"{shown(place)} names no model: write module:factory, as in mine:make_model")
    here = str(Path.cwd())
    if here not in sys.path:  # where a command is run from, as `python -m` has it
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise whatever it likes
        raise OwnError(f"{shown(place)}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise OwnError(f"{shown(place)} is no factory: it must be callable and return a model with {VERBS}")
    made: Callable[[], Any] = found
    return made
