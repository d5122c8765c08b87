"""One incident for what belongs together: all findings about a service and about those who call it, one cause first.

Findings of one service are one incident. A service that calls another one which is in trouble shows that trouble as its
own, so what is found about a caller is put to the callee, hop by hop, as long as the callee's trouble was not found
much later. A caller that is in trouble with several services, each of them well to others, is one trouble, and so is a
proxy, whose trouble shows at all services that it asks. A caller's symptoms may outlive the cause, or those of the hop
between: they stay with their incident, and the cause stays first.
Within an incident the causes are ranked: what is one endpoint's goes before what is a zone's, that before what is one
caller's, and that before what is the service's; but where most endpoints are odd alike, or most of what is odd is
others', it is not theirs.

An incident keeps the name and the labels it was opened with, whatever is found out later: that goes into its words. It
is over when nothing was found for `QUIET_S`. Its severity follows from harm, the share of the requests of its service
that were touched at the worst moment. One endpoint that is slow enough makes its service slow in the mean, which is not
to say that all requests are: what is told of a part is the part's harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from brain.alerts import Condition
from brain.decision import IncidentView
from brain.findings import KINDS, Finding
from models.base import State

SETTLES_S = 1.0
"""From the first finding that a service is slow or fails as a whole to the incident: the next tick often names a better
cause. That it is asked for less or more has none."""
QUIET_S = 15.0
FOLLOWS_S = 15.0
"""A callee's trouble found up to this much later than its caller's is still taken for the cause."""
MOST = 0.5
"""Of a service's endpoints odd alike, above which it is the service; of a zone's, above which it is the zone; of what
is odd, below which it is only a part."""
HARMFUL = 0.05
"""Share of a service's requests from which an incident is critical."""
PARTS_FAIL = ("ZoneFailing", "EndpointFailing")
SHOWN_BY = {
    f"{place}{what}": (f"Node{what}", f"Edge{what}") for place in ("Zone", "Endpoint") for what in ("Failing", "Slow")
}
"""One caller's or one proxy's trouble shows at all endpoints alike, at some by chance first: those that are odd by less
than twice what it makes of each come behind it."""
EVIDENCE = 6
"""Findings that are told of one incident."""

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Open:
    """An incident, or one that is about to be."""

    number: int
    since_s: float
    kind: str = ""  # "": not opened yet
    labels: Labels = ()
    harm: float = 0.0
    mean_harm: float = 0.0  # of the service being slow in the mean
    seen_s: float = 0.0
    causes: tuple[Finding, ...] = field(default_factory=tuple)


class Incidents:
    """Which incidents there are."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}  # by the service at the root
        self._made = 0

    @property
    def services(self) -> frozenset[str]:
        """Those with an incident, or with one about to be."""
        return frozenset(self._open)

    def judge(
        self,
        findings: Sequence[Finding],
        calls: Mapping[str, Iterable[str]],
        endpoints: Mapping[str, Mapping[str, int]],
        done: Callable[[Finding], str],
        now: float,
    ) -> tuple[list[IncidentView], list[Condition]]:
        """All that are open now, as people see them and as alerts want them.

        `calls`: by caller, whom it called lately; `endpoints`: by service, how many it has in each zone; `done`: what
        was done about a finding, in words.
        """
        for root, group in self._homed(_grouped(findings, calls)).items():
            services = {f.service for f in group}
            incident = self._of(root, services, min(f.since_s for f in group))
            incident.seen_s = now
            if incident.kind and root not in services and _which(group) <= _which(incident.causes):
                continue  # its cause is no longer found; what is left of it says nothing new of what that was
            zones = endpoints[root] if root in services else {}  # a root may have left, and its callers show it still
            incident.causes = ranked(group, zones, root)
            at_root = [f for f in group if f.service == root]
            incident.harm = max([incident.harm, *(f.harm for f in at_root if f.kind != "ServiceSlow")])
            incident.mean_harm = max([incident.mean_harm, *(f.harm for f in at_root if f.kind == "ServiceSlow")])
            first = incident.causes[0]
            sure = first.endpoint or first.kind.startswith(("Edge", "Node", "Traffic"))
            if not incident.kind and (sure or now - incident.since_s >= SETTLES_S):
                incident.kind, incident.labels = first.kind, _labels(first)
        for root in [r for r, i in self._open.items() if now - i.seen_s > (QUIET_S if i.kind else 0.0)]:
            del self._open[root]
        views = [_view(i, done) for i in self._open.values() if i.kind]
        return views, [_condition(v, i.labels) for v, i in zip(views, _opened(self._open), strict=True)]

    def state(self) -> State:
        """What is open, and how many there were."""
        return {
            "made": self._made,
            "open": [
                {"root": root}
                | {name: getattr(i, name) for name in ("number", "since_s", "kind", "harm", "mean_harm")}
                | {"labels": [list(label) for label in i.labels], "causes": [asdict(f) for f in i.causes]}
                for root, i in self._open.items()
            ],
        }

    def restore(self, state: Mapping[str, Any], services: Container[str], now: float) -> None:
        """Take up a state, of these services: each has `QUIET_S` to be found again, and is the incident that it was."""
        found = {}
        for kept in state["open"]:
            causes = tuple(Finding(**cause) for cause in kept["causes"])
            if kept["root"] not in services or not causes or not all(f.kind in KINDS for f in causes):
                continue
            labels = tuple((str(name), str(value)) for name, value in kept["labels"])
            number, since_s, kind = int(kept["number"]), float(kept["since_s"]), str(kept["kind"])
            harm, mean_harm = float(kept["harm"]), float(kept.get("mean_harm", 0.0))  # one from before has both in one
            found[str(kept["root"])] = _Open(number, since_s, kind, labels, harm, mean_harm, now, causes)
        self._open, self._made = found, max(self._made, int(state["made"]))

    def _homed(self, groups: Mapping[str, list[Finding]]) -> dict[str, list[Finding]]:
        """What was told of an incident stays with it, when its cause or the hop between is no longer found."""
        told = {key: root for root, i in self._open.items() if i.kind for key in _which(i.causes)}
        out: dict[str, list[Finding]] = defaultdict(list)
        for root, group in groups.items():
            services = {f.service for f in group}
            homes = sorted({told[key] for key in _which(group) if key in told} - services)
            out[homes[0] if homes and root not in self._open else root] += group
        return out

    def _of(self, root: str, services: set[str], since_s: float) -> _Open:
        """The incident of this root, which may have been taken for another service's until now."""
        known = [self._open[s] for s in sorted(services | {root}) if s in self._open]
        if not known:
            self._made += 1
            self._open[root] = _Open(self._made, since_s)
            return self._open[root]
        first = min(known, key=lambda i: (not i.kind, i.number))
        self._open = {s: i for s, i in self._open.items() if i not in known}
        self._open[root] = first
        return first


def _which(findings: Iterable[Finding]) -> set[tuple[str, ...]]:
    """What they are and where: the same from tick to tick, and when they come and go."""
    return {(f.kind, f.service, f.endpoint, f.caller, f.node) for f in findings}


def _opened(incidents: Mapping[str, _Open]) -> list[_Open]:
    return [i for i in incidents.values() if i.kind]


def _grouped(findings: Sequence[Finding], calls: Mapping[str, Iterable[str]]) -> dict[str, list[Finding]]:
    """Findings by the service at the root of them. Those that call each other in a ring have one root."""
    by_service: dict[str, list[Finding]] = defaultdict(list)
    for f in findings:
        by_service[f.service].append(f)
    began = {s: min(f.since_s for f in some) for s, some in by_service.items()}
    below = {s: {c for c in calls.get(s, ()) if c in began and began[c] <= began[s] + FOLLOWS_S} for s in began}
    for whom in _askers(findings).values():
        for s in whom:
            below[s] |= whom - {s}  # as if they called each other: what they share is who asks
    reached = {s: _reached(s, below) for s in began}

    def likely(service: str) -> tuple[float, float, str]:
        return min(KINDS[f.kind].rank for f in by_service[service]), began[service], service

    out: dict[str, list[Finding]] = defaultdict(list)
    for service, some in by_service.items():
        at = service
        while True:
            ring = {s for s in reached[at] if at in reached[s]}
            beyond = {c for s in ring for c in below[s]} - ring
            if not beyond:
                break
            at = min(beyond, key=likely)
        out[min(ring, key=likely)] += some
    return out


def _askers(findings: Iterable[Finding]) -> Mapping[tuple[str, str], set[str]]:
    """By caller and by proxy, the services with which it alone is in trouble."""
    out: dict[tuple[str, str], set[str]] = defaultdict(set)
    for f in findings:
        if f.kind.startswith(("Edge", "Node")):
            out[f.caller, f.node].add(f.service)
    return out


def _reached(service: str, below: Mapping[str, Iterable[str]]) -> set[str]:
    """This service and all that it calls, hop by hop."""
    out, ahead = {service}, [service]
    while ahead:
        ahead = [c for s in ahead for c in below[s] if c not in out]
        out.update(ahead)
    return out


def ranked(group: Sequence[Finding], zones: Mapping[str, int], root: str) -> tuple[Finding, ...]:
    """Causes, the likeliest first. `zones`: how many endpoints the root service has in each."""
    out = [f for f in group if not f.endpoint or f.service != root]
    for kind in ("EndpointHangs", "EndpointFailing", "EndpointSlow"):
        mine = [f for f in group if f.endpoint and f.service == root and f.kind == kind]
        out += _of_endpoints(mine, zones, kind)
    mine = [f for f in out if f.service == root]
    few = _few_of_its_failures(mine)
    adds = {
        kind: max((_adds(f) for f in mine if f.kind == kind), default=0.0)
        for both in SHOWN_BY.values()
        for kind in both
    }

    def order(f: Finding) -> tuple[Any, ...]:
        rank: float = KINDS[f.kind].rank
        if few and f.kind in PARTS_FAIL:
            rank = KINDS["ServiceFailing"].rank + rank / 10.0
        for kind in SHOWN_BY.get(f.kind, ()):
            if MOST * _own(f) < adds[kind]:
                rank = max(rank, KINDS[kind].rank + KINDS[f.kind].rank / 100.0)
        return f.service != root, rank, -f.harm * f.times, f.endpoint, f.caller, f.node

    return tuple(sorted(out, key=order))


def _few_of_its_failures(mine: Sequence[Finding]) -> bool:
    """Whether most of what fails at the root fails at endpoints that are not found to fail: chance took these first."""
    parts = sum(f.harm for f in mine if f.kind == "EndpointFailing")
    return any(parts < MOST * f.harm for f in mine if f.kind == "ServiceFailing")


def _own(f: Finding) -> float:
    """How odd it is by itself: the share that fails, or the part of the usual latency by which it takes longer."""
    return f.times - 1.0 if f.kind.endswith("Slow") else f.value


def _adds(f: Finding) -> float:
    """What it makes of that at each endpoint of the service."""
    return f.harm * (f.times - 1.0) if f.kind.endswith("Slow") else f.harm


def _of_endpoints(mine: list[Finding], zones: Mapping[str, int], kind: str) -> list[Finding]:
    """These endpoints' findings, or what they are a part of: a zone's, or the service's."""
    odd: dict[str, int] = defaultdict(int)
    for f in mine:
        odd[f.zone] += 1
    total, what = sum(zones.values()), kind.removeprefix("Endpoint")
    whole = [z for z, n in odd.items() if z and n >= 2 and n > MOST * zones[z]]
    if len(whole) == 1 and odd[whole[0]] > MOST * len(mine) and len(zones) > 1:
        name = whole[0]
        said = f"zone {name}: {odd[name]} of its {zones[name]} endpoints are odd, as {mine[0].said}"
        worst = max(mine, key=lambda f: f.times)
        harm = sum(f.harm for f in mine)
        return [replace(worst, kind=f"Zone{what}", endpoint="", zone=name, said=said, harm=min(1.0, harm)), *mine]
    if len(mine) > MOST * total:
        worst = max(mine, key=lambda f: f.times)
        said = f"{len(mine)} of the {total} endpoints of {worst.service} are odd, as {worst.said}"
        kind = "ServiceFailing" if what == "Failing" else "ServiceSlow"
        return [replace(worst, kind=kind, endpoint="", zone="", said=said, harm=min(1.0, sum(f.harm for f in mine)))]
    return mine


def _labels(f: Finding) -> Labels:
    out = [("service", f.service)]
    if f.endpoint:
        out.append(("endpoint", f.endpoint))
    elif f.kind.startswith("Zone"):
        out.append(("zone", f.zone))
    elif f.caller:
        out.append(("caller", f.caller))
    elif f.node:
        out = [("node", f.node)]  # whatever services it asks
    return tuple(out)


def _view(incident: _Open, done: Callable[[Finding], str]) -> IncidentView:
    first = incident.causes[0]
    part = first.endpoint or first.kind.startswith(("Zone", "Edge", "Node"))
    harm = incident.harm if part and incident.harm > 0.0 else max(incident.harm, incident.mean_harm)
    return IncidentView(
        id=f"I-{incident.number}",
        kind=incident.kind,
        labels=dict(incident.labels),
        severity="critical" if harm >= HARMFUL else "warning",
        since_s=incident.since_s,
        summary=first.said,
        causes=tuple(dict.fromkeys(f"{f.kind} {f.place}" for f in incident.causes)),
        evidence=tuple(incident.causes[:EVIDENCE]),
        harm=harm,
        done=done(first),
        advice=KINDS[first.kind].advice,
    )


def _condition(view: IncidentView, labels: Labels) -> Condition:
    return Condition(view.kind, labels, view.summary, described(view), view.severity)


def described(view: IncidentView) -> str:
    """What people read beside the summary: evidence, harm, what was done and what may be."""
    lines = [f.said for f in view.evidence]
    lines += [f"touches {view.harm:.1%} of the requests at worst", f"done: {view.done}", f"to do: {view.advice}"]
    return "\n".join(lines)
