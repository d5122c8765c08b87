"""The bench of a dependency two hops down: what it makes of what a brain told."""

from math import isnan

from bench.hops import TROUBLES, Open, Told, over_all, result, told

SICK, PLACES = "EndpointSlow 10.0.0.9:80", {"store", "10.0.0.9:80"}
ROOT = Open("I-1", SICK, "store")
CALLER = Open("I-1", "ServiceSlow shop", "shop")


def log(*said: tuple[float, tuple[Open, ...]]) -> Told:
    return told(said, 40.0, SICK, PLACES)


def test_one_incident_at_the_root_is_found_when_first_told_and_ends_when_last_told() -> None:
    run = log((-1.0, ()), (1.0, ()), (2.0, (ROOT,)), (39.0, (ROOT,)), (50.0, (ROOT,)), (50.5, ()), (60.0, ()))
    assert (run.incidents, run.before, run.detect_s, run.ended_s) == (1, 0, 2.0, 10.5)
    assert (run.cause, run.exact, run.cause_at_opening, run.cause_share, run.named) == (1.0, 1.0, 1.0, 1.0, 1.0)


def test_a_callers_symptom_told_first_is_seen_even_where_the_cause_is_right_in_the_end() -> None:
    run = log((2.0, (CALLER,)), (39.0, (Open("I-1", SICK, "shop"),)), (45.0, (CALLER,)), (60.0, ()))
    assert (run.cause, run.cause_at_opening, run.named) == (1.0, 0.0, 0.0)
    assert run.cause_share == 1 / 3


def test_the_right_place_with_another_kind_is_the_right_cause_and_not_exactly() -> None:
    run = log((2.0, (Open("I-1", "ServiceSlow store", "store"),)), (60.0, ()))
    assert (run.cause, run.exact) == (1.0, 0.0)


def test_a_second_incident_counts_even_after_the_mend() -> None:
    assert log((2.0, (ROOT,)), (45.0, (ROOT, Open("I-2", "ServiceSlow shop", "shop"))), (60.0, ())).incidents == 2


def test_what_was_told_of_calm_is_false_and_no_find() -> None:
    run = log((-5.0, (ROOT,)), (2.0, (ROOT,)), (60.0, ()))
    assert (run.incidents, run.before) == (0, 1)
    assert isnan(run.detect_s)


def test_an_incident_that_never_ended_is_not_said_to_have_ended() -> None:
    run = log((2.0, (ROOT,)), (115.0, (ROOT,)))
    assert isnan(run.ended_s)


def test_of_no_fault_any_incident_misses_the_bar_and_counts_as_false() -> None:
    calm, ill = TROUBLES[-1], TROUBLES[0]
    cried = log((2.0, (CALLER,)), (60.0, ()))
    assert not result(calm, 0, cried, {}, 1.0).held
    found = {f.name: f.value for f in over_all([(calm, cried), (ill, log((2.0, (ROOT,)), (60.0, ())))]).figures}
    assert (found["false"], found["cause"], found["incidents"]) == (1.0, 1.0, 1.0)


def test_a_fault_that_nobody_told_holds_no_bar() -> None:
    line = result(TROUBLES[0], 0, log((2.0, ()), (60.0, ())), {}, 1.0)
    assert {f.name for f in line.figures if not f.held} == {"detect_s", "cause"}
