"""Is it better than doing nothing? The adaptive arm against the holdout, with an interval.

The measure is the felt cost of a request in seconds, a failure charged as several times the usual tail, and the gain is

    1 - (mean cost on the adaptive arm) / (mean cost on the static arm).

Each mean is a ratio, summed cost over requests, and requests of one second share their luck: a burst, a pause, a slow
endpoint. So the unit of evidence is not the request but a block of `BLOCK_S` seconds, with both arms' sums in it. The
logarithm of the ratio of the two means is linear in the four sums to first order (the delta method; Cochran, "Sampling
Techniques", 1977, section 6), so its variance is k' M k, with k the gradient and M the second moments of the blocks,
kept with time decay. What both arms suffer together cancels, because M keeps the products between the arms.

Old blocks fade with half-life `window_s`. The number of blocks that the decayed sum is worth is (sum d)^2 / sum d^2;
with few of them the normal quantile is too small, so Student's is used (by its expansion, Abramowitz and Stegun
26.7.5).

When the whole interval, this one or that of `brain.switchback`, has been below zero for `negative_for_s` the share
steps down and the evidence starts anew, for it was gathered under another share. After `retry_after_s` the next higher
step is tried again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brain.decision import GainView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.decision import SwitchbackView
    from brain.settings import Proof as Settings
    from features.columns import ServiceFeatures

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_S = 5.0
"""Queues remember for a second or two; blocks must be longer than what they share by that memory."""
LEAST_BLOCKS = 6.0
"""Below this many blocks the variance itself is too uncertain to tell an interval."""
Z_95 = 1.959964


class Evidence:
    """Time-decayed block sums of both arms, for every service at once.

    A block is x = (static requests, static cost, adaptive requests, adaptive cost). Arrays have a row per service slot.
    """

    def __init__(self, slots: int, window_s: float) -> None:
        self.window_s = window_s
        self._open = np.zeros((slots, 4))
        self._sums = np.zeros((slots, 4))
        self._moments = np.zeros((slots, 4, 4))
        self._worth = np.zeros((slots, 2))  # sum of d and of d^2 over closed blocks that held requests on both arms
        self._closed_at = -np.inf

    def resize(self, slots: int) -> None:
        """Make room for more services; those there keep their rows."""
        more = slots - len(self._open)
        if more > 0:
            self._open, self._sums, self._worth = (
                np.concatenate([a, np.zeros((more, a.shape[1]))]) for a in (self._open, self._sums, self._worth)
            )
            self._moments = np.concatenate([self._moments, np.zeros((more, 4, 4))])

    def forget(self, service: int) -> None:
        """Start anew for one service."""
        for a in (self._open, self._sums, self._moments, self._worth):
            a[service] = 0.0

    def add(self, services: ServiceFeatures, now: float, aside: Sequence[int] = ()) -> None:
        """Take in what ended since the last tick; close the block when it is old enough.

        `aside`: services for which it is no evidence, for their traffic was not split (`brain.switchback`).
        """
        n = len(self._open)
        counted = np.ones((n, 1))
        counted[list(aside)] = 0.0
        self._open[:, 0::2] += counted * services.tick_count[:n]
        self._open[:, 1::2] += counted * services.tick_cost_s[:n]
        if self._closed_at == -np.inf:
            self._closed_at = now
        if now - self._closed_at < BLOCK_S:
            return
        fade = 0.5 ** ((now - self._closed_at) / self.window_s)
        self._sums = self._sums * fade + self._open
        self._moments = self._moments * fade**2 + self._open[:, :, None] * self._open[:, None, :]
        both = (self._open[:, 0] > 0) & (self._open[:, 2] > 0)
        self._worth = self._worth * (fade, fade**2) + both[:, None]
        self._open[:] = 0.0
        self._closed_at = now

    def gains(self, min_requests: int) -> list[GainView]:
        """The gain of every service slot; all None where either arm has too few requests or blocks."""
        static_n, static_cost, adaptive_n, adaptive_cost = self._sums.T
        with np.errstate(divide="ignore", invalid="ignore"):
            blocks = self._worth[:, 0] ** 2 / self._worth[:, 1]
            gradient = np.stack([1 / static_n, -1 / static_cost, -1 / adaptive_n, 1 / adaptive_cost], axis=1)
            log_ratio = np.log(adaptive_cost / adaptive_n) - np.log(static_cost / static_n)
            # The mean residual is 0 by construction, so second moments are the variance but for one degree of freedom.
            variance = np.einsum("si,sij,sj->s", gradient, self._moments, gradient) * blocks / (blocks - 1)
            reach = student(blocks - 1) * np.sqrt(np.maximum(variance, 0.0))
            value, low, high = (1 - np.exp(log_ratio + r) for r in (0.0, reach, -reach))
        told = (np.minimum(static_n, adaptive_n) >= min_requests) & (blocks >= LEAST_BLOCKS) & np.isfinite(low + high)
        rows = zip(value.tolist(), low.tolist(), high.tolist(), static_n.tolist(), adaptive_n.tolist(), strict=True)
        return [
            GainView(v, lo, hi, n0, n1) if ok else GainView(None, None, None, n0, n1)
            for ok, (v, lo, hi, n0, n1) in zip(told.tolist(), rows, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Plain arrays, a row per service slot. The open block is given up: it is seconds old."""
        return {"sums": self._sums, "moments": self._moments, "worth": self._worth}

    def restore_row(self, service: int, sums: Floats, moments: Floats, worth: Floats, away_s: float) -> None:
        """Take up one service's evidence after some time away. ValueError when the shapes or numbers are not right."""
        if sums.shape != (4,) or moments.shape != (4, 4) or worth.shape != (2,):
            raise ValueError("evidence of a gain has another shape here: four sums, their products and two weights")
        if not (np.isfinite(sums).all() and np.isfinite(moments).all() and np.isfinite(worth).all()):
            raise ValueError("evidence of a gain must be finite numbers")
        fade = 0.5 ** (max(0.0, away_s) / self.window_s)
        self._sums[service], self._moments[service] = sums * fade, moments * fade**2
        self._worth[service] = worth * (fade, fade**2)


def student(freedom: Floats) -> Floats:
    """Two-sided 95 % quantile of Student's t, by its expansion about the normal; within 1 % from 4 degrees up."""
    z, v = Z_95, np.maximum(freedom, 1.0)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    quantile: Floats = z + first / v + second / v**2 + third / v**3
    return quantile


class StepBack:
    """One service's share: which step it stands on, and since when the gain has been below zero."""

    def __init__(self) -> None:
        self.step = 0
        self.since: float | None = None  # of a gain wholly below zero
        self.stepped_at = -np.inf

    def share(self, commanded: float, settings: Settings) -> float:
        """The commanded share, or less by the step stood on."""
        if self.step == 0:
            return commanded
        return min(commanded, self._steps(commanded, settings)[self.step - 1])

    def judge(
        self, gain: GainView, commanded: float, now: float, settings: Settings, system: SwitchbackView | None = None
    ) -> str:
        """Step down or up when it is time; returns why, "" when nothing changed. The caller forgets the evidence.

        A loss by either estimate counts: `gain` by the holdout, `system` by the switchback.
        """
        loss = next((g for g in (gain, system) if g is not None and g.high is not None and g.high < 0), None)
        self.since = (now if self.since is None else self.since) if loss is not None else None
        steps = self._steps(commanded, settings)
        self.step = min(self.step, len(steps))
        lasts_s = 0.0 if self.since is None else now - self.since
        if loss is not None and lasts_s >= settings.negative_for_s and self.step < len(steps):
            name = "gain" if loss is gain else "gain of the whole service"
            why = f"{name} {loss.value:+.1%} ({loss.low:+.1%} to {loss.high:+.1%}) below zero for {lasts_s:.0f} s"
            self._stand(self.step + 1, now)
            return f"{why}: share down to {self.share(commanded, settings):g} %"
        if self.step > 0 and self.since is None and now - self.stepped_at >= settings.retry_after_s:
            self._stand(self.step - 1, now)
            return (
                f"tried again after {settings.retry_after_s:.0f} s: share up to {self.share(commanded, settings):g} %"
            )
        return ""

    def reset(self) -> None:
        """The operator spoke: the commanded share holds again."""
        self.step, self.since, self.stepped_at = 0, None, -np.inf

    def _stand(self, step: int, now: float) -> None:
        self.step, self.since, self.stepped_at = step, None, now

    @staticmethod
    def _steps(commanded: float, settings: Settings) -> list[float]:
        return [s for s in sorted(settings.steps_percent, reverse=True) if s < commanded]
