"""What is due when, compiled: a heap of times, equal ones in the order in which they were put there.

An entry is two numbers in two arrays, its time and an integer that holds, from the top, how many were pushed before it,
of whom it is (24 bits: a row of the book, or an endpoint) and what (3 bits). So equal times are told apart by the very
integer that says what they are, and nothing is allocated.
"""

from __future__ import annotations

from math import inf

from dataplane.simulated.arrays import Book
from dataplane.simulated.compiled import inlined

BOTH, ENDS, LEAVES, BEGINS, LATE, WAKES = range(6)
"""An attempt ends for its proxy and leaves its endpoint, does one of these, begins after its back-off, or has waited
too long for a connection; an endpoint that shares its workers looks at what it has."""
WHOM_BITS, WHAT_BITS = 24, 3
MOST = 1 << WHOM_BITS
"""Rows that a book may have, and endpoints."""


@inlined
def push(b: Book, at_s: float, whom: int, what: int) -> None:
    """It is due then, after whatever else is due at that time."""
    clock = b.clock[0]
    i, entry = clock.due, (clock.pushed << (WHOM_BITS + WHAT_BITS)) | (whom << WHAT_BITS) | what
    clock.due += 1
    clock.pushed += 1
    while i > 0:
        up = (i - 1) >> 1
        if b.due_s[up] <= at_s:
            break
        b.due_s[i], b.due[i] = b.due_s[up], b.due[up]
        i = up
    b.due_s[i], b.due[i] = at_s, entry


@inlined
def pop(b: Book) -> int:
    """Take the first out: `whom << WHAT_BITS | what`. There has to be one."""
    clock = b.clock[0]
    first = b.due[0]
    clock.due -= 1
    many = clock.due
    last_s, last, i = b.due_s[many], b.due[many], 0
    while 2 * i + 1 < many:
        c = 2 * i + 1
        if c + 1 < many and (b.due_s[c + 1] < b.due_s[c] or (b.due_s[c + 1] == b.due_s[c] and b.due[c + 1] < b.due[c])):
            c += 1
        if last_s < b.due_s[c] or (last_s == b.due_s[c] and last < b.due[c]):
            break
        b.due_s[i], b.due[i] = b.due_s[c], b.due[c]
        i = c
    b.due_s[i], b.due[i] = last_s, last
    return int(first & ((1 << (WHOM_BITS + WHAT_BITS)) - 1))


@inlined
def first_s(b: Book) -> float:
    """When the first is due; infinity for none."""
    return float(b.due_s[0]) if b.clock[0].due > 0 else inf


@inlined
def taken_row(b: Book) -> int:
    """A free row. There has to be one."""
    clock = b.clock[0]
    clock.free -= 1
    return int(b.free[clock.free])


@inlined
def let_go(b: Book, i: int) -> None:
    """One who held the row does so no more: if nobody does and it was taken out, it is free."""
    row = b.row[i]
    row.held -= 1
    if row.held == 0 and row.taken:
        clock = b.clock[0]
        b.free[clock.free] = i
        clock.free += 1
