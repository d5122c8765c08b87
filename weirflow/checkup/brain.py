"""A brain that answers, its proxies, its alerts and its recording: pure functions of the answer of `/status`.

They bear with what is missing from it: what a brain of another version does not tell is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from weirflow.checkup.found import Check, failure, first, not_made, ok, warning
from weirflow.commands.figures import seconds

Json = dict[str, Any]

LATE_TICKS = 3.0
"""Periods without a tick that a busy machine may cost."""
MANY_SKIPPED = 0.01
TICK_S, TTL_S = 1.0, 5.0  # the defaults, where a brain does not tell its own
LATE_CHECKPOINTS = 3.0
SKEW_S = 1.0
"""What is told as a clock's offset has the quickest way of a log entry in it, which takes part of a second."""


def answering(answer: Json, admin: str, version: str) -> Iterator[Check]:
    """Who answers. `version` is ours."""
    theirs = str((answer.get("process") or {}).get("version") or "")
    if theirs and theirs != version:
        words = f"Weirflow {theirs} answers at {admin}, and this is Weirflow {version}"
        yield warning("answers", words, "use the command of that installation", "how-to.md#before-you-upgrade")
    else:
        yield ok("answers", f"Weirflow {theirs} at {admin}".replace("  ", " "))


def ticking(answer: Json) -> Iterator[Check]:
    """Whether it decides, in time, and renews what it has leased."""
    process, decision = answer.get("process") or {}, answer.get("decision")
    driver = process.get("driver") or {}
    now, tick_s = answer.get("now") or 0.0, process.get("tick_s") or TICK_S
    ttl_s = (process.get("xds") or {}).get("ttl_s") or TTL_S
    if decision is None:
        yield warning(
            "ticks", "nothing has been decided yet", "the first tick comes within a second", "runbook.md#tickoverrun"
        )
    else:
        yield _ticks(now - decision["now"], tick_s, driver)
    yield _lease(now, ttl_s, driver, decision)
    failed = (driver.get("tick_errors") or 0) + (driver.get("told_errors") or 0)
    if failed:
        said = (driver.get("problems") or [""])[-1]
        words = f"the brain has failed {failed} times since it started" + (f"; last: {said}" if said else "")
        yield warning("failed ticks", words, "if it goes on, restart it and report it", "runbook.md#tickerrors")
    else:
        yield ok("failed ticks", "none since it started")


def _ticks(age_s: float, tick_s: float, driver: Json) -> Check:
    if age_s > LATE_TICKS * tick_s:
        words = f"the last was {seconds(age_s)} ago, and they are due every {seconds(tick_s)}"
        return failure("ticks", words, "look at the load of its machine", "runbook.md#tickoverrun")
    skipped, took_s = driver.get("ticks_skipped") or 0, driver.get("last_tick_s") or 0.0
    if took_s > tick_s:
        words = f"the last took {seconds(took_s)}, longer than the {seconds(tick_s)} between two"
        return warning("ticks", words, "give it more CPU, or set adaptive.tick", "runbook.md#tickoverrun")
    if skipped > MANY_SKIPPED * ((driver.get("ticks") or 0) + skipped):
        words = f"{skipped} came too late and were skipped, of {(driver.get('ticks') or 0) + skipped}"
        return warning("ticks", words, "give it more CPU, or set adaptive.tick", "runbook.md#tickoverrun")
    return ok("ticks", f"the last {seconds(max(age_s, 0.0))} ago, in {seconds(took_s)}")


def _lease(now: float, ttl_s: float, driver: Json, decision: Json | None) -> Check:
    renewed = driver.get("renewed_at")
    if renewed is None and decision is not None and decision.get("plan") is not None:
        renewed = decision["now"]
    if renewed is not None and now - renewed <= ttl_s:
        return ok("lease", f"renewed {seconds(max(now - renewed, 0.0))} ago, for {seconds(ttl_s)}")
    words = "never renewed" if renewed is None else f"renewed {seconds(now - renewed)} ago, for {seconds(ttl_s)}"
    hint = "nothing learned is in force; see why it makes no plan with weirflow status"
    if decision is None:
        return warning("lease", words, hint, "runbook.md#leasenotrenewed")
    return failure("lease", words, hint, "runbook.md#leasenotrenewed")


def keeping(answer: Json) -> Iterator[Check]:
    """Whether the configuration is the newest, and what was learned outlives it."""
    process = answer.get("process") or {}
    refused = (process.get("config") or {}).get("reload_error")
    if refused:
        words = f"the last was refused: {str(refused).partition(chr(10))[0]}"
        yield failure("reload", words, "mend it and send SIGHUP; the old one stays", "runbook.md#reloadrefused")
    else:
        yield ok("reload", f"{(process.get('config') or {}).get('file', 'the mesh file')} is in force")
    if "checkpoint" not in process:
        yield not_made("checkpoint", "this brain does not tell")
        return
    kept, driver = process["checkpoint"], process.get("driver") or {}
    if kept is None:
        yield ok("checkpoint", "none is kept: every start is a cold one")
        return
    at, every_s, now = driver.get("checkpointed_at"), kept.get("every_s") or 0.0, answer.get("now") or 0.0
    problem, hint = driver.get("checkpoint_problem"), f"look at the disk of {kept.get('file')}"
    if problem:
        yield failure("checkpoint", str(problem), hint, "how-to.md#no-checkpoint-is-written")
    elif at is None:
        yield ok("checkpoint", f"none yet: one is due every {seconds(every_s)}")
    elif now - at > LATE_CHECKPOINTS * every_s:
        words = f"written {seconds(now - at)} ago, and one is due every {seconds(every_s)}"
        yield failure("checkpoint", words, hint, "how-to.md#no-checkpoint-is-written")
    else:
        yield ok("checkpoint", f"written {seconds(now - at)} ago")


def proxies(answer: Json, minor: str) -> Iterator[Check]:
    """Every node: connected, telling, refusing nothing, by our time, of the version that is tried (`minor`)."""
    wires = ((answer.get("process") or {}).get("wires") or {}).get("nodes") or {}
    views = {str(n.get("name")): n for n in (answer.get("decision") or {}).get("nodes") or []}
    names = [*views, *(n for n in wires if n not in views)]
    if not names:
        yield not_made("nodes", "the brain tells of none")
        return
    nodes = [(name, wires.get(name) or {}, views.get(name) or {}) for name in names]
    there = [n for n in nodes if n[1].get("connected", n[2].get("connected"))]
    for judge, of, good in (
        (_connected, nodes, ok("connected", f"{len(there)} of {len(nodes)} nodes")),
        (_fresh, there, ok("telemetry", f"fresh from {len(there)} nodes")),
        (_refused, nodes, ok("refusals", "no node refuses what it was last sent")),
        (_clock, there, ok("clocks", f"{_offsets(there)}")),
        (_version, there, ok("versions", _versions(there))),
        (_module, there, ok("pick module", _modules(there))),
        (_contradicts, there, ok("agreement", "no node contradicts the others")),
    ):
        looked: Callable[[str, Json, Json, str], Check | None] = judge
        found = [check for name, wire, view in of if (check := looked(name, wire, view, minor)) is not None]
        if of:
            yield from first(found, good)
        else:
            yield not_made(good.name, "no node is connected")


def _connected(name: str, wire: Json, view: Json, _: str) -> Check | None:
    if wire.get("connected", view.get("connected")):
        return None
    if wire.get("proxies") is not None:
        hint = "have them send their access log here, and look whether their ids match its `ids`"
        return failure("connected", f"no proxy speaks as {name}", hint, "how-to.md#with-istio")
    hint = "start that Envoy with the file of: weirflow bootstrap " + name
    return failure("connected", f"{name} is not", hint, "how-to.md#a-node-is-not-connected")


def _fresh(name: str, wire: Json, view: Json, _: str) -> Check | None:
    if not view or view.get("fresh"):
        return None
    age = view.get("report_age_s")
    words = f"{name} never reported" if age is None else f"the last report of {name} is {seconds(age)} old"
    hint = "look at its load, and at the way from it to xds.port"
    return failure("telemetry", words, hint, "runbook.md#telemetrystale")


def _refused(name: str, wire: Json, view: Json, _: str) -> Check | None:
    parked = view.get("parked") or {}
    if not parked:
        return None
    words = "; ".join(f"{kind}: {said}" for kind, said in parked.items())
    return failure(
        "refusals", f"{name} refuses {words}", "mend what it names in the mesh file", "how-to.md#read-a-nack"
    )


def _clock(name: str, wire: Json, view: Json, _: str) -> Check | None:
    offset = wire.get("clock_offset_s")
    if offset is None or abs(offset) <= SKEW_S:
        return None
    # The offset is what has to be added to its times to have ours.
    words = f"that of {name} is {seconds(abs(offset))} {'behind' if offset > 0 else 'ahead of'} ours"
    hint = "set it by NTP; nothing is learned by it, but recordings and logs of several nodes cannot be put in order"
    return warning("clocks", words, hint, "how-to.md#a-clock-is-off")


def _offsets(nodes: list[tuple[str, Json, Json]]) -> str:
    known = [abs(w["clock_offset_s"]) for _, w, _ in nodes if w.get("clock_offset_s") is not None]
    if not known:
        return "not known before a node has sent a log entry"
    return f"at most {seconds(max(known))} from ours, the way of a log entry included"


def _version(name: str, wire: Json, view: Json, minor: str) -> Check | None:
    agent = str(wire.get("agent") or "")
    kind, _, version = agent.partition(" ")
    if kind != "envoy" or not version or version.startswith(f"{minor}."):
        return None
    words = f"{name} is Envoy {version}; what is tried is {minor}"
    return warning("versions", words, f"run Envoy {minor} there", "how-to.md#another-version-of-envoy")


def _versions(nodes: list[tuple[str, Json, Json]]) -> str:
    agents = sorted({str(w["agent"]) for _, w, _ in nodes if w.get("agent")})
    return ", ".join(agents[:10]) if agents else "no node tells"


def _module(name: str, wire: Json, view: Json, _: str) -> Check | None:
    said = wire.get("module_refused")
    if not said:
        return None
    words = f"{name} said that it has it, and refused it: {said}; Envoy's own policies pick there"
    hint = "put libweirflow_pick.so of this version of Weirflow where that Envoy looks for it, and start it again"
    return warning("pick module", words, hint, "how-to.md#pick-by-capacity-and-queue")


def _modules(nodes: list[tuple[str, Json, Json]]) -> str:
    return f"{sum(bool(w.get('module')) for _, w, _ in nodes)} of {len(nodes)} nodes have it"


def _contradicts(name: str, wire: Json, view: Json, _: str) -> Check | None:
    if not view.get("contradicts"):
        return None
    words = f"{name} contradicts the others about {view['contradicts']} endpoints, and is not believed about them"
    return warning("agreement", words, "look at its own network and machine", "runbook.md#nodecontradicts")


def alerts(answer: Json) -> Iterator[Check]:
    """Who is to be told, and whether they are."""
    receivers = ((answer.get("process") or {}).get("alerts") or {}).get("receivers") or []
    down = [
        failure(
            "receivers",
            f"{r.get('receiver')} is not reached, {r.get('failures')} times in a row: {r.get('error')}",
            "mend it or the way to it; it is told what it missed",
            "runbook.md#alertsnotdelivered",
        )
        for r in receivers
        if r.get("up") is False
    ]
    words = f"{len(receivers)} reached or not needed yet" if receivers else "none is named: alerts are in the log alone"
    yield from first(down, ok("receivers", words))
    lost = [r for r in receivers if r.get("lost")]
    if lost:
        words = ", ".join(f"{r.get('receiver')} {r['lost']}" for r in lost)
        hint = "they hear of what is open, not of what they missed"
        yield warning("missed messages", words, hint, "runbook.md#alertsnotdelivered")


def recording(answer: Json) -> Iterator[Check]:
    """Whether what it does is written down."""
    process = answer.get("process") or {}
    held = process.get("recording")
    if held is None:
        yield ok("running", "nothing is recorded: the mesh file names no recording.folder")
        return
    if held.get("problem") or held.get("state") != "recording":
        words = str(held.get("problem") or f"it is {held.get('state')}")
        hint = "make room or mend the disk, and restart Weirflow to begin another"
        yield failure("running", words, hint, "how-to.md#the-recording-stopped")
        return
    yield ok("running", f"{held.get('attempts', 0)} attempts in {held.get('folder')}")
