"""A file of many questions, read and checked as a mesh file is: every mistake with its line, its key and the mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path as FilePath
from typing import Any, ParamSpec, TypeVar

from weirflow.config.problems import ConfigError, Path, Problem, ordered
from weirflow.config.source import Kind, Source, parse, read
from weirflow.config.structure import structure
from weirflow.whatif import question as asking
from weirflow.whatif.change import Question
from weirflow.whatif.question import Frame, WrongError
from weirflow.whatif.sections import Document, EachSection, LimitsSection, QuestionSection

KIND = Kind("what-if", "the smallest file has questions, or each", "begin with 'questions:' or 'each:'")
MOST_QUESTIONS = 1_000

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A file that holds together. Endpoints and moments are looked up once it is known what was recorded."""

    source: Source
    document: Document


def load(file: FilePath) -> Matrix:
    """Read a file. ConfigError with every mistake that can be seen without a recording."""
    source = parse(read(file, KIND), str(file), KIND)
    document, problems = structure(source, Document)
    problems += source.problems
    if document is None or problems:
        raise ConfigError(ordered(problems))
    if not document.questions and document.each is None:
        raise ConfigError([source.problem((), "asks nothing", KIND.begin)])
    return Matrix(source, document)


def policies(matrix: Matrix) -> tuple[str, ...] | None:
    """Those that the file names; None when it names none. ConfigError for one that is not there."""
    words = matrix.document.policies
    if words is None:
        return None
    reader = _Reader(matrix.source)
    out = [reader.read(("policies", i), asking.policies, [word]) for i, word in enumerate(words)]
    reader.end()
    return tuple(dict.fromkeys(name for names in out for name in names or ()))


def questions(matrix: Matrix, frame: Frame) -> tuple[Question, ...]:
    """Every question: those one by one, then the combinations. ConfigError with every mistake."""
    reader, document = _Reader(matrix.source), matrix.document
    start_s, end_s = reader.read(("start",), asking.window, document.start, document.end, frame) or (0.0, 0.0)
    out = [_one(reader, frame, i, q) for i, q in enumerate(document.questions)]
    many = len(out) + (_combinations(document.each) if document.each is not None else 0)
    if many > MOST_QUESTIONS:
        mend = f"at most {MOST_QUESTIONS}: leave some out"
        raise ConfigError([matrix.source.problem((), f"makes {many} questions", mend)])
    if document.each is not None:
        out += list(_combined(reader, frame, document.each))
    reader.end()
    return tuple(_within(q, start_s, end_s) for q in out)


def _within(question: Question, start_s: float, end_s: float) -> Question:
    return replace(question, start_s=start_s, end_s=end_s)


class _Reader:
    """Reads words, and keeps what is wrong with them until all have been read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def read(self, path: Path, make: Callable[P, T], *words: P.args, **more: P.kwargs) -> T | None:
        try:
            return make(*words, **more)
        except WrongError as error:
            self.problems.append(self.source.problem(path, error.message, error.mend))
            return None

    def all(self, path: Path, words: Sequence[str], make: Callable[[str], T]) -> tuple[T, ...]:
        found = [self.read((*path, i), make, word) for i, word in enumerate(words)]
        return tuple(f for f in found if f is not None)

    def end(self) -> None:
        """ConfigError when anything was wrong."""
        if self.problems:
            raise ConfigError(ordered(self.problems))


def _one(reader: _Reader, frame: Frame, i: int, q: QuestionSection) -> Question:
    path: Path = ("questions", i)
    weights = [
        (reader.read((*path, "weights", name), frame.endpoint, name), weight) for name, weight in q.weights.items()
    ]
    made = Question(
        load=1.0 if q.load is None else q.load,
        remove=reader.all((*path, "remove"), q.remove, frame.endpoint),
        add=reader.all((*path, "add"), q.add, asking.added),
        slow=reader.all((*path, "slow"), q.slow, lambda w: asking.slow(w, frame)),
        limits=_limits(q.limits),
        share_percent=q.share,
        weights=tuple((name, weight) for name, weight in weights if name is not None),
        name=q.name or "",
    )
    return reader.read(path, asking.sound, made, frame) or made


def _combinations(each: EachSection) -> int:
    return prod(len(getattr(each, key) or [None]) for key in EachSection.model_fields)


def _combined(reader: _Reader, frame: Frame, each: EachSection) -> Iterator[Question]:
    def lists(key: str, make: Callable[[str], Any]) -> list[tuple[Any, ...]]:
        found = getattr(each, key)
        return [()] if found is None else [reader.all(("each", key, i), words, make) for i, words in enumerate(found)]

    no_share: list[float | None] = [None]
    for load, remove, add, slow, limits, share in product(
        each.load or [1.0],
        lists("remove", frame.endpoint),
        lists("add", asking.added),
        lists("slow", lambda w: asking.slow(w, frame)),
        [_limits(section) for section in each.limits or [LimitsSection()]],
        each.share or no_share,
    ):
        made = Question(load, remove, add, slow, limits, share)
        yield reader.read(("each",), asking.sound, made, frame) or made


def _limits(section: LimitsSection) -> tuple[tuple[str, int], ...]:
    return tuple((name, value) for name, value in section.model_dump().items() if value is not None)
