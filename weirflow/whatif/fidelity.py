"""How near a world comes to what was recorded: run again under what was in force, it must do what the recording did.

    self_check(world).within(WORST)

The same requests are sent again through a mesh in virtual time, under the recorded rules, with the recorded brain in
the loop where it had the traffic. Chance is another one: which endpoints a pick drew, which of two ties won. So a few
percent are no fault of the world; more than `WORST` says that it is not this mesh, and nothing is to be concluded.

A latency is what the user felt, to the last byte or to giving up, whether the answer was good or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from weirflow.whatif.change import Span
from weirflow.whatif.policies import RECORDED
from weirflow.whatif.world import Seen, World


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far a simulation is off what was recorded. Relative, but for failures: as shares of all. NaN: not seen."""

    p50: float
    p90: float
    p99: float
    failed: float

    def within(self, bars: Fidelity) -> bool:
        """Whether nothing is further off than that. What could not be seen is not held against it."""
        pairs = ((getattr(self, n), getattr(bars, n)) for n in self.__slots__)
        return all(abs(mine) <= bar for mine, bar in pairs if isfinite(mine))


BARS = Fidelity(0.05, 0.1, 0.15, 0.01)
"""What a prediction of another policy is held to (`bench/fidelity.py`)."""
WORST = Fidelity(0.15, 0.2, 0.3, 0.03)
"""What nothing is concluded beyond."""


def compared(recorded: Seen, simulated: Seen) -> Fidelity:
    """How far off."""
    p50, p90, p99 = (getattr(simulated, n) / getattr(recorded, n) - 1.0 for n in ("p50_s", "p90_s", "p99_s"))
    return Fidelity(p50, p90, p99, simulated.failed_share - recorded.failed_share)


def self_check(world: World, *, seed: int = 0) -> Fidelity:
    """Run the world again under what was in force, and compare."""
    from weirflow.whatif.carry import carry  # late: it compiles, and who only compares need not wait

    return compared(world.seen, carry(world, RECORDED, Span(0.0, world.duration_s), seed).seen)
