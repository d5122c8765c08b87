"""Plots of a recording, a line each. Axes have units and begin at 0 where a quantity does; the unknown is not drawn.

    weirflow.open(FOLDER).plot.latency("orders")

Each takes `ax`, matplotlib's Axes to draw into, and makes a figure of its own without; each returns the Axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from weirflow.recording import RecordingError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from weirflow.opened.frames import Opened

LEAST = 20
"""Attempts behind a drawn quantile: of fewer, a 99th percentile is their slowest one."""
SIZE = (8.0, 3.2)  # inches
MOST_NAMED = 12
"""Endpoints that get a colour and a name; of more, all are drawn grey."""


class Plots:
    """The plots of one recording, or of the window or service that it was cut to."""

    def __init__(self, of: Opened) -> None:
        self._of = of

    def latency(self, service: str, *, every_s: float = 1.0, by: str = "", ax: Axes | None = None) -> Axes:
        """Latency of attempts that ended well, milliseconds: p50 and p99 of each stretch of `every_s` seconds.

        `by`: a column of `attempts` (`endpoint`, `arm`, `node`, `route`) to draw the p99 of each instead. A stretch
        with fewer than `LEAST` attempts is left out.
        """
        of = self._of.service(service).attempts
        good = of[of.outcome == "OK"]
        ax = _axes(ax)
        if by:
            for name, mine in good.groupby(by, observed=True):
                _line(ax, _quantile(mine, 0.99, every_s), str(name))
        else:
            for q in (0.5, 0.99):
                _line(ax, _quantile(good, q, every_s), f"p{100 * q:g}")
        what = f"p99 by {by}" if by else "latency"
        return _done(ax, f"{service}: {what} of attempts that ended well, every {every_s:g} s", "milliseconds")

    def weights(self, service: str, *, ax: Axes | None = None) -> Axes:
        """Each endpoint's share of the adaptive arm by the weights in force (or, in shadow, that would be), percent."""
        of = self._of.service(service).endpoints
        ax = _axes(ax)
        many = of.endpoint.nunique() > MOST_NAMED
        for name, mine in of.groupby("endpoint", observed=True):
            ax.step(mine.index, 100 * mine["share"], where="post", lw=1, label=None if many else str(name))
            if many:
                ax.lines[-1].set_color("0.6")
        return _done(ax, f"{service}: share of the adaptive arm by weight", "percent")

    def demand(self, service: str, *, ahead_s: float = 60.0, ax: Axes | None = None) -> Axes:
        """What was asked, requests a second, what was foretold `ahead_s` before with its 90 % interval, and capacity.

        KeyError, with those there are, for a horizon that was not foretold.
        """
        of = self._of.service(service)
        told, decided = of.forecasts, of.decisions
        if told.empty:
            raise RecordingError(of.recording.folder.name, "holds no forecasts: adaptive.models.demand was off")
        if ahead_s not in set(told.ahead_s):
            raise KeyError(f"nothing was foretold {ahead_s:g} s ahead; there are {sorted(set(told.ahead_s))}")
        mine = told[told.ahead_s == ahead_s]
        mine = mine[mine["at"] <= decided.index.max()]
        ax = _axes(ax)
        ax.plot(decided.index, decided.asked_per_s, color="0.3", lw=0.8, label="asked")
        ax.fill_between(mine["at"], mine.low_per_s, mine.high_per_s, alpha=0.25, lw=0, label="90 % interval")
        ax.plot(mine["at"], mine.value_per_s, lw=1, label=f"foretold {ahead_s:g} s before")
        ax.plot(decided.index, decided.capacity_per_s, color="tab:red", lw=1, ls="--", label="capacity learned")
        return _done(ax, f"{service}: demand and what was foretold of it", "requests a second")

    def incident(self, incident: str, *, around_s: float = 20.0, ax: Axes | None = None) -> Axes:
        """The p99 of each endpoint of the service around an incident, milliseconds: shaded from when it began to its
        end, with a line where it was found. KeyError, with those there are, for an incident that there is not."""
        known = self._of.incidents
        if incident not in known.index:
            raise KeyError(f"there is no incident {incident!r}; there are {list(known.index)}")
        row = known.loc[incident]
        end = self._of.end if row["until"] is None or row["until"] != row["until"] else row["until"]
        around = np.timedelta64(round(1000 * around_s), "ms")
        of = self._of.between(row["since"] - around, end + around)
        of = of if row["service"] is None else of.service(row["service"])
        seen = of.endpoints
        ax = _axes(ax)
        for name, mine in seen.groupby("endpoint", observed=True):
            own = str(name) == row["endpoint"]
            look: dict[str, Any] = {"color": "tab:red", "lw": 1.8, "zorder": 3} if own else {"color": "0.6", "lw": 0.8}
            ax.plot(mine.index, 1000 * mine.p99_s, label=str(name) if own else None, **look)
        ax.axvspan(row["since"], end, color="tab:red", alpha=0.08, lw=0)
        ax.axvline(row["found"], color="tab:red", lw=1, ls=":", label="found")
        return _done(ax, f"{incident}: {row['summary']}"[:110], "p99 lately, milliseconds")

    def gain(self, service: str, *, ax: Axes | None = None) -> Axes:
        """The cut in mean felt cost against the holdout, percent, with its 95 % interval; below 0 it is a loss."""
        of = self._of.service(service).decisions
        ax = _axes(ax)
        ax.axhline(0.0, color="0.5", lw=0.8)
        ax.fill_between(of.index, 100 * of.gain_low, 100 * of.gain_high, alpha=0.25, lw=0, label="95 % interval")
        ax.plot(of.index, 100 * of.gain, lw=1, label="gain")
        return _done(ax, f"{service}: gain over the holdout", "percent", zero=False)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise ImportError(
            f"plots need {error.name}, which is not installed: pip install 'weirflow[notebooks]'"
        ) from error
    made: Axes = pyplot.figure(figsize=SIZE, layout="constrained").subplots()
    return made


def _quantile(of: pd.DataFrame, q: float, every_s: float) -> pd.Series:
    """Of durations, in milliseconds, by stretch; missing where there are too few."""
    groups = of.duration_s.resample(f"{round(1000 * every_s)}ms")
    return 1000 * groups.quantile(q).where(groups.count() >= LEAST)


def _line(ax: Any, values: pd.Series, name: str) -> None:
    ax.plot(values.index, values.to_numpy(), lw=1, label=name)


def _done(ax: Axes, title: str, unit: str, *, zero: bool = True) -> Axes:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if zero:
        ax.set_ylim(bottom=0)
    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set(ylabel=unit, xlabel="time, UTC")
    ax.set_title(title, fontsize="medium")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small", frameon=False)
    return ax
