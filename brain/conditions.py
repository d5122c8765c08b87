"""All that is wrong at a tick, in words, for the alerts to be patient about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from brain.alerts import Condition
from brain.course import DISPUTED

if TYPE_CHECKING:
    from brain.course import Course
    from brain.decision import NodeView
    from brain.explain import Move


def conditions(
    models: Iterable[Condition],
    overran: int | None,
    nodes: Iterable[NodeView],
    courses: Iterable[Course],
    moves: Mapping[int, Move],
    known: Collection[str] = (),
) -> list[Condition]:
    """What holds now. `models`: of the models; `overran`: ticks that were skipped; `moves`: by service id.

    `known`: services with an incident, of which nobody need hear twice that they are in trouble.
    """
    out = list(models)
    if overran:
        out.append(Condition("TickOverrun", (), f"{overran} ticks were skipped: the last one came too late"))
    for node in nodes:
        out += _of_node(node)
    for course in courses:
        out += _of_service(course, moves[course.service.id], known)
    return out


def _of_node(node: NodeView) -> list[Condition]:
    label = ("node", node.name)
    out = [
        Condition("NackParked", (label, ("type", kind)), f"node {node.name} refuses its {kind}: {words}")
        for kind, words in node.parked.items()
    ]
    if node.connected and not node.fresh:
        out.append(Condition("TelemetryStale", (label,), f"node {node.name} is unknown: {_silence(node)}"))
    if node.contradicts:
        said = f"node {node.name} contradicts the others about {node.contradicts} endpoints"
        out.append(Condition("NodeContradicts", (label,), f"{said}, by {node.worst_ratio:.1f} times at most"))
    return out


def _of_service(course: Course, move: Move, known: Collection[str]) -> list[Condition]:
    name, out = course.service.name, []
    if course.step.step:
        out.append(Condition("ShareSteppedBack", (("service", name),), f"{name} stands at {course.share:g} %"))
    for address in course.gaining:
        labels = (("service", name), ("endpoint", address))
        said = f"{name}: {address} grew far stronger than it was and than its peers, without a known reason"
        out.append(Condition("UnexplainedGain", labels, f"{said}: it gets no more than it has"))
    if move.guarded.trouble and (name not in known or move.guarded.trouble == DISPUTED):
        out.append(Condition("ServiceInTrouble", (("service", name),), f"{name}: {move.guarded.trouble}"))
    return out


def _silence(node: NodeView) -> str:
    """What a node that cannot be believed does or does not do."""
    if node.report_age_s is None:
        return "it never reported"
    if node.report_age_s > 1.0:
        return f"it reported {node.report_age_s:.0f} s ago"
    return "its reports say that requests finish, its log brings nothing"
