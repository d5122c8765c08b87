"""What a check finds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

DEADLINE_S = 5.0
"""For one look: a disk or a process that hangs must not hang the check."""
MOST_ALIKE = 10


class Outcome(StrEnum):
    """How a check ended; the worst last, but for what was not made."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_MADE = "not made"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `hint` says what to do and `link` where it is described, both empty when all is well."""

    name: str
    outcome: Outcome
    words: str
    hint: str = ""
    link: str = ""  # a heading of docs/how-to.md or docs/runbook.md


@dataclass(frozen=True, slots=True)
class Group:
    """Checks of one thing."""

    name: str
    checks: tuple[Check, ...]


def ok(name: str, words: str) -> Check:
    """All is well."""
    return Check(name, Outcome.OK, words)


def warning(name: str, words: str, hint: str, link: str) -> Check:
    """It runs, and something is not as it should be."""
    return Check(name, Outcome.WARNING, words, hint, link)


def failure(name: str, words: str, hint: str, link: str) -> Check:
    """It does not run, or does not do what it is for."""
    return Check(name, Outcome.FAILURE, words, hint, link)


def not_made(name: str, words: str) -> Check:
    """It could not be looked at."""
    return Check(name, Outcome.NOT_MADE, words)


Look = Callable[[], Iterable[Check]]


def within(name: str, look: Look, deadline_s: float = DEADLINE_S) -> tuple[Check, ...]:
    """What it finds; a warning when it takes too long, a failure when it fails itself."""
    found: list[Check] = []
    late = True

    def go() -> None:
        nonlocal late
        try:
            found.extend(look())
        except Exception as error:  # whatever it is, the other checks are made
            words = f"the check itself failed: {error!r}"
            found.append(failure(name, words, "this is a fault of ours: weirflow bug-report", "how-to.md#report-a-bug"))
        late = False

    thread = threading.Thread(target=go, daemon=True)  # one that hangs does not outlive the command
    thread.start()
    thread.join(deadline_s)
    if late:
        hint = "look at what hangs: a disk, a network file system, a machine with too much to do"
        return (warning(name, f"not known within {deadline_s:g} s", hint, "how-to.md#check-a-mesh"),)
    return tuple(found)


def first(found: Sequence[Check], good: Check) -> list[Check]:
    """The findings, `good` when there are none; those beyond the first few are counted."""
    if not found:
        return [good]
    rest = len(found) - MOST_ALIKE
    if rest <= 0:
        return list(found)
    last = found[MOST_ALIKE - 1]
    more = Check(last.name, last.outcome, f"and {rest + 1} more like it", last.hint, last.link)
    return [*found[: MOST_ALIKE - 1], more]


def worst(groups: Iterable[Group]) -> Outcome:
    """The worst outcome that there is; what was not made counts for nothing."""
    outcomes = {check.outcome for group in groups for check in group.checks}
    return next((o for o in (Outcome.FAILURE, Outcome.WARNING) if o in outcomes), Outcome.OK)
