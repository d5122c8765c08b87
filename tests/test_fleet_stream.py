"""Work that is fed in pieces: the same answers, in memory that does not grow, and the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dataplane.simulated import fleet_mesh
from dataplane.simulated.fleet import Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.rules import RouteRules, Rules
from dataplane.simulated.tried import Tried
from tests.fleets import NEVER, fleet, mesh, trace

QUIET = Rhythm(NEVER, NEVER)
RULES = Rules(routes=(RouteRules(timeout_s=2.0, num_retries=2, per_try_timeout_s=0.5),), max_connections=9)


def pieces(work: Trace, rows: int) -> Iterator[Trace]:
    for first in range(0, len(work), rows):
        yield work.take(slice(first, first + rows))


def same(one: Tried, other: Tried) -> bool:
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in Tried.dtypes())


def all_of(made: FleetMesh) -> Tried:
    made.finish()
    return made.take()


@pytest.mark.parametrize("sharing", [False, True])
def test_the_same_seed_makes_the_same_bytes_however_the_work_is_fed(sharing: bool) -> None:
    of = fleet(1.0, 2.0, 0.5, sharing=np.full(3, sharing), error_share=np.array([[0.2], [0.0], [0.1]]))
    work = trace(of, 0.9, 20.0, nodes=2)
    made = [mesh(of, pieces(work, rows), nodes=2, rules=RULES, rhythm=QUIET) for rows in (len(work), 7)]
    whole, in_sevens = (all_of(m) for m in made)
    assert same(whole, in_sevens)
    fed = mesh(of, [], nodes=2, rules=RULES, rhythm=QUIET, demand_s=float(work.demand_s.mean()))
    taken = []
    for piece in pieces(work, 100):
        fed.feed(piece)
        fed.run(float(piece.at_s[-1]))
        taken.append(fed.take())
    assert same(whole, Tried.concat([*taken, all_of(fed)]))
    assert (whole.attempt > 1).any()


def test_a_request_fed_is_a_request_ended_as_in_one_whole_trace() -> None:
    of = fleet(1.0, 2.0)
    work = trace(of, 0.8, 20.0)
    fate = mesh(of, work, policy="round_robin", rhythm=QUIET).finish()  # which picks without chance
    found = all_of(mesh(of, pieces(work, 50), policy="round_robin", rhythm=QUIET))
    last = found.last
    assert np.sort(found.number[last]).tolist() == list(range(len(work)))
    np.testing.assert_array_equal(found.felt_s[last], fate.latency_s[found.number[last]])
    np.testing.assert_array_equal(found.endpoint[last], fate.endpoint[found.number[last]])


@pytest.mark.parametrize("sharing", [False, True])
def test_memory_does_not_grow_with_what_was_asked(sharing: bool) -> None:
    of = fleet(1.0, 1.0, sharing=np.full(2, sharing))
    made, sizes = mesh(of, [], rules=RULES, rhythm=QUIET), []
    work = trace(of, 0.7, 4000.0)
    for piece in pieces(work, 4000):
        made.feed(piece)
        made.run(float(piece.at_s[-1]))
        assert len(made.take()) > 3900
        assert len(made._book.asked) <= 4001
        sizes.append((len(made._book.row), len(made._book.due)))
    assert len(sizes) > 12
    assert sizes[-1] == sizes[0]


def test_with_listeners_as_well_nothing_is_kept_that_was_told() -> None:
    of, rows = fleet(1.0, 1.0), []
    work = trace(of, 0.7, 100.0)
    made = mesh(of, pieces(work, 200), on_telemetry=rows.append)
    for t in range(1, 102):
        made.run(float(t))
        made.take()
    assert sum(len(b) for b in rows if type(b).__name__ == "Requests") == len(work)
    assert not made._log
    assert not made._ended
    assert len(made._book.row) == 1024


def test_work_for_the_past_is_refused_and_so_is_a_take_from_a_whole_trace() -> None:
    of = fleet(1.0)
    work = trace(of, 0.5, 10.0)
    made = mesh(of, [], rhythm=QUIET)
    made.run(5.0)
    with pytest.raises(ValueError, match="none of them for the past"):
        made.feed(work)
    made.feed(work.take(work.at_s >= 5.0))
    with pytest.raises(ValueError, match="in the order of their times"):
        made.feed(work.take(work.at_s >= 5.0))
    with pytest.raises(ValueError, match="for finish"):
        mesh(of, work, rhythm=QUIET).take()


def test_works_that_are_short_against_the_patience_of_who_asks_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose answer is on its way when an endpoint that shares falls idle is due to be looked at long after."""
    of = fleet(1.0, 1.0, 1.0, workers=8, sharing=np.full(3, True), extra_s=np.full((3, 1), 5e-5))
    work = trace(of, 0.1, 5.0, mean_s=0.0005)
    turns, real = [0], fleet_mesh.advance

    def counted(*arguments: object) -> bool:
        turns[0] += 1
        assert turns[0] < len(work), "it must get on"
        return real(*arguments)

    monkeypatch.setattr(fleet_mesh, "advance", counted)
    fate = mesh(of, work, rules=Rules(routes=(RouteRules(timeout_s=15.0),)), rhythm=QUIET).finish()
    assert fate.ok.all()
