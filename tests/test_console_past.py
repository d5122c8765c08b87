"""What the console looks back on: memory and a recording give the same, and neither is made up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recordings import BAD, Lived, lived, scenario
from weirflow.clock import Clock
from weirflow.config import load
from weirflow.console.memory import A_PART, MOST_WAITING, Kept, Memory
from weirflow.console.past import Looked, NothingError, Past
from weirflow.console.state import state_of
from weirflow.lab.scenario import Group
from weirflow.plain import plain
from weirflow.staged import NOW, example_decision, example_endpoint
from weirflow.wiring import Running

DECISION = example_decision()
MESH = """
nodes: [{name: edge}]
services: [{name: shop, endpoints: [{address: 127.0.0.1:9000}]}]
"""
NAME = DECISION.services[0].name


QUIET = replace(
    DECISION, alerts=(), notes=(), services=tuple(replace(s, pushed=False) for s in DECISION.services), frozen=False
)


def remembered(*ages_s: float, every_s: float = 5.0) -> Looked:
    past = Past(memory=Memory(every_s=every_s))
    for tick, age_s in enumerate(ages_s, 1):
        past.told(replace(QUIET, now=NOW - age_s, tick=tick))
    return past.looked()


def test_the_past_starts_with_the_first_decision_and_ends_with_the_last() -> None:
    assert remembered(30.0, 20.0, 10.0).span() == (NOW - 30.0, NOW - 10.0)
    with pytest.raises(NothingError, match="nothing has been decided yet"):
        remembered().span()


def test_a_moment_is_that_of_the_last_decision_before_it() -> None:
    past = remembered(30.0, 20.0, 10.0)
    assert past.at(NOW - 20.0)["tick"] == 2
    assert past.at(NOW - 10.001)["tick"] == 2
    assert past.at(NOW + 99.0)["tick"] == 3
    with pytest.raises(NothingError, match="nothing is remembered of that moment; the first is 1699999970"):
        past.at(NOW - 30.5)


def test_a_decision_is_kept_every_few_seconds() -> None:
    assert remembered(12.0, 11.0, 8.0, 7.0, 2.0, every_s=5.0).history(NAME, None, 0.0, NOW)["at"] == [
        NOW - 12.0,
        NOW - 7.0,
        NOW - 2.0,
    ]


async def test_the_oldest_goes_when_more_is_packed_than_may_be_kept() -> None:
    memory = Memory(keep_bytes=20_000)
    for tick in range(100):
        memory.told(replace(QUIET, now=NOW + 10.0 * tick, tick=tick))
        await memory.pack()
    kept = memory.kept()
    assert kept[-1].at == NOW + 990.0
    assert 10 < len(kept) < 100
    assert sum(k.bytes for k in kept) <= 20_000


def test_a_decision_reads_the_same_before_it_is_packed_and_after() -> None:
    odd = replace(DECISION, services=(replace(QUIET.services[0], capacity=float("nan")), *QUIET.services[1:]))
    large = replace(QUIET.services[0], endpoints=tuple(example_endpoint(id=i) for i in range(2 * A_PART + 1)))
    for decision in (DECISION, odd, replace(DECISION, services=()), replace(DECISION, services=(large, large))):
        kept = Kept(decision)
        before = kept.read()
        kept.pack()
        assert kept.bytes > 0
        assert kept.read() == before == plain(decision.to_dict())


async def test_packing_goes_on_by_itself_and_what_waits_when_it_ends_can_still_be_read() -> None:
    past = Past()
    packing = asyncio.create_task(past.memory.packing())
    past.told(replace(QUIET, now=NOW - 10.0, tick=1))
    while not past.memory.kept()[0].bytes:
        await asyncio.sleep(0.001)
    packing.cancel()
    await asyncio.gather(packing, return_exceptions=True)
    past.told(replace(QUIET, now=NOW, tick=2))
    assert [k.bytes > 0 for k in past.memory.kept()] == [True, False]
    assert past.looked().at(NOW)["tick"] == 2


def test_where_packing_is_slower_than_ticks_some_are_passed_over_and_memory_does_not_grow() -> None:
    memory = Memory()
    for tick in range(3 * MOST_WAITING):
        memory.told(replace(QUIET, now=NOW + 10.0 * tick, tick=tick))
    assert len(memory.kept()) == MOST_WAITING


async def test_the_plan_goes_out_before_the_console_hears_of_it(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(MESH)
    running = Running(file, load(file), Clock())
    running._decided(DECISION)
    assert running.feed.tick is None
    assert running.past.memory.kept() == ()
    await asyncio.sleep(0)
    assert running.feed.tick == DECISION.tick
    assert len(running.past.memory.kept()) == 1


def test_what_was_told_is_kept_and_found_again_the_newest_first() -> None:
    past = Past(memory=Memory(every_s=60.0))
    pushed = replace(QUIET.services[0], pushed=True, reason="10.0.0.2:8080 slows down")
    past.told(replace(QUIET, now=NOW, tick=1))
    past.told(replace(QUIET, now=NOW + 1.0, tick=2))
    past.told(replace(QUIET, now=NOW + 2.0, tick=3, services=(pushed,)))
    past.told(replace(QUIET, now=NOW + 3.0, tick=4, notes=("the lease has ended",), alerts=DECISION.alerts[:1]))
    told = past.looked().news(NOW - 1.0, NOW + 9.0)
    assert [(n["tick"], n["kind"]) for n in told] == [(4, "alert"), (4, "note"), (3, "pushed")]
    assert told[2] | {"at": 0} == {
        "at": 0, "tick": 3, "kind": "pushed", "service": NAME, "words": "10.0.0.2:8080 slows down",
    }  # fmt: skip
    assert past.looked().news(NOW + 2.5, NOW + 9.0) == told[:2]


def test_a_push_tells_what_it_moved() -> None:
    moved = [example_endpoint(id=i, address=f"e{i}", reason=f"weight 100 -> {i}") for i in range(4)]
    still = example_endpoint(id=9, address="e9", reason="weight 100 kept")
    past = Past()
    service = replace(QUIET.services[0], pushed=True, endpoints=(still, *moved))
    past.told(replace(QUIET, now=NOW, services=(service,)))
    (told,) = past.looked().news(NOW - 1.0, NOW + 1.0)
    assert told["words"] == "e0: weight 100 -> 0; e1: weight 100 -> 1; and 2 more"


def test_a_clock_that_is_set_back_is_remembered_again_at_once() -> None:
    past = remembered(10.0, 500.0)
    assert past.at(NOW)["tick"] == 2


def test_history_is_a_column_for_each_figure_and_names_what_is_not_there() -> None:
    past = remembered(20.0, 10.0)
    told = past.history(NAME, None, NOW - 60.0, NOW)
    assert told["at"] == [NOW - 20.0, NOW - 10.0]
    assert told["adaptive_p99_s"] == [DECISION.services[0].adaptive.p99_s] * 2
    address = DECISION.services[0].endpoints[0].address
    assert past.history(NAME, address, NOW - 15.0, NOW)["weight"] == [DECISION.services[0].endpoints[0].weight]
    for service, endpoint, missing in ((NAME, "10.9.9.9:1", "10.9.9.9:1"), ("nobody", None, "nobody")):
        with pytest.raises(NothingError, match=f"nothing is remembered of {missing} in that time"):
            past.history(service, endpoint, NOW - 60.0, NOW)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    world = scenario(Group("bad", 1, changes=(BAD,)), Group("good", 4))
    return lived(world, tmp_path_factory.mktemp("past") / "run", "weirflow")


def test_a_recording_is_looked_back_into_part_by_part(run: Lived) -> None:
    past = Past(lambda: [run.recording.folder]).looked()
    calls = [c for c in run.recording.calls() if c.verb == "decided"]
    first, last = past.span()
    assert first <= calls[0].now
    assert last >= calls[-1].now
    middle = calls[len(calls) // 2]
    assert past.at(middle.now) == state_of(middle.argument)
    (service,) = middle.argument["services"]
    told = past.history(service["name"], None, first, last + 1.0)
    assert told["at"] == [c.now for c in calls]


def test_memory_goes_on_where_the_recording_has_not_been_closed_yet(run: Lived) -> None:
    calls = [c for c in run.recording.calls() if c.verb == "decided"]
    after = replace(DECISION, now=calls[-1].now + 8.0, tick=999)
    past = Past(lambda: [run.recording.folder])
    past.told(after)
    looked = past.looked()
    assert looked.at(after.now) == state_of(plain(after.to_dict()))
    assert looked.at(after.now - 0.5)["tick"] == calls[-1].argument["tick"]


def test_a_damaged_part_is_passed_over(run: Lived, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(run.recording.folder, folder)
    (folder / run.recording.parts[-1].files["decisions"].file).write_bytes(b"no longer")
    (folder / "part-00099.json").write_text("{")
    past = Past(lambda: [folder]).looked()
    past.span()
    with pytest.raises(NothingError):
        past.history("nobody", None, 0.0, 1e12)
