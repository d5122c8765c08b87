"""Changes that people are told of: how much evidence they take, what is none, and what a restarted level keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.noting import FEWEST, YOUNG_S, Noting
from models.residuals import BIN, FAR, Residuals

BASE = float(np.log(0.05))


class Told:
    """One endpoint of one service, in portions of a quarter of a second."""

    def __init__(self, seed: int = 1) -> None:
        self.noting, self.now, self.base = Noting(1, 1), 0.0, BASE - 0.3  # the mean logarithm
        self._rng = np.random.default_rng(seed)
        self.calm(400)

    def portion(self, logs: list[float]) -> None:
        self.now += 0.25
        every, none = np.zeros(len(logs), dtype=np.int64), np.zeros(1)
        self.noting.learn_many(every, np.array(logs), np.full(1, self.base), none, np.ones(1), every[:1], self.now)

    def attempts(self, portions: int, each: int, times: float) -> int | None:
        """As many attempts that take `times` as long; how many there were when something was noted."""
        for portion in range(portions):
            self.portion((BASE + np.log(times) + self._rng.normal(-0.3, 0.6, each)).tolist())
            if self.noting.take()[0] > 0:
                return (portion + 1) * each
        return None

    def calm(self, portions: int) -> None:
        assert self.attempts(portions, 4, 1.0) is None


def test_a_doubling_is_noted_within_dozens_of_attempts_and_calm_is_not() -> None:
    told = Told()
    told.calm(2000)
    assert (told.attempts(40, 4, 2.0) or 999) <= 80


def test_a_great_change_takes_a_handful() -> None:
    assert (Told().attempts(40, 1, 10.0) or 999) <= 8


def test_a_fifth_slower_is_no_news_however_long() -> None:
    assert Told().attempts(400, 4, 1.2) is None


def test_half_as_slow_again_for_ten_seconds_after_a_deploy_is_rarely_noted() -> None:
    noted = [Told(seed).attempts(30, 4, 1.5) for seed in range(3001, 3081)]
    # 10 when no more evidence was asked of this size than of sixfold, 25 when a doubling was looked for.
    assert sum(n is not None for n in noted) <= 2


def test_four_attempts_that_took_ten_times_as_long_are_no_slowness_yet() -> None:
    told = Told()
    for _ in range(4):
        told.portion([BASE + 2.4])
    assert not told.noting.take()[0]
    assert told.attempts(40, 4, 1.0) is None


def test_a_pause_of_which_a_hundred_attempts_tell_at_once_is_none_either() -> None:
    told = Told()
    told.portion([BASE + 3.0] * 100)
    told.portion([BASE + 3.0] * 100)
    assert not told.noting.take()[0]


def test_what_was_gathered_before_its_level_starts_again_is_kept() -> None:
    anew, kept = Told(), Told()
    whole = anew.attempts(40, 1, 6.0)
    assert whole is not None
    assert kept.attempts(whole - 2, 1, 6.0) is None
    kept.noting.began(0, kept.now)
    kept.base += float(np.log(6.0))
    assert (kept.attempts(8, 1, 6.0) or 999) <= 4


def test_a_level_that_starts_again_by_luck_makes_no_slowness_of_what_follows() -> None:
    told = Told()
    told.noting.began(0, told.now)
    told.base -= 1.8  # a handful of quick answers
    for _ in range(59):
        assert told.attempts(1, 4, 1.0) is None
        told.base += 0.007 * (BASE - 0.3 - told.base)  # it comes back to where it was


def test_a_level_that_follows_takes_nothing_from_what_is_gathered() -> None:
    told, noted = Told(), None
    for _ in range(40):
        noted = noted or told.attempts(1, 4, 2.0)
        told.base += 0.1 * (BASE - 0.3 + np.log(2.0) - told.base)
    assert noted


def test_what_was_noted_is_where_it_stands_at_once_so_that_the_way_back_is_noted_too() -> None:
    told = Told()
    assert told.attempts(40, 4, 3.0)
    told.base += float(np.log(3.0))
    assert told.attempts(40, 4, 3.0) is None, "that is told already"
    told.portion([])
    for _ in range(30):
        told.portion((BASE + told._rng.normal(-0.3, 0.6, 4)).tolist())
        if told.noting.take()[0] < 0:
            return
    raise AssertionError("it was never told to be well")


def test_a_level_that_was_lost_for_a_moment_is_held_against_again() -> None:
    told, known = Told(), BASE - 0.3
    told.base = np.nan
    for _ in range(8):
        told.portion([])
    told.base = known
    assert told.attempts(40, 4, 3.0)


def test_one_whose_level_was_lost_as_it_came_of_age_and_starts_again_is_held_against_nothing_until_it_stands() -> None:
    """The brain failed of it: what is not known has no place in a histogram."""
    told = Told()
    told.noting, begun = Noting(1, 1), told.now
    assert told.attempts(80, 4, 1.0) is None
    told.base = np.nan
    while told.now - begun < YOUNG_S + 1.0:
        told.portion([])
    told.noting.began(0, told.now)
    told.base = BASE - 0.3
    assert told.attempts(100, 4, 1.0) is None
    assert (told.attempts(40, 4, 3.0) or 999) <= 80, "and against its level from then on"


def test_nothing_is_held_against_a_level_that_a_handful_made() -> None:
    noting = Noting(1, 1)
    one = np.zeros(1, dtype=np.int64)
    for portion in range(int(FEWEST) - 1):
        noting.learn_many(
            one, np.array([BASE]), np.full(1, BASE - 2.0), np.zeros(1), np.ones(1), one, portion * 0.25
        )  # fmt: skip
        assert not noting.take()[0]


def test_the_first_seconds_of_a_mesh_which_find_no_queue_are_held_against_nobody() -> None:
    """One of forty was told slow 36 s after a start: its first hundred attempts had been quicker than any after."""
    told = Told()
    told.noting, told.base = Noting(1, 1), BASE - 0.3 - np.log(2.0)
    begun = told.now
    assert told.attempts(40, 4, 0.5) is None, "ten seconds of them"
    while told.now - begun < YOUNG_S:
        told.base += 0.1 * (BASE - 0.3 - told.base)
        assert told.attempts(1, 4, 1.0) is None
    assert told.attempts(400, 4, 1.0) is None
    assert (told.attempts(40, 4, 2.0) or 999) <= 80, "and from then on it is held against what it was"


def test_a_state_from_before_first_attempts_were_timed_is_of_endpoints_that_are_known() -> None:
    told = Told()
    old = told.noting.state()
    del old["first_at"]
    again = restarted(told)
    again.noting.restore(old, told.now, told.now)
    assert (again.attempts(40, 4, 2.0) or 999) <= 80


def test_one_that_is_new_in_an_old_slot_has_no_past() -> None:
    told = Told()
    assert told.attempts(8, 2, 2.0) is None
    told.noting.begin(np.array([0]))
    assert told.attempts(40, 2, 2.0) is None, "it was never quicker"


def test_room_for_more_changes_nothing_of_those_that_are_there() -> None:
    told = Told()
    assert told.attempts(4, 4, 2.0) is None
    told.noting.resize(3, 2)
    every = np.zeros(4, dtype=np.int64)
    for step in range(40):
        logs = np.full(4, told.base + np.log(3.0))
        base = np.array([told.base, np.nan, np.nan])
        told.noting.learn_many(every, logs, base, np.zeros(3), np.ones(3), np.array([0, 1, 1]), told.now + step)
    assert told.noting.take().tolist() == [1, 0, 0]


def restarted(told: Told, away_s: float = 0.0) -> Told:
    """Another one that takes up its state."""
    again, left = Told(seed=9), told.now
    again.noting, again.now, again.base = Noting(1, 1), left + away_s, told.base
    again.noting.restore(told.noting.state(), left, again.now)
    again.noting.residuals.restore(told.noting.residuals.state(), left, again.now)
    return again


def test_a_restarted_one_weighs_each_attempt_as_the_one_that_went_on() -> None:
    went_on = Told()
    went_on.calm(796)  # both reckon their ratios anew with the next portion
    assert went_on.attempts(4, 4, 2.0) is None, "the evidence is half gathered"
    took_up = restarted(went_on)
    rng, one = np.random.default_rng(7), np.zeros(1, dtype=np.int64)
    for _ in range(40):
        logs = (BASE + np.log(2.0) + rng.normal(-0.3, 0.6, 4)).tolist()
        both = (went_on, took_up)
        for told in both:
            told.portion(logs)
        ratios = [t.noting.residuals.gains(one, np.array([0.7]), t.now + 5.0) for t in both]
        assert ratios[0].tolist() == ratios[1].tolist(), "reckoned anew, their histograms say the same"
        kept = [t.noting.state() for t in both]
        assert all(np.array_equal(kept[0][name], kept[1][name], equal_nan=True) for name in kept[0])
        if went_on.noting.take()[0] > 0:
            assert took_up.noting.take()[0] > 0
            return
    raise AssertionError("nothing was noted")


def test_one_that_begins_anew_takes_several_times_as_many_attempts() -> None:
    """What the state is kept for."""
    anew = Told()
    anew.noting = Noting(1, 1)
    assert (anew.attempts(40, 4, 2.0) or 999) >= FEWEST


def test_a_clock_that_is_behind_in_the_next_run_weighs_what_is_new_as_ever() -> None:
    told = Told()
    again = restarted(told, away_s=-5000.0)
    assert (again.attempts(40, 4, 2.0) or 999) <= 80
    young = restarted(told, away_s=-5000.0)
    young.noting.began(0, young.now)
    told.noting.began(0, told.now)
    late = restarted(told, away_s=-5000.0)
    ages = [t.now - t.noting.state()["began_at"][0] for t in (young, late)]
    assert ages == [0.0, 0.0]


def test_a_state_of_other_bins_is_refused_and_changes_nothing() -> None:
    told = Told()
    noting, residuals = told.noting, told.noting.residuals
    good, of = residuals.state(), noting.state()
    for bad in (good | {"bin": 0.2}, good | {"seen": good["seen"][:, 1:]}, good | {"half_life_s": 1.0}, {}):
        with pytest.raises(ValueError, match=r"state"):
            residuals.restore(bad, told.now, told.now)
    for worse in (of | {"sums": of["sums"][:, 1:]}, of | {"stood": np.zeros(2)}, {}):
        with pytest.raises(ValueError, match=r"state"):
            noting.restore(worse, told.now, told.now)
    assert np.array_equal(residuals.state()["seen"], good["seen"])
    assert np.array_equal(noting.state()["stood"], of["stood"])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_whatever_was_seen_no_value_is_impossible(apart: list[float]) -> None:
    residuals, stream = Residuals(1, (7, -7)), np.zeros(len(apart), dtype=np.int64)
    residuals.learn_many(stream, np.array(apart), 0.0)
    gains = residuals.gains(stream, np.array(apart), 10.0)
    assert np.isfinite(gains).all()
    assert np.abs(gains).max() < 15.0


@given(st.floats(0.5, 8.0), st.integers(0, 10**6))
def test_while_nothing_is_shifted_evidence_for_it_is_luck_and_bounded_by_its_exponential(
    shape: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    apart = np.log(rng.gamma(shape, 1.0 / shape, 20_000))
    apart -= apart.mean()
    residuals, stream = Residuals(1, (7, 18)), np.zeros(apart.size, dtype=np.int64)
    residuals.learn_many(stream[::2], apart[::2], 0.0)
    gains = residuals.gains(stream[1::2], apart[1::2], 10.0)
    assert (np.exp(np.minimum(gains, 4.0)).mean(axis=1) < 1.1).all()
    shifted = residuals.gains(stream[1::2], apart[1::2] + 0.7, 20.0)
    assert shifted[0].mean() > 0.1


def test_what_lies_beyond_all_bins_counts_as_the_last() -> None:
    residuals = Residuals(1, (7,))
    one = np.zeros(1, dtype=np.int64)
    far, last = (residuals.gains(one, np.array([x]), 0.0)[0, 0] for x in (1e9, FAR - BIN / 2))
    assert far == last


def test_an_attempt_that_ends_after_its_endpoint_has_left_teaches_nothing() -> None:
    """Envoy tells of it when it ends, whoever is a member by then."""
    noting, gone = Noting(2, 1), np.array([0, -1])
    both, level, none = np.array([0, 1]), np.full(2, BASE), np.zeros(2)
    for second in range(200):
        noting.learn_many(both, np.array([BASE, BASE + 3.0]), level, none, np.ones(2), gone, float(second))
    assert noting.take().tolist() == [0, 0]
