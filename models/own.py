"""A model of one's own: whatever has river's verbs or scikit-learn's, taught row by row what latency an endpoint shows.

Which verbs it has says how it is taught:

* `learn_one(x, y)` and `predict_one(x)`, as river has them, `x` a dict of features;
* `partial_fit(X, y)` and `predict(X)`, as scikit-learn's models of streams have them;
* `fit(X, y)` and `predict(X)`, as all of scikit-learn's regressors have them: fitted anew over the last `WINDOW` rows
  after every `EVERY` new ones.

Not ready is NaN: before `LEAST` rows were learned, where a feature is unknown, and where the model says what no latency
can be. Chance is the model's own affair: one that is to be replayed needs a fixed `random_state` or `seed`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from models.base import Floats

Timed = Callable[[], AbstractContextManager[None]]

LEAST = 60
"""Rows before it is asked anything."""
WINDOW = 2000
EVERY = 300
VERBS = "learn_one and predict_one (river), or fit or partial_fit and predict (scikit-learn)"


class Own:
    """The model, behind `learn` and `predict` of many rows. TypeError when it has not the verbs.

    `timed` is entered around whatever the model itself does: for one who has a clock to see how long that takes.

    >>> class Mean:
    ...     seen: list = []
    ...     def learn_one(self, x, y): self.seen.append(y)
    ...     def predict_one(self, x): return sum(self.seen) / len(self.seen)
    >>> own = Own(Mean(), ["found"])
    >>> own.predict(np.ones((1, 1)))
    array([nan])
    >>> own.learn(np.ones((100, 1)), np.full(100, 0.25))
    >>> own.predict(np.array([[1.0], [np.nan]]))
    array([0.25,  nan])
    """

    def __init__(self, model: Any, features: Sequence[str], timed: Timed = nullcontext) -> None:
        self._model, self._features, self._timed = model, tuple(features), timed
        self._row_by_row = _has(model, "learn_one", "predict_one")
        self._stream = _has(model, "partial_fit", "predict")
        if not (self._row_by_row or self._stream or _has(model, "fit", "predict")):
            raise TypeError(f"{type(model).__name__} is no model: it needs {VERBS}")
        self._rows: deque[tuple[Floats, float]] = deque(maxlen=WINDOW)
        self._waiting = 0  # rows since it was fitted
        self._fitted = False
        self.count = 0  # rows learned

    @property
    def ready(self) -> bool:
        """Whether it says anything."""
        return self.count >= LEAST and (self._fitted or self._row_by_row or self._stream)

    def learn(self, x: Floats, took_s: Floats) -> None:
        """Rows of features, shape (n, k), and the truth, seconds, shape (n,). A row with an unknown is passed over."""
        known = np.isfinite(x).all(axis=1) & np.isfinite(took_s) & (took_s > 0)
        x, took_s = x[known], took_s[known]
        if not len(x):
            return
        self.count += len(x)
        with self._timed():
            self._teach(x, took_s)

    def _teach(self, x: Floats, took_s: Floats) -> None:
        if self._row_by_row:
            for row, y in zip(x.tolist(), took_s.tolist(), strict=True):
                self._model.learn_one(dict(zip(self._features, row, strict=True)), y)
        elif self._stream:
            self._model.partial_fit(x, took_s)
        else:
            self._rows.extend(zip(x, took_s.tolist(), strict=True))
            self._waiting += len(x)
            if self.count >= LEAST and (not self._fitted or self._waiting >= EVERY):
                self._model.fit(np.array([row for row, _ in self._rows]), np.array([y for _, y in self._rows]))
                self._fitted, self._waiting = True, 0

    def predict(self, x: Floats) -> Floats:
        """Seconds, shape (n,); NaN where it is not ready."""
        out = np.full(len(x), np.nan)
        known = np.isfinite(x).all(axis=1)
        if not self.ready or not known.any():
            return out
        with self._timed():
            if self._row_by_row:
                rows = x[known].tolist()
                said = [self._model.predict_one(dict(zip(self._features, row, strict=True))) for row in rows]
                out[known] = [np.nan if y is None else y for y in said]
            else:
                out[known] = np.asarray(self._model.predict(x[known]), dtype=np.float64).reshape(-1)
        return np.where(np.isfinite(out) & (out > 0), out, np.nan)


def _has(model: Any, *verbs: str) -> bool:
    return all(callable(getattr(model, verb, None)) for verb in verbs)
