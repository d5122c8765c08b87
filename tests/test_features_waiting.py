"""Batches that wait for each other and are folded in together come to what each by itself came to, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, Felt, InFlight, Node, Outcome, Requests, Service, Telemetry, Topology
from dataplane.simulated import drive
from dataplane.simulated.fleet_mesh import FleetMesh
from dataplane.simulated.rules import RouteRules, Rules
from features import store as waiting
from features import together
from features.dialogue import alike
from features.levels import QUANTUM_S
from features.store import FeatureStore
from features.together import in_turn
from tests.fleets import fleet, trace

START, FLUSH_S = 1_000_000.0, 0.1
NODES = 3


def mesh(endpoints: int) -> Topology:
    """Two services behind three nodes."""
    mine, last = range(endpoints - 1), endpoints - 1
    shop = Service(0, "shop", tuple(Endpoint(i, f"10.0.0.{i}:80") for i in mine))
    cart = Service(1, "cart", (Endpoint(last, f"10.0.1.{last}:80"),))
    return Topology(endpoints, (shop, cart), tuple(Node(n, f"edge-{n}") for n in range(NODES)), ("a", "b"), (0, 0))


class Wires:
    """What three nodes tell: in every flush a log each, sometimes an empty one, failures beside it, and reports.

    Of every tenth flush nothing can be used: all was refused, or names nobody.
    """

    def __init__(self, seed: int, rows: int = 12) -> None:
        self._rng, self._rows, self._slow = np.random.default_rng(seed), rows, 1.0

    def flush(self, number: int, now: float, topology: Topology) -> Iterator[tuple[float, Telemetry]]:
        rng = self._rng
        if number % 400 == 150:
            self._slow = 11.0 - self._slow  # a change that has to be found, and its end
        for node in range(NODES):
            many = int(rng.integers(0, self._rows))
            took = rng.lognormal(-4.0, 0.7, many)
            endpoint = rng.integers(-1, topology.endpoint_slots + 1, many)
            took = np.where((endpoint == 0) & (node != 2), took * self._slow, took)
            outcome = rng.choice(6, many, p=[0.9, *[0.02] * 5]) if number % 10 else np.full(many, Outcome.REJECTED)
            told: dict[str, Any] = {name: np.zeros(many) for name in Requests.dtypes()} | {
                "started_s": now - took - rng.uniform(0.0, FLUSH_S, many),
                "duration_s": took,
                "felt_s": took,
                "service": np.append(topology.service_of, [0, -1])[endpoint],
                "endpoint": endpoint,
                "node": np.full(many, node),
                "route": rng.integers(-1, 2, many),
                "outcome": outcome,
                "attempt": rng.integers(1, 3, many),
                "arm": rng.random(many) < 0.9,
                "bytes_out": rng.integers(0, 1000, many),
                "method": rng.integers(0, 3, many),
            }
            yield now, Requests.of(**told)
            if number % 3 == node:
                few = int(rng.integers(0, 4))
                bad: dict[str, Any] = {name: np.zeros(few) for name in Felt.dtypes()} | {
                    "duration_s": rng.exponential(0.1, few),
                    "outcome": rng.integers(0, 6, few),
                }
                yield now, Felt.of(**bad)
            if number % 5 == 4:
                here = np.flatnonzero(topology.service_of >= 0)
                counts = {n: rng.integers(0, 3, len(here)) for n in ("in_flight", "issued", "succeeded", "failed")}
                where = {"service": topology.service_of[here], "endpoint": here, "arm": np.ones(len(here))}
                yield now, InFlight.report(node, 0.5, **where, **counts)


def lived(seconds: int, seed: int, rows: int = 12) -> Iterator[Any]:
    """What a store freezes every second, and what it keeps at the end. Members come half-way."""
    topology, wires = mesh(4), Wires(seed, rows)
    store = FeatureStore(topology)
    for second in range(seconds):
        if second == seconds // 2:
            topology = mesh(6)
            store.moved(topology, START + second)
        for flush in range(round(1.0 / FLUSH_S)):
            number = second * round(1.0 / FLUSH_S) + flush
            now = START + second + (flush + 1) * FLUSH_S - 0.01
            for at, batch in wires.flush(number, now, topology):
                store.told(batch, at)
        yield store.freeze(START + second + 1.0)
    yield store.state()


@pytest.mark.parametrize(("seconds", "rows"), [(130, 12), (20, 500)])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_waits_and_is_folded_in_together_comes_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, seconds: int, rows: int, seed: int
) -> None:
    at_once = list(lived(seconds, seed, rows))  # long enough for the landmarks of what decays in 3 s to move
    for module in (waiting, together):
        monkeypatch.setattr(module, "MOST_WAITING", 1)
    alone = list(lived(seconds, seed, rows))
    changed = 0
    for ours, theirs in zip(at_once[:-1], alone[:-1], strict=True):
        for part in ("endpoints", "services", "nodes", "lanes"):
            assert alike(getattr(ours, part), getattr(theirs, part)), (ours.now, part)
        changed += int(ours.endpoints.changed.sum())
    assert changed > 0, "nothing was found to change: levels did not move between two portions"
    assert plain(at_once[-1]) == plain(alone[-1])


def plain(state: Any) -> str:
    """A state as text that tells every bit."""
    return json.dumps(state, default=lambda a: a.tobytes().hex() if isinstance(a, np.ndarray) else repr(a))


def test_a_store_keeps_no_more_waiting_than_it_says() -> None:
    store, wires, topology = FeatureStore(mesh(4)), Wires(1, 500), mesh(4)
    for number in range(40):
        for at, batch in wires.flush(number, START + 0.01 * number, topology):
            store.told(batch, at)
            assert sum(len(some) for some, _ in store._waiting) < waiting.MOST_WAITING


def test_rows_wait_until_somebody_looks_and_for_latency_to_the_next_portion_of_time() -> None:
    store, topology = FeatureStore(mesh(4)), mesh(4)
    few = [b for _, b in Wires(3).flush(1, START, topology) if isinstance(b, Requests) and len(b)]
    ok = replace(few[0], outcome=np.zeros(len(few[0]), np.int8), endpoint=np.zeros(len(few[0]), np.int32))
    store.told(ok, START)  # the first of a portion goes at once
    assert (len(store._waiting), len(store._speeds._told_at)) == (1, 0)
    store.told(ok, START + 0.01)
    assert (len(store._waiting), len(store._speeds._told_at)) == (2, 1)
    store.told(ok, START + QUANTUM_S)
    assert (len(store._waiting), len(store._speeds._told_at)) == (3, 0)
    assert int(store.freeze(START + 0.3).endpoints.total[0]) == 3 * len(ok)
    assert not store._waiting


def decided(seconds: int) -> Iterator[str]:
    """Every decision of a brain over a mesh in virtual time whose endpoints fail a little, and how its models stand."""
    of = fleet(1.0, 1.0, 0.5, error_share=np.array([[0.0], [0.05], [0.0]]))
    work = trace(of, 0.7, float(seconds), nodes=3, mean_s=0.02)
    members = tuple(Endpoint(e, name) for e, name in enumerate(of.names))
    topology = Topology(1, (Service(0, "shop", members),), tuple(Node(n, f"edge-{n}") for n in range(3)), ("all",))
    brain = Brain(topology, Settings(mode=Mode.ADAPTIVE))
    again = Rules("least_request", (RouteRules(timeout_s=5.0, num_retries=2),))
    virtual = FleetMesh(topology, of, work, np.random.default_rng(2), rules=again)
    for decision in drive.run(virtual, brain, float(seconds)):
        yield json.dumps(decision.to_dict(), default=repr, sort_keys=True) + repr(brain.models(decision.now))
    yield plain(brain.state())


def test_a_brain_decides_the_same_whether_batches_wait_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = list(decided(110))
    for module in (waiting, together):
        monkeypatch.setattr(module, "MOST_WAITING", 1)
    assert at_once == list(decided(110))


def test_parts_are_added_in_their_turn_to_the_bit_even_where_there_is_one_column() -> None:
    rng = np.random.default_rng(1)
    for columns in (1, 3):
        total, parts = rng.exponential(1.0, columns), rng.exponential(1.0, (200, columns))
        alone = total.copy()
        for part in parts:
            alone += part
        assert in_turn(total, parts).tobytes() == alone.tobytes() != (total + parts.sum(axis=0)).tobytes()
