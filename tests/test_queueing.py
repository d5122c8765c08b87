"""Where queueing theory is exact, the simulated mesh agrees with it, within its own sampling error.

The error of a mean is that of the means of long batches (Law and Kelton, "Simulation modeling and analysis", section
9.5), for neighbours in a queue are alike. Seeds are fixed: a mean that was within `SURE` of its errors stays there.
"""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from dataplane.simulated.fleet import Fleet, Floats, Trace
from dataplane.simulated.fleet_mesh import Rhythm
from dataplane.simulated.rules import RouteRules, Rules
from tests.fleets import NEVER, fleet, mesh

SURE = 4.0
BATCHES = 50
PATIENT = (RouteRules(timeout_s=1e9),)


def poisson(rate: float, demand_s: Floats, seed: int) -> Trace:
    """These demands, coming by chance at that rate."""
    rng = np.random.default_rng(seed)
    many = len(demand_s)
    return Trace.of(
        at_s=np.cumsum(rng.exponential(1 / rate, many)),
        node=np.zeros(many),
        klass=np.zeros(many),
        demand_s=demand_s,
        luck=np.full(many, 0.5),
    )


def stays(of: Fleet, work: Trace, policy: str = "random") -> Floats:
    """How long each request was there, by its place in the trace."""
    rules = Rules(policy=policy, routes=PATIENT)
    return mesh(of, work, rules=rules, rhythm=Rhythm(NEVER, NEVER)).finish().latency_s


def agrees(values: Floats, expected: float, *, within: float) -> None:
    """The mean is what was expected; and known to `within` of it, or that would say nothing."""
    settled = values[len(values) // 10 :]
    means = np.array([b.mean() for b in np.array_split(settled, BATCHES)])
    error = means.std(ddof=1) / np.sqrt(BATCHES)
    assert error < within * expected
    assert abs(means.mean() - expected) < SURE * error


def erlang_c(servers: int, offered: float) -> float:
    """The chance to wait (Erlang 1917; Kleinrock, "Queueing Systems I", section 3.5)."""
    last = offered**servers / factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (4, 0.8), (16, 0.85)])
def test_many_workers_of_one_queue_make_wait_as_erlang_says(servers: int, load: float) -> None:
    """M/M/c: the mean wait, the chance to wait, and the tail of the wait."""
    rate = load * servers
    demand_s = np.random.default_rng(servers).exponential(1.0, 500_000)
    waits_s = stays(fleet(1.0, workers=servers), poisson(rate, demand_s, servers + 1)) - demand_s
    waiting, drains = erlang_c(servers, rate), servers - rate
    agrees(waits_s, waiting / drains, within=0.04)
    agrees((waits_s > 1e-9).astype(float), waiting, within=0.02)
    for t in (0.5 / drains, 2.0 / drains):
        agrees((waits_s > t).astype(float), waiting * np.exp(-drains * t), within=0.08)


LAWS = {
    "constant": lambda rng, many: np.ones(many),
    "exponential": lambda rng, many: rng.exponential(1.0, many),
    "one in ten is long": lambda rng, many: rng.exponential(np.where(rng.random(many) < 0.1, 5.5, 0.5)),
}
"""Of service, all with a mean of 1."""


@pytest.mark.parametrize("law", LAWS)
def test_one_worker_makes_wait_as_pollaczek_and_khinchine_say(law: str) -> None:
    """M/G/1 in order of arrival."""
    load, demand_s = 0.7, LAWS[law](np.random.default_rng(3), 600_000)
    second = {"constant": 1.0, "exponential": 2.0, "one in ten is long": 2 * (0.9 * 0.25 + 0.1 * 30.25)}[law]
    waits_s = stays(fleet(1.0, workers=1), poisson(load, demand_s, 4)) - demand_s
    agrees(waits_s, load * second / (2 * (1 - load)), within=0.04)


@pytest.mark.parametrize("law", LAWS)
def test_a_shared_worker_is_as_long_for_each_law_and_for_a_request_by_its_own_size(law: str) -> None:
    """M/G/1 processor sharing: the mean stay is E[S] / (1 - load), that of a request of size x is x / (1 - load)."""
    load, demand_s = 0.7, LAWS[law](np.random.default_rng(5), 600_000)
    stays_s = stays(fleet(1.0, workers=1, sharing=np.array([True])), poisson(load, demand_s, 6))
    agrees(stays_s, 1.0 / (1.0 - load), within=0.03)
    if law == "constant":
        return
    edges = np.quantile(demand_s, [0.2, 0.4, 0.6, 0.8])
    for group in range(5):
        mine = np.digitize(demand_s, edges) == group
        agrees(stays_s[mine] / demand_s[mine], 1.0 / (1.0 - load), within=0.03)


def test_shared_workers_make_stay_as_many_workers_of_one_queue_when_service_is_exponential() -> None:
    """M/M/c processor sharing: the number there is that of M/M/c, and so, by Little's law, is the mean stay."""
    servers, load = 4, 0.8
    demand_s = np.random.default_rng(7).exponential(1.0, 500_000)
    stays_s = stays(fleet(1.0, workers=servers, sharing=np.array([True])), poisson(load * servers, demand_s, 8))
    agrees(stays_s, 1.0 + erlang_c(servers, load * servers) / (servers * (1 - load)), within=0.02)


def lengths(policy: str, servers: int, load: float, seconds: int = 300) -> Floats:
    """Shares of queues with at least 1, 2, ... there, once a second after 50 s. Shape (seconds, 12)."""
    many = int(1.02 * servers * load * (seconds + 50))
    work = poisson(servers * load, np.random.default_rng(9).exponential(1.0, many), 10)
    of = fleet(*[1.0] * servers, workers=1)
    made = mesh(of, work, rules=Rules(policy=policy, routes=PATIENT), rhythm=Rhythm(NEVER, NEVER))
    out = []
    for t in range(50, 50 + seconds):
        made.run(float(t))
        out.append([(made._servers.server["here"] >= k).mean() for k in range(1, 13)])
    return np.array(out)


def agree(found: Floats, expected: list[float], *, servers: int) -> None:
    """The limit is that of infinitely many; so many are off by about one of them."""
    means = np.array([b.mean(axis=0) for b in np.array_split(found, 10)])[:, : len(expected)]
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(means.mean(axis=0) - expected) < SURE * error + 2.0 / servers).all()


def test_random_picks_leave_queues_as_if_each_were_alone() -> None:
    """Each is an M/M/1: at least k there with load ** k."""
    agree(lengths("random", 1000, 0.7), [0.7**k for k in range(1, 9)], servers=1000)


def test_two_choices_leave_queues_as_mitzenmacher_says() -> None:
    """The supermarket model ("The power of two choices in randomized load balancing", 2001): load ** (2 ** k - 1)."""
    agree(lengths("least_request", 1000, 0.9), [0.9 ** (2**k - 1) for k in range(1, 7)], servers=1000)


def test_a_full_scan_of_more_and_more_leaves_hardly_a_second_one_there() -> None:
    """Join the shortest queue: with many servers and room to spare nobody waits (Halfin and Whitt 1981)."""
    second = [lengths("full_scan", servers, 0.7, 100).mean(axis=0)[1] for servers in (10, 40, 160)]
    assert second[0] > 10 * second[1] > 0.0
    assert second[2] == 0.0
