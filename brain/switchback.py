"""What is the whole service better by? Blocks of all its traffic under static rules and under adaptive ones, in turn.

The holdout compares two arms that share their endpoints at the same time. What the adaptive arm takes off a slow
endpoint, the static arm is spared as well, so the difference between the arms is what the pick is worth to one request,
and not what the system is worth to all ("interference": Bojinov, Simchi-Levi and Zhao, "Design and Analysis of
Switchback Experiments", Management Science 2023). Here a block of time has one rule for all, but for the holdout's few,
and blocks are compared, both arms together. It costs half of the gain while it runs, so it is opt-in.

Design. Four blocks are a round, in the order ABBA or BAAB, drawn by a hash of the service's name and the round's
number: nobody has to remember it, a replay has the same, and what is periodic does not fall in step with it. Two
neighbours are a pair, and the second pair mirrors the first, so that a linear trend cancels. After a round comes
`rest_s` of the adaptive rules alone.

Washout. A block begins with what the other rule left: requests that the other rule picked are still open, and queues
that it built are still there. Neither says anything of the block's own rule, and both pull the estimate towards zero.
So what ends in the first `washout_s` of a block is left out. It must be longer than nearly every request takes, and
than the queue remembers: with `c` workers, service time `s` and utilisation `u`, that is s / c / (1 - sqrt(u))^2 (the
relaxation time of M/M/1 sped up c times; Cohen, "The Single Server Queue", 1969): 2 s for 4 workers of 20 ms at 90 %.

Estimate. A pair yields one number, the logarithm of the ratio of its two blocks' mean felt cost; the gain is one minus
the exponential of their mean, with Student's interval, old pairs fading. By logarithms one bad block cannot outweigh
all others. A block that was not whole (telemetry lost, frozen, a share that changed) is thrown away with its pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from brain.decision import SwitchbackView
from brain.fading import FadingMean

if TYPE_CHECKING:
    from brain.settings import Switchback as Settings

LEAST_PAIRS = 5.5
"""Below six pairs, which have faded a little, the variance itself is too uncertain to tell an interval."""
LEAST_REQUESTS = 10.0
"""A block with fewer is thrown away: its mean is one request's luck."""
WHOLE = 0.8
"""A block is whole when so much of the time after its washout was measured; the rest is ticks that overlap its ends."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the calendar. Two neighbours are a pair: numbers 2k and 2k + 1."""

    number: int
    static: bool
    began_s: float
    ends_s: float


def block_at(service: str, now: float, settings: Settings) -> Block | None:
    """The block that this time falls in; None in a rest between two rounds."""
    round_s = 4 * settings.block_s + settings.rest_s
    number = int(now // round_s)
    began_s = number * round_s
    place = int((now - began_s) // settings.block_s)
    if place > 3:
        return None
    first = blake2b(f"{service} {number}".encode(), digest_size=1).digest()[0] % 2
    static = bool(first ^ (place in (1, 2)))
    began_s += place * settings.block_s
    return Block(4 * number + place, static, began_s, began_s + settings.block_s)


class Pairs:
    """One service's evidence by pairs of blocks.

    `enter` says under which block the time from now on falls; `add` takes what ended since.
    """

    def __init__(self) -> None:
        self.block: Block | None = None  # in force since the last `enter`; None: nothing is measured
        self._entered_s = 0.0  # when that was
        self._open = np.zeros(3)  # of the open block after its washout: requests, cost, seconds measured
        self._half: tuple[int, bool, float] | None = None  # the pair's first block: pair, static, log mean cost
        self.log_ratio = FadingMean()  # over pairs, adaptive to static

    def aside(self, settings: Settings) -> bool:
        """Is what ended since the last `enter` no evidence for the holdout: all was static, or still the other's."""
        return self.block is not None and (self.block.static or self._washes(settings))

    def add(self, requests: float, cost_s: float, now: float, settings: Settings) -> None:
        """Take in what ended on both arms since the last `enter`, which is what its block's rule did."""
        if self.block is not None and not self._washes(settings):
            self._open += (requests, cost_s, now - self._entered_s)

    def enter(self, block: Block | None, now: float, settings: Settings) -> None:
        """Which block the time from now on belongs to; None when nothing is to be measured."""
        if self.block is not None and block is None and now < self.block.ends_s:
            self.spoil()
        elif self.block is not None and (block is None or block.number != self.block.number):
            self._close(self.block, now, settings)
        self.block, self._entered_s = block, now

    def spoil(self) -> None:
        """Something came between: throw the open pair away."""
        self.block, self._half = None, None
        self._open[:] = 0.0

    def forget(self) -> None:
        """Start anew."""
        self.spoil()
        self.log_ratio.forget()

    def view(self, now: float) -> SwitchbackView:
        """The gain by all pairs so far, and where the calendar stands."""
        rule = "" if self.block is None else "static" if self.block.static else "adaptive"
        ends_in_s = None if self.block is None else max(0.0, self.block.ends_s - now)
        pairs, interval = self.log_ratio.worth, self.log_ratio.interval(LEAST_PAIRS)
        if interval is None:
            return SwitchbackView(pairs=pairs, block=rule, block_ends_in_s=ends_in_s)
        value, low, high = (1 - math.exp(x) for x in (interval.mean, interval.high, interval.low))
        return SwitchbackView(value, low, high, pairs, rule, ends_in_s)

    def _washes(self, settings: Settings) -> bool:
        return self.block is not None and self._entered_s - self.block.began_s < settings.washout_s

    def _close(self, block: Block, now: float, settings: Settings) -> None:
        """The block is over: keep it as half of a pair, or make the pair whole."""
        requests, cost_s, measured_s = self._open.tolist()
        self._open[:] = 0.0
        whole = measured_s >= WHOLE * (settings.block_s - settings.washout_s)
        if not whole or requests < LEAST_REQUESTS or not cost_s > 0:
            self._half = None
            return
        pair, log_mean = block.number // 2, math.log(cost_s) - math.log(requests)
        half, self._half = self._half, (pair, block.static, log_mean)
        if half is None or half[0] != pair or half[1] == block.static:
            return
        self._half = None
        log_ratio = half[2] - log_mean if block.static else log_mean - half[2]
        self.log_ratio.add(log_ratio, now, settings.window_s)
