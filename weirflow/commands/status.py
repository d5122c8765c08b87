"""`weirflow status` as text: per service its endpoints and its two arms, then the nodes.

Takes the JSON of the admin API and bears with what is missing from it: a brain of another version is still shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weirflow.commands.figures import UNKNOWN, number, percent, seconds
from weirflow.commands.output import safe, text

Json = dict[str, Any]

AHEAD_WORDS = {60.0: "1 min", 1800.0: "30 min"}
"""What of a forecast is shown, by seconds ahead; all of it is in the JSON."""


def render(answer: Json, *, wide: bool = True) -> RenderableType:
    """The whole answer of `/status`. Where it is not `wide`, reasons stand below the table instead of in it."""
    process, decision = answer.get("process") or {}, answer.get("decision")
    parts: list[RenderableType] = [head(answer, process, decision or {})]
    parts += [text(f"! {problem}", "yellow") for problem in problems(process)]
    if decision is None:
        parts.append(text("Nothing has been decided yet; the first tick comes within a second."))
    else:
        parts += [part for service in decision.get("services", []) for part in _service(service, wide=wide)]
        parts += [_alert(alert) for alert in decision.get("alerts", [])]
        parts += [text(note) for note in decision.get("notes", [])]
    return Group(*parts, Text(), _nodes(process, decision or {}))


def head(answer: Json, process: Json, decision: Json) -> Text:
    """Whose decision it is, how old, and what is leased, in a line."""
    plan = decision.get("plan")
    parts = [safe((process.get("config") or {}).get("file", "mesh"))]
    if decision:
        age = (answer.get("now") or 0) - decision["now"]
        parts.append(f"tick {decision.get('tick')}, {seconds(max(age, 0.0))} ago")
        ttl = (process.get("xds") or {}).get("ttl_s")
        lease = f"plan {plan.get('version')}, lease of {seconds(ttl)}" if plan else "no plan: nothing learned is leased"
        parts.append(lease)
        if decision.get("frozen"):
            parts.append("FROZEN by an operator")
    recording = process.get("recording")
    if recording:
        parts.append(f"recording {safe(recording.get('state', ''))}, {recording.get('attempts', 0)} attempts")
    return Text(" · ".join(parts), style="bold")


def problems(process: Json) -> Iterable[str]:
    """What an operator has to know of the process itself, newest last."""
    reload_error = (process.get("config") or {}).get("reload_error")
    if reload_error:
        yield f"the last reload was refused: {reload_error}"
    problem = (process.get("recording") or {}).get("problem")
    if problem:
        yield f"the recording stopped: {problem}"
    for receiver in (process.get("alerts") or {}).get("receivers") or []:
        if receiver.get("up") is False:
            yield f"alerts do not reach {receiver.get('receiver')}: {receiver.get('error')}"
    yield from ((process.get("driver") or {}).get("problems") or [])[-5:]


def _service(service: Json, *, wide: bool) -> list[RenderableType]:
    shadow = service["mode"] != "adaptive"
    title = Text()
    title.append("\n" + safe(service["name"]), style="bold")
    title.append(f"  {safe(service['mode'])}")
    if service["state"] != service["mode"]:
        title.append(f", {safe(service['state'])}")
    title.append(f"  {number(service['share_percent'])}% of its traffic on learned weights")
    if service["share_percent"] != service["commanded_share_percent"] and not shadow:
        title.append(f" ({number(service['commanded_share_percent'])}% asked for)")
    if service.get("reason"):
        title.append(f"  {safe(service['reason'])}", style="italic")
    reasons = [] if wide else [text(f"  {e['address']}: {_why(e)}") for e in service["endpoints"]]
    return [title, _indented(_endpoints(service, shadow=shadow, wide=wide)), *reasons, _indented(_arms(service))]


def _why(endpoint: Json) -> str:
    return f"{endpoint['reason']} [{endpoint['guard']}]" if endpoint.get("guard") else str(endpoint["reason"])


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2), expand=False)


def _table(columns: Iterable[str], *, left: Iterable[str] = ()) -> Table:
    """A table without lines, which a pipe can cut up; only the columns in `left` hold words."""
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    words = set(left)
    for column in columns:
        left_aligned = column in words
        table.add_column(column, justify="left" if left_aligned else "right", overflow="fold", no_wrap=not left_aligned)
    return table


def _endpoints(service: Json, *, shadow: bool, wide: bool) -> Table:
    # In shadow nothing moves: what is worth seeing is what the brain wants, as a weight and as the share it would be.
    wanted, share = ("would be", "share would be") if shadow else ("wanted", "share")
    columns = ["endpoint", "zone", "yours", "weight", wanted, share, "capacity/s", "rate/s", "p50", "p99", "errors"]
    table = _table([*columns, "open", *(["why"] if wide else [])], left=("endpoint", "zone", "why"))
    yours = sum(e["static_weight"] for e in service["endpoints"]) or 1
    proposed = sum(e["proposed"] for e in service["endpoints"]) or 1
    for e in service["endpoints"]:
        table.add_row(
            text(e["address"]),
            text(e["zone"] or UNKNOWN),
            number(e["static_weight"]),
            number(e["weight"]),
            number(e["proposed"]),
            f"{percent(e['static_weight'] / yours)} → " + percent(e["proposed"] / proposed if shadow else e["share"]),
            number(e["capacity"]),
            number(e["rate_per_s"], 1),
            seconds(e["p50_s"]),
            seconds(e["p99_s"]),
            percent(e["error_share"]),
            number(e["in_flight"]),
            *([text(_why(e))] if wide else []),
        )
    return table


def _arms(service: Json) -> RenderableType:
    table = _table(["arm", "requests/s", "p50", "p99", "failed", "requests"], left=("arm",))
    for name, label in (("static", "static (holdout)"), ("adaptive", "adaptive")):
        arm = service[name]
        table.add_row(
            Text(label),
            number(arm["requests_per_s"], 1),
            seconds(arm["p50_s"]),
            seconds(arm["p99_s"]),
            percent(arm["failed_share"]),
            number(arm["requests"]),
        )
    return Group(table, *(text(line) for line in [*gain_lines(service), *demand_lines(service)]))


def gain_lines(service: Json) -> list[str]:
    """Both estimates of the gain; the second one only where it was asked for."""
    system = service.get("switchback")
    return [gain_text(service["gain"]), *([] if system is None else [switchback_text(system)])]


def demand_lines(service: Json) -> list[str]:
    """What is asked of it and will be, and what that leaves; no line where nobody foretells."""
    forecast = service.get("forecast")
    if forecast is None:
        return []
    parts = [f"{number(forecast['now_per_s'], 1)}/s now"]
    for i, ahead_s in enumerate(forecast["ahead_s"]):
        if ahead_s in AHEAD_WORDS:
            parts.append(f"{_foretold(forecast, i)} in {AHEAD_WORDS[ahead_s]}")
    if all(value is None for value in forecast["value"]):
        parts[1:] = [f"no forecast yet ({number(forecast['count'])} s seen)"]
    spare = forecast["spare"][-1]
    left = (
        f", {percent(spare)} of {number(service.get('capacity'))}/s to spare at its upper end"
        if spare is not None
        else ""
    )
    return [f"demand: {', '.join(parts)}{left}"]


def _foretold(forecast: Json, i: int) -> str:
    value, low, high = (number(forecast[key][i], 1) for key in ("value", "low", "high"))
    return value if value == UNKNOWN else f"{value} ({low} to {high})"


def switchback_text(system: Json) -> str:
    """The whole service under adaptive rules against static ones, in one sentence."""
    now = "no block now"
    if system["block"]:
        now = f"now a block under {system['block']} rules, {seconds(system['block_ends_in_s'])} to go"
    if system["value"] is None:
        return f"gain of the whole service: not told yet ({number(system['pairs'])} pairs of blocks), {now}"
    interval = f"95% interval {percent(system['low'])} to {percent(system['high'])}"
    pairs = f"{number(system['pairs'])} pairs of blocks"
    return f"gain of the whole service: {percent(system['value'])} less felt cost, {interval}, {pairs}, {now}"


def gain_text(gain: Json) -> str:
    """The adaptive arm against the holdout, in one sentence."""
    counts = f"{number(gain['adaptive_requests'])} against {number(gain['static_requests'])} requests"
    if gain["value"] is None:
        return f"gain: not told yet ({counts})"
    interval = f"95% interval {percent(gain['low'])} to {percent(gain['high'])}"
    return f"gain: {percent(gain['value'])} less felt cost on the adaptive arm, {interval}, {counts}"


def _alert(alert: Json) -> Text:
    labels = ", ".join(f"{safe(k)}={safe(v)}" for k, v in alert.get("labels", {}).items())
    word = "opened" if alert.get("opened") else "closed"
    return text(f"{alert.get('kind')} {word} ({labels}): {alert.get('summary')}", "red" if alert.get("opened") else "")


def _connected(wire: Json, view: Json) -> Text:
    """How many, of a crowd of proxies that speak as one node."""
    if not wire.get("connected", view.get("connected")):
        return Text("no", style="red")
    proxies = wire.get("proxies")
    return text("yes" if proxies is None else f"{proxies} {'proxy' if proxies == 1 else 'proxies'}")


def _nodes(process: Json, decision: Json) -> Table:
    wires = (process.get("wires") or {}).get("nodes") or {}
    views = {node["name"]: node for node in decision.get("nodes", [])}
    columns = ["node", "connected", "telemetry", "reported", "issued/s", "seen/s", "refused", "clock", "dropped", ""]
    table = _table(columns, left=("node", "connected", "telemetry", "dropped", ""))
    for name in [*views, *(n for n in wires if n not in views)]:
        view, wire = views.get(name, {}), wires.get(name, {})
        dropped = ", ".join(f"{safe(r)} {n}" for r, n in sorted((wire.get("dropped") or {}).items())) or "none"
        parked = "; ".join(f"{safe(k)} refused: {safe(words)}" for k, words in (view.get("parked") or {}).items())
        table.add_row(
            text(name),
            _connected(wire, view),
            "fresh" if view.get("fresh") else Text("stale", style="yellow"),
            seconds(view.get("report_age_s")),
            number(view.get("issued_per_s"), 1),
            number(view.get("seen_per_s"), 1),
            number(wire.get("nacks", view.get("nacks"))),
            seconds(wire.get("clock_offset_s")),
            Text(dropped),
            Text(parked, style="red") if parked else text("our module picks" if wire.get("module") else ""),
        )
    return table
