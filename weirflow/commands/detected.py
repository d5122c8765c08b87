"""`detect` over a recording: runs the watch, and says what it found as text, as plain data and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType
from rich.table import Table

from brain.settings import Settings
from weirflow import __version__
from weirflow.commands.failing import FAILED
from weirflow.commands.figures import percent
from weirflow.commands.incidents import STYLES, story
from weirflow.commands.output import complain, text
from weirflow.commands.progress import progress
from weirflow.config.units import format_duration
from weirflow.detected_run import Found, Identity, Watching, identity
from weirflow.notify.words import moment
from weirflow.plain import plain
from weirflow.recording import RecordingError, newest, read
from weirflow.replay import ReplayError
from weirflow.replay.told import changed_settings

_LINES = 20  # of one list in the text; the JSON has them all


def watch(folder: Path) -> Watching:
    """Go over a recording, or the newest of a folder of them. Exits, with the words, when it cannot be read."""
    watching = None
    try:
        recording = read(newest(folder))
        if not recording.parts:
            raise recording.faults[0] if recording.faults else ReplayError("none of its parts was closed")
        watching = Watching(recording)
        began = recording.started
        with progress("watching", max(recording.parts[-1].ended - began, 1e-9)) as far:
            watching.go(lambda now: far.at(now - began))
    except RecordingError as error:
        if watching is not None and watching.ticks:
            many = len(watching.found)
            complain(f"{watching.ticks} ticks, until {moment(watching.now)}: {many} incidents; then it broke:")
        complain(str(error), "see 'weirflow record inspect' for what can be read")
        raise typer.Exit(FAILED) from error
    except ReplayError as error:
        complain(f"{folder}: {error}")
        raise typer.Exit(FAILED) from error
    return watching


def to_dict(watching: Watching) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    recording = watching.recording
    found: dict[str, Any] = plain(
        {
            "recording": str(recording.folder),
            "recorded_by": recording.weirflow,
            "weirflow": __version__,
            "started": recording.started,
            "ended": watching.now,
            "ticks": watching.ticks,
            "settings": watching.settings,
            "notes": notes(watching),
            "as_recorded": watching.as_recorded,
            "incidents": [f.record.to_dict() | {"figures": _figures(f)} for f in watching.found],
        }
    )
    return found


def _figures(found: Found) -> list[dict[str, Any]]:
    return [
        {"kind": c.kind, "place": c.place, "at": c.at}
        | {name: [row[i] for row in c.figures] for i, name in enumerate(("value", "low", "high"))}
        for c in found.courses
    ]


def notes(watching: Watching) -> list[str]:
    """What to know of how it was found."""
    changed = changed_settings(plain(Settings()), plain(watching.settings))
    more = [f"and {len(changed) - _LINES} more"] if len(changed) > _LINES else []
    said = ", ".join(changed[:_LINES] + more)
    out = [f"settings as recorded: {said}" if said else "settings as recorded, all of them the defaults"]
    if watching.off:
        out.append("the recorded settings have the watch off (models.anomalies); it was on here")
    if not watching.decided:
        out.append(f"the recording holds no decision: the brain ticked each {watching.settings.tick_s:g} s")
    if not watching.reported:
        out.append("the recording holds no load report: hangs and traffic could not be judged")
    if watching.as_recorded is not None:
        many = len(watching.told)
        by = f"the recorded decisions, by {watching.recording.weirflow or 'an unknown version'}, hold"
        if watching.as_recorded:
            out.append(f"{by} the same incidents" if many else f"{by} no incident either")
        else:
            here = {identity(f.record) for f in watching.found}
            there = set(watching.told.values())
            out.append(f"{by} others: only there {_said(there - here)}; only here {_said(here - there)}")
    return out


def _said(some: set[Identity]) -> str:
    words = [f"{k} ({_where(dict(labels))}) at {moment(at)}" for k, labels, at in sorted(some, key=lambda i: i[2])]
    more = [f"and {len(words) - _LINES} more"] if len(words) > _LINES else []
    return ", ".join(words[:_LINES] + more) or "none"


def render(watching: Watching) -> Iterator[RenderableType]:
    """The same for people: a table, then each with its timeline."""
    recording, now = watching.recording, watching.now
    lasts = format_duration(max(0, round(now - recording.started)))
    yield text(f"{recording.folder}: {watching.ticks} ticks, {lasts} of the mesh from {moment(recording.started)}")
    for note in notes(watching):
        yield text(f"  {note}")
    yield text("")
    if not watching.found:
        yield text("nothing was found")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("incident", "since (UTC)", "lasted", "severity", "kind", "where", "harm", "likeliest cause")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in ("where", "likeliest cause"))
    for found in watching.found:
        record, view = found.record, found.record.view
        lasted = format_duration(max(0, round((now if record.ended is None else record.ended) - record.since)))
        table.add_row(
            text(view.id),
            text(moment(record.since)),
            text(lasted if record.ended is not None else f"{lasted}, open"),
            text(view.severity, STYLES.get(view.severity, "")),
            text(view.kind),
            text(_where(view.labels)),
            text(percent(view.harm)),
            text(view.causes[0] if view.causes else ""),
        )
    yield table
    for found in watching.found:
        yield text("")
        yield story({"incident": found.record.to_dict(), "now": now})


def _where(labels: Any) -> str:
    return ", ".join(f"{k}={v}" for k, v in dict(labels).items())
