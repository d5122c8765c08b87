"""The stock policies, each as a plain Envoy of its own: static configuration, and the members in a watched file.

    async with stock("least_request", world, folder) as proxies:
        proxies.ports

One process per node, fresh for each run, so no policy inherits another's schedule or sees its requests in flight. What
is not the policy's is the same for all, Weirflow included: the scenario's timeout, its retries (mostly none) within
Envoy's default budget, and circuit breakers that nothing reaches (`UNREACHED`).

Those that refuse have breakers or a filter of their own, with Envoy's defaults, and all pick by a full scan: they
differ by what they refuse alone.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from brain.limits import TAIL
from dataplane.envoy.process import EnvoyProcess
from dataplane.mesh import Priority
from dataplane.pick.policy import written
from dataplane.simulated.fleet import Fleet, Floats
from dataplane.xds.resources import duration, split_address
from weirflow.lab.run import LIMITING, MODULE_TOLD
from weirflow.lab.scenario import Retries

SERVICE = "lab"
UNREACHED = 1_000_000
"""Of each circuit breaker: nothing is refused, so that the policies differ by their picks alone."""
WEIGHT_OF_THE_STRONGEST = 1000
_LB = "type.googleapis.com/envoy.extensions.load_balancing_policies"
_LEAST_REQUEST = {"@type": f"{_LB}.least_request.v3.LeastRequest"}
_ROUND_ROBIN = {"@type": f"{_LB}.round_robin.v3.RoundRobin"}
_PICKS: Mapping[str, dict[str, Any]] = {
    "round_robin": _ROUND_ROBIN,
    "random": {"@type": f"{_LB}.random.v3.Random"},
    "least_request": _LEAST_REQUEST,
    "full_scan": _LEAST_REQUEST | {"selection_method": "FULL_SCAN"},
    "cswrr": {
        "@type": f"{_LB}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
        "blackout_period": "2s",  # 10 s by default: shorter, so that a short run judges the policy and not its start
        "weight_update_period": "1s",
    },
    "least_request_outliers": _LEAST_REQUEST,
    "round_robin_true": _ROUND_ROBIN,
    "least_request_true": _LEAST_REQUEST,
} | dict.fromkeys(LIMITING, _LEAST_REQUEST | {"selection_method": "FULL_SCAN"})
_FILTER = "type.googleapis.com/envoy.extensions.filters.http"
_FILTERS: Mapping[str, dict[str, Any]] = {
    "adaptive_concurrency": {
        "@type": f"{_FILTER}.adaptive_concurrency.v3.AdaptiveConcurrency",
        "gradient_controller_config": {  # as in Envoy's documentation
            "concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
            "min_rtt_calc_params": {"interval": "60s", "request_count": 50, "jitter": {"value": 10}},
        },
        "enabled": {"default_value": True, "runtime_key": "adaptive_concurrency.enabled"},
    },
    "admission_control": {
        "@type": f"{_FILTER}.admission_control.v3.AdmissionControl",
        "enabled": {"default_value": True, "runtime_key": "admission_control.enabled"},
        "success_criteria": {"http_criteria": {"http_success_status": [{"start": 200, "end": 500}]}},
    },
}
RETRY_BUDGET = {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3}
"""Envoy's defaults, where there is a budget; without one, `breakers_default`, no more than three at once."""
OUTLIERS = {
    "consecutive_5xx": 5,
    "interval": "1s",  # 10 s and 30 s by default: shorter, to act and to forgive within a run
    "base_ejection_time": "5s",
    "max_ejection_percent": 50,
}


@dataclass(frozen=True, slots=True)
class World:
    """Where a policy runs: the fleet, its addresses, and how many nodes there are."""

    fleet: Fleet
    addresses: tuple[str, ...]
    nodes: int
    timeout_s: float
    paths: tuple[str, ...]  # of the request classes
    end_s: float  # of the run
    demand_s: float = 0.0  # mean work of a request at speed 1
    goal_s: float | None = None  # answers are wanted within it
    retries: Retries | None = None
    priorities: Mapping[str, Priority] = field(default_factory=dict)  # of the paths that are not default


class Proxies(Protocol):
    """The nodes of a run, whatever policy is in them. `pids` are their processes, by what to call them."""

    @property
    def ports(self) -> Sequence[int]:
        """Of each node's listener."""

    @property
    def pids(self) -> Mapping[str, int]:
        """Of each process whose CPU is to be watched."""

    async def moved(self, at_s: float) -> None:
        """Take up who is a member now."""

    async def shares(self) -> Floats | None:
        """The weights in force as shares, by endpoint; None for a policy whose weights do not move."""


def true_weights(fleet: Fleet, end_s: float) -> list[int]:
    """What an oracle would set by hand before the start: capacity in the mean over the run, for each while a member."""
    capacity = fleet.mean_capacity(end_s)
    return [max(1, round(w)) for w in capacity / max(float(capacity.max()), 1e-9) * WEIGHT_OF_THE_STRONGEST]


def true_limit(world: World) -> int:
    """What an oracle would let a node have open, set by hand: what is worked on and can wait within the goal, shared.

    ValueError where the scenario has no goal.
    """
    if world.goal_s is None or not world.demand_s > 0:
        raise ValueError("without a latency goal no circuit breaker can be set to keep it")
    workers, capacity = float(world.fleet.workers.sum()), float(world.fleet.capacity(0.0).sum())
    work_s = workers / capacity * world.demand_s  # of a request at an endpoint of middling speed
    waits = capacity / world.demand_s * (world.goal_s - TAIL * work_s)
    return max(1, round((workers + max(0.0, waits)) / world.nodes))


class Stock:
    """The Envoys of one stock policy."""

    def __init__(self, policy: str, world: World, folder: Path) -> None:
        self._world, self._file, self._version = world, folder / "endpoints.json", 0
        self._weights = (
            true_weights(world.fleet, world.end_s) if policy.endswith("_true") else world.fleet.weight.tolist()
        )
        told = bootstraps(policy, world, self._file)
        self.envoys = [EnvoyProcess(b, log=folder / f"node-{i}.log") for i, b in enumerate(told)]
        self.ports: list[int] = []

    @property
    def pids(self) -> Mapping[str, int]:
        """Of each Envoy."""
        return {e.name: e.pid for e in self.envoys}

    async def moved(self, at_s: float) -> None:
        """Write who is a member, and rename the file into place: what Envoy watches for."""
        self._version += 1
        new = self._file.with_suffix(".new")
        found = assignment(self._world, self._world.fleet.members(at_s).tolist(), self._weights)
        new.write_text(json.dumps({"version_info": str(self._version), "resources": [found]}))
        new.rename(self._file)

    async def shares(self) -> Floats | None:
        """Set once."""
        return None


@asynccontextmanager
async def stock(policy: str, world: World, folder: Path) -> AsyncIterator[Stock]:
    """The Envoys of a policy, ready; in the end all of them stopped. KeyError for a policy that is not stock."""
    proxies = Stock(policy, world, folder)
    await proxies.moved(0.0)
    async with AsyncExitStack() as down:
        for envoy in proxies.envoys:
            down.push_async_callback(envoy.stop)
            await envoy.start()
        for envoy in proxies.envoys:
            await envoy.ready()
            proxies.ports.append((await envoy.listeners())["web"])
        yield proxies


def bootstraps(policy: str, world: World, members: Path) -> list[dict[str, Any]]:
    """Envoy's configuration for each node. `members` is the file of the endpoints."""
    return [
        {
            "node": {"id": f"node-{n}", "cluster": SERVICE},
            "admin": {"address": _socket("127.0.0.1:0")},
            "static_resources": {
                "listeners": [_listener(world, policy)],
                "clusters": [cluster(policy, members) | breakers(policy, world)],
            },
        }
        for n in range(world.nodes)
    ]


def cluster(policy: str, members: Path) -> dict[str, Any]:
    """The service under a policy. KeyError for one that is not stock."""
    pick = written() if policy in MODULE_TOLD else {"name": "pick", "typed_config": _PICKS[policy]}
    return {
        "name": SERVICE,
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {"path_config_source": {"path": str(members)}, "resource_api_version": "V3"}
        },
        "connect_timeout": "1s",
        "load_balancing_policy": {"policies": [{"typed_extension_config": pick}]},
    } | ({"outlier_detection": OUTLIERS} if policy == "least_request_outliers" else {})


def breakers(policy: str, world: World) -> dict[str, Any]:
    """The cluster's circuit breakers. ValueError as `true_limit`."""
    if policy == "breakers_default":
        return {}
    most: dict[str, Any] = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), UNREACHED
    )
    if policy == "breakers_true":
        most |= dict.fromkeys(("max_pending_requests", "max_requests"), true_limit(world))
    if world.retries is not None:
        most["retry_budget"] = RETRY_BUDGET
    high = most | {"priority": "HIGH"} | dict.fromkeys(("max_pending_requests", "max_requests"), UNREACHED)
    return {"circuit_breakers": {"thresholds": [most, high] if "critical" in world.priorities.values() else [most]}}


def assignment(world: World, members: Sequence[int], weights: Sequence[int]) -> dict[str, Any]:
    """The endpoints, grouped by zone; a zone changes no policy's pick here."""
    zones: dict[str, list[int]] = {}
    for e in members:
        zones.setdefault(world.fleet.zones[e], []).append(e)
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": SERVICE,
        "endpoints": [
            {
                "locality": {"zone": zone},
                "lb_endpoints": [
                    {"endpoint": {"address": _socket(world.addresses[e])}, "load_balancing_weight": weights[e]}
                    for e in some
                ],
            }
            for zone, some in zones.items()
        ],
    }


def _listener(world: World, policy: str) -> dict[str, Any]:
    hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    own = [{"name": policy, "typed_config": _FILTERS[policy]}] if policy in _FILTERS else []
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    action: dict[str, Any] = {"cluster": SERVICE, "timeout": duration(world.timeout_s)}
    if world.retries is not None:
        action["retry_policy"] = {
            "retry_on": "5xx",
            "num_retries": world.retries.num_retries,
            "per_try_timeout": duration(world.retries.per_try_timeout_s),
        }
    high = {"priority": "HIGH"}
    routes = [
        {"match": {"prefix": f"/{path}"}, "route": action | (high if world.priorities.get(path) == "critical" else {})}
        for path in sorted(world.paths, key=len, reverse=True)  # a longer name may begin with a shorter one
    ]
    routes.append({"match": {"prefix": "/"}, "route": action})
    config = {
        "@type": hcm,
        "stat_prefix": "web",
        "http_filters": [*own, {"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
        "route_config": {"virtual_hosts": [{"name": SERVICE, "domains": ["*"], "routes": routes}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": config}]
    return {"name": "web", "address": _socket("127.0.0.1:0"), "filter_chains": [{"filters": filters}]}


def _socket(address: str) -> dict[str, Any]:
    host, port = split_address(address)
    return {"socket_address": {"address": host, "port_value": port}}
