"""What is compiled: the simulator's inner loops, by numba, with the answers of plain Python.

Division by zero gives infinity, as NumPy has it. Compiling takes many seconds, so what is called from outside is `kept`
beside the source. Numba finds it again by the time of that one file and by what the function closes over, and knows
nothing of other pages that it calls: whoever is kept closes over a `mark` of those, or an edit would change nothing.

A call costs: each array of the mesh is handed over as some nine numbers, and there are two dozen of them; and each was
counted up and down, as long as compiled code could have kept one. So nothing here allocates (`_nrt`), which alone made
the mesh twice as fast, and what happens to every attempt is inlined, which made its loop three times as fast again.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast
from zlib import crc32

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when first called with its kinds of arguments, within a process. It allocates nothing."""
    return cast(F, njit(error_model="numpy", _nrt=False)(function))


def inlined(function: F) -> F:
    """The same, compiled into whoever calls it: for what happens to every attempt, and is called from few places."""
    return cast(F, njit(error_model="numpy", _nrt=False, forceinline=True)(function))


def kept(function: F) -> F:
    """The same as `compiled`, and kept over processes."""
    return cast(F, njit(cache=True, error_model="numpy", _nrt=False)(function))


def mark_of(*modules: ModuleType) -> int:
    """A number that is another one when a compiled function or a number of these modules is; at least 0."""
    mark = 0
    for module in modules:
        for name, thing in sorted(vars(module).items()):
            if hasattr(thing, "py_func"):
                code = thing.py_func.__code__
                told = f"{code.co_code.hex()} {code.co_consts} {code.co_names} {code.co_varnames}"
            elif isinstance(thing, int | float):
                told = repr(thing)
            else:
                continue
            mark = crc32(f"{name} {told}".encode(), mark)
    return mark
