"""How an attempt ended, by whatever a log tells of it: its own word, Envoy's flags, a gRPC status, an HTTP status.

Envoy's flags and HTTP status mean what they mean when they come over the wire (`dataplane.als.outcome`). A failing gRPC
status turns an answer that was whole into a failure where it is the server's: UNKNOWN, RESOURCE_EXHAUSTED, INTERNAL,
UNAVAILABLE and DATA_LOSS are errors, DEADLINE_EXCEEDED is a timeout, CANCELLED is the client's; the others are its
mistakes, as a 404 is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dataplane.als.outcome import MEANING, NOTHING, TABLE, UNEXPLAINED, classify
from dataplane.contract import Floats, Outcome
from weirflow.importing.envoy import flag_bits

__all__ = ["NOTHING", "outcomes"]

Small = NDArray[np.int8]
GRPC: Final = {
    1: Outcome.CANCELLED,
    2: Outcome.ERROR,
    4: Outcome.TIMEOUT,
    8: Outcome.ERROR,
    13: Outcome.ERROR,
    14: Outcome.ERROR,
    15: Outcome.ERROR,
}
_NAMES: Final = {o.name: int(o) for o in Outcome}


def outcomes(
    status: NDArray[Any], grpc: Floats, flags: Sequence[str] | None, told: Sequence[str] | None
) -> tuple[Small, list[str]]:
    """The Outcome of each row, or NOTHING; and why, by row, where any is NOTHING. Shapes (n,).

    An attempt that ended without an answer and without a reason counts as cancelled: who left is not told.
    """
    codes = np.clip(status, 0, 999).astype(np.int64)
    bits = np.zeros(len(codes), np.uint64)
    if flags is not None:
        known = {text: flag_bits(text) for text in set(flags)}
        if any(known.values()):
            bits = np.fromiter(map(known.__getitem__, flags), np.uint64, len(flags))
    line = classify(bits, codes, codes > 0)
    out = MEANING[line]
    out[out == UNEXPLAINED] = Outcome.CANCELLED
    if not np.isnan(grpc).all():
        whole = out == Outcome.OK
        for code, meant in GRPC.items():
            out[whole & (grpc == code)] = meant
    if told is not None:
        known = {text: _NAMES.get(text.upper(), -9) for text in set(told)}
        given = np.fromiter(map(known.__getitem__, told), np.int8, len(told))
        out = np.where(given >= 0, given, out).astype(np.int8)
    if not (out == NOTHING).any():
        return out, []
    return out, [TABLE[i].why for i in line.tolist()]
