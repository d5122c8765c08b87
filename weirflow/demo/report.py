"""What the story found, as plain data: the table on the terminal and the JSON file say the same because both read this.

A claim is a sentence with the figure that bears it. The demo's exit status is 0 only when every claim held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dataplane.contract import Arm
from weirflow.demo.answers import Answers, Figures, figures

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the story in which the figures were measured: [start, end) of the client's clock."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Row:
    """One service in one phase, as its users felt it, by the arm that served them. `untold` answers named no arm."""

    phase: str
    service: str
    static: Figures
    adaptive: Figures
    untold: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How long something took, None when it did not happen. `definition` says from what to what."""

    name: str
    seconds: float | None
    definition: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that the story says, whether it held, and the figure behind it."""

    sentence: str
    held: bool
    figure: str


@dataclass(slots=True)
class Report:
    """All of it. `requests` and `failed` are over the whole story, the times between phases included."""

    rows: list[Row] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    requests: int = 0
    failed: int = 0
    sent_late_p99_ms: float | None = None  # the client's own fault, part of every latency above
    took_s: float = 0.0

    @property
    def held(self) -> bool:
        """Whether there was something to claim, and all of it held."""
        return bool(self.claims) and all(c.held for c in self.claims)

    def claim(self, sentence: str, held: bool, figure: str) -> Claim:
        """Add a claim and return it."""
        self.claims.append(Claim(sentence, bool(held), figure))
        return self.claims[-1]

    def row(self, phase: str, service: str) -> Row:
        """The row of a phase and a service; KeyError when it was not measured."""
        for r in self.rows:
            if (r.phase, r.service) == (phase, service):
                return r
        raise KeyError((phase, service))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"format": FORMAT, "held": self.held, **asdict(self)}


def rows(phase: Phase, answers: Answers, services: Sequence[str]) -> list[Row]:
    """One row a service: the requests that were meant to leave during the phase."""
    during = answers.between(phase.start, phase.end)
    out = []
    for i, service in enumerate(services):
        of_service = during.where(service=i)
        static, adaptive = (of_service.where(arm=arm) for arm in (Arm.STATIC, Arm.ADAPTIVE))
        untold = len(of_service) - len(static) - len(adaptive)
        out.append(Row(phase.name, service, figures(static), figures(adaptive), untold))
    return out
