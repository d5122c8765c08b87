"""The last so many values of a stream, kept in the order of their size: any quantile is one look-up.

A stream's values lie twice in memory: in a ring by age, which says what leaves, and sorted. A new value is put in its
place and the oldest taken out of its own, a move of at most the window's length within one cache line or few.

Compiled by numba, because who learns from requests one by one meets them one by one. Without the compiler
(`NUMBA_DISABLE_JIT=1`) the same functions run as plain Python and say the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Window = NDArray[np.float32]
"""Values in rising order; only the first so many are there."""

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

_Z90 = 1.645


def compiled(kernel: _Kernel) -> _Kernel:
    """The same function as machine code, made anew in each process that calls it."""
    return cast(_Kernel, njit(error_model="numpy")(kernel))


def compiled_once(kernel: _Kernel) -> _Kernel:
    """The same, kept on disk for the next process, with all that it calls inside: for what is called from Python.

    What is kept goes by the age of this very function's file: whoever edits a page that it calls touches that one too.
    A test against plain Python fails otherwise.
    """
    try:
        return cast(_Kernel, njit(cache=True, error_model="numpy")(kernel))
    except RuntimeError:  # nowhere to keep it: a read-only installation without a home
        return compiled(kernel)


@compiled
def below(window: Window, size: int, value: float) -> int:
    """How many of the first `size` are less than `value`."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if window[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def slide(ring: Window, window: Window, seen: int, value: float) -> None:
    """Let `value` into a window and its oldest out, if it is full. `seen`: how many values have entered before.

    `ring` may be longer than the window, and shared by several; the caller writes `value` to it afterwards.
    """
    size = min(seen, window.size)
    if size == window.size:
        oldest = ring[(seen - size) % ring.size]
        size -= 1
        for k in range(below(window, size + 1, oldest), size):
            window[k] = window[k + 1]
    place = below(window, size, value)
    for k in range(size, place, -1):
        window[k] = window[k - 1]
    window[place] = value


@compiled
def quantile(window: Window, first: int, last: int, share: float) -> float:
    """The quantile of the values from `first` up to `last`: between the two at rank `share * (n + 1)` (Weibull's rule).

    That rank makes the chance that the next value lies below equal to `share`, whatever the distribution, which is
    what coverage asks. Beyond the ends it is the end. NaN when there is none.
    """
    if last <= first:
        return float(np.nan)
    rank = share * (last - first + 1) - 1.0
    if rank <= 0.0:
        return float(window[first])
    if rank >= last - first - 1:
        return float(window[last - 1])
    lower = first + int(rank)
    return float(window[lower] + (rank - int(rank)) * (window[lower + 1] - window[lower]))


@compiled
def share_band(share: float, samples: float) -> tuple[float, float]:
    """Between which shares the true quantile of `share` lies with 90 % confidence: Wilson's score interval.

    What is binomial is how many of the samples fall below the true quantile, so nothing is assumed of their
    distribution; and unlike the textbook interval it never reaches 1.
    """
    spread = _Z90 * _Z90 / samples
    centre = (share + spread / 2) / (1 + spread)
    reach = _Z90 * np.sqrt(share * (1 - share) / samples + spread / (4 * samples)) / (1 + spread)
    return centre - reach, centre + reach


@compiled
def tail_quantile(window: Window, size: int, share: float) -> float:
    """The quantile of logarithms, beyond the largest too: there the tail goes on as its upper tenth did.

    That is a Pareto tail of the values themselves, with Hill's estimate of its index (Annals of Statistics 1975).
    """
    inside = size / (size + 1.0)
    if share <= inside:
        return quantile(window, 0, size, share)
    upper = min(max(5, size // 10), size - 1)
    if upper < 1:
        return float(window[size - 1])
    index = 0.0
    for k in range(size - upper, size):
        index += (window[k] - window[size - upper - 1]) / upper
    return float(window[size - 1] + index * np.log((1 - inside) / (1 - share)))
