"""What the brain keeps over a restart, and what it does not.

Kept, by name and address: the features, the capacities, what is usual, what is odd and what people were told of it,
each service's evidence for its gain, how far its share was stepped back, the operator's commands, and the plan's
version, so that no version is ever used twice. Not kept: the weights in force. After a restart every lease has ended,
and the brain comes back from the operator's weights in bounded steps.

A command holds against the settings it overruled and no others: when the file says something new on the restart, the
file wins. A freeze is kept, and then holds what a restart leaves: nothing leased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from brain.alerts import Alerts
from brain.fading import FadingMean
from brain.settings import Mode
from brain.warm import Warm
from brain.watch import Watch

if TYPE_CHECKING:
    from brain.course import Course
    from brain.proof import Evidence
    from brain.settings import Settings
    from dataplane.contract import Topology
    from models.base import State

KIND = "weirflow.brain"
VERSION = 2


def open_state(state: State) -> None:
    """ValueError, saying why, when the state is not of this brain's kind and version."""
    if state.get("kind") != KIND:
        raise ValueError(f"this is a state of {state.get('kind')!r}, not of a brain ({KIND!r})")
    if state.get("version") != VERSION:
        raise ValueError(f"this state has version {state.get('version')!r}, this brain reads {VERSION}")


def keep_services(courses: dict[int, Course], evidence: Evidence, settings: Settings) -> State:
    """Each service's commands, step and evidence, by name."""
    arrays = evidence.state()
    return {
        c.service.name: {
            "mode": str(c.mode),
            "mode_overruled": str(settings.modes.get(c.service.name, settings.mode)),
            "share": float(c.commanded),
            "share_overruled": float(settings.shares.get(c.service.name, settings.share_percent)),
            "step": c.step.step,
            "stepped_at": float(c.step.stepped_at),
            "switchback": c.pairs.log_ratio.state(),
            **{name: array[i].copy() for name, array in arrays.items()},
        }
        for i, c in courses.items()
    }


def watching(state: State, topology: Topology, settings: Settings, now: float) -> tuple[Watch | None, Alerts]:
    """What is usual, what is odd and what people were told of it. States from before the watch was kept have none."""
    watch, alerts = Watch(topology) if settings.models.anomalies else None, Alerts()
    if watch is not None and state.get("watch") is not None:
        watch.restore(state["watch"], now)
        alerts.restore(state["alerts"], now)
    return watch, alerts


def warming(state: State, topology: Topology) -> Warm:
    """How services start, as far as it was learned. States from before that was kept have nothing."""
    warm = Warm(topology)
    if state.get("warm") is not None:
        warm.restore(state["warm"])
    return warm


def check_services(state: State) -> dict[str, dict[str, Any]]:
    """The services' part with every value in its type; ValueError when one is missing or odd."""
    out = {}
    for name, kept in state.items():
        try:
            out[name] = {
                "mode": Mode(kept["mode"]),
                "mode_overruled": Mode(kept["mode_overruled"]),
                "share": float(kept["share"]),
                "share_overruled": float(kept["share_overruled"]),
                "step": int(kept["step"]),
                "stepped_at": float(kept["stepped_at"]),
                "switchback": FadingMean.check(kept["switchback"]) if "switchback" in kept else None,
                **{a: np.array(kept[a], dtype=np.float64) for a in ("sums", "moments", "worth")},
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"service {name!r} in this state cannot be read: {error!r}") from error
    return out


def resume(course: Course, kept: dict[str, Any], settings: Settings, now: float) -> None:
    """Give one service back what an operator commanded and how far it was stepped back."""
    name = course.service.name
    if kept["mode_overruled"] == settings.modes.get(name, settings.mode):
        course.mode = kept["mode"]
    if kept["share_overruled"] == settings.shares.get(name, settings.share_percent):
        course.commanded = kept["share"]
        course.step.step = max(0, kept["step"])
        course.step.stepped_at = min(kept["stepped_at"], now)
        if kept["switchback"] is not None:
            course.pairs.log_ratio.restore(kept["switchback"], now)
