"""What a file of many questions may say: the one description behind its checks, its JSON Schema and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from weirflow.config.fields import Percent, Section, refuse
from weirflow.whatif.question import MOST_LOAD, WrongError
from weirflow.whatif.question import load as read_load

SCHEMA = Path(__file__).with_name("matrix.schema.json")
TITLE = "Weirflow what-if questions"


def _load(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read_load(value)
    except WrongError as error:
        raise refuse(error.message, error.mend) from None


Load = Annotated[float, Field(gt=0, le=MOST_LOAD), BeforeValidator(_load)]
Word = Annotated[str, Field(min_length=1, max_length=300)]
Words = Annotated[list[Word], Field(max_length=1_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


class LimitsSection(Section):
    """Of each node and cluster, as Envoy's circuit breakers are; what is not written stays as recorded."""

    max_connections: Count | None = None
    """Connections to the endpoints."""
    max_pending_requests: Count | None = None
    """Requests that wait for a connection."""
    max_requests: Count | None = None
    """Requests that are open."""
    budget_percent: Percent | None = None
    """Of the open requests, that may be retries."""
    min_retry_concurrency: Count | None = None
    """Retries that the budget always allows."""


class QuestionSection(Section):
    """One question. What is not written stays as recorded."""

    name: Word | None = None
    """What reports call it."""
    load: Load | None = None
    """Times the recorded requests."""
    remove: Words = Field(default=[])
    """Endpoints taken out."""
    add: Words = Field(default=[])
    """Endpoints more, each as `3`, `3@0.5` or `3@0.5/8`: how many, times the median speed, workers."""
    slow: Words = Field(default=[])
    """Each as `ENDPOINT=x5@T1..T2`."""
    limits: LimitsSection = Field(default_factory=LimitsSection)
    """Of each node and cluster, as Envoy's circuit breakers are; what is not written stays as recorded."""
    share: Percent | None = None
    """Percent of the traffic on the adaptive arm, where that is in force."""
    weights: dict[str, Annotated[int, Field(ge=1, le=128)]] = Field(default={})
    """The operator's, by endpoint; the others keep theirs."""


class EachSection(Section):
    """Lists: every combination of one of each is a question."""

    load: Annotated[list[Load], Field(min_length=1)] | None = None
    """Times the recorded requests."""
    remove: Annotated[list[Words], Field(min_length=1)] | None = None
    """Lists of endpoints; an empty one takes nobody out."""
    add: Annotated[list[Words], Field(min_length=1)] | None = None
    """Lists of additions; an empty one adds nobody."""
    slow: Annotated[list[Words], Field(min_length=1)] | None = None
    """Lists of `ENDPOINT=x5@T1..T2`."""
    limits: Annotated[list[LimitsSection], Field(min_length=1)] | None = None
    """Sets of limits; `{}` leaves them as they are."""
    share: Annotated[list[Percent], Field(min_length=1)] | None = None
    """Percent of the traffic on the adaptive arm."""


class Document(Section):
    """A file of questions."""

    service: Word | None = None
    """Which of the recording's services; needed where it has several."""
    policies: Annotated[list[Word], Field(min_length=1)] | None = None
    """Who picks, in each question; what was in force is always run beside them."""
    seeds: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """Runs of each question and policy."""
    start: Word | None = None
    """The window to judge: seconds from the start as text, HH:MM:SS or ISO 8601 (UTC)."""
    end: Word | None = None
    """Its end."""
    each: EachSection | None = None
    """Lists: every combination of one of each is a question."""
    questions: list[QuestionSection] = Field(default=[])
    """Questions one by one."""
