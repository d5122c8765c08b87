"""Batches that wait are taken in as one: a NumPy call costs the same for three rows and for three hundred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dataplane.contract import Requests
    from models.base import Floats, Ints

MOST_WAITING = 2000
"""Rows: a tick that has to take them in lasts half a millisecond longer."""


class Attempts(NamedTuple):
    """The columns of `Requests` that tallies are made of."""

    duration_s: NDArray[np.float32]
    felt_s: NDArray[np.float32]
    service: NDArray[np.int32]
    endpoint: NDArray[np.int32]
    node: NDArray[np.int32]
    outcome: NDArray[np.int8]
    bytes_in: Ints
    bytes_out: Ints
    attempt: NDArray[np.int16]
    arm: NDArray[np.int8]

    @classmethod
    def of(cls, batch: Requests) -> Self:
        """Those of a batch."""
        return cls(*(getattr(batch, name) for name in cls._fields))

    def take(self, rows: slice) -> Self:
        """Some of them."""
        some: list[Any] = [column[rows] for column in self]
        return type(self)(*some)


def together(parts: Sequence[Sequence[Any]]) -> tuple[list[Any], Ints]:
    """The same columns of several batches as one, and of which batch each row is. Not for no batch at all."""
    of = np.repeat(np.arange(len(parts)), [len(columns[0]) for columns in parts])
    return [np.concatenate(some) if len(parts) > 1 else some[0] for some in zip(*parts, strict=True)], of


class Waiting:
    """Columns of batches that wait to be counted as one, each batch for itself all the same.

    >>> waiting = Waiting()
    >>> waiting.add(np.array([1, 0])), waiting.add(np.array([2]))
    (False, False)
    >>> (kind,), of, many = waiting.take()
    >>> kind, of, many, waiting.take()
    (array([1, 0, 2]), array([0, 0, 1]), 2, None)
    """

    def __init__(self) -> None:
        self._parts: list[Sequence[Any]] = []
        self._rows = 0

    def add(self, *columns: NDArray[Any]) -> bool:
        """Let a batch wait. Whether that is enough: then it is time to `take`."""
        self._parts.append(columns)
        self._rows += len(columns[0])
        return self._rows >= MOST_WAITING

    def take(self) -> tuple[list[Any], Ints, int] | None:
        """The columns, of which batch each row is, and how many batches there are; None when none waits."""
        parts, self._parts, self._rows = self._parts, [], 0
        return (*together(parts), len(parts)) if parts else None


def in_turn(total: Floats, parts: NDArray[Any]) -> Floats:
    """The parts added to the total one after the other, along the first axis: to the bit as when each comes alone.

    >>> in_turn(np.array([1.0, 0.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([5., 6.])
    """
    return np.asarray(np.add.accumulate(np.concatenate([total[None], parts]), axis=0)[-1])
