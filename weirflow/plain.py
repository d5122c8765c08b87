"""Anything of ours as JSON can hold it: strings, finite numbers, lists and dicts with string keys."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

_AS_IS = frozenset({str, int, bool, type(None)})


def json_of(value: Any) -> str:
    """Compact JSON of `plain(value)`. What JSON can hold as it is, as nearly every document, is not copied first."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=plain)
    except ValueError:  # a number that is not finite
        return json.dumps(plain(value), allow_nan=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """A copy that `json.dumps(allow_nan=False)` takes. NaN and the infinities are unknown, so they become None."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is dict:
        return {key if type(key) is str else str(key): plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
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
