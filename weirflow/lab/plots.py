"""The pages' plots, as SVG: lines over time, distributions, and bars of shares. Colours are the sheet's, by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from dataplane.simulated.fleet import Floats
from weirflow.lab.markup import Markup, element

WIDTH, HEIGHT = 560.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 12.0, 8.0, 28.0
FEWEST_TICKS, MOST_TICKS = 3, 15
MOST_LABELS = 12
STEPS_S = (10, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
BAR_WIDTH, BAR_HEIGHT = 260.0, 70.0


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line over time. `colour` and `dash` are classes of the style sheet; NaN leaves a gap."""

    label: str
    at_s: Floats
    y: Floats
    colour: str  # "c0" to "c7", or "ours"
    dash: str = ""  # "dashed", "dotted", or none


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time behind the lines; `kind` is a class of the style sheet."""

    label: str
    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels. A logarithmic one shows whole decades or halves of them."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Floats, *, log: bool) -> _Scale:
        seen = values[np.isfinite(values) & ((values > 0.0) | (not log))]
        low, high = (float(seen.min()), float(seen.max())) if len(seen) else (1.0, 10.0)
        if not log:
            return cls(0.0, high * 1.05 or 1.0, False)
        return cls(low / 1.1, high * 1.1, True)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high, v = (log10(x) for x in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return TOP + (1.0 - (v - low) / (high - low)) * (HEIGHT - TOP - BOTTOM)

    def ticks(self) -> list[float]:
        """Round values within: of a logarithm that spans too little to have them, those of a plain scale."""
        if self.log:
            decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1,)):
                some = [t for d in decades for m in steps if self.low <= (t := m * 10.0**d) <= self.high]
                if FEWEST_TICKS <= len(some) <= MOST_TICKS:
                    return some
        step = 10.0 ** floor(log10(self.high - self.low))
        step = next(s for s in (step / 5, step / 2, step, 2 * step) if (self.high - self.low) / s <= 6)
        return [i * step for i in range(ceil(self.low / step), int(self.high / step) + 1)]


def over_time(name: str, lines: Sequence[Line], bands: Sequence[Band], end_s: float, *, log: bool) -> Markup:
    """A figure of lines over the seconds of the run, with its legend. What is later than `end_s` is left out."""
    scale = _Scale.of(np.concatenate([np.ravel(line.y) for line in lines] or [np.zeros(0)]), log=log)

    def x(at_s: float) -> float:
        return LEFT + at_s / end_s * (WIDTH - LEFT - RIGHT)

    parts = [_band(b, x(max(b.start_s, 0.0)), x(min(b.end_s, end_s))) for b in bands]
    for tick in scale.ticks():
        y = scale.y(tick)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=LEFT - 6, y=y + 4, text_anchor="end"))
    for second in range(0, int(end_s) + 1, _every_s(end_s)):
        parts.append(element("text", f"{second}", x=x(second), y=HEIGHT - 10, text_anchor="middle"))
    parts += [_path(line, x, scale, end_s) for line in lines]
    drawn = element("svg", *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=name)
    legend = element("p", *(_key(line) for line in lines), class_="legend")
    return element("figure", element("figcaption", name), drawn, legend)


def _every_s(end_s: float) -> int:
    """Seconds between two labels: as many as have room."""
    return next((s for s in STEPS_S if end_s <= MOST_LABELS * s), ceil(end_s / MOST_LABELS))


def distributions(name: str, lines: Sequence[Line]) -> Markup:
    """A figure of the share of requests that took no longer than so many ms (a line's `at_s`), by logarithm."""
    ms = np.concatenate([line.at_s for line in lines] or [np.zeros(0)])
    across = _Scale.of(ms, log=True)
    scale = _Scale(0.0, 1.0, False)

    def x(value: float) -> float:
        place = (log10(value) - log10(across.low)) / (log10(across.high) - log10(across.low))
        return LEFT + place * (WIDTH - LEFT - RIGHT)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        y = scale.y(share)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{share:.0%}", x=LEFT - 6, y=y + 4, text_anchor="end"))
    for tick in across.ticks():
        parts.append(element("text", f"{tick:g}", x=x(tick), y=HEIGHT - 10, text_anchor="middle"))
    parts += [_path(line, x, scale, np.inf) for line in lines]
    drawn = element("svg", *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=name)
    legend = element("p", *(_key(line) for line in lines), class_="legend")
    return element("figure", element("figcaption", name), drawn, legend)


def shares(name: str, share: Floats, truth: Floats, labels: Sequence[str], *, ours: bool) -> Markup:
    """A figure of a bar for each endpoint, with a mark at its true share."""
    most = float(np.nanmax([*share, *truth, 1e-9])) * 1.05
    step = BAR_WIDTH / max(len(share), 1)
    parts = []
    for i, (value, true, label) in enumerate(zip(np.nan_to_num(share), truth, labels, strict=True)):
        height, y = value / most * BAR_HEIGHT, BAR_HEIGHT * (1 - true / most)
        told = element("title", f"{label}: {value:.1%} of requests, {true:.1%} of capacity")
        bar = element("rect", told, x=i * step + 0.15 * step, y=BAR_HEIGHT - height, width=0.7 * step, height=height)
        mark = element("line", x1=i * step, x2=(i + 1) * step, y1=y, y2=y, class_="truth")
        parts += [bar, mark]
    drawn = element("svg", *parts, viewBox=f"0 0 {BAR_WIDTH:g} {BAR_HEIGHT:g}", role="img", aria_label=name)
    return element("figure", element("figcaption", name), drawn, class_="bars ours" if ours else "bars")


def _band(band: Band, left: float, right: float) -> Markup:
    told = element("title", band.label)
    height = HEIGHT - TOP - BOTTOM
    return element("rect", told, x=left, y=TOP, width=max(right - left, 0.0), height=height, class_=band.kind)


def _path(line: Line, x: Callable[[float], float], scale: _Scale, end_s: float) -> Markup:
    steps, pen = [], "M"
    for at_s, y in zip(line.at_s, line.y, strict=True):
        if not np.isfinite(y) or at_s > end_s or (scale.log and y <= 0.0):
            pen = "M"
            continue
        steps.append(f"{pen}{x(at_s):.1f} {scale.y(y):.1f}")
        pen = "L"
    return element("path", element("title", line.label), d=" ".join(steps), class_=_class(line))


def _key(line: Line) -> Markup:
    path = element("path", d="M0 6L26 6", class_=_class(line))
    return element("span", element("svg", path, viewBox="0 0 26 12", class_="swatch"), f" {line.label}")


def _class(line: Line) -> str:
    return f"line {line.colour} {line.dash}".strip()
