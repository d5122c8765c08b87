"""The split by predicted cost: what is cheap fills first, and everyone in use costs the same at the margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.split import FULL, best_split

ANY = st.floats(1e-9, 1e9)
SPEEDS = np.array([0.1, 0.1, 0.2, 0.4])
LANES = 4.0


def split(
    service_s: np.ndarray, load: float, lanes: float = LANES, q: float = 0.99, price: np.ndarray | float = 0.0
) -> np.ndarray:
    """The best split at this load, a part of what all can bear."""
    rate = load * float((lanes / service_s).sum())
    return best_split(service_s, lanes, rate, q, np.broadcast_to(price, service_s.shape).astype(float))


def busy(service_s: np.ndarray, load: float, share: np.ndarray, lanes: float = LANES) -> np.ndarray:
    return share * load * float((lanes / service_s).sum()) * service_s / lanes


def wait_s(service_s: np.ndarray, rho: np.ndarray, lanes: float) -> np.ndarray:
    """Sakasegawa's approximation, as the module's docstring has it."""
    return service_s / lanes * rho ** (np.sqrt(2 * (lanes + 1)) - 1) / (1 - rho)


def cost(service_s: np.ndarray, load: float, share: np.ndarray, lanes: float, q: float) -> float:
    """The mean cost of a request under this split; infinite when somebody has more than it can bear."""
    rho = busy(service_s, load, share, lanes)
    if (rho >= 1).any():
        return np.inf
    return float(share @ (service_s + wait_s(service_s, rho, lanes) / np.log(1 / (1 - q))))


@given(
    st.lists(st.tuples(ANY, ANY), min_size=1, max_size=12),
    st.floats(1.0, 1e9),
    ANY,
    st.floats(0.01, 0.9999),
)
def test_whatever_it_is_asked_the_shares_are_a_split(
    rows: list[tuple[float, float]], lanes: float, load_per_s: float, q: float
) -> None:
    service_s, price_s = np.array(rows).T
    share = best_split(service_s, lanes, load_per_s, q, price_s)
    assert np.isfinite(share).all()
    assert (share >= 0).all()
    assert share.sum() == pytest.approx(1.0)


@given(st.integers(1, 30), ANY, st.floats(1.0, 100.0), st.floats(1e-6, 3.0))
def test_equals_get_equal_shares(n: int, service_s: float, lanes: float, load: float) -> None:
    assert split(np.full(n, service_s), load, lanes) == pytest.approx(np.full(n, 1 / n))


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8), st.floats(1e-3, 2.0), st.floats(1.0, 64.0))
def test_the_faster_never_gets_less_than_the_slower(times: list[float], load: float, lanes: float) -> None:
    service_s = np.sort(np.array(times))
    assert (np.diff(split(service_s, load, lanes)) <= 1e-9).all()


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8, 0.9])
@pytest.mark.parametrize("q", [0.5, 0.99])
def test_the_marginal_cost_is_the_same_wherever_load_goes_and_no_lower_where_none_goes(load: float, q: float) -> None:
    share = split(SPEEDS, load, q=q)
    rate, step, weight = busy(SPEEDS, load, share) * LANES / SPEEDS, 1e-6, 1 / np.log(1 / (1 - q))
    spent = lambda r: r * (SPEEDS + weight * wait_s(SPEEDS, r * SPEEDS / LANES, LANES))  # noqa: E731
    marginal = (spent(rate + step) - spent(rate)) / step
    used = share > 1e-3
    assert used[0]
    assert marginal[used] == pytest.approx(np.full(used.sum(), marginal[0]), rel=0.02)
    assert (marginal[~used] >= 0.98 * marginal[0]).all()


@given(st.lists(st.floats(0.02, 0.5), min_size=2, max_size=6), st.floats(0.05, 0.97), st.floats(1.0, 16.0))
def test_no_other_split_costs_less(times: list[float], load: float, lanes: float) -> None:
    service_s = np.array(times)
    best = cost(service_s, load, split(service_s, load, lanes), lanes, 0.99)
    capacity = (1 / service_s) / (1 / service_s).sum()
    others = [
        capacity,
        np.full(len(times), 1 / len(times)),
        *np.random.default_rng(1).dirichlet(np.ones(len(times)), 5),
    ]
    assert all(best <= cost(service_s, load, other, lanes, 0.99) * (1 + 1e-3) for other in others)


def test_at_low_load_the_fastest_get_nearly_all() -> None:
    share = split(SPEEDS, 0.1)
    assert share[:2] == pytest.approx([0.5, 0.5], abs=0.01)
    assert best_split(SPEEDS, LANES, 1e-9, 0.99, np.zeros(4)).tolist() == [0.5, 0.5, 0.0, 0.0]


def test_towards_saturation_the_split_is_that_of_the_capacities_and_beyond_it_exactly() -> None:
    capacity = np.array([4, 4, 2, 1]) / 11
    away = [np.abs(split(SPEEDS, load) - capacity).max() for load in (0.5, 0.8, 0.9, 0.97)]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.01
    for load in (FULL, 1.0, 50.0):
        assert split(SPEEDS, load) == pytest.approx(capacity)


def test_no_endpoint_is_planned_to_be_fuller_than_full() -> None:
    for load in np.linspace(0.01, 0.979, 40):
        assert busy(SPEEDS, load, split(SPEEDS, load)).max() <= FULL + 1e-6


def test_a_price_moves_load_away_the_more_the_higher_it_is() -> None:
    equal = np.full(3, 0.1)
    share = [split(equal, 0.6, price=np.array([p, 0, 0]))[0] for p in (0.0, 0.001, 0.005, 0.02, 10.0)]
    assert share == sorted(share, reverse=True)
    assert share[0] == pytest.approx(1 / 3)
    assert share[-1] < 0.01


def test_a_price_on_everybody_is_no_reason_to_move() -> None:
    assert split(SPEEDS, 0.6, price=0.5) == pytest.approx(split(SPEEDS, 0.6), abs=1e-3)


def test_a_price_cannot_push_the_others_over_the_edge() -> None:
    share = split(np.full(3, 0.1), 0.9, price=np.array([10.0, 0, 0]))
    assert busy(np.full(3, 0.1), 0.9, share).max() <= FULL + 1e-6


def test_one_that_is_as_good_as_dead_blurs_nothing_for_the_others() -> None:
    alone = split(SPEEDS, 0.6)
    rate = 0.6 * float((LANES / SPEEDS).sum())
    share = best_split(np.append(SPEEDS, 0.1 * np.exp(20.0)), LANES, rate, 0.99, np.zeros(5))
    assert share[4] < 1e-6
    assert share[:4] == pytest.approx(alone, abs=2e-3)


def two_tiers(load: float, price_s: float, safe: tuple[float, float] = (0.45, 0.45)) -> np.ndarray:
    """How busy two fast and two slow endpoints are."""
    service_s, each = np.array([0.1, 0.1, 0.2, 0.2]), np.repeat(safe, 2)
    rate = load * float((LANES / service_s).sum())
    return busy(service_s, load, best_split(service_s, LANES, rate, 0.99, np.zeros(4), each, price_s))


def test_while_others_have_room_no_endpoint_is_planned_beyond_what_its_tier_could_bear_without_one() -> None:
    assert two_tiers(0.4, price_s=0.0)[:2].min() > 0.55
    for load in (0.05, 0.2, 0.35, 0.4, 0.44):
        assert two_tiers(load, price_s=1.0).max() <= 0.45 + 1e-3


def test_where_nobody_has_room_the_price_is_on_all_alike_and_changes_nothing() -> None:
    for load in (0.8, 0.9, 0.95):
        assert two_tiers(load, price_s=0.02) == pytest.approx(two_tiers(load, price_s=0.0), abs=2e-3)


def test_who_is_alone_is_given_nothing_while_the_others_can_do_without_it_and_the_price_is_worth_it() -> None:
    assert two_tiers(0.2, 1.0, (0.0, 0.9))[:2].max() < 1e-3
    assert two_tiers(0.2, 0.02, (0.0, 0.9))[:2].min() > 0.2


def test_the_higher_the_price_the_less_hangs_over() -> None:
    over = [float(np.maximum(two_tiers(0.4, p) - 0.45, 0.0).sum()) for p in (0.0, 0.02, 0.05, 0.09, 0.2, 1.0)]
    assert over == pytest.approx(sorted(over, reverse=True), abs=1e-6)
    assert over[0] > 0.2
    assert over[-1] < 1e-3


@given(
    st.lists(st.tuples(ANY, st.floats(0.0, 1.0)), min_size=1, max_size=12),
    st.floats(1.0, 1e9),
    ANY,
    st.floats(0.0, 1.0),
)
def test_whatever_is_safe_and_whatever_it_costs_the_shares_are_a_split(
    rows: list[tuple[float, float]], lanes: float, load_per_s: float, price_s: float
) -> None:
    service_s, safe = np.array(rows).T
    share = best_split(service_s, lanes, load_per_s, 0.99, np.zeros(len(rows)), safe, price_s)
    assert np.isfinite(share).all()
    assert (share >= 0).all()
    assert share.sum() == pytest.approx(1.0)


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_with_more_load_nobody_is_less_busy(one: float, other: float, strong: float, price_s: float) -> None:
    low, high = sorted((one, other))
    less, more = (two_tiers(load, price_s, (strong, 0.45)) for load in (low, high))
    assert (more >= less - 1e-3).all()


@given(st.lists(st.floats(0.02, 0.5), min_size=2, max_size=6), st.floats(0.05, 0.95), st.floats(0.0, 0.3), st.data())
def test_no_other_split_costs_less_with_the_overhang_in_it(
    times: list[float], load: float, price_s: float, data: st.DataObject
) -> None:
    service_s = np.array(times)
    safe = np.array(data.draw(st.lists(st.floats(0.0, 0.9), min_size=len(times), max_size=len(times))))
    rate = load * float((LANES / service_s).sum())

    def whole(share: np.ndarray) -> float:
        over = np.maximum(busy(service_s, load, share) - safe, 0.0) * LANES / service_s / rate
        return cost(service_s, load, share, LANES, 0.99) + price_s * float(over.sum())

    best = best_split(service_s, LANES, rate, 0.99, np.zeros(len(times)), safe, price_s)
    rng = np.random.default_rng(1)
    others = [split(service_s, load), (1 / service_s) / (1 / service_s).sum(), *rng.dirichlet(np.ones(len(times)), 5)]
    others += [0.95 * best + 0.05 * other for other in others]
    assert all(whole(best) <= whole(other) * (1 + 1e-3) for other in others)
