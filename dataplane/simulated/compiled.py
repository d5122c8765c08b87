"""What is compiled: the simulator's inner loops, by numba, with the answers of plain Python.

Division by zero gives infinity, as NumPy has it. Compiled code is kept beside the source, so only a first run pays.
That cache looks at the time of the file with the outermost function (`kernel.py`) alone: whoever edits a page that it
calls should touch that one too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when first called with its kinds of arguments."""
    return cast(F, njit(cache=True, error_model="numpy")(function))
