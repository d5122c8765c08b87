"""A service that answers within a few milliseconds is calibrated as a slow one is, or it is said why it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.recordings import Lived, in_steps, lived, scenario
from weirflow.lab.scenario import Group, RequestClass
from weirflow.whatif.answer import Asked, answer
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.change import Question
from weirflow.whatif.fidelity import WORST, self_check
from weirflow.whatif.question import Frame


def fast(
    folder: Path, mean_s: float, load: float = 0.7, many: int = 10_000, workers: int = 4, policy: str = "least_request"
) -> Lived:
    """Three endpoints, for as long as so many requests take."""
    lasts_s = many * mean_s / (3 * workers * load)
    works = (RequestClass("all", demand_s=mean_s, variation=0.7),)
    of = scenario(
        Group("good", 3, workers=workers), load=load, classes=works, warmup_s=0.1 * lasts_s, duration_s=0.9 * lasts_s
    )
    return lived(of, folder, policy=policy)


@pytest.mark.parametrize("mean_s", [0.001, 0.005, 0.024])
@pytest.mark.parametrize("load", [0.6, 0.85])
def test_workers_are_found_however_short_the_work_is(tmp_path: Path, mean_s: float, load: float) -> None:
    life = fast(tmp_path, mean_s, load)
    world = calibrate(life.recording)
    assert world.fleet.workers.tolist() == [4] * 3
    demand_s = np.concatenate([c.demand_s for c in world.chunks()]) / world.fleet.speed[:, 0].mean()
    assert demand_s.mean() == pytest.approx(mean_s, rel=5 * 0.7 / np.sqrt(len(life.trace)))
    assert self_check(world).within(WORST)


@pytest.mark.parametrize("mean_s", [0.005, 0.024])
@pytest.mark.parametrize("policy", ["least_request", "full_scan"])
def test_a_log_in_milliseconds_tells_the_workers_of_works_that_are_long_against_one(
    tmp_path: Path, mean_s: float, policy: str
) -> None:
    life = fast(tmp_path / "fine", mean_s, 0.85, policy=policy)
    world = calibrate(in_steps(life.recording, tmp_path / "coarse", 1e-3))
    assert world.fleet.workers.tolist() == [4] * 3
    assert not world.trust.blurred
    assert self_check(world).within(WORST)


@pytest.mark.parametrize("mean_s", [0.001, 0.002])
@pytest.mark.parametrize(("load", "workers"), [(0.6, 4), (0.85, 4), (0.6, 16)])
def test_of_works_that_a_log_cannot_resolve_the_workers_are_unknown_and_nothing_wild_is_simulated(
    tmp_path: Path, mean_s: float, load: float, workers: int
) -> None:
    coarse = in_steps(fast(tmp_path / "fine", mean_s, load, workers=workers).recording, tmp_path / "coarse", 1e-3)
    world = calibrate(coarse)
    assert world.trust.blurred
    assert world.trust.workers_high == np.inf
    assert [n for n in world.notes if "times are told to 1 ms, too coarse for works of" in n]
    assert self_check(world).p50 == pytest.approx(0.0, abs=WORST.p50)


def test_more_load_on_what_a_log_cannot_resolve_is_refused_with_the_log_that_would_tell(tmp_path: Path) -> None:
    coarse = in_steps(fast(tmp_path / "fine", 0.001).recording, tmp_path / "coarse", 1e-3)
    asked = Asked((Question(load=1.5),), (), 1)
    report = answer(coarse, Frame.of(coarse, None), calibrate(coarse), asked)
    doubts = report.answers[0].doubts
    assert [d for d in doubts if "too long to see who waited" in d.why and "%START_TIME(%s.%6f)%" in d.mend]
