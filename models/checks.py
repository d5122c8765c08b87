"""One check-suite for every model, after river's `checks`: a model is accepted when `check_model` is silent.

A check knows a model only through `Lessons`: how to draw an argument, teach it and ask. So the same checks run over a
river pipeline that learns row by row and over a vectorised model that learns a thousand endpoints in one call. Which
checks apply follows from the verbs that a model has; what else is to be left out is named by the caller, who says why.
"""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from models.base import Floats, Learner, Prediction, Stateful

Make = Callable[[], Any]

_WARM = 60
"""Lessons after which a model is expected to have something to say."""


@dataclass(frozen=True)
class Lessons:
    """How to go about one kind of model.

    `draw(rng, k)` makes the k-th lesson; `teach(model, lesson)` learns it; `ask(model, lesson)` predicts, as a flat
    array in which NaN is "not ready". `teach_many(model, lessons)`, where the model has a batched twin of `teach`.
    """

    draw: Callable[[np.random.Generator, int], Any]
    teach: Callable[[Any, Any], None]
    ask: Callable[[Any, Any], Floats]
    teach_many: Callable[[Any, list[Any]], None] | None = None


def by_row(
    draw: Callable[[np.random.Generator, int], tuple[dict[str, float], float]],
    teach_many: Callable[[Any, list[Any]], None] | None = None,
) -> Lessons:
    """Lessons `(x, y)` for river's verbs."""

    def ask(model: Any, lesson: tuple[dict[str, float], float]) -> Floats:
        said = model.predict_one(lesson[0])
        return np.array([np.nan if said is None else said], dtype=np.float64)

    return Lessons(draw, lambda model, lesson: model.learn_one(*lesson), ask, teach_many)


def by_columns(draw: Callable[[np.random.Generator, int], dict[str, Any]]) -> Lessons:
    """Lessons that are the keyword arguments of `learn_many`, for a model whose `predict_many` takes none."""

    def ask(model: Any, _: dict[str, Any]) -> Floats:
        said: Prediction = model.predict_many()
        return np.concatenate([said.value, said.low, said.high])

    return Lessons(draw, lambda model, lesson: model.learn_many(**lesson), ask)


def check_model(make: Make, lessons: Lessons, rng: np.random.Generator, leave_out: Collection[str] = ()) -> None:
    """Run every check that applies to what `make()` makes, but those in `leave_out`, by name.

    AssertionError with the name of the check and what was seen.
    """
    drawn = [lessons.draw(rng, k) for k in range(20 * _WARM)]
    for check in applicable(make(), lessons):
        if check.__name__ not in leave_out:
            check(make, lessons, copy.deepcopy(drawn))


def applicable(model: Any, lessons: Lessons) -> Iterator[Callable[[Make, Lessons, list[Any]], None]]:
    """The checks for a model with these verbs."""
    yield not_ready_is_nan
    yield inputs_are_left_alone
    yield asking_changes_nothing
    yield same_lessons_same_answers
    yield memory_plateaus
    yield nothing_poisons
    if lessons.teach_many is not None and isinstance(model, Learner):
        yield many_is_one_in_a_loop
    if isinstance(model, Stateful):
        yield state_round_trips
        yield foreign_states_are_refused


def not_ready_is_nan(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """A model that has learned nothing says None or NaN, and one that has been taught says something."""
    model = make()
    _insist(np.isnan(lessons.ask(model, drawn[0])).all(), not_ready_is_nan, "it made a number up before any lesson")
    _taught(model, lessons, drawn[:_WARM])
    _insist(np.isfinite(lessons.ask(model, drawn[_WARM])).any(), not_ready_is_nan, f"{_WARM} lessons taught it nothing")


def inputs_are_left_alone(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """Neither learning nor predicting alters what it is given."""
    model = make()
    for lesson in drawn[:_WARM]:
        before = copy.deepcopy(lesson)
        lessons.ask(model, lesson)
        lessons.teach(model, lesson)
        _insist(_same(before, lesson), inputs_are_left_alone, f"{before} became {lesson}")


def asking_changes_nothing(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """Predicting twice says the same, and a model that was asked all the time ends like one that was not."""
    asked, left = make(), make()
    for lesson in drawn[:_WARM]:
        lessons.ask(asked, lesson)
        again = lessons.ask(asked, lesson), lessons.ask(asked, lesson)
        _insist(_same(*again), asking_changes_nothing, f"it said {again[0]}, then {again[1]}")
        lessons.teach(asked, lesson)
        lessons.teach(left, lesson)
    answers = lessons.ask(asked, drawn[_WARM]), lessons.ask(left, drawn[_WARM])
    _insist(_same(*answers), asking_changes_nothing, f"asked in between it says {answers[0]}, else {answers[1]}")


def same_lessons_same_answers(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """No clock, no hidden source of chance: a replay must come out the same."""
    answers = [lessons.ask(_taught(make(), lessons, drawn[:_WARM]), drawn[_WARM]) for _ in range(2)]
    _insist(_same(*answers), same_lessons_same_answers, f"{answers[0]} and {answers[1]}")


def many_is_one_in_a_loop(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """The batched verb teaches what the one-row verb teaches, to rounding."""
    if lessons.teach_many is None:
        return
    one, many = _taught(make(), lessons, drawn[:_WARM]), make()
    lessons.teach_many(many, drawn[:_WARM])
    answers = lessons.ask(one, drawn[_WARM]), lessons.ask(many, drawn[_WARM])
    same = np.allclose(*answers, rtol=1e-9, equal_nan=True)
    _insist(same, many_is_one_in_a_loop, f"in a loop {answers[0]}, as a batch {answers[1]}")


def memory_plateaus(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """Ten times the lessons take no more memory: a stream has no end."""
    model = _taught(make(), lessons, drawn[: 2 * _WARM])
    early = size_bytes(model)
    late = size_bytes(_taught(model, lessons, drawn[2 * _WARM :]))
    _insist(late <= 1.1 * early + 512, memory_plateaus, f"{early} bytes grew to {late}")


def nothing_poisons(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """After NaN and infinities in each place in turn, good lessons are learned as ever."""
    model = _taught(make(), lessons, drawn[:_WARM])
    ready = np.isfinite(lessons.ask(model, drawn[_WARM]))
    places = len(list(_poisoned(drawn[0], np.nan)))
    doses = [(place, poison) for place in range(places) for poison in (np.nan, np.inf, -np.inf)]
    coming = iter(drawn[_WARM:])
    for (place, poison), lesson in zip(doses, coming, strict=False):  # each a new lesson: a stale one may be ignored
        lessons.teach(model, list(_poisoned(lesson, poison))[place])
    _taught(model, lessons, [lesson for lesson, _ in zip(coming, range(_WARM), strict=False)])
    answer = lessons.ask(model, drawn[0])
    _insist(np.isfinite(answer[ready]).all(), nothing_poisons, f"it now says {answer}")


def state_round_trips(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """State is plain, a copy, and all there is: who takes it up says and learns the same, to the last bit."""
    first, second = _taught(make(), lessons, drawn[:_WARM]), make()
    state = first.state()
    _insist(_is_plain(state), state_round_trips, "its state is more than arrays, numbers, strings, lists and dicts")
    second.restore(state)
    kept = copy.deepcopy(state)
    for lesson in drawn[_WARM : 2 * _WARM]:
        answers = lessons.ask(first, lesson), lessons.ask(second, lesson)
        _insist(_same(*answers), state_round_trips, f"before {answers[0]}, after {answers[1]}")
        lessons.teach(first, lesson)
        lessons.teach(second, lesson)
    _insist(_same(state, kept), state_round_trips, "going on to learn altered a state that was handed out or taken up")


def foreign_states_are_refused(make: Make, lessons: Lessons, drawn: list[Any]) -> None:
    """A state with a part missing, or an array of another length or of text, raises ValueError and changes nothing."""
    model = _taught(make(), lessons, drawn[:_WARM])
    before = lessons.ask(model, drawn[_WARM])
    good = _taught(make(), lessons, drawn[: _WARM // 2]).state()
    for bad, how in _foreign(good):
        try:
            model.restore(bad)
        except ValueError:
            after = lessons.ask(model, drawn[_WARM])
            _insist(_same(before, after), foreign_states_are_refused, f"{how} was refused but left its mark")
        else:
            _insist(False, foreign_states_are_refused, f"{how} was taken up")


def size_bytes(thing: Any) -> int:
    """Memory reachable from a thing, without code: classes, modules and functions."""
    seen: set[int] = set()
    waiting, total = [thing], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting.extend(gc.get_referents(one))
    return total


def _insist(held: bool | np.bool_, check: Callable[..., None], seen: str) -> None:
    if not held:
        raise AssertionError(f"{check.__name__}: {seen}")


def _taught(model: Any, lessons: Lessons, drawn: list[Any]) -> Any:
    for lesson in drawn:
        lessons.teach(model, lesson)
    return model


def _same(a: Any, b: Any) -> bool:
    """Equal all the way down, NaN being equal to NaN."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray | float):
        return bool(np.array_equal(a, b, equal_nan=True))
    return bool(a == b)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufSU"
    return value is None or isinstance(value, str | bool | int | float)


def _poisoned(lesson: Any, poison: float) -> Iterator[Any]:
    """The lesson with each of its float numbers or columns, but a time, replaced in turn."""
    if isinstance(lesson, tuple):
        for k, part in enumerate(lesson):
            for bad in _poisoned(part, poison):
                yield (*lesson[:k], bad, *lesson[k + 1 :])
    elif isinstance(lesson, dict):
        for name, part in lesson.items():
            if name != "now":
                for bad in _poisoned(part, poison):
                    yield lesson | {name: bad}
    elif isinstance(lesson, np.ndarray) and lesson.dtype.kind == "f":
        yield np.full_like(lesson, poison)
    elif isinstance(lesson, float):
        yield poison


def _foreign(good: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """States that look like this one and are not, and what is wrong with each."""
    yield {}, "an empty state"
    for name, value in good.items():
        yield {k: v for k, v in good.items() if k != name}, f"a state without {name!r}"
        if isinstance(value, np.ndarray):
            yield good | {name: np.concatenate([value, value])}, f"a state with twice the rows of {name!r}"
            yield good | {name: np.full(value.shape, "x")}, f"a state with text for {name!r}"
