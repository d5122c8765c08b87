"""What a scenario file may say: the one description behind its checks, its JSON Schema and its reference page.

A key is the name of the field that it fills, without `_s`: times are written with their unit, so the name need not
say it. Sections become `Scenario` and its parts by that rule alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from weirflow.config import units
from weirflow.config.fields import Duration, Name, Section
from weirflow.lab import scenario as made

SCHEMA = Path(__file__).with_name("scenario.schema.json")
TITLE = "Weirflow lab scenario"

Time = Annotated[float, Duration("0s", "1h")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=1000)]


class Ahead(Duration):
    """A duration that may be negative."""

    def parse(self, value: Any) -> float:
        """Seconds; refuses as a duration does."""
        if isinstance(value, str) and value.startswith("-"):
            return -super().parse(value[1:])
        return super().parse(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by `parse`, serialise as text again."""
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda s: "-" * (s < 0) + units.format_duration(abs(s)), return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As a duration, with its sign."""
        told = super().__get_pydantic_json_schema__(schema, handler)
        return told | {"pattern": units.DURATION_PATTERN.replace("^", "^-?"), "$comment": "either way, to 1h"}


class ChangeSection(Section):
    """What is different in a group for a while. Changes at once add up."""

    start: Time
    """From the start of the run, warm-up included, as every moment here."""
    end: Time | None = None
    """Without it, to the end."""
    first: Annotated[int, Field(ge=1)] | None = None
    """How many of the group it touches; without it, all."""
    speed: Factor = 1.0
    """Times the group's."""
    extra: Time = 0.0
    """Added to each answer without holding a worker, as a slow network would."""
    error_share: Share = 0.0
    """Share of requests that fail at once, without work."""
    status: Annotated[int, Field(ge=200, le=599)] = 503
    """Of those answers. 200 is the harder case: an empty body that looks like success."""
    after: Time = 0.001
    """Until those answers."""
    hang: bool = False
    """Nothing starts and nothing ends while this holds; requests pile up."""


class FlipsSection(Section):
    """Antagonists on the same machines: the speed jumps between factors."""

    factors: Annotated[list[Factor], Field(min_length=2, max_length=100)] = Field(default=[1.0, 0.4])
    """Times the group's speed; each jump goes to any other. The load counts them by their mean."""
    hold: Annotated[float, Duration("100ms", "1h")] = 2.0
    """Mean of the exponential time between jumps."""
    together: Literal["endpoint", "zone"] = "endpoint"
    """Who jumps at the same moments: each endpoint by itself, or all of the group that are in one zone."""


class GroupSection(Section):
    """Endpoints alike, named `NAME-0`, `NAME-1` and so on."""

    name: Name
    """Of the group."""
    count: Annotated[int, Field(ge=1, le=10_000)]
    """How many."""
    workers: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Requests that each works on at once; the others wait in one queue."""
    speed: Factor = 1.0
    """Demand seconds that a worker does in a second."""
    zones: Annotated[list[Name], Field(min_length=1)] | None = None
    """Dealt out in turn."""
    weight: Annotated[int, Field(ge=1, le=128)] = 1
    """The operator's."""
    joins: Time = 0.0
    """No member before."""
    leaves: Time | None = None
    """No member from then on; what it has, it finishes."""
    changes: list[ChangeSection] = Field(default=[])
    """What goes wrong."""
    flips: FlipsSection | None = None
    """Antagonists; without it, none."""


class RequestClassSection(Section):
    """One kind of request, with a route of its own, `/NAME`. Demands are gamma distributed."""

    name: Name = "all"
    """Of the class and its route."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the requests; all together are 1."""
    demand: Annotated[float, Duration("10us", "10m")] = 0.24
    """Mean time that one takes at speed 1."""
    variation: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Standard deviation of the demand over its mean. 1 is exponential, 0 always the same."""
    priority: Literal["critical", "default", "sheddable"] = "default"
    """`critical`: of Envoy's priority HIGH, refused last; `sheddable`: refused first."""


class StepSection(Section):
    """A step of the load."""

    at: Time
    """From when."""
    factor: Annotated[float, Field(ge=0, le=1000)]
    """Times `load`."""


class TelemetryFaultSection(Section):
    """What goes wrong between the proxies and the brain, all through the run."""

    lost: Share = 0.0
    """Share of access log batches that never arrive."""
    late: Time = 0.0
    """Each batch arrives this much later."""
    lying_nodes: Share = 0.0
    """Share of the nodes, at least one when above 0, that lie."""
    lie: Factor = 1.0
    """Those nodes' durations for `lied_about` are told times this."""
    lied_about: str | None = None
    """Name of an endpoint; without it, the first."""
    skew: list[Annotated[float, Ahead("0s", "1h")]] = Field(default=[])
    """Each node's clock is this far ahead (`-2s`: behind), in turn."""


class RetriesSection(Section):
    """What each proxy tries again: whatever failed (`5xx`, resets), or took too long."""

    num_retries: Annotated[int, Field(ge=1, le=10)]
    """Tries after the first, each at an endpoint of its own choice."""
    per_try_timeout: Annotated[float, Duration("1ms", "10m")]
    """Of each try."""


class PhaseSection(Section):
    """A stretch of the run whose figures are reported by name."""

    name: Name
    """What reports call it."""
    start: Time
    """From the start of the run, warm-up included."""
    end: Time
    """Requests that were to leave before it count."""


class Document(Section):
    """A scenario file."""

    title: Text
    """One line for people."""
    source: Text
    """Where the parameters come from, and what was scaled."""
    load: Annotated[float, Field(gt=0, le=10)]
    """Offered work over the fleet's true capacity at the start: 0.9 is busy, 1.1 is more than it can do."""
    groups: Annotated[list[GroupSection], Field(min_length=1)]
    """The endpoints."""
    classes: Annotated[list[RequestClassSection], Field(min_length=1)] | None = None
    """The kinds of request; without it one, of 240ms, exponential."""
    load_steps: list[StepSection] = Field(default=[])
    """Later loads."""
    warmup: Time = 15.0
    """Before anything is judged. Moments below count it in."""
    duration: Annotated[float, Duration("1s", "1h")] = 40.0
    """After it."""
    timeout: Annotated[float, Duration("1ms", "10m")] = 15.0
    """The client gives up then; the request has failed."""
    nodes: Annotated[int, Field(ge=1, le=1000)] = 4
    """Proxies, unless the command says otherwise."""
    latency_goal: Annotated[float, Duration("1ms", "1h")] | None = None
    """Answers are wanted within it: how many are is told, beside how many could be. Weirflow is told it as well."""
    retries: RetriesSection | None = None
    """Of the proxies, with Envoy's default budget (20 %, at least 3). Without it, none."""
    good_body: bool = False
    """The mesh file says that an answer without a body is no good answer."""
    telemetry: TelemetryFaultSection = Field(default_factory=TelemetryFaultSection)
    """What goes wrong between the proxies and the brain."""
    phases: list[PhaseSection] = Field(default=[])
    """Stretches to report by name."""
    judged: str | None = None
    """The phase whose p99 is compared; without it, all after the warm-up."""


MAKES: dict[type[Section], Any] = {
    ChangeSection: made.Change,
    FlipsSection: made.Flips,
    GroupSection: made.Group,
    RequestClassSection: made.RequestClass,
    StepSection: made.Step,
    TelemetryFaultSection: made.TelemetryFault,
    PhaseSection: made.Phase,
    RetriesSection: made.Retries,
}


def scenario(document: Document, name: str) -> made.Scenario:
    """The scenario that a sound file describes."""
    names = [f"{g.name}-{i}" for g in document.groups for i in range(g.count)]
    about = document.telemetry.lied_about
    index = names.index(about) if about is not None else 0
    told = document.model_copy(update={"telemetry": document.telemetry.model_copy(update={"lied_about": index})})
    return made.Scenario(name=name, **dict(_filled(told, made.Scenario)))


def _filled(section: Section, kind: Any) -> Iterator[tuple[str, Any]]:
    """Field and value of each key that was given one; None leaves it to the field's own default."""
    names = {f.name.removesuffix("_s"): f.name for f in fields(kind)}
    for key in type(section).model_fields:
        value = getattr(section, key)
        if value is not None:
            yield names[key], _value(value)


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(v) for v in value)
    if isinstance(value, Section):
        kind = MAKES[type(value)]
        return kind(**dict(_filled(value, kind)))
    return value
