"""The verbs of a model: river's own, so that a river pipeline fits as it is, and their batched twins.

A prediction is a value, an interval and a count. Not ready is NaN (or None from the one-row verbs) by contract, never a
made-up number. State is a flat dict of plain arrays and numbers, so that it can be saved without pickle. A model is
accepted when `models.checks.check_model` is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
State = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A batch of predictions, a row each; NaN throughout a row that is not ready."""

    value: Floats
    low: Floats  # of a 90 % interval
    high: Floats
    count: Floats  # samples behind it


@runtime_checkable
class Learner(Protocol):
    """One row at a time, as river has it: `x` a dict of features, `y` the truth when it is known."""

    def learn_one(self, x: dict[str, float], y: float) -> Any:
        """Take one labelled row in."""

    def predict_one(self, x: dict[str, float]) -> float | None:
        """Predict one row; None when not ready."""


@runtime_checkable
class Scorer(Protocol):
    """Anomaly scores, one row at a time, as river has it."""

    def score_one(self, x: dict[str, float]) -> float | None:
        """Higher is stranger; None when not ready."""


@runtime_checkable
class Stateful(Protocol):
    """What the checkpoint asks of a model."""

    def state(self) -> State:
        """Plain arrays, numbers and strings, enough to go on as if never stopped."""

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model."""


def check_state(state: Mapping[str, Any], like: Mapping[str, NDArray[Any]], *numbers: str, **made_with: float) -> None:
    """Refuse a state that is not of this model: ValueError when an array or a number is missing or unlike ours.

    `like` gives the shape that each array must have, `numbers` what must be some number, and `made_with` the exact
    value of each parameter.
    """
    for name in numbers:
        if not isinstance(state.get(name), int | float):
            raise ValueError(f"state {name!r} is no number: {state.get(name)!r}")
    for name, value in made_with.items():
        if state.get(name) != value:
            raise ValueError(f"this state was kept with {name} {state.get(name)!r}, here it is {value!r}")
    for name, ours in like.items():
        theirs = np.shape(state[name]) if name in state else None
        if theirs != ours.shape:
            raise ValueError(f"state {name!r} has shape {theirs}, not {ours.shape}")
        if np.asarray(state[name]).dtype.kind not in "biuf":
            raise ValueError(f"state {name!r} does not hold numbers")


def take_rows(state: Mapping[str, Any], rows: Ints) -> State:
    """The state of these rows alone: every array's first axis is rows, all else is the model's own.

    With `put_rows` it carries a state from the integers of one run to those of the next.

    >>> take_rows({"half_life_s": 3.0, "counts": np.array([5, 6, 7])}, np.array([2, 0]))
    {'half_life_s': 3.0, 'counts': array([7, 5])}
    """
    return {name: value[rows] if isinstance(value, np.ndarray) else value for name, value in state.items()}


def put_rows(state: Mapping[str, Any], rows: Ints, slots: int) -> State:
    """A state of `slots` rows that holds row `i` of this one at `rows[i]`, and zeros elsewhere.

    ValueError when an array has another number of rows than `rows`.

    >>> put_rows({"half_life_s": 3.0, "counts": np.array([7, 5])}, np.array([2, 0]), slots=4)
    {'half_life_s': 3.0, 'counts': array([5, 0, 7, 0])}
    """
    out: State = {}
    for name, value in state.items():
        if not isinstance(value, np.ndarray):
            out[name] = value
            continue
        if len(value) != len(rows):
            raise ValueError(f"state {name!r} has {len(value)} rows where {len(rows)} are named")
        out[name] = np.zeros((slots, *value.shape[1:]), dtype=value.dtype)
        out[name][rows] = value
    return out


def known_or(values: Floats, otherwise: float) -> Floats:
    """The values, and that where one is NaN (`np.nan_to_num`, which costs six times this on a handful of rows)."""
    return np.where(np.isnan(values), otherwise, values)
