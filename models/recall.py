"""Was there ever anything like this? The last values of a stream against a bounded memory of earlier ones.

The distance to the nearest that is remembered (the largest difference of any of its values) is how new this is: a
discord, found without looking ahead (Yeh et al., "Matrix Profile I", ICDM 2016; the contexts of CAD OSE are a coarse
kin of it). Something is remembered only some steps after it was seen, or everything would be like what was just there.
When the memory is full what was least new when it came gives way, and what was new fades: so the memory holds what
covers most, and lets go of what is long past.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.base import Floats
from models.columns import Columns

Singles = NDArray[np.float32]

KEPT = 128
DELAY = 12
_FADE = 0.9997
_YOUNG = KEPT // 4
"""With so few remembered nothing is called new."""


class Recall(Columns):
    """Of many streams. `lags`: which of the last values are compared, 0 the newest; rising."""

    ring: Singles  # the last values, newest first
    news: Singles  # how new those were
    kept: Singles  # by lag, then by place
    worth: Singles  # how new each was
    seen: Floats
    full: Floats  # places that are taken

    def __init__(self, streams: int, lags: Sequence[int] = (0,)) -> None:
        self._lags = np.array(lags)
        self._depth = int(self._lags[-1]) + DELAY + 1
        super().__init__(
            streams,
            ring=(self._depth,),
            news=(DELAY + 1,),
            kept=(len(lags), KEPT),
            worth=(KEPT,),
            seen=(),
            full=(),
        )

    def dtype(self, name: str) -> DTypeLike:
        """Single precision: this is most of what a stream takes."""
        return np.float64 if name in ("seen", "full") else np.float32

    def learn_many(self, values: Floats) -> Floats:
        """Take values in, NaN for not seen. Returns how new they are, NaN while too few are remembered. Shape (n,)."""
        seen = np.isfinite(values)
        self._push(self.ring, values, seen)
        self.seen += seen
        near = self._nearest()
        self._push(self.news, np.where(self.full > 0, near, 0.0), seen)
        self._remember(seen & (self.seen > self._depth))
        return np.where(seen & (self.seen > self._depth + _YOUNG), near, np.nan)

    def _push(self, ring: Singles, values: Floats, seen: NDArray[np.bool_]) -> None:
        if seen.all():
            ring[:, 1:] = ring[:, :-1].copy()
            ring[:, 0] = values
        else:
            ring[seen, 1:] = ring[seen, :-1]
            ring[seen, 0] = values[seen]

    def _nearest(self) -> Floats:
        now = self.ring[:, self._lags]
        apart = np.zeros((self.rows, KEPT), dtype=np.float32)
        for k in range(len(self._lags)):
            np.maximum(apart, np.abs(self.kept[:, k] - now[:, k, None]), out=apart)
        if (self.full < KEPT).any():
            apart[np.arange(KEPT) >= self.full[:, None]] = np.inf
        return np.asarray(apart.min(axis=1), dtype=np.float64)

    def _remember(self, streams: NDArray[np.bool_]) -> None:
        """What was there `DELAY` steps ago, if it was newer then than the least new that is kept."""
        old, news = self.ring[:, self._lags + DELAY], self.news[:, -1]
        room = self.full < KEPT
        place = np.where(room, self.full, self.worth.argmin(axis=1)).astype(np.int64)
        each = np.arange(self.rows)
        put = np.flatnonzero(streams & (room | (news > self.worth[each, place])))
        self.worth *= np.where(streams, np.float32(_FADE), np.float32(1.0))[:, None]
        self.kept[put, :, place[put]] = old[put]
        self.worth[put, place[put]] = news[put]
        self.full[put] += room[put]
