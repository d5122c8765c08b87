"""The operator's rules in the fast mesh: are they those of plain proxies, attempt by attempt; and Envoy's, word for word."""

from __future__ import annotations

from dataclasses import replace

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane.contract import Arm, Outcome, Plan, ServicePlan
from dataplane.simulated.fleet import Fleet, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.rules import NO_LIMIT, RouteRules, Rules
from dataplane.simulated.tried import Tried
from tests.fleets import NEVER, fleet, mesh, trace
from tests.slow_proxies import SlowProxies, rows_of

E = 4


def moody(seed: int, *, sharing: bool = False) -> Fleet:
    """Endpoints whose speed, delay and errors change twice; some of them hang in the end."""
    rng = np.random.default_rng(seed)
    since_s = np.sort(rng.uniform(0.0, 4.0, (E, 3)), axis=1)
    since_s[:, 0] = 0.0
    shape, hang = since_s.shape, np.zeros(since_s.shape, np.bool_)
    hang[:, -1] = rng.random(E) < 0.3
    return fleet(
        *[1.0] * E,
        since_s=since_s,
        speed=rng.choice([0.2, 1.0, 2.0], shape),
        extra_s=rng.choice([0.0, 0.0, 0.3], shape),
        error_share=rng.choice([0.0, 0.3, 1.0], shape),
        after_s=np.full(shape, 0.01),
        hang=hang,
        sharing=np.full(E, sharing),
    )


def of_classes(work: Trace, classes: int, seed: int) -> Trace:
    """The same requests, dealt out to classes."""
    klass = np.random.default_rng(seed).integers(classes, size=len(work))
    return Trace.of(at_s=work.at_s, node=work.node, klass=klass, demand_s=work.demand_s, luck=work.luck)


RULES = st.builds(
    Rules,
    policy=st.sampled_from(["random", "round_robin", "least_request", "full_scan"]),
    routes=st.lists(
        st.builds(
            RouteRules,
            timeout_s=st.sampled_from([0.4, 1.0, 3.0]),
            num_retries=st.integers(0, 4),
            per_try_timeout_s=st.sampled_from([0.1, 0.3, NEVER]),
            priority=st.sampled_from(["default", "critical"]),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    max_connections=st.sampled_from([2, 6, NO_LIMIT]),
    max_pending_requests=st.sampled_from([0, 3, NO_LIMIT]),
    max_requests=st.sampled_from([4, NO_LIMIT]),
    budget_percent=st.sampled_from([0.0, 20.0, 100.0]),
    min_retry_concurrency=st.integers(0, 3),
    critical_max_requests=st.sampled_from([None, 2]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), rules=RULES, sharing=st.booleans())
def test_the_compiled_proxies_are_the_slow_ones_attempt_by_attempt(seed: int, rules: Rules, sharing: bool) -> None:
    if sharing and rules.max_connections < NO_LIMIT:
        # Two that leave at the same moment, for two endpoints, would give up at the same moment: either may be first.
        rules = replace(rules, routes=tuple(replace(r, per_try_timeout_s=NEVER) for r in rules.routes))
    of = moody(seed, sharing=sharing)
    work = of_classes(trace(of, 0.8, 5.0, nodes=2, seed=seed), len(rules.routes), seed)
    fast = mesh(of, [work], nodes=2, rules=rules, rhythm=Rhythm(NEVER, NEVER))
    slow = SlowProxies(fast, work)
    slow.run()
    found, expected = rows_of(fast), slow.rows
    assert [(n, nth, e, status, last) for n, nth, e, _, _, status, last in found] == [
        (n, nth, e, status, last) for n, nth, e, _, _, status, last in expected
    ]
    np.testing.assert_allclose([row[3:5] for row in found], [row[3:5] for row in expected], atol=1e-8)
    if not of.hang.any():
        assert_nothing_is_left(fast)


def assert_nothing_is_left(made: FleetMesh) -> None:
    """All that was counted is counted down, and all rows are free."""
    for name in ("open", "waiting", "retries"):
        assert (made._nodes.breaker[name] == 0).all(), name
    assert (made._nodes.lane["open"] == 0).all()
    assert (made._nodes.pool["busy"] == 0).all()
    assert (made._servers.server["here"] == 0).all()
    assert made._book.clock["free"][0] == len(made._book.row)
    assert made._nodes.breaker["connections"].sum() == made._nodes.pool["connections"].sum()
