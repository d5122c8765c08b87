"""Attempts that are over, as columns: what comes out of the fast mesh's book, which then uses their rows again.

Compiled, for a mesh with a brain takes out a few hundred at a time, ten times a second: NumPy's calls cost more than
what they do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm, Columns, Outcome, column
from dataplane.simulated.compiled import kept
from dataplane.simulated.fleet import Bools, Fate, Floats, Ints

if TYPE_CHECKING:
    from dataplane.simulated.arrays import Book


@dataclass(frozen=True, slots=True, eq=False)
class Tried(Columns):
    """Attempts in the order in which they ended for their proxy, a row each.

    A request that ended without an attempt has a row as well, its `attempt` 0 and its endpoint -1: it was shed, or its
    time was over between two tries. Each request has one row that is its `last`.
    """

    number: Ints = column("i8")  # of the request, from 0 in the order in which they came
    at_s: Floats = column("f8")  # when this attempt began
    duration_s: Floats = column("f8")  # from then, waiting for a connection included
    felt_s: Floats = column("f8")  # from the request's start to this attempt's end
    node: NDArray[np.int32] = column("i4")
    klass: NDArray[np.int32] = column("i4")
    attempt: NDArray[np.int16] = column("i2")  # 1 is the first
    endpoint: NDArray[np.int32] = column("i4")  # -1: it reached none
    status: NDArray[np.int16] = column("i2")  # 0: no answer came in time
    outcome: NDArray[np.int8] = column("i1")  # Outcome, as the proxy logs it
    good: Bools = column("?")  # a good answer; an empty 200 is none
    last: Bools = column("?")  # its request ended with it
    arm: NDArray[np.int8] = column("i1")
    plan: Ints = column("i8")  # version in force when it began
    weight: NDArray[np.int32] = column("i4")
    probability: Floats = column("f8")
    met: NDArray[np.int32] = column(
        "i4"
    )  # attempts that it found at its endpoint, waiting or in work; 0 if sent to none


_OK, _ERROR, _ADAPTIVE = int(Outcome.OK), int(Outcome.ERROR), int(Arm.ADAPTIVE)
_TIMEOUT, _REJECTED, _UNREACHED = int(Outcome.TIMEOUT), int(Outcome.REJECTED), int(Outcome.UNREACHED)


def tried(book: Book, rows: Ints, *, good_body: bool) -> Tried:
    """Rows of the book as columns. `good_body`: an answer without a body is an error to the proxies' log."""
    columns = tuple(np.empty(len(rows), dtype) for dtype in Tried.dtypes().values())
    _read(book.row, rows, good_body, columns)
    return Tried(*columns)


@kept
def _read(book: Any, rows: Ints, good_body: bool, columns: Any) -> None:
    (number, at_s, duration_s, felt_s, node, klass, attempt, endpoint, status) = columns[:9]
    (outcome, good, last, arm, plan, weight, probability, met) = columns[9:]
    for k in range(len(rows)):
        row = book[rows[k]]
        number[k] = row.number
        at_s[k] = row.at_s
        duration_s[k] = row.ended_s - row.at_s
        felt_s[k] = row.ended_s - row.asked_s
        node[k] = row.node
        klass[k] = row.klass
        attempt[k] = row.attempt
        endpoint[k] = row.endpoint
        status[k] = row.status
        good[k] = row.good
        last[k] = row.last
        arm[k] = row.arm
        plan[k] = row.plan
        weight[k] = row.weight
        probability[k] = row.probability
        met[k] = row.met
        if row.refused:
            outcome[k] = _REJECTED
        elif row.status == 0:
            outcome[k] = _TIMEOUT
        elif row.endpoint < 0:
            outcome[k] = _UNREACHED
        elif row.status >= 500 or row.status == 429 or (good_body and not row.good):
            outcome[k] = _ERROR
        else:
            outcome[k] = _OK


def free(book: Book, rows: Ints) -> None:
    """These have been taken out, as all that ended have to be: those that nothing points to any more are free."""
    _free(book.row, book.free, book.clock, rows)


@kept
def _free(book: Any, free: Ints, clocks: Any, rows: Ints) -> None:
    clock = clocks[0]
    for k in range(len(rows)):
        row = book[rows[k]]
        row.taken = True
        if row.held == 0:
            free[clock.free] = rows[k]
            clock.free += 1
    clock.ended = 0


class Fates:
    """What became of so many requests, filled in as they end."""

    def __init__(self, many: int) -> None:
        self.fate = Fate(
            latency_s=np.zeros(many),
            ok=np.zeros(many, np.bool_),
            status=np.zeros(many, np.int16),
            endpoint=np.full(many, -1, np.int32),
            adaptive=np.zeros(many, np.bool_),
        )

    def note(self, book: Book, rows: Ints) -> None:
        """Attempts that have ended."""
        fate = self.fate
        _note(book.row, rows, (fate.latency_s, fate.ok, fate.status, fate.endpoint, fate.adaptive))


@kept
def _note(book: Any, rows: Ints, fate: Any) -> None:
    latency_s, ok, status, endpoint, adaptive = fate
    for k in range(len(rows)):
        row = book[rows[k]]
        if row.last:
            latency_s[row.number] = row.ended_s - row.asked_s
            ok[row.number] = row.good
            status[row.number] = row.status
            endpoint[row.number] = row.endpoint
            adaptive[row.number] = row.arm == _ADAPTIVE
