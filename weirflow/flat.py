"""A service or an endpoint of a decision as one row, by the names that frames and charts share.

Each takes what `Decision.to_dict` or a recording has. What a decision of an older version lacks is None, not known.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

_ENDPOINT = (
    *("static_weight", "weight", "proposed", "share", "tier"),
    *("rate_per_s", "error_share", "latency_s", "p50_s", "p99_s", "in_flight", "samples"),
)
_SERVICE = (
    *("mode", "state", "share_percent", "commanded_share_percent", "pushed", "limit", "limited", "latency_goal_s"),
    *("shed_percent", "refused_per_s"),
)
_ARM = ("requests_per_s", "p50_s", "p99_s", "failed_share")


def service_row(view: Row) -> Row:
    """How it stands, what both arms felt, and the gain."""
    gain, forecast = view.get("gain") or {}, view.get("forecast") or {}
    return {
        **{name: view.get(name) for name in _SERVICE},
        **{f"{arm}_{name}": (view.get(arm) or {}).get(name) for arm in ("static", "adaptive") for name in _ARM},
        "gain": gain.get("value"),
        "gain_low": gain.get("low"),
        "gain_high": gain.get("high"),
        "capacity_per_s": view.get("capacity"),
        "asked_per_s": forecast.get("now_per_s"),
        "reason": view.get("reason"),
    }


def endpoint_row(view: Row) -> Row:
    """Its weights, what it is believed to bear, what was seen and foretold of it."""
    told = view.get("quantiles") or {}
    return {
        "zone": view.get("zone"),
        **{name: view.get(name) for name in _ENDPOINT},
        "capacity_per_s": view.get("capacity"),
        "capacity_low_per_s": view.get("capacity_low"),
        "capacity_high_per_s": view.get("capacity_high"),
        **{f"{q}_predicted_s": told[q][1] if q in told else None for q in ("p50", "p95", "p99")},
        "guard": view.get("guard"),
        "reason": view.get("reason"),
    }
