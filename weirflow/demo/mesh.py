"""The demo's mesh: two services of unlike endpoints behind two Envoys, and the file that says so.

The Envoys are not the brain's children: the file says `spawn: false`, as for a mesh that was there before. So the brain
can be killed under load, and the proxies go on.

`catalog-1` is the strongest of its service, so it has the most to lose when it turns slow. `checkout-3` and `catalog-4`
are weak: the static rules, which know no difference, send them as many requests as the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from weirflow.demo.backends import BackendSpec

NODES = ("edge-1", "edge-2")
GRAY = "catalog-1"
SERVICES: Mapping[str, tuple[BackendSpec, ...]] = {
    "catalog": (
        BackendSpec("catalog-1", workers=2, service_ms=10, seed=11),
        BackendSpec("catalog-2", workers=2, service_ms=10, seed=12),
        BackendSpec("catalog-3", workers=2, service_ms=15, seed=13),
        BackendSpec("catalog-4", workers=2, service_ms=20, seed=14),
    ),
    "checkout": (
        BackendSpec("checkout-1", workers=2, service_ms=15, seed=21),
        BackendSpec("checkout-2", workers=2, service_ms=15, seed=22),
        BackendSpec("checkout-3", workers=2, service_ms=30, seed=23),
    ),
}
RATES_PER_S: Mapping[str, float] = {"catalog": 240.0, "checkout": 60.0}


def document(
    services: Mapping[str, Sequence[str]],
    nodes: Mapping[str, int],
    xds_port: int,
    admin_port: int,
    *,
    ttl_s: float = 5.0,
    adaptive: Mapping[str, Any] | None = None,
    recording: str | None = None,
    part_s: float = 60.0,
    tell_arm: bool = True,
    rules: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A mesh file: services by name to addresses, nodes by name to worker threads; `/NAME` leads to service NAME.

    `rules`: what else each service has.
    """
    out: dict[str, Any] = {
        "nodes": [{"name": name, "spawn": False, "concurrency": threads} for name, threads in nodes.items()],
        "listeners": [{"name": "web", "port": 0}],
        "routes": [{"name": name, "service": name, "prefix": f"/{name}", "tell_arm": tell_arm} for name in services],
        "services": [
            {"name": name, "endpoints": list(addresses)} | dict(rules or {}) for name, addresses in services.items()
        ],
        "adaptive": dict(adaptive or {}),
        "xds": {"port": xds_port, "ttl": f"{ttl_s:g}s"},
        "admin": {"port": admin_port},
        "checkpoint": {"file": "checkpoint", "every": "1s"},
        "logging": {"level": "info"},
    }
    if recording is not None:
        out["recording"] = {"folder": recording, "part": f"{part_s:g}s"}
    return out


def write(path: Path, told: Mapping[str, Any]) -> None:
    """Write a mesh file."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    with path.open("w") as file:
        yaml.dump(dict(told), file)
