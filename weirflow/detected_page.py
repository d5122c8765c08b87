"""What was detected as one page that needs nothing else: the series, what was expected of it, and the alarms.

A long series is drawn by columns, each from its least to its greatest value, so that no peak is lost between pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from weirflow.counts import Counts
from weirflow.detected import Detected
from weirflow.lab.markup import Markup, element
from weirflow.lab.sheet import sheet

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 1100.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 76.0, 10.0, 10.0, 30.0
COLUMNS = 1000
TICKS = 5
AROUND = 0.25
"""The band is drawn so far beyond the values, in parts of their span; what it leaves open further out is cut."""


def page(name: str, counts: Counts, detected: Detected) -> str:
    """The whole page."""
    title = f"Weirflow: what is surprising in {name}"
    told = f"{len(counts.values)} steps, {counts.missing} missing, {len(detected.alarms)} alarms. "
    note = told + "Line: values. Shaded: what was expected of each step before it was seen. Rings: alarms."
    marks = [
        (i, f"{moment(counts, i)}: {counts.values[i]:.6g}, score {detected.score[i]:.2f}")
        for i in detected.alarms.tolist()
    ]
    drawn = plot(counts, detected.low, detected.high, marks)
    return sheet(title, element("h1", title), element("p", note), *map(_wide, (drawn, _table(counts, detected))))


def _wide(part: Markup) -> Markup:
    """What does not become narrower than it can be read."""
    return element("div", part, class_="scroll")


def plot(counts: Counts, lows: Floats, highs: Floats, marks: Sequence[tuple[int, str]]) -> Markup:
    """The figure of a series and the band in which it was expected. `marks`: rings, by step, and their words."""
    values = counts.values
    seen = values[np.isfinite(values)]
    least, most = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    margin = AROUND * (most - least) or max(abs(most), 1.0)
    floor, roof = least - margin, most + margin
    last = max(len(values) - 1, 1)

    def x(step: float) -> float:
        return LEFT + step / last * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        held = min(max(value, floor), roof)
        return TOP + (roof - held) / (roof - floor) * (HEIGHT - TOP - BOTTOM)

    parts = [element("title", "values over time")]
    # The band first, so that all else lies on it.
    per = -(-len(values) // COLUMNS)
    starts = range(0, len(values), per)
    for i in starts:
        low, high = _span(lows[i : i + per], highs[i : i + per])
        if np.isfinite(low):
            top, left = y(high), x(i)
            width = min(x(i + per), WIDTH - RIGHT) - left
            parts.append(element("rect", x=left, y=top, width=width + 0.1, height=y(low) - top, class_="band"))
    for value in np.linspace(floor, roof, TICKS).tolist():
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value), class_="grid"))
        parts.append(element("text", f"{value:.4g}", x=LEFT - 6, y=y(value) + 4, text_anchor="end"))
    for k, step in enumerate(np.linspace(0, last, TICKS).tolist()):
        anchor = "start" if k == 0 else "end" if k == TICKS - 1 else "middle"
        when = moment(counts, round(step))
        parts.append(element("text", when, x=x(step), y=HEIGHT - 8, text_anchor=anchor))
    steps, pen = [], "M"
    for i in starts:
        low, high = _span(values[i : i + per], values[i : i + per])
        if not np.isfinite(low):
            pen = "M"
            continue
        steps.append(f"{pen}{x(i):.1f} {y(low):.1f}" + (f"L{x(i):.1f} {y(high):.1f}" if high > low else ""))
        pen = "L"
    parts.append(element("path", d=" ".join(steps), class_="line c0"))
    for i, words in marks:
        told = element("title", words)
        parts.append(element("circle", told, cx=x(i), cy=y(float(values[i])), r=6, class_="alarm"))
    return element("svg", *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label="values over time")


def _span(low: Floats, high: Floats) -> tuple[float, float]:
    """The least and the greatest; NaN where nothing is known."""
    if not (np.isfinite(low) & np.isfinite(high)).any():
        return np.nan, np.nan
    return float(np.nanmin(low)), float(np.nanmax(high))


def _table(counts: Counts, detected: Detected) -> Markup:
    head = element("tr", *(element("th", name, scope="col") for name in ("from (UTC)", "value", "expected", "score")))
    rows = []
    for i in detected.alarms.tolist():
        low, high = detected.low[i], detected.high[i]
        expected = f"{low:.5g} to {high:.5g}" if np.isfinite(low) else "unknown"
        cells = (moment(counts, i), f"{counts.values[i]:.6g}", expected, f"{detected.score[i]:.2f}")
        rows.append(element("tr", *(element("td", cell) for cell in cells)))
    return element("table", element("thead", head), element("tbody", *rows))


def moment(counts: Counts, step: int) -> str:
    """When that step begins, in UTC."""
    when = datetime.fromtimestamp(counts.start_s + step * counts.step_s, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S" if counts.step_s < 60 else "%Y-%m-%d %H:%M")
