"""The split is planned for what traffic swells to: a burst after a lull finds the weak ready to take their part."""

from __future__ import annotations

import numpy as np
import pytest

from brain.brain import Brain
from brain.settings import Mode, Settings
from brain.swells import AHEAD, LEAST_SEEN, Swells
from dataplane.simulated import drive
from dataplane.simulated.fleet import Trace
from dataplane.simulated.fleet_mesh import FleetMesh
from tests.fleets import Floats, fleet
from weirflow.lab.bounds import topology_at


def told(swells: Swells, seconds: list[float] | Floats, begin_s: float = 0.0, step_s: float = 1.0) -> float:
    """What the first service may be asked after such seconds."""
    for k, per_s in enumerate(seconds, start=1):
        swells.told(np.array([per_s, np.nan]), begin_s + k * step_s)
    return swells.most_per_s(0)


def bursts(rng: np.random.Generator, mean: float, deviation: float, seconds: int = 600) -> Floats:
    """Poisson's luck about rates that stray by this part of their mean."""
    return rng.poisson(mean * rng.gamma(deviation**-2, deviation**2, seconds)).astype(float)


@pytest.mark.parametrize("mean", [0.5, 5.0, 50.0, 5000.0])
def test_where_seconds_differ_by_luck_alone_the_split_is_planned_for_the_load_there_is(mean: float) -> None:
    rng = np.random.default_rng(31)
    said = [told(Swells(2), rng.poisson(mean, 300).astype(float)) for _ in range(40)]
    assert sum(most > 0.0 for most in said) <= 2
    assert max(said) < 1.6 * mean + 1.0


@pytest.mark.parametrize("mean", [50.0, 5000.0])
def test_bursts_are_planned_for_by_how_far_they_stray_beyond_luck(mean: float) -> None:
    rng = np.random.default_rng(32)
    said = np.array([told(Swells(2), bursts(rng, mean, 0.4)) for _ in range(20)])
    assert said.mean() == pytest.approx(mean * (1.0 + 0.4 * AHEAD), rel=0.12)


def test_a_burst_that_came_once_is_forgotten_in_minutes() -> None:
    swells = Swells(2)
    after = told(swells, [100.0] * 60 + [300.0] * 2)
    assert after > 140.0
    assert told(swells, [100.0] * 600, begin_s=62.0) == 0.0


def test_seconds_that_nobody_saw_teach_nothing() -> None:
    seen = list(bursts(np.random.default_rng(33), 100.0, 0.4, 60))
    swells = Swells(2)
    before = told(swells, seen)
    assert told(swells, [np.nan] * 30, begin_s=60.0) == before > 0.0
    assert swells.most_per_s(1) == 0.0, "never seen"


def test_nothing_is_said_of_the_first_seconds_nor_of_a_service_that_is_new() -> None:
    swells = Swells(1)
    assert told(swells, [10.0, 300.0] * (int(LEAST_SEEN) // 2 - 1)) == 0.0
    assert swells.most_per_s(7) == 0.0


def test_faster_ticks_tell_of_the_same_second_once() -> None:
    seconds = bursts(np.random.default_rng(34), 100.0, 0.4, 120)
    once, often = Swells(2), Swells(2)
    for k, per_s in enumerate(seconds, start=1):
        once.told(np.array([per_s]), float(k))
        for tick in range(4):
            often.told(np.array([per_s]), k + 0.25 * tick)
    assert often.most_per_s(0) == pytest.approx(once.most_per_s(0))


# A burst after a lull, lived.

SPEEDS = np.exp(0.2 * np.linspace(-1.5, 1.5, 12))
WORKERS, MEAN_S = 2, 0.08
LULL, BURST = 0.35, 0.92
EVERY_S, BURST_S, SECONDS = 12.0, 2.0, 180.0


def in_burst(at_s: Floats) -> np.ndarray:
    return at_s % EVERY_S >= EVERY_S - BURST_S


def asked(seed: int) -> Trace:
    """Seconds of little, and two of nearly all that can be borne, again and again."""
    rng = np.random.default_rng(seed)
    bears = WORKERS * SPEEDS.sum() / MEAN_S
    quanta = np.arange(0.0, SECONDS)
    count = rng.poisson(bears * np.where(in_burst(quanta), BURST, LULL))
    at_s = np.sort(np.repeat(quanta, count) + rng.random(int(count.sum())))
    return Trace.of(
        at_s=at_s,
        node=rng.integers(2, size=len(at_s)),
        klass=np.zeros(len(at_s)),
        demand_s=rng.gamma(2.0, MEAN_S / 2.0, len(at_s)),
        luck=rng.random(len(at_s)),
    )


def burst_ms(seed: int, mode: Mode) -> float:
    """Mean latency of what came in bursts of the second half."""
    of, trace = fleet(*SPEEDS, workers=WORKERS), asked(seed)
    topology = topology_at(of, 0.0, 2)
    mesh = FleetMesh(topology, of, trace, np.random.default_rng((seed, 1)), policy="full_scan")
    brain = Brain(topology, Settings(mode=mode))
    for _ in drive.run(mesh, brain, SECONDS):
        pass
    late = (trace.at_s > SECONDS / 2) & in_burst(trace.at_s)
    return float(mesh.finish().latency_s[late].mean()) * 1e3


def test_a_burst_after_a_lull_costs_little_more_under_learned_weights_than_under_a_full_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = burst_ms(51, Mode.SHADOW)
    assert burst_ms(51, Mode.ADAPTIVE) <= 1.2 * scan
    monkeypatch.setattr(Swells, "most_per_s", lambda *_: 0.0)
    assert burst_ms(51, Mode.ADAPTIVE) > 1.35 * scan  # planned for the load of the lull
