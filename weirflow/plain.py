"""Anything of ours as JSON can hold it: strings, finite numbers, lists and dicts with string keys."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A copy that `json.dumps(allow_nan=False)` takes. NaN and the infinities are unknown, so they become None."""
    match value:
        case Enum():
            return plain(value.value)
        case bool() | str() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            return plain(value.tolist())
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case _:
            return str(value)
