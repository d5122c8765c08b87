"""Scenario files: those that ship, by name, and anybody's, by path.

A file is read and checked as a mesh file is: every mistake is told with its line, its key and the mend, and nothing of
a file with a mistake is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path as FilePath

from weirflow.config.problems import ConfigError, Path, Problem, mend_of, ordered, shown
from weirflow.config.source import Kind, Source, parse, read
from weirflow.config.structure import structure
from weirflow.config.units import format_duration as told
from weirflow.lab import sections
from weirflow.lab.draw import end_s, full_rate
from weirflow.lab.scenario import Change, Group, Scenario
from weirflow.lab.sections import Document

SHIPPED = FilePath(__file__).with_name("scenarios")
MOST_REQUESTS = 10_000_000
MOST_FLIPS = 2_000_000
KIND = Kind("scenario", "the smallest scenario has title, source, load, and groups", "begin with 'title:'")


def load(name_or_path: str) -> Scenario:
    """A shipped scenario by its name, or one of a file: what holds a '/' or ends in .yaml or .yml is a path.

    ConfigError with every mistake, each with its place and mend; for an unknown name with the nearest that ships.
    """
    file = FilePath(name_or_path)
    if file.suffix in (".yaml", ".yml") or "/" in name_or_path:
        return check_text(read(file, KIND), file)
    if name_or_path not in _shipped():
        mend = mend_of(name_or_path, _shipped(), kind="scenarios")
        message = f"no scenario is named {shown(name_or_path)}"
        raise ConfigError([Problem("weirflow lab", 0, 0, "", message, f"{mend}; a file of your own ends in .yaml")])
    file = _shipped()[name_or_path]
    return check_text(read(file, KIND), file)


def names() -> dict[str, str]:
    """Title of each shipped scenario by name, in the order of the alphabet."""
    return {name: load(name).title for name in _shipped()}


def check_text(text: str, file: FilePath) -> Scenario:
    """Read text as if it were in that file, whose stem is the scenario's name. ConfigError as in `load`."""
    source = parse(text, str(file), KIND)
    document, problems = structure(source, Document)
    problems += source.problems
    if document is not None:
        problems += _names(source, document)
    if document is None or problems:
        raise ConfigError(ordered(problems))
    made = sections.scenario(document, file.stem)
    problems += [*_moments(source, made), *_changes(source, made), *_sizes(source, made)]
    if problems:
        raise ConfigError(ordered(problems))
    return made


def _shipped() -> dict[str, FilePath]:
    return {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}


def _names(source: Source, document: Document) -> Iterator[Problem]:
    """Names given twice, and names of nothing."""
    for key, given in (
        ("groups", [g.name for g in document.groups]),
        ("classes", [c.name for c in document.classes or ()]),
        ("phases", [p.name for p in document.phases]),
    ):
        for i, name in enumerate(given):
            if name in given[:i]:
                line = source.mark((key, given.index(name), "name"))[0]
                message = f"{shown(name)} is given twice, first on line {line}"
                yield source.problem((key, i, "name"), message, "keep one, or rename it")
    phases = [p.name for p in document.phases]
    judged = document.judged
    if judged is not None and judged not in phases:
        mend = mend_of(judged, phases, kind="phases")
        yield source.problem(("judged",), f"no phase is named {shown(judged)}", mend)
    endpoints = [f"{g.name}-{i}" for g in document.groups for i in range(g.count)]
    about = document.telemetry.lied_about
    if about is not None and about not in endpoints:
        mend = mend_of(about, endpoints, kind="endpoints")
        yield source.problem(("telemetry", "lied_about"), f"no endpoint is named {shown(about)}", mend)
    total = sum(c.share for c in document.classes or ())
    if document.classes and abs(total - 1.0) > 1e-6:
        yield source.problem(("classes",), f"the shares add up to {total:g}", "make them 1 together")


def _moments(source: Source, made: Scenario) -> Iterator[Problem]:
    """Moments in the wrong order or after the run."""
    run_s = end_s(made)
    for i, phase in enumerate(made.phases):
        yield from _order(source, ("phases", i), phase.start_s, phase.end_s)
        if phase.end_s > run_s:
            yield source.problem(("phases", i, "end"), f"is after the run, which takes {told(run_s)}", "end it earlier")
    for i, step in enumerate(made.load_steps):
        if step.at_s >= run_s:
            yield _never(source, ("load_steps", i, "at"), run_s)
    for i, (one, two) in enumerate(pairwise(made.load_steps), start=1):
        if two.at_s <= one.at_s:
            path: Path = ("load_steps", i, "at")
            yield source.problem(path, f"is not after the step before, at {told(one.at_s)}", "write them in order")
    for i, group in enumerate(made.groups):
        yield from _order(source, ("groups", i), group.joins_s, group.leaves_s, "joins", "leaves")
        if group.joins_s >= run_s:
            yield _never(source, ("groups", i, "joins"), run_s)


def _changes(source: Source, made: Scenario) -> Iterator[Problem]:
    """Changes that cannot be meant."""
    for i, group in enumerate(made.groups):
        for j, change in enumerate(group.changes):
            path: Path = ("groups", i, "changes", j)
            yield from _order(source, path, change.start_s, change.end_s)
            yield from _of_nothing(source, path, group, change)
            if change.start_s >= end_s(made):
                yield _never(source, (*path, "start"), end_s(made))


def _of_nothing(source: Source, path: Path, group: Group, change: Change) -> Iterator[Problem]:
    if change.first is not None and change.first > group.count:
        message = f"{change.first} are more than the {group.count} of {shown(group.name)}"
        yield source.problem((*path, "first"), message, "leave it out for all of them")
    if (change.speed, change.extra_s, change.error_share, change.hang) == (1.0, 0.0, 0.0, False):
        yield source.problem(path, "changes nothing", "give it speed, extra, error_share or hang")


def _order(
    source: Source, path: Path, start_s: float, end_s: float, first: str = "start", last: str = "end"
) -> Iterator[Problem]:
    if end_s <= start_s:
        yield source.problem((*path, last), f"is not after {first}, {told(start_s)}", f"make it later than {first}")


def _never(source: Source, path: Path, run_s: float) -> Problem:
    return source.problem(path, f"never comes: the run ends at {told(run_s)}", "make it earlier, or the run longer")


def _sizes(source: Source, made: Scenario) -> Iterator[Problem]:
    """Worlds that cannot be drawn: no capacity to take the load of, or more of something than a machine can hold."""
    endpoints = sum(g.count for g in made.groups)
    if endpoints > 10_000:
        yield source.problem(("groups",), f"are {endpoints} endpoints", "at most 10000 can be run")
        return
    flips = sum(g.count * end_s(made) / g.flips.hold_s for g in made.groups if g.flips)
    if flips > MOST_FLIPS:
        yield source.problem(("groups",), f"would flip {flips:.0f} times", f"at most {MOST_FLIPS}: hold longer")
        return
    rate = full_rate(made) * made.load / sum(c.share * c.demand_s for c in made.classes)
    most = rate * end_s(made) * max([1.0, *(s.factor for s in made.load_steps)])
    if rate <= 0.0:
        yield source.problem(("load",), "is a share of nothing: no endpoint works at the start", "let one join at 0s")
    elif most > MOST_REQUESTS:
        message = f"could be {most:.3g} requests, {rate:.3g} a second"
        yield source.problem(("load",), message, f"at most {MOST_REQUESTS}: make demands longer or the run shorter")
