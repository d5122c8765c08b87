"""What somebody writes is a question, or is told with the mend."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weirflow.whatif import question as asking
from weirflow.whatif.change import Added, Question, Slow
from weirflow.whatif.question import Frame, WrongError

T0 = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
FRAME = Frame("orders", ("10.0.0.1:80", "[::1]:9000", "a=b@c:1"), T0, 7200.0)


def wrong(read: Callable[[], Any]) -> str:
    with pytest.raises(WrongError) as caught:
        read()
    assert caught.value.mend, "every mistake has a mend"
    return str(caught.value)


def test_moments_are_seconds_a_time_of_day_or_iso() -> None:
    assert FRAME.moment("90") == 90.0
    assert FRAME.moment("1.5") == 1.5
    assert FRAME.moment("22:14:20") == 60.0
    assert FRAME.moment("22:14") == 40.0
    assert FRAME.moment("00:00:00") == 6400.0, "the first such time after the start"
    assert FRAME.moment("2023-11-14T22:14:20Z") == FRAME.moment("2023-11-14T23:14:20+01:00") == 60.0
    assert FRAME.moment("2023-11-14 22:14:20") == 60.0, "without a zone it is UTC"


def test_a_moment_outside_is_told_with_what_there_is() -> None:
    said = wrong(lambda: FRAME.moment("7201"))
    assert said == (
        "'7201' is outside of the recording; it has 0 to 7200 s, 2023-11-14T22:13:20Z to 2023-11-15T00:13:20Z"
    )
    assert "is no moment; write seconds from the start, HH:MM:SS or ISO 8601" in wrong(lambda: FRAME.moment("soon"))
    assert "is outside" in wrong(lambda: FRAME.moment("2023-11-14T22:13:19Z"))


def test_a_load_is_a_factor() -> None:
    assert asking.load("x1.5") == asking.load("1.5") == 1.5
    for text in ("x0", "-1", "x1e3", "1000", "", "x", "150%"):
        assert "write x1.5 for half as much again" in wrong(lambda t=text: asking.load(t))


def test_additions_have_a_number_a_speed_and_workers() -> None:
    assert asking.added("3") == Added(3)
    assert asking.added("3@0.5") == asking.added("3@x0.5") == Added(3, 0.5)
    assert asking.added("2@1/8") == Added(2, 1.0, 8)
    assert [str(asking.added(t)) for t in ("3", "2@0.5/8")] == ["3@1", "2@0.5/8"]
    for text in ("0", "3@0", "3/0", "three", "3@", "99999", "3@1@1"):
        assert "write 3, 3@0.5" in wrong(lambda t=text: asking.added(t))


def test_slow_takes_a_name_with_anything_in_it_and_half_a_window() -> None:
    assert asking.slow("10.0.0.1:80=x5", FRAME) == Slow("10.0.0.1:80", 5.0)
    assert asking.slow("10.0.0.1:80=5@60..120", FRAME) == Slow("10.0.0.1:80", 5.0, 60.0, 120.0)
    assert asking.slow("[::1]:9000=x0.5@22:14:20..", FRAME) == Slow("[::1]:9000", 0.5, 60.0, inf)
    assert asking.slow("a=b@c:1=x2@..2023-11-14T22:14:20Z", FRAME) == Slow("a=b@c:1", 2.0, 0.0, 60.0)
    assert "did you mean '10.0.0.1:80'?" in wrong(lambda: asking.slow("10.0.0.1:8=x5", FRAME))
    assert "write ENDPOINT=x5@T1..T2" in wrong(lambda: asking.slow("10.0.0.1:80", FRAME))
    assert "write T1..T2" in wrong(lambda: asking.slow("10.0.0.1:80=x5@60", FRAME))
    assert "ends before it begins" in wrong(lambda: asking.slow("10.0.0.1:80=x5@60..30", FRAME))


def test_limits_are_those_of_the_circuit_breaker() -> None:
    assert asking.limit("max_requests=64") == ("max_requests", 64)
    assert "did you mean 'max_requests'?" in wrong(lambda: asking.limit("max_reqests=64"))
    assert "write a whole number, as in max_requests=64" in wrong(lambda: asking.limit("max_requests=many"))


def test_weights_name_endpoints() -> None:
    assert asking.weights("10.0.0.1:80=2,[::1]:9000=1", FRAME) == (("10.0.0.1:80", 2), ("[::1]:9000", 1))
    for text in ("10.0.0.1:80", "10.0.0.1:80=0", "10.0.0.1:80=129", "10.0.0.1:80=1.5", ""):
        assert "a weight is 1 to 128" in wrong(lambda t=text: asking.weights(t, FRAME))
    assert "has no endpoint 'x'" in wrong(lambda: asking.weights("x=1", FRAME))


def test_policies_come_with_commas_or_one_by_one_and_once() -> None:
    assert asking.policies(["full_scan,random", "weirflow", "random"]) == ("full_scan", "random", "weirflow")
    assert "did you mean 'full_scan'?" in wrong(lambda: asking.policies(["fullscan"]))
    assert "policies: recorded, round_robin" in wrong(lambda: asking.policies(["zzz"]))


def test_what_cannot_be_meant_as_a_whole_is_told() -> None:
    everybody = Question(remove=FRAME.endpoints)
    assert "nobody would be left" in wrong(lambda: asking.sound(everybody, FRAME))
    assert asking.sound(Question(remove=FRAME.endpoints, add=(Added(1),)), FRAME)
    both = Question(remove=("10.0.0.1:80",), slow=(Slow("10.0.0.1:80", 2.0),))
    assert "is removed, and changed as well" in wrong(lambda: asking.sound(both, FRAME))
    assert "write" not in Question(load=2.0).words
    assert "--from the earlier" in wrong(lambda: asking.window("60", "60", FRAME))


WORDS = st.text(alphabet="x0123456789.@=:/,T-Z[]abc_ \x00é", max_size=40)


@given(WORDS)
def test_whatever_is_written_is_read_or_told_with_a_mend(text: str) -> None:
    for read in (
        asking.load,
        asking.added,
        asking.limit,
        FRAME.endpoint,
        FRAME.moment,
        lambda t: asking.slow(t, FRAME),
        lambda t: asking.weights(t, FRAME),
        lambda t: asking.policies([t]),
    ):
        said = ""
        try:
            read(text)
        except WrongError as error:
            said = f"{error}"
            mended = bool(error.mend)
        assert said.isprintable()
        assert not said or mended
