"""A mesh that does not run: `Operations` over a Decision written by hand. The double for whatever shows decisions.

`example_decision` has one of everything that a reader must bear: a service in shadow and one that is adaptive, an
endpoint without samples, a gain and none, a node that refused something and one that is gone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from brain.calibration import Held
from brain.commands import Command, Freeze, PromoteModel, SetMode
from brain.decision import (
    Alert,
    ArmView,
    Decision,
    EndpointView,
    ForecastView,
    GainView,
    IncidentView,
    NodeView,
    ServiceView,
    SwitchbackView,
)
from brain.fading import Interval
from brain.findings import KINDS, Finding
from brain.hindsight import ForetoldView
from brain.incidents import described
from brain.ranking import ModelView
from dataplane.contract import Plan, ServicePlan
from weirflow.clock import Clock
from weirflow.config import load
from weirflow.config.build import Alerts, Config, build
from weirflow.config.check import check_text
from weirflow.config.differs import Change, changes
from weirflow.config.problems import mend_of
from weirflow.console.feed import Feed
from weirflow.console.past import Past
from weirflow.notify import Notifier

NOW = 1_700_000_000.0
DAY_S = 86_400.0
MESH = """
nodes: [{name: front-1}, {name: front-2}]
services:
  - {name: orders, endpoints: [10.0.0.1:8080, 10.0.0.2:8080]}
  - {name: search, endpoints: ["[::1]:9000"]}
"""


def example_endpoint(**changes: Any) -> EndpointView:
    """A healthy endpoint of weight 100, with these changes."""
    healthy = EndpointView(
        id=0,
        address="10.0.0.1:8080",
        zone="a",
        static_weight=1,
        weight=100,
        proposed=104,
        share=0.5,
        capacity=120.0,
        capacity_low=100.0,
        capacity_high=140.0,
        rate_per_s=60.0,
        error_share=0.001,
        latency_s=0.012,
        p50_s=0.010,
        p99_s=0.035,
        in_flight=1.0,
        samples=400.0,
        reason="bears what its peers bear",
    )
    return replace(healthy, **changes)


def example_service(**changes: Any) -> ServiceView:
    """A service on the adaptive arm, one of whose two endpoints turned slow, with these changes."""
    slow = example_endpoint(
        id=1, address="10.0.0.2:8080", zone="b", weight=11, proposed=4, share=0.1, capacity=9.0, capacity_low=6.0,
        capacity_high=12.0, rate_per_s=7.0, latency_s=0.3, p50_s=0.28, p99_s=0.61, in_flight=6.0,
        reason="p50 28 times its peers'", guard="step_down",
    )  # fmt: skip
    adaptive = ServiceView(
        id=0,
        name="orders",
        mode="adaptive",
        state="adaptive",
        share_percent=95.0,
        commanded_share_percent=95.0,
        reason="weights follow capacity",
        pushed=True,
        endpoints=(example_endpoint(), slow),
        static=ArmView(requests_per_s=4.0, p50_s=0.02, p99_s=0.6, failed_share=0.01, requests=400),
        adaptive=ArmView(requests_per_s=76.0, p50_s=0.011, p99_s=0.05, failed_share=0.0, requests=7600),
        gain=GainView(value=0.42, low=0.31, high=0.53, static_requests=400.0, adaptive_requests=7600.0),
        switchback=SwitchbackView(0.35, 0.28, 0.41, pairs=24.0, block="static", block_ends_in_s=12.0),
        limit=60,
        latency_goal_s=0.8,
        retries_answered=0.2,
        retry_budget_percent=4,
        capacity=129.0,
        forecast=example_forecast(),
    )
    return replace(adaptive, **changes)


def example_forecast(**changes: Any) -> ForecastView:
    """80 requests a second and hardly more to come, of a service that bears 129, with these changes."""
    high = (95.0, 97.0, 100.0, 110.0, 120.0, 142.0)
    steady = ForecastView(
        now_per_s=80.0,
        ahead_s=(1.0, 10.0, 60.0, 300.0, 900.0, 1800.0),
        value=(81.0, 81.0, 82.0, 83.0, 84.0, 85.0),
        low=(67.0, 65.0, 63.0, 55.0, 50.0, 40.0),
        high=high,
        p99=(102.0, 104.0, 108.0, 122.0, 136.0, 168.0),
        spare=tuple(1.0 - h / 129.0 for h in high),
        count=900.0,
    )
    return replace(steady, **changes)


def example_incident(**changes: Any) -> IncidentView:
    """An endpoint that turned slow 90 seconds ago and touches a tenth of the requests, with these changes."""
    where = {"service": "orders", "endpoint": "10.0.0.2:8080"}
    said = "10.0.0.2:8080 of orders takes 280 ms, 8 to 14 ms would be usual"
    slow = Finding("EndpointSlow", "orders", NOW - 90, 0.28, 0.008, 0.014, 20.0, 0.1, said, where["endpoint"], "b")
    incident = IncidentView(
        id="I-1", kind="EndpointSlow", labels=where, severity="critical", since_s=NOW - 90, summary=said,
        causes=("EndpointSlow 10.0.0.2:8080", "ServiceSlow orders"), evidence=(slow,), harm=0.1,
        done="its share of the adaptive arm is 10.0%, by your weights it is 50.0%", advice=KINDS["EndpointSlow"].advice,
    )  # fmt: skip
    return replace(incident, **changes)


def example_alert(**changes: Any) -> Alert:
    """The same incident as it opens, with these changes."""
    i = example_incident()
    opened = Alert(i.kind, True, i.labels, i.summary, i.severity, described(i), i.since_s)
    return replace(opened, **changes)


def example_decision(**changes: Any) -> Decision:
    """Two services and two nodes at one tick, with these changes."""
    unknown = example_endpoint(
        id=2, address="[::1]:9000", zone="", weight=100, proposed=100, share=1.0, capacity=None, capacity_low=None,
        capacity_high=None, rate_per_s=0.0, error_share=None, latency_s=None, p50_s=None, p99_s=None, in_flight=None,
        samples=0.0, reason="no samples yet",
    )  # fmt: skip
    nobody = (None,) * 6
    unseen = example_forecast(
        now_per_s=None, value=nobody, low=nobody, high=nobody, p99=nobody, spare=nobody, count=12.0
    )
    nothing = ArmView(requests_per_s=0.0, p50_s=None, p99_s=None, failed_share=None, requests=0)
    shadow = example_service(
        id=1, name="search", mode="shadow", state="learning", share_percent=0.0, reason="too few samples",
        pushed=False, endpoints=(unknown,), static=nothing, adaptive=nothing, gain=GainView(), switchback=None,
        limit=None, latency_goal_s=None, retries_answered=None, retry_budget_percent=None, capacity=None,
        forecast=unseen,
    )  # fmt: skip
    plan = Plan(
        version=7,
        services={
            0: ServicePlan(95.0, {0: 100, 1: 11}, {"max_requests": 300}, "weights follow capacity", {1: "slow"}),
            1: ServicePlan(0.0, {2: 100}, reason="too few samples"),
        },
    )
    front = NodeView(0, "front-1", True, True, 0.4, 80.0, 80.0, 1, {"EDS": "weight 0 is not allowed"})
    gone = NodeView(1, "front-2", False, False, None, 0.0, 0.0, 0, {})
    decision = Decision(
        now=NOW,
        tick=42,
        plan=plan,
        services=(example_service(), shadow),
        nodes=(front, gone),
        alerts=(
            Alert(
                "TelemetryStale",
                True,
                {"node": "front-2"},
                "node front-2 is unknown: it never reported",
                since_s=NOW - 3,
            ),
            example_alert(),
        ),
        incidents=(example_incident(),),
    )
    return replace(decision, **changes)


class _Still(Clock):
    """A clock that stands a quarter second after the example's tick."""

    def now(self) -> float:
        return NOW + 0.25

    def wall(self, at: float) -> float:
        return at


class StagedOperations:
    """Shows what it is given; remembers what it is told."""

    def __init__(
        self,
        decision: Decision | None = None,
        status: dict[str, Any] | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        self.shown = decision
        self.notifier = Notifier(alerts or Alerts(), _Still())  # has heard of the decision, and tells nobody
        if decision is not None:
            self.notifier.told(decision)
        self.process = status if status is not None else example_status()
        self.told: list[tuple[Command, str]] = []
        self.file = Path("mesh.yaml")
        self._config: Config | None = None
        self.feed, self.past = Feed(), Past()
        if decision is not None:
            self.feed.told(decision)
            self.past.told(decision)

    def config(self) -> Config:
        """That of its mesh file as it was first asked for, or read again; where there is no file, an example's."""
        if self._config is None:
            self._config = load(self.file) if self.file.exists() else build(check_text(MESH, self.file))
        return self._config

    async def reload(self, seen: str | None = None) -> list[Change]:
        """Read it again, whatever was seen of it."""
        before, self._config = self.config(), load(self.file)
        return changes(before.document, self._config.document)

    def now(self) -> float:
        """A quarter second after the example's tick."""
        return NOW + 0.25

    def decision(self) -> Decision | None:
        """What it was given."""
        return self.shown

    def models(self) -> tuple[ModelView, ...]:
        """Ours, and a challenger that does better."""
        fresh: dict[str, Any] = {"age_s": 3600.0, "blocks": 170.0, "count": 1200.0}
        better, worse = Interval(0.8, 0.74, 0.86), Interval(1.5, 1.4, 1.6)
        return (
            ModelView(
                "queueing", "champion", error=0.1, held=Held(0.91, 0.8, 1.3),
                against_baseline=Interval(0.7, 0.6, 0.8), drift=0.1, **fresh,
            ),
            ModelView("ours", "challenger", error=0.08, held=Held(0.6, 0.9, 1.1), against_champion=better, **fresh),
            ModelView("simple", "baseline", error=0.15, against_champion=worse, **fresh),
        )  # fmt: skip

    def foretold(self) -> tuple[ForetoldView, ...]:
        """Demand of one service, foretold well for a minute and not beyond."""
        return (
            ForetoldView("orders", 1.0, 800.0, 6.1, 0.7, 0.9),
            ForetoldView("orders", 60.0, 700.0, 9.4, 0.8, 0.88),
            ForetoldView("orders", 300.0, 400.0, 30.0, 1.4, 0.52),
        )

    def status(self) -> dict[str, Any]:
        """What it was given."""
        return self.process

    def command(self, command: Command, who: str) -> None:
        """Remember it, and do what the brain would: a freeze shows at once, an unknown service is a KeyError."""
        if isinstance(command, SetMode) and self.shown is not None:
            names = [s.name for s in self.shown.services]
            if command.service not in names:
                raise KeyError(f"no service {command.service!r}; {mend_of(command.service, names)}")
        if isinstance(command, PromoteModel) and command.name not in (None, *(m.name for m in self.models())):
            raise KeyError(f"there is no model {command.name!r}")
        if isinstance(command, Freeze) and self.shown is not None:
            self.shown = replace(self.shown, frozen=command.on)
        self.told.append((command, who))


def example_status() -> dict[str, Any]:
    """What `Operations.status` says of the same mesh."""
    return {
        "version": "0.1.0",
        "epoch": "e1",
        "now": NOW,
        "config": {"file": "mesh.yaml", "reload_error": None},
        "xds": {"address": "127.0.0.1:18000", "ttl_s": 5.0},
        "tick_s": 1.0,
        "checkpoint": {"file": "checkpoint", "every_s": 30.0},
        "driver": {
            "renewed_at": NOW, "checkpointed_at": NOW - 12, "checkpoint_problem": "",
            "ticks": 42, "ticks_skipped": 2, "tick_errors": 0, "told_errors": 0, "last_tick_s": 0.003, "problems": [],
        },
        "wires": {
            "plan": 7,
            "faults": {"identity": 2},
            "tls": {
                "certificates": {
                    "server": {"not_before": NOW - 10 * DAY_S, "not_after": NOW + 80 * DAY_S},
                    "client_ca": {"not_before": NOW - 100 * DAY_S, "not_after": NOW + 900 * DAY_S},
                },
                "problem": "", "connections": 9, "trusted": 7,
            },
            "nodes": {
                "front-1": {
                    "connected": True,
                    "agent": "envoy 1.40.0",
                    "kinds": {"EDS": {"sent": "7", "acked": "6", "parked": "weight 0 is not allowed"}},
                    "nacks": 1,
                    "clock_offset_s": 0.0031,
                    "dropped": {"duration": 3, "unknown_cluster": 1},
                },
                "front-2": {
                    "connected": False, "agent": "", "kinds": {}, "nacks": 0, "clock_offset_s": float("nan"),
                    "dropped": {},
                },
            },
        },
        "envoys": {},
        "recording": {"folder": "rec", "state": "recording", "problem": None, "attempts": 900, "bytes": 4096},
        "alerts": {
            "receivers": [{
                "receiver": "http://127.0.0.1:9093", "up": False, "failures": 3, "sent": 12, "lost": 0,
                "error": "Connection refused",
            }],
        },
    }  # fmt: skip
