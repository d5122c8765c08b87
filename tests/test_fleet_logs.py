"""What is compiled of the fast mesh's wires says what the plain NumPy of it says, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataplane.contract import InFlight, Method, Outcome, Requests
from dataplane.simulated import arrays
from dataplane.simulated.arrays import Book
from dataplane.simulated.fleet import Ints
from dataplane.simulated.logs import ANSWERED_BYTES, ASKED_BYTES, Lie, Wire, by_node, report_of, requests_of
from dataplane.simulated.rules import Rules
from dataplane.simulated.tried import Fates, Tried, free, tried

ROWS, NODES, ENDPOINTS = 300, 3, 5


def book(seed: int) -> tuple[Book, Ints]:
    """Attempts of every kind, and some of their rows, in the order in which they ended."""
    rng = np.random.default_rng(seed)
    made, row = arrays.book(Rules(), ROWS), np.zeros(ROWS, arrays.ATTEMPT)
    row["asked_s"] = rng.random(ROWS)
    row["at_s"] = row["asked_s"] + rng.exponential(0.1, ROWS)
    row["ended_s"] = row["at_s"] + rng.exponential(0.1, ROWS)
    row["probability"] = rng.random(ROWS)
    row["number"] = rng.permutation(ROWS)
    row["status"] = rng.choice([200, 0, 404, 429, 500, 503], ROWS)
    row["endpoint"] = rng.integers(-1, ENDPOINTS, ROWS)
    row["node"], row["klass"] = rng.integers(NODES, size=ROWS), rng.integers(4, size=ROWS)
    row["attempt"], row["arm"] = rng.integers(0, 3, ROWS), rng.integers(2, size=ROWS)
    row["plan"], row["weight"], row["met"] = (rng.integers(1000, size=ROWS) for _ in range(3))
    row["held"] = rng.integers(0, 2, ROWS)
    for name in ("good", "refused", "last"):
        row[name] = rng.random(ROWS) < 0.5
    made.clock["free"], made.clock["ended"] = 7, 200
    return made._replace(row=row), rng.permutation(ROWS)[:200]


def plainly(row: Any, *, good_body: bool) -> Tried:
    """Records as columns."""
    status = row["status"]
    bad = (status >= 500) | (status == 429) | (good_body & ~row["good"])
    outcome = np.where(bad, Outcome.ERROR, Outcome.OK)
    outcome = np.where(row["endpoint"] < 0, Outcome.UNREACHED, outcome)
    outcome = np.where(status == 0, Outcome.TIMEOUT, outcome)
    outcome = np.where(row["refused"], Outcome.REJECTED, outcome)
    same = {name: row[name] for name in Tried.dtypes() if name in row.dtype.names}
    lasted = {"duration_s": row["ended_s"] - row["at_s"], "felt_s": row["ended_s"] - row["asked_s"]}
    return Tried.of(**same, **lasted, outcome=outcome)


def alike(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for name in one.__slots__:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, np.ndarray):
            assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes()), name
        else:
            assert mine == theirs, name


@pytest.mark.parametrize("good_body", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_attempts_that_are_over_are_read_from_their_rows(seed: int, good_body: bool) -> None:
    made, rows = book(seed)
    alike(tried(made, rows, good_body=good_body), plainly(made.row[rows], good_body=good_body))


def test_their_rows_are_free_then_but_for_those_that_something_points_to() -> None:
    made, rows = book(3)
    free(made, rows)
    idle = rows[made.row["held"][rows] == 0]
    assert made.free[7 : 7 + len(idle)].tolist() == idle.tolist()
    assert (int(made.clock["free"][0]), int(made.clock["ended"][0])) == (7 + len(idle), 0)
    assert made.row["taken"][rows].all()
    assert made.row["taken"].sum() == len(rows)


def test_what_became_of_a_request_is_told_by_its_last_attempt() -> None:
    made, rows = book(4)
    fates = Fates(ROWS)
    fates.note(made, rows)
    last = made.row[rows[made.row["last"][rows]]]
    number, fate = last["number"], fates.fate
    assert fate.latency_s[number].tobytes() == (last["ended_s"] - last["asked_s"]).tobytes()
    assert fate.ok[number].tolist() == last["good"].tolist()
    assert fate.status[number].tolist() == last["status"].tolist()
    assert fate.endpoint[number].tolist() == last["endpoint"].tolist()
    assert fate.adaptive[number].tolist() == (last["arm"] == 1).tolist()
    assert (np.delete(fate.endpoint, number) == -1).all()


@pytest.mark.parametrize("wire", [Wire(), Wire(lies={1: Lie(2, 3.0)}, skew_s=(0.0, 0.5))])
def test_a_nodes_log_is_its_attempts_in_their_order(wire: Wire) -> None:
    made, rows = book(5)
    of = tried(made, rows, good_body=False)
    order = np.argsort(of.node, kind="stable")
    some, many = of.take(order), len(of)
    factor = wire.factors(some.node, some.endpoint)
    lasted, felt = some.duration_s, some.felt_s
    if factor is not None:
        assert (factor != 1.0).any()
        lasted, felt = lasted * factor, felt * factor
    told = Requests.of(
        **{name: getattr(some, name) for name in Requests.dtypes() if name in Tried.dtypes()}
        | {"started_s": some.at_s + wire.clocks_s(some.node), "duration_s": lasted, "felt_s": felt},
        ttfb_s=np.where(some.status != 0, lasted, np.nan),
        service=np.full(many, 6),
        route=some.klass,
        bytes_in=np.full(many, ASKED_BYTES),
        bytes_out=np.where(some.good, ANSWERED_BYTES, 0),
        method=np.full(many, Method.GET),
    )
    logs = by_node(requests_of(of, order, 6, wire), range(NODES + 1))
    assert list(logs) == list(range(NODES))
    for node, log in logs.items():
        alike(log, told.take(told.node == node))


def test_a_load_report_has_who_has_something_and_begins_anew() -> None:
    rng = np.random.default_rng(6)
    nodes = arrays.nodes(NODES, ENDPOINTS, [0, 0], rng)
    for name in ("open", "issued", "succeeded", "failed"):
        nodes.lane[name] = rng.integers(0, 3, nodes.lane.shape) * (rng.random(nodes.lane.shape) < 0.4)
    nodes.pool["waiting"] = rng.integers(0, 2, nodes.pool.shape)
    lane, waiting = nodes.lane[1].copy(), nodes.pool[1]["waiting"].sum(axis=-1)
    open_now = np.maximum(lane["open"] - waiting, 0)
    counts = {name: lane[name] for name in ("issued", "succeeded", "failed")}
    arm, endpoint = np.nonzero(open_now + sum(counts.values()))
    assert 0 < len(arm) < lane.size
    where = {"service": np.full(len(arm), 4), "endpoint": endpoint, "arm": arm, "in_flight": open_now[arm, endpoint]}
    told = InFlight.report(1, 0.5, **where, **{name: count[arm, endpoint] for name, count in counts.items()})
    before = nodes.lane.copy()
    alike(report_of(nodes, 4, 1, 0.5), told)
    for name in counts:
        before[name][1] = 0
    assert nodes.lane.tobytes() == before.tobytes()
