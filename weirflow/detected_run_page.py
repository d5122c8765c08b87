"""The incidents of a recording as one page that needs nothing else: each with its timeline and what it was found by."""

from __future__ import annotations

import numpy as np

from weirflow.counts import Counts
from weirflow.detected_page import plot
from weirflow.detected_run import Course, Found, Watching
from weirflow.lab.markup import Markup, element
from weirflow.lab.sheet import sheet
from weirflow.notify.words import moment

UNITS = {
    "Hangs": "seconds with requests open and none ended",
    "Slow": "seconds a request",
    "Failing": "share that fails",
    "Short": "requests a second; above the band is more than it bears",
    "Ahead": "requests a second; above the band is more than it bears",
    "Drop": "requests a second",
    "Surge": "requests a second",
    "Size": "bytes a request",
}
"""Of the figure of a kind, by how its name ends."""


def page(watching: Watching) -> str:
    """The whole page."""
    recording, found = watching.recording, watching.found
    title = f"Weirflow: incidents in {recording.folder.name}"
    span = f"{moment(recording.started)} to {moment(watching.now)}"
    note = f"{span}, {watching.ticks} ticks, {len(found)} incidents. "
    note += "Line: the figure it was found by. Shaded: what would have been usual. Rings: when it was first found."
    parts = [_incident(f, watching.settings.tick_s) for f in found] or [element("p", "Nothing was found.")]
    return sheet(title, element("h1", title), element("p", note), *parts)


def _incident(found: Found, step_s: float) -> Markup:
    record, view = found.record, found.record.view
    where = ", ".join(f"{k}={v}" for k, v in view.labels.items())
    until = "open at the end" if record.ended is None else f"over at {moment(record.ended)}"
    rows = [element("tr", element("td", moment(at)), element("td", what)) for at, what in record.timeline]
    return element(
        "section",
        element("h2", f"{view.id} {view.severity} {view.kind} ({where})"),
        element("p", view.summary),
        element("p", f"Since {moment(record.since)}, {until}; touches {view.harm:.1%} of the requests at worst."),
        element("ol", *(element("li", cause) for cause in view.causes)),
        *(_figure(course, record.since, step_s) for course in found.courses if course.at),
        element("div", element("table", element("tbody", *rows)), class_="scroll"),
        element("p", f"To do: {view.advice}"),
    )


def _figure(course: Course, since: float, step_s: float) -> Markup:
    """Its ticks on an even grid: one that was skipped is a gap."""
    place = np.round((np.array(course.at) - course.at[0]) / step_s).astype(np.int64)
    rows = np.full((3, place[-1] + 1), np.nan)
    rows[:, place] = np.stack(course.figures, axis=1)
    value, low, high = rows
    counts = Counts(course.at[0], step_s, value)
    first = int(np.clip(round((since - course.at[0]) / step_s), 0, place[-1]))
    marks = [(first, f"first found {moment(since)}")] if np.isfinite(value[first]) else []
    unit = next((words for end, words in UNITS.items() if course.kind.endswith(end)), "")
    caption = element("figcaption", f"{course.kind} {course.place}: {unit}")
    return element("figure", caption, plot(counts, low, high, marks))
