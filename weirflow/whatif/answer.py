"""Answers: every question under every policy, over the same requests, beside what was in force.

    report = answer(recording, frame, world, Asked((question,), ("full_scan",), seeds=5))

A question, a policy and a seed are one task, and tasks know nothing of each other: they run one after another or on
many cores, and what comes out is the same to the last bit. The first tasks are the check (`weirflow.whatif.trust`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dataplane.simulated.fleet import Floats
from weirflow.recording import Recording
from weirflow.whatif import off_policy, trust
from weirflow.whatif.change import Question, Span, changed
from weirflow.whatif.coverage import Coverage, coverage
from weirflow.whatif.off_policy import Declined, Estimated, Holdout
from weirflow.whatif.parallel import Workers
from weirflow.whatif.policies import ADAPTIVE, BOUNDS, RECORDED, WEIRFLOW, in_force
from weirflow.whatif.question import Frame
from weirflow.whatif.resample import held
from weirflow.whatif.spread import quantiles_s
from weirflow.whatif.tally import SHARES, Interval, Tally, against, draws, figures, interval
from weirflow.whatif.trust import Check, Doubt
from weirflow.whatif.world import World

if TYPE_CHECKING:
    from weirflow.whatif.attempts import Shelf

DRAWING = 3  # which stream of chance the bootstrap is, of seed 0
COMPARED = ("p50_s", "p90_s", "p99_s", "mean_s", "failed", "refused")
Engine = Literal["off-policy", "simulation", "none"]
Tell = Callable[[int, int, str], None]  # runs done, of how many, and which was the last


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked. `recorded` need not be among the policies: it is always run."""

    questions: tuple[Question, ...]
    policies: tuple[str, ...]
    seeds: int = 3
    force: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One policy's answer. E endpoints."""

    policy: str
    requests: int  # a run's, in the mean
    figures: Mapping[str, Interval]
    against: Mapping[str, Interval]  # `recorded` in the same world; of `recorded`: the world as it was
    share: Floats  # (E,) of attempts
    busy: Floats  # (E,) of its workers' time
    adaptive: float  # share of requests on the adaptive arm
    tallies: tuple[Tally, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One question's. `doubts` empty: the simulation concludes."""

    question: Question
    world: World  # the changed one
    span: Span
    rows: tuple[Row, ...]
    doubts: tuple[Doubt, ...]
    off_policy: Estimated | Declined

    @property
    def engine(self) -> Engine:
        """Which engine answers."""
        if isinstance(self.off_policy, Estimated):
            return "off-policy"
        return "none" if self.doubts else "simulation"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All of it."""

    frame: Frame
    world: World
    coverage: Coverage
    asked: Asked
    check: Check
    doubts: tuple[Doubt, ...]  # of the recording: they speak against every simulated answer
    holdout: Holdout | Declined
    answers: tuple[Answer, ...]
    check_tallies: tuple[Tally, ...] = field(default=())

    @property
    def concluded(self) -> bool:
        """Whether every question has an answer that can be trusted."""
        return all(a.engine != "none" for a in self.answers)


def answer(
    recording: Recording,
    frame: Frame,
    world: World,
    asked: Asked,
    *,
    workers: Workers | None = None,
    shelf: Shelf | None = None,
    tell: Tell = lambda *_: None,
) -> Report:
    """Run the check and every task, and say what came of it. `shelf` takes the simulated attempts."""
    seen = coverage(recording, frame)
    world = replace(world, chunks=held(world.chunks, world.seen.requests))
    tasks = list(_tasks(world, asked, None if shelf is None else shelf.folder))
    tallies: dict[tuple[int, str], list[Tally]] = {}
    runs = (workers or Workers()).run(_carried, tasks)
    for task, tally in zip(tasks, runs, strict=True):
        tallies.setdefault((task.number, task.policy), []).append(tally)
        tell(sum(map(len, tallies.values())), len(tasks), task.words)
    checked = tallies[CHECK, RECORDED]
    found = trust.check(world, in_force(world), _felt(checked, _draws(checked)))
    doubts = trust.of_recording(found, seen, world)
    answers = []
    for number, question in enumerate(asked.questions):
        plain = _unchanged(asked, question)
        before = None if plain is None else tallies[plain, RECORDED]
        rows = _rows({policy: tallies[number, policy] for policy in _policies(asked)}, before, world, question)
        other, span = changed(world, question)
        real = [r.tallies for r in rows if r.policy not in BOUNDS]
        own = trust.of_question(world, question, seen, real, checked)
        engine = off_policy.estimate(recording, frame, world, question)
        answers.append(Answer(question, other, span, rows, (*doubts, *own), engine))
    coin = off_policy.holdout(recording, frame, world)
    return Report(frame, world, seen, asked, found, doubts, coin, tuple(answers), tuple(checked))


CHECK = -1


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One run."""

    number: int  # of the question; CHECK: none
    question: Question
    policy: str
    seed: int
    world: World
    folder: Path | None = None  # for its attempts
    place: int = 0  # of its attempts among those of all

    @property
    def words(self) -> str:
        """In a line for people."""
        about = "check" if self.number == CHECK else self.question.title
        return f"{about}: {self.policy}, seed {self.seed}"


def _tasks(world: World, asked: Asked, folder: Path | None) -> Iterator[Task]:
    for seed in range(asked.seeds):
        yield Task(CHECK, Question(), RECORDED, seed, world)
    for number, window in enumerate(_windows(asked)):
        for seed in range(asked.seeds):
            yield Task(CHECK - 1 - number, window, RECORDED, seed, world)
    todo = product(enumerate(asked.questions), _policies(asked), range(asked.seeds))
    for place, ((number, question), policy, seed) in enumerate(todo):
        yield Task(number, question, policy, seed, world, folder, place)


def _windows(asked: Asked) -> list[Question]:
    """The world as it was, once for each window in which something is changed."""
    plain = [(Question(start_s=q.start_s, end_s=q.end_s), q) for q in asked.questions]
    return list(dict.fromkeys(p for p, q in plain if p != replace(q, name="")))


def _unchanged(asked: Asked, question: Question) -> int | None:
    """The number under which the world as it was is run for this question; None when it changes nothing."""
    plain = Question(start_s=question.start_s, end_s=question.end_s)
    return None if plain == replace(question, name="") else CHECK - 1 - _windows(asked).index(plain)


def _policies(asked: Asked) -> list[str]:
    """What was in force first, bounds last; who asks for a share asks about Weirflow."""
    names = [p for p in asked.policies if p != RECORDED]
    if not ADAPTIVE.keys() & set(names) and any(q.share_percent is not None for q in asked.questions):
        names.append(WEIRFLOW)
    return [RECORDED, *(p for p in names if p not in BOUNDS), *(p for p in names if p in BOUNDS)]


def _carried(task: Task) -> Tally:
    from weirflow.whatif.carry import carry  # late: it compiles, and a wrong question need not wait

    world, span = changed(task.world, task.question, task.seed)
    if task.number == CHECK:
        return carry(world, task.policy, Span(0.0, world.duration_s), task.seed)
    if task.folder is None:
        return carry(world, task.policy, span, task.seed)
    from weirflow.whatif.attempts import book

    with book(task.folder / f"{task.place:07d}.parquet", world, task.question.words, task.policy, task.seed) as hear:
        return carry(world, task.policy, span, task.seed, hear)


def _draws(tallies: Sequence[Tally]) -> Floats | None:
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([0, DRAWING])))
    return draws(len(tallies), len(tallies[0].requests), random)


def _felt(tallies: Sequence[Tally], drawn: Floats | None) -> dict[str, Interval]:
    many = None if drawn is None else figures(tallies, drawn, felt=True)
    return _told(tallies, figures(tallies, felt=True), many)


def _told(
    tallies: Sequence[Tally], point: Mapping[str, Floats], many: Mapping[str, Floats] | None
) -> dict[str, Interval]:
    requests = float(tallies[0].requests.sum())  # the same ones in each seed, or as many
    return {
        name: interval(
            float(v[0]), None if many is None else many[name], of=requests if name in (*SHARES, "retries") else inf
        )
        for name, v in point.items()
    }


@dataclass(frozen=True, slots=True)
class _Figures:
    """Figures of some runs, and as they were drawn again."""

    point: Mapping[str, Floats]
    drawn: Mapping[str, Floats] | None

    @classmethod
    def of(cls, tallies: Sequence[Tally], drawn: Floats | None) -> _Figures:
        return cls(figures(tallies), None if drawn is None else figures(tallies, drawn))

    def against(self, base: _Figures) -> dict[str, Interval]:
        """How far from the base, over the same draws."""
        out = {}
        for name in COMPARED:
            spread = None if self.drawn is None or base.drawn is None else against(self.drawn, base.drawn, name)
            out[name] = interval(float(against(self.point, base.point, name)[0]), spread)
        return out


def _rows(
    by_policy: Mapping[str, list[Tally]], before: list[Tally] | None, world: World, question: Question
) -> tuple[Row, ...]:
    drawn = _draws(by_policy[RECORDED])
    base = _Figures.of(by_policy[RECORDED], drawn)
    rows = []
    for policy, tallies in by_policy.items():
        own = _Figures.of(tallies, drawn)
        apart = own.against(base) if policy != RECORDED else {}
        if policy == RECORDED and before is not None:
            apart = own.against(_Figures.of(before, drawn))
        point, many = own.point, own.drawn
        other, span = changed(world, question)
        fleet = other.fleet
        here_s = np.clip(np.minimum(fleet.leaves_s, span.end_s) - np.maximum(fleet.joins_s, span.start_s), 0.0, None)
        attempts = np.sum([t.attempts.sum(axis=0) for t in tallies], axis=0)
        busy_s = np.mean([t.busy_s.sum(axis=0) for t in tallies], axis=0)
        requests = sum(int(t.requests.sum()) for t in tallies)
        rows.append(
            Row(
                policy,
                round(requests / len(tallies)),
                _told(tallies, point, many),
                apart,
                np.asarray(attempts / max(float(attempts.sum()), 1.0)),
                np.asarray(busy_s / np.maximum(fleet.workers * here_s, 1e-9)),
                sum(int(t.adaptive.sum()) for t in tallies) / max(requests, 1),
                tuple(tallies),
            )
        )
    return tuple(rows)


def series(row: Row) -> tuple[Floats, Floats, Floats]:
    """Middle of each window in seconds, and p50 and p99 there, over all seeds."""
    span, many = row.tallies[0].span, len(row.tallies[0].requests)
    bins = np.sum([t.charged_bins for t in row.tallies], axis=0)
    at_s = span.start_s + (np.arange(many) + 0.5) / many * span.lasts_s
    p50_s, p99_s = quantiles_s(bins, 0.5, 0.99)
    return np.asarray(at_s), p50_s, p99_s
