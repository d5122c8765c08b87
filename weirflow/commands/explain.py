"""`weirflow explain` as text: what was seen, how the peers look, what was wanted, what held it, what is in force."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weirflow.commands.figures import UNKNOWN, number, percent, seconds
from weirflow.commands.output import safe, text
from weirflow.commands.status import demand_lines, gain_lines

Json = dict[str, Any]

GUARD_WORDS = {
    "floor": "it may not fall further: the floor keeps enough samples coming to see it recover",
    "cap": "it may not rise further: the cap bounds what a false promise can attract",
    "step_up": "it may not rise faster than the step allows",
    "step_down": "it may not fall faster than the step allows",
    "cleaned": "what the learner wanted was no usable number, so its old weight stands",
    "trouble": "too many endpoints look bad at once, so the trouble is the service's",
}


def render(answer: Json) -> RenderableType:
    """The answer of `/explain/SERVICE` or `/explain/SERVICE/ENDPOINT`."""
    return _endpoint(answer) if "endpoint" in answer else _service(answer)


def _service(answer: Json) -> RenderableType:
    service = answer["service"]
    lines = [text(f"{service['name']}: {_standing(answer)}", "bold"), text(f"because {service['reason']}")]
    lines += [text(line) for line in [*gain_lines(service), *demand_lines(service)]]
    if answer["limits"]:
        limits = ", ".join(f"{safe(k)} {v}" for k, v in answer["limits"].items())
        lines.append(text(f"limits on the adaptive arm: {limits}"))
    if service.get("limit") is not None:
        goal = f"99 of 100 take at most {service['latency_goal_s']:.3g} s"
        held = f"short, so at most {service['limit']} requests may be open on the adaptive arm: then {goal}"
        free = f"with {service['limit']} requests open {goal}; not short, so no limit but yours"
        refused = f", {service['refused_per_s']:.0f} a second are refused" if service["refused_per_s"] > 0 else ""
        lines.append(text((held if service["limited"] else free) + refused))
    if service.get("shed_percent", 0) > 0:
        lines.append(
            text(f"{service['shed_percent']:.0f} % of the requests by its sheddable routes are refused at once")
        )
    if service.get("retry_budget_percent") is not None:
        answered = f"{service['retries_answered']:.0%} of the retries are answered well"
        lines.append(text(f"{answered}, so the retry budget is {service['retry_budget_percent']} %"))
    lines += [text(f"  {e['address']}: {_weight(e, answer)}; {e['reason']}{_held(e)}") for e in service["endpoints"]]
    return Group(*lines)


def _standing(answer: Json) -> str:
    service = answer["service"]
    share = f"{service['share_percent']:g}% of its traffic on learned weights"
    wanted = service["commanded_share_percent"]
    asked = f" ({wanted:g}% asked for)" if service["mode"] == "adaptive" and wanted != service["share_percent"] else ""
    state = "" if service["state"] == service["mode"] else f", {service['state']}"
    frozen = ", frozen by an operator" if answer["frozen"] and service["state"] != "frozen" else ""
    return f"{service['mode']}{state}{frozen}, {share}{asked}"


def _weight(e: Json, answer: Json) -> str:
    tier = f", tier {e['tier'] + 1} of {answer['tiers']}" if answer["tiers"] > 1 else ""
    return f"weight {e['weight']} ({percent(e['share'])}), wanted {e['proposed']}, yours {e['static_weight']}{tier}"


def _held(e: Json) -> str:
    return f" (held by {e['guard']})" if e.get("guard") else ""


def _endpoint(answer: Json) -> RenderableType:
    e, peers, service = answer["endpoint"], answer["peers"], answer["service"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("seen", "here", f"its peers (middle of {peers['count']})"):
        table.add_column(column, justify="left" if column == "seen" else "right")
    for label, key, show in (
        ("p50", "p50_s", seconds),
        ("p99", "p99_s", seconds),
        ("mean latency", "latency_s", seconds),
        ("errors", "error_share", percent),
        ("requests open", "in_flight", number),
        ("attempts/s", "rate_per_s", lambda v: number(v, 1)),
        ("capacity/s", "capacity", number),
    ):
        table.add_row(label, show(e.get(key)), show(peers.get(key)))
    low, high = number(e["capacity_low"]), number(e["capacity_high"])
    sure = f"capacity is between {low} and {high} attempts/s (90% interval)" if low != UNKNOWN else "capacity: unknown"
    lines: list[RenderableType] = [
        text(f"{service['name']} {e['address']}: {_weight(e, answer)}", "bold"),
        text(f"because {e['reason']}"),
        Text(),
        table,
        text(f"{sure}, from {number(e['samples'])} recent samples"),
        *(text(line) for line in quantile_lines(e, answer["now"])),
        Text(),
        text(f"wanted before guard and gate: {answer['would_be']['without_guard']}"),
        text(
            f"held by {e['guard']}: {GUARD_WORDS.get(e['guard'], 'a guard rail')}" if e["guard"] else "held by nothing"
        ),
        text(f"without Weirflow: your weight {answer['would_be']['static']}"),
        text(f"{service['name']}: {_standing(answer)}; {service['reason']}"),
    ]
    return Group(*lines)


def quantile_lines(e: Json, now: float) -> list[str]:
    """The endpoint's quantiles, and those of each route where it serves several; none while they are not known."""
    told = ([("", e["quantiles"])] if e["quantiles"] else []) + list(e["route_quantiles"].items())
    return [_quantiles(route, of, now) for route, of in told]


def _quantiles(route: str, of: Json, now: float) -> str:
    levels = (f"{q} {seconds(value)} ({seconds(low)} to {seconds(high)})" for q, (low, value, high) in _levels(of))
    old = f", {now - of['at']:.0f} s ago" if now - of["at"] > 10 else ""
    where = f" of route {safe(route)}" if route else ""
    return f"latency{where}: {', '.join(levels)}, 90% intervals, by {of['count']} attempts{old}"


def _levels(of: Json) -> list[tuple[str, list[float]]]:
    return [(q, of[q]) for q in ("p50", "p95", "p99")]
