"""One caller's trouble in a mesh in virtual time, from telemetry to the alert, and over a restart of the brain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.edges import Edged, topology
from bench.incidents import HEALTHY
from bench.watched import SETTINGS, address
from brain.brain import Brain
from brain.decision import Decision
from dataplane.contract import Telemetry
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Fault
from dataplane.simulated.mesh import Load
from weirflow import checkpoint

CALM_S, UNTIL_S, RATE_PER_S = 45.0, 65.0, 60.0
HALF_FAIL, SLOW = Fault("error", CALM_S, 1e9, share=0.5), Fault("slow", CALM_S, 1e9, factor=5.0)
MESH = topology()


class Taped:
    """A brain whose calls are kept, and which may be stopped at a tick and go on from its checkpoint."""

    def __init__(self, restarts_s: float = np.inf) -> None:
        self.brain, self.calls, self.restarts_s = Brain(MESH, SETTINGS), list[tuple[str, Any, float]](), restarts_s

    def told(self, batch: Telemetry, now: float) -> None:
        self.calls.append(("told", batch, now))
        self.brain.told(batch, now)

    def heard(self, event: Any, now: float) -> None:
        self.calls.append(("heard", event, now))
        self.brain.heard(event, now)

    def tick(self, now: float) -> Decision:
        if now >= self.restarts_s:
            state, self.restarts_s = checkpoint.decode(checkpoint.encode(self.brain.state())), np.inf
            self.brain = Brain(MESH, SETTINGS)
            self.brain.restore(state, now)
        self.calls.append(("tick", None, now))
        return self.brain.tick(now)


def lived(bad: str, fault: Fault, brain: Taped | None = None) -> list[Decision]:
    """What was decided while one caller, or everybody, suffers from that."""
    ill = replace(HEALTHY, faults=(fault,)) if bad == "everybody" else HEALTHY
    behaviours = {address(i): ill for i in range(9)}
    mesh = Edged(MESH, [Load("shop", RATE_PER_S)], behaviours, np.random.default_rng(31))
    mesh.bad, mesh.fault = (bad,), fault
    return list(run(mesh, brain or Taped(), UNTIL_S))


@pytest.mark.parametrize(("fault", "kind"), [(HALF_FAIL, "EdgeFailing"), (SLOW, "EdgeSlow")])
def test_one_callers_trouble_is_one_incident_that_names_it_and_what_all_suffer_is_the_services(
    fault: Fault, kind: str
) -> None:
    decisions = lived("web", fault)
    (incident,) = decisions[-1].incidents
    assert (incident.kind, incident.labels) == (kind, {"service": "shop", "caller": "web"})
    assert incident.causes[0] == f"{kind} web to shop"
    assert {i.id for d in decisions for i in d.incidents} == {"I-1"}
    (alert,) = (a for d in decisions for a in d.alerts if a.kind == kind)
    assert alert.labels == {"service": "shop", "caller": "web"}

    (incident,) = lived("everybody", fault)[-1].incidents
    assert incident.kind == kind.replace("Edge", "Service")
    assert not any("Edge" in cause for cause in incident.causes)


def test_an_edges_incident_goes_on_over_a_restart_and_is_told_once() -> None:
    decisions = lived("web", HALF_FAIL, Taped(restarts_s=55.0))
    assert {i.id for d in decisions for i in d.incidents} == {"I-1"}
    assert [a.kind for d in decisions for a in d.alerts if "Edge" in a.kind] == ["EdgeFailing"]


def test_the_same_calls_give_the_same_decisions_of_edges() -> None:
    taped = Taped()
    decisions, again = lived("web", HALF_FAIL, taped), Brain(MESH, SETTINGS)
    replayed = []
    for verb, argument, now in taped.calls:
        if verb == "tick":
            replayed.append(again.tick(now))
        else:
            getattr(again, verb)(argument, now)
    assert [d.to_dict()["incidents"] for d in decisions] == [d.to_dict()["incidents"] for d in replayed]
    assert decisions[-1].incidents
