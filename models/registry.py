"""Every model there is, by name: made from a number of rows, with default parameters.

A new model is a line here and a line of lessons in `tests/test_model_checks.py`, and is accepted when
`models.checks.check_model` is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.capacity import Capacity
from models.latency import LatencyQuantiles

MODELS: dict[str, Callable[[int], Any]] = {
    "capacity": Capacity,
    "latency": lambda rows: LatencyQuantiles(4 * rows),  # a request has four streams
}
