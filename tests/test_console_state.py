"""The console's document: of a live decision or a recorded one, with what is known and nothing made up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from brain.crossing import Crossing
from brain.settings import Mode
from dataplane.contract import Endpoint, Node, Service, Topology
from weirflow.console.feed import Feed
from weirflow.console.state import ENDPOINT_FIGURES, state_of
from weirflow.plain import json_of, plain
from weirflow.staged import example_decision, example_endpoint

DECISION = example_decision()
DOCUMENT = state_of(plain(DECISION.to_dict()))


@dataclass
class Named:
    id: int
    name: str


NAMED = Named(0, "edge")


def test_endpoints_are_columns_and_say_what_the_decision_says() -> None:
    service, view = DOCUMENT["services"][0], DECISION.services[0]
    assert list(service["endpoints"]) == [*ENDPOINT_FIGURES, "health"]
    assert service["endpoints"]["weight"] == [e.weight for e in view.endpoints]
    assert service["reason"] == view.reason
    assert service["requests_per_s"] == view.static.requests_per_s + view.adaptive.requests_per_s


def test_who_is_in_an_incident_is_bad_and_of_whom_nothing_is_heard_is_unknown() -> None:
    (incident,) = DECISION.incidents
    service = next(s for s in DOCUMENT["services"] if s["name"] == incident.labels["service"])
    assert (service["health"], service["incident"]) == ("bad", incident.id)
    silent = replace(DECISION.services[0], name="silent", endpoints=(example_endpoint(samples=0.0),))
    told = state_of(plain(replace(DECISION, services=(silent,), incidents=()).to_dict()))["services"][0]
    assert (told["health"], told["endpoints"]["health"]) == ("unknown", ["unknown"])


def test_a_call_is_the_callers_share_of_what_is_asked() -> None:
    view = replace(DECISION.services[0], callers={"": 0.25, "shop": 0.75})
    told = state_of(plain(replace(DECISION, services=(view,)).to_dict()))
    rate = told["services"][0]["requests_per_s"]
    assert told["edges"] == [
        {"caller": "", "callee": view.name, "requests_per_s": 0.25 * rate},
        {"caller": "shop", "callee": view.name, "requests_per_s": 0.75 * rate},
    ]


def test_a_decision_of_before_a_figure_was_there_has_none_for_it() -> None:
    old = plain(DECISION.to_dict())
    for service in old["services"]:
        del service["callers"]
        for endpoint in service["endpoints"]:
            del endpoint["tier"]
    told = state_of(old)
    assert told["edges"] == []
    assert set(told["services"][0]["endpoints"]["tier"]) == {None}


def test_callers_are_told_by_whom_their_proxies_stand_beside() -> None:
    nodes = (Node(0, "edge"), Node(1, "shop-1", service="shop"), Node(3, "shop-2", service="shop"))
    crossing = Crossing(Topology(1, (Service(0, "cart", (Endpoint(0, "10.0.0.1:80"),)),), nodes))
    assert crossing.callers(0) == {}, "before the first load report"
    crossing.told(np.array([[10], [20], [5], [10]]), 1.0)
    assert crossing.callers(0) == pytest.approx({"": 0.25, "shop": 0.75}), "node 2 left: its count is nobody's"


def test_a_decision_is_as_plain_as_asdict_would_have_it() -> None:
    view = replace(DECISION.services[0], endpoints=(example_endpoint(quantiles={"p99": [1.0, [2.0]]}),))
    decision = replace(DECISION, services=(view,), plan=None)
    told = decision.to_dict()
    assert told == asdict(decision)
    told["services"][0]["endpoints"][0]["quantiles"]["p99"][1].append(3.0)
    told["services"][0]["callers"]["shop"] = 1.0
    assert decision.to_dict() == asdict(decision), "what is told may be changed, and the decision is as it was"


def test_a_document_with_a_number_that_json_does_not_have_is_written_with_none() -> None:
    odd = {"a": float("nan"), 3: (np.int64(4), np.float64("inf"), np.arange(2)), "m": Mode.STATIC, "d": NAMED}
    assert json_of({**odd, "a": 1.0, 3: ()}) == '{"a":1.0,"3":[],"m":"static","d":{"id":0,"name":"edge"}}'
    assert json.loads(json_of(odd)) == plain(odd) == {
        "a": None, "3": [4, None, [0, 1]], "m": "static", "d": {"id": 0, "name": "edge"}
    }  # fmt: skip


async def test_a_reader_waits_for_the_next_tick_and_a_slow_one_gets_the_newest() -> None:
    feed = Feed()
    waiting = asyncio.create_task(feed.after(None))
    await asyncio.sleep(0)
    assert feed.newest() is None
    feed.told(DECISION)
    tick, document = await waiting
    assert (tick, json.loads(document)["tick"]) == (DECISION.tick, DECISION.tick)
    for further in (1, 2):
        feed.told(replace(DECISION, tick=DECISION.tick + further))
    assert (await feed.after(tick))[0] == DECISION.tick + 2
