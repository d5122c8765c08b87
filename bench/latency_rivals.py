"""What to beat at predicting quantiles of latency: plain windows, an average with its errors, a learned regression.

Each is asked at a request's start and taught at its end, a row at a time, as plain Python: they are the rows of the
table that the bars come from. `key` is the request's service, endpoint and class.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from river import linear_model, preprocessing

FLEET = "fleet window 500"

Key = tuple[int, ...]


class Rival(Protocol):
    """A model of this bench. `x`: in flight at the endpoint when the request starts."""

    def ask(self, key: Key, x: float) -> Sequence[float] | None:
        """Quantiles at its levels; None when not ready."""

    def tell(self, key: Key, x: float, took_s: float) -> None:
        """A request has ended."""


class Window:
    """The last so many values, sorted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._ages: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """Take a value in, and the oldest out."""
        self._ages.append(value)
        insort(self._sorted, value)
        if len(self._ages) > self.size:
            del self._sorted[bisect_left(self._sorted, self._ages.popleft())]

    def at(self, share: float) -> float:
        """A quantile; IndexError when empty."""
        return self._sorted[min(int(share * len(self._sorted)), len(self._sorted) - 1)]

    def __len__(self) -> int:
        return len(self._sorted)


class Windows:
    """A window of the last requests, by the first `ids` parts of the key: 0 is the whole fleet."""

    def __init__(self, levels: Sequence[float], size: int, ids: int) -> None:
        self._levels, self._ids = levels, ids
        self._windows: dict[Key, Window] = defaultdict(lambda: Window(size))

    def ask(self, key: Key, x: float) -> Sequence[float] | None:
        """The window's own quantiles."""
        window = self._windows[key[: self._ids]]
        return [window.at(level) for level in self._levels] if window else None

    def tell(self, key: Key, x: float, took_s: float) -> None:
        """Into its window."""
        self._windows[key[: self._ids]].add(took_s)


class Average:
    """An exponential average by key, and the fleet's last errors of it about it: split conformal."""

    def __init__(self, levels: Sequence[float], rate: float = 0.05, errors: int = 300) -> None:
        self._levels, self._rate = levels, rate
        self._mean: dict[Key, float] = {}
        self._errors = Window(errors)

    def ask(self, key: Key, x: float) -> Sequence[float] | None:
        """The average plus a quantile of errors."""
        mean = self._mean.get(key)
        if mean is None or not self._errors:
            return None
        return [max(mean + self._errors.at(level), 0.0) for level in self._levels]

    def tell(self, key: Key, x: float, took_s: float) -> None:
        """An error more, then the average moves."""
        mean = self._mean.setdefault(key, took_s)
        self._errors.add(took_s - mean)
        self._mean[key] = mean + self._rate * (took_s - mean)


class Regression:
    """A regressor of river on the past of key and fleet and what is in flight; the fleet's last errors about it."""

    def __init__(self, levels: Sequence[float], regressor: Any, errors: int = 300) -> None:
        self._levels = levels
        self._scaler = preprocessing.StandardScaler()
        self._regressor = regressor
        self._errors = Window(errors)
        self._fleet = 0.0
        self._past: dict[Key, tuple[float, float, float]] = {}

    def ask(self, key: Key, x: float) -> Sequence[float] | None:
        """The regression plus a quantile of errors."""
        if key not in self._past or not self._errors:
            return None
        expected = self._regressor.predict_one(self._scaler.transform_one(self._features(key, x)))
        return [max(expected + self._errors.at(level), 0.0) for level in self._levels]

    def tell(self, key: Key, x: float, took_s: float) -> None:
        """An error more, then the regression and what its features are made of learn."""
        if key in self._past:
            features = self._features(key, x)
            self._scaler.learn_one(features)
            scaled = self._scaler.transform_one(features)
            self._errors.add(took_s - self._regressor.predict_one(scaled))
            self._regressor.learn_one(scaled, took_s)
        _, fast, slow = self._past.get(key, (took_s, took_s, took_s))
        self._past[key] = took_s, fast + 0.3 * (took_s - fast), slow + 0.05 * (took_s - slow)
        self._fleet += 0.05 * (took_s - self._fleet)

    def _features(self, key: Key, x: float) -> dict[str, float]:
        last, fast, slow = self._past[key]
        return {"one": 1.0, "last": last, "fast": fast, "slow": slow, "fleet": self._fleet, "in_flight": x}


def rivals(levels: Sequence[float]) -> dict[str, Callable[[], Rival]]:
    """Makers of all of them, by name."""
    return {
        FLEET: lambda: Windows(levels, 500, ids=0),
        "endpoint window 50": lambda: Windows(levels, 50, ids=2),
        "endpoint window 200": lambda: Windows(levels, 200, ids=2),
        "key window 50": lambda: Windows(levels, 50, ids=3),
        "key window 200": lambda: Windows(levels, 200, ids=3),
        "key window 1000": lambda: Windows(levels, 1000, ids=3),
        "EWMA 0.05 + conformal 300": lambda: Average(levels),
        "BayesianLinearRegression + conformal 300": lambda: Regression(levels, linear_model.BayesianLinearRegression()),
        "LinearRegression + conformal 300": lambda: Regression(levels, linear_model.LinearRegression()),
    }
