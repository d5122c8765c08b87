"""What a good answer is: a success with too little in it is an error, to the brain and in the recording alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataplane.answers import Answers
from dataplane.contract import Arm, Felt, Method, Outcome, Requests
from dataplane.mesh import EndpointSpec, Mesh, NodeSpec, Registry, RouteSpec, ServiceSpec


def answers(least: int = 100, **by_route: int | None) -> Answers:
    """Of `web` (service 0), with its routes in the order given, and of `other` (service 1), which asks for nothing."""
    here = (EndpointSpec("127.0.0.1:1"),)
    mesh = Mesh(
        nodes=(NodeSpec("n1"),),
        listeners=(),
        routes=tuple(RouteSpec(name, "web", min_body_bytes=own) for name, own in by_route.items()),
        services=(ServiceSpec("web", here, min_body_bytes=least), ServiceSpec("other", here)),
    )
    return Answers(mesh, Registry().topology(mesh))


def batch(rows: int = 1, **columns: Any) -> Requests:
    """Empty answers with status 200 to a GET, but for what is said."""
    given = {"status": 200, "method": Method.GET, "route": -1, **columns}
    return Requests.of(**{n: np.resize(given.get(n, 0), rows) for n in Requests.dtypes()})


def judged(found: Answers, told: Requests) -> list[Outcome]:
    """The outcome of each row."""
    first = found.judge(told)[0]
    assert isinstance(first, Requests)
    return [Outcome(o) for o in first.outcome.tolist()]


def test_a_success_with_less_than_is_asked_is_an_error_and_was_felt_as_one() -> None:
    told = batch(
        3, bytes_out=[99, 100, 0], started_s=[10.0, 20.0, 30.5], duration_s=[0.25, 0.25, 0.5], felt_s=[0.25, 0.25, 1.0],
        arm=Arm.ADAPTIVE, node=2,
    )  # fmt: skip
    requests, felt = answers(100).judge(told)
    assert requests.outcome.tolist() == [Outcome.ERROR, Outcome.OK, Outcome.ERROR]
    assert isinstance(felt, Felt)
    assert felt.started_s.tolist() == [10.0, 30.0], "the request began with its first attempt"
    assert felt.duration_s.tolist() == [0.25, 1.0]
    assert {felt.outcome[0], felt.arm[0], felt.node[0], felt.status[0]} == {Outcome.ERROR, Arm.ADAPTIVE, 2, 200}
    assert told.outcome.tolist() == [Outcome.OK] * 3, "what was told is not changed under its teller"


def test_statuses_and_methods_that_promise_no_body_are_let_be() -> None:
    status = [100, 200, 201, 204, 205, 206, 299, 301, 304, 404]
    got = judged(answers(), batch(len(status), status=status))
    assert [s for s, o in zip(status, got, strict=True) if o is Outcome.ERROR] == [200, 201, 299]
    methods = list(Method)
    got = judged(answers(), batch(len(methods), method=methods))
    assert {m for m, o in zip(methods, got, strict=True) if o is Outcome.OK} == {
        Method.HEAD,
        Method.OPTIONS,
        Method.CONNECT,
    }


def test_what_had_ended_otherwise_stays_what_it_was() -> None:
    others = [o for o in Outcome if o is not Outcome.OK]
    assert judged(answers(), batch(len(others), outcome=others)) == others


def test_a_route_may_ask_for_more_or_nothing_and_other_services_for_none() -> None:
    found = answers(100, pages=1000, health=0, plain=None)
    told = batch(6, bytes_out=500, service=[0, 0, 0, 0, 1, 0], route=[0, 1, 2, -1, -1, 77])
    assert judged(found, told) == [Outcome.ERROR, *[Outcome.OK] * 5]
    told = batch(6, bytes_out=50, service=[0, 0, 0, 0, 1, 0], route=[0, 1, 2, -1, -1, 77])
    wrong, right = Outcome.ERROR, Outcome.OK
    assert judged(found, told) == [wrong, right, wrong, wrong, right, wrong]


def test_where_nobody_asks_the_very_batch_is_passed_on() -> None:
    told = batch(5)
    assert answers(0).judge(told) == [told]
    assert answers(100).judge(batch(0))[0].outcome.size == 0


@given(st.binary(min_size=1, max_size=4096))
def test_whatever_the_columns_hold_only_a_good_outcome_becomes_an_error(raw: bytes) -> None:
    rows = 8
    columns = {n: np.frombuffer((raw * 64)[: rows * d.itemsize], d) for n, d in Requests.dtypes().items()}
    columns |= {"service": np.resize([0, 1, -1, 9], rows), "outcome": np.resize(list(Outcome), rows)}
    told = Requests.of(**columns)
    first = answers(100, pages=1000).judge(told)[0]
    changed = first.outcome != told.outcome
    assert not changed[told.outcome != Outcome.OK].any()
    assert set(first.outcome[changed]) <= {Outcome.ERROR}
    assert not changed[told.service == 1].any()
    for name in set(Requests.dtypes()) - {"outcome"}:
        assert getattr(first, name) is getattr(told, name)
