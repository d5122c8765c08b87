"""Columns that are kept a row per stream: made empty, grown, handed out and taken up, alike for each part of a model.

Zero throughout is a row that knows nothing, so that a state whose rows were moved about (`models.base.put_rows`) is
a sound one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.base import State, check_state


class Columns:
    """Named arrays with one first axis. A part of a model is made of one, and says what else its state holds."""

    def __init__(self, rows: int, **tails: tuple[int, ...]) -> None:
        self._tails = tails
        self.rows = rows
        for name, tail in tails.items():
            setattr(self, name, np.zeros((rows, *tail), dtype=self.dtype(name)))

    def dtype(self, name: str) -> DTypeLike:
        """Of a column: doubles, but where a part says that less will do."""
        return np.float64

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every column by name, not copied."""
        return {name: getattr(self, name) for name in self._tails}

    def resize(self, rows: int) -> None:
        """Have room for this many rows; none is ever taken away."""
        more = rows - self.rows
        if more <= 0:
            return
        for name, tail in self._tails.items():
            empty = np.zeros((more, *tail), dtype=self.dtype(name))
            setattr(self, name, np.concatenate([getattr(self, name), empty]))
        self.rows = rows

    def state(self, prefix: str) -> State:
        """Copies of the columns, each name behind the prefix."""
        return {prefix + name: array.copy() for name, array in self.arrays().items()}

    def check(self, state: State, prefix: str) -> None:
        """ValueError when a column is missing from the state, or unlike ours."""
        check_state(state, {prefix + name: array for name, array in self.arrays().items()})

    def restore(self, state: State, prefix: str) -> None:
        """Take up columns that were checked."""
        for name, array in self.arrays().items():
            array[...] = state[prefix + name]
