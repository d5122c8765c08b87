"""What the brain hears when telemetry is broken, and what the lab's broken telemetry leaves as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dataplane.contract import Dropped, Felt, InFlight, Requests, Telemetry
from weirflow.lab.odd_telemetry import Odd
from weirflow.lab.scenario import TelemetryFault


def some(nodes: list[int], endpoints: list[int]) -> Requests:
    told: dict[str, Any] = {name: np.zeros(len(nodes)) for name in Requests.dtypes()}
    seconds = np.arange(1.0, len(nodes) + 1)
    told |= {"node": nodes, "endpoint": endpoints, "duration_s": seconds, "ttfb_s": seconds, "felt_s": seconds}
    return Requests.of(**told | {"started_s": seconds * 100})


def ended_badly(nodes: list[int]) -> Felt:
    return Felt.of(**{name: np.zeros(len(nodes)) for name in Felt.dtypes()} | {"node": nodes})


class Ears:
    """Hears, and has a list of what is due later."""

    def __init__(self, fault: TelemetryFault, nodes: int = 4) -> None:
        self.heard: list[Any] = []
        self.due: list[tuple[float, Callable[..., None], Any]] = []
        self.tell = Odd(fault, nodes, np.random.default_rng(3), self.later, self.heard.append)

    def later(self, delay_s: float, call: Callable[..., None], batch: Telemetry) -> None:
        self.due.append((delay_s, call, batch))


def test_without_a_fault_all_is_heard_as_it_is() -> None:
    ears = Ears(TelemetryFault())
    told = [some([0, 1], [2, 3]), ended_badly([0]), InFlight.empty(), Dropped(0, {"late": 1})]
    for batch in told:
        ears.tell(batch)
    assert all(heard is batch for heard, batch in zip(ears.heard, told, strict=True))


@pytest.mark.parametrize(("lost", "heard"), [(0.0, 1000), (0.5, 500), (1.0, 0)])
def test_a_share_of_the_log_is_lost_and_no_load_report_is(lost: float, heard: int) -> None:
    ears = Ears(TelemetryFault(lost=lost))
    for _ in range(500):
        ears.tell(some([0], [0]))
        ears.tell(ended_badly([0]))
        ears.tell(InFlight.empty())
    assert sum(isinstance(b, InFlight) for b in ears.heard) == 500
    assert len(ears.heard) - 500 == pytest.approx(heard, abs=80 if 0 < lost < 1 else 0)


def test_what_is_late_is_heard_later_and_whole() -> None:
    ears = Ears(TelemetryFault(late_s=5.0))
    told = [some([0], [0]), InFlight.empty()]
    for batch in told:
        ears.tell(batch)
    assert ears.heard == []
    for delay_s, call, batch in ears.due:
        assert delay_s == 5.0
        call(batch)
    assert all(heard is batch for heard, batch in zip(ears.heard, told, strict=True))


@pytest.mark.parametrize(("share", "liars"), [(0.25, 1), (0.01, 1), (0.26, 2), (1.0, 4)])
def test_a_share_of_the_nodes_rounded_up_lies_about_one_endpoint_s_durations(share: float, liars: int) -> None:
    ears = Ears(TelemetryFault(lying_nodes=share, lie=10.0, lied_about=7))
    ears.tell(some([0, 1, 2, 3, 0], [7, 7, 7, 7, 6]))
    (heard,) = ears.heard
    want = [(10.0 if n < liars else 1.0) * s for n, s in enumerate((1, 2, 3, 4))] + [5.0]
    for column in (heard.duration_s, heard.ttfb_s, heard.felt_s):
        assert column.tolist() == want
        assert column.dtype == np.float32
    assert heard.started_s.tolist() == [100, 200, 300, 400, 500]


def test_each_node_s_clock_is_ahead_by_its_own_amount_in_turn() -> None:
    ears = Ears(TelemetryFault(skew_s=(0.0, 30.0, -5.0)))
    ears.tell(some([0, 1, 2, 3, 4], [0] * 5))
    ears.tell(ended_badly([1, 3]))
    requests, felt = ears.heard
    assert requests.started_s.tolist() == [100, 230, 295, 400, 530]
    assert felt.started_s.tolist() == [30, 0]
    assert requests.duration_s.tolist() == [1, 2, 3, 4, 5]
