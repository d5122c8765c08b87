"""Attempts that are over, as columns: what comes out of the fast mesh's book, which then uses their rows again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm, Columns, Outcome, column
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


def tried(book: Book, rows: Ints, *, good_body: bool) -> Tried:
    """Rows of the book as columns. `good_body`: an answer without a body is an error to the proxies' log."""
    row = book.row.take(rows)  # `[rows]` would copy the records field by field: 250 ns a row, and this 10
    return Tried(
        number=row["number"],
        at_s=row["at_s"],
        duration_s=row["ended_s"] - row["at_s"],
        felt_s=row["ended_s"] - row["asked_s"],
        node=row["node"],
        klass=row["klass"],
        attempt=row["attempt"].astype(np.int16),
        endpoint=row["endpoint"],
        status=row["status"],
        outcome=_outcome(row, good_body),
        good=row["good"],
        last=row["last"],
        arm=row["arm"],
        plan=row["plan"],
        weight=row["weight"],
        probability=row["probability"],
        met=row["met"],
    )


def free(book: Book, rows: Ints) -> None:
    """These have been taken out, as all that ended have to be: those that nothing points to any more are free."""
    clock = book.clock[0]
    book.row["taken"][rows] = True
    idle, free = rows[book.row["held"][rows] == 0], int(clock["free"])
    book.free[free : free + len(idle)] = idle
    clock["free"], clock["ended"] = free + len(idle), 0


def _outcome(row: Any, good_body: bool) -> NDArray[np.int8]:
    status = row["status"]
    bad = (status >= 500) | (status == 429) | (good_body & ~row["good"])
    out = np.where(bad, int(Outcome.ERROR), int(Outcome.OK))
    out = np.where(row["endpoint"] < 0, int(Outcome.UNREACHED), out)
    out = np.where(status == 0, int(Outcome.TIMEOUT), out)
    return np.where(row["refused"], int(Outcome.REJECTED), out).astype(np.int8)


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
        """Attempts that have ended. Column by column: a copy of whole rows costs more than all else here."""
        row, fate = book.row, self.fate
        rows = rows[row["last"][rows]]
        number = row["number"][rows]
        fate.latency_s[number] = row["ended_s"][rows] - row["asked_s"][rows]
        fate.ok[number] = row["good"][rows]
        fate.status[number] = row["status"][rows]
        fate.endpoint[number] = row["endpoint"][rows]
        fate.adaptive[number] = row["arm"][rows] == Arm.ADAPTIVE
