"""Alerts: what flickers is one alert, and what passes at once is none."""

from __future__ import annotations

from brain.alerts import RULES, Alerts, Condition

STALE = Condition("TelemetryStale", (("node", "edge"),), "node edge is unknown")


def log(*holds: bool, condition: Condition = STALE) -> list[tuple[int, bool]]:
    """One tick a second; when it opened and closed."""
    alerts = Alerts()
    return [(t, a.opened) for t, on in enumerate(holds) for a in alerts.judge([condition] if on else [], float(t))]


def test_a_condition_must_last_to_open_an_alert() -> None:
    assert RULES["TelemetryStale"].after_s == 2.0
    assert log(True, True, False, True, True, True) == [(5, True)]


def test_a_condition_must_be_absent_for_long_to_close_it() -> None:
    assert RULES["TelemetryStale"].clear_s == 5.0
    flicker = [True] * 3 + [False] * 4 + [True] + [False] * 6
    assert log(*flicker) == [(2, True), (12, False)]


def test_the_same_kind_for_two_nodes_is_two_alerts() -> None:
    alerts = Alerts()
    other = Condition("TelemetryStale", (("node", "other"),), "node other is unknown")
    alerts.judge([STALE, other], 0.0)
    assert [dict(a.labels) for a in alerts.judge([STALE, other], 2.0)] == [{"node": "edge"}, {"node": "other"}]
    assert alerts.judge([STALE, other], 3.0) == ()
