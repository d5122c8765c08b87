"""The split can lose one endpoint: what one is lost costs until it is seen, the scan keeps short."""

from __future__ import annotations

import numpy as np
import pytest

from brain.settings import Cost, Mode, Settings
from weirflow.lab.draw import draw
from weirflow.lab.files import load
from weirflow.lab.simulate import simulate


def p99_s(name: str, policy: str, seed: int, phase: str = "fault", price_s: float | None = None) -> float:
    """p99 of a phase; a failed request counts as the timeout."""
    scenario = load(name)
    fleet, trace = draw(scenario, np.random.default_rng((seed,)), 2)
    cost = Cost() if price_s is None else Cost(overhang_price_s=price_s)
    settings = Settings(mode=Mode.ADAPTIVE, share_percent=99.0, cost=cost)
    more = {"settings": settings} if policy == "weirflow" else {}
    fate = simulate(scenario, policy, fleet, trace, np.random.default_rng((seed, 1)), nodes=2, **more).fate
    felt = np.where(fate.ok, fate.latency_s, scenario.timeout_s)
    of = next(p for p in scenario.phases if p.name == phase)
    return float(np.quantile(felt[(trace.at_s >= of.start_s) & (trace.at_s < of.end_s)], 0.99))


@pytest.mark.parametrize("seed", [41, 42])
def test_the_loss_of_one_of_the_two_strongest_costs_little_more_than_under_a_full_scan(seed: int) -> None:
    full_scan = p99_s("lose-the-strongest", "full_scan", seed)
    assert p99_s("lose-the-strongest", "weirflow", seed) <= 1.2 * full_scan
    assert p99_s("lose-the-strongest", "weirflow", seed, price_s=0.0) > 2 * full_scan  # what the price is for


def test_the_only_strong_one_is_not_given_all_that_it_could_bear() -> None:
    full_scan = p99_s("lose-the-only-strong", "full_scan", 41)
    assert p99_s("lose-the-only-strong", "weirflow", 41) <= 2 * full_scan
    assert p99_s("lose-the-only-strong", "weirflow", 41, price_s=0.0) > 10 * full_scan
