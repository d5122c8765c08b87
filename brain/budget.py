"""How much may be retried: a budget that follows what retries achieve.

A retry is work over again. While its endpoint alone was the trouble it is well spent: another answers. When all are
short it makes them shorter still, and where retries are what keeps them short the service does not come back when the
trigger is gone (Huang et al., "Metastable Failures in the Wild", OSDI 2022). One number tells the two apart: of the
retries that ended lately, the share that was answered well. So

    budget = the operator's * (answered + DRAWN) / (ended + DRAWN)

with `DRAWN` retries' worth of belief that all is well: with few retries the budget is the operator's own. So is the
least number of retries at once, which is never below one, so that their success is seen to come back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HALF_LIFE_S = 3.0
DRAWN = 10.0
NEWS = 0.25
"""A budget within this part of the one in force is the same, and one so near the operator's is the operator's."""


@dataclass(frozen=True, slots=True)
class Retries:
    """What one service may retry. `percent` None: the operator's budget serves."""

    answered: float | None  # of those that ended lately, the share; None: too few
    percent: int | None = None  # of what is open
    least: int = 1  # at each node, whatever is open there

    def runtime(self) -> dict[str, int]:
        """As Envoy's circuit breakers have it."""
        if self.percent is None:
            return {}
        return {"retry_budget.budget_percent": self.percent, "retry_budget.min_retry_concurrency": self.least}


@dataclass(slots=True)
class Budget:
    """One service's budget over time."""

    _ended: float = 0.0
    _answered: float = 0.0
    _in_force: float = 1.0  # times the operator's
    _at: float = math.nan

    def told(self, ended: float, answered: float, operators: tuple[float, int] | None, now: float) -> Retries:
        """Take in the retries that ended since the last call, and how many of them were answered well.

        `operators`: the budget in the mesh file, percent and least number; None where no route of the service retries.
        """
        fade = 1.0 if math.isnan(self._at) else 0.5 ** (max(0.0, now - self._at) / HALF_LIFE_S)
        self._ended, self._answered, self._at = fade * self._ended + ended, fade * self._answered + answered, now
        share = self._answered / self._ended if self._ended >= 1.0 else None
        if operators is None:
            return Retries(share)
        wanted = (self._answered + DRAWN) / (self._ended + DRAWN)
        if wanted > 1.0 - NEWS:
            self._in_force = 1.0
        elif abs(wanted - self._in_force) > NEWS * self._in_force:
            self._in_force = wanted
        if self._in_force == 1.0:
            return Retries(share)
        percent, least = operators
        return Retries(share, round(self._in_force * percent), max(1, round(self._in_force * least)))
