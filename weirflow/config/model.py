"""The whole mesh file: the static rules, the adaptive settings, and how the process itself runs.

The models here are the one description of the file: the checks, the JSON Schema, `weirflow config show` and the
reference page are all made from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weirflow.config.alerting import AlertsSection
from weirflow.config.fields import Duration, Ip, Port, Section, Size
from weirflow.config.rules import ListenerSection, NodeSection, RouteSection, ServiceSection
from weirflow.config.tls import TlsSection
from weirflow.config.tracing import TracingSection
from weirflow.config.tuning import AdaptiveSection


class XdsSection(Section):
    """Where Envoys call: ADS, ALS and LRS on one port, in the clear unless there is `tls`."""

    address: Ip = "127.0.0.1"
    """To bind. Off loopback it takes `tls`: in the clear, whoever reaches the port can speak for a node."""
    port: Port = 18000
    """To bind; 0 lets the kernel choose, which foreign Envoys cannot know."""
    ttl: Annotated[float, Duration("2s", "5m")] = 5.0
    """Of the lease: how long learned state outlives the tick that vouched for it."""
    tls: TlsSection | None = None
    """Without it everything is in the clear."""
    insecure: bool = False
    """Be in the clear off loopback all the same: in a network that nobody else reaches, or behind what does TLS."""


class AdminSection(Section):
    """The local API behind `weirflow status` and its likes, and the metrics."""

    address: Ip = "127.0.0.1"
    """To bind. Off loopback a token is required."""
    port: Port = 9901
    """To bind; 0 lets the kernel choose."""
    token_file: Annotated[str, Field(min_length=1)] | None = None
    """A file whose first line every caller must show as `Authorization: Bearer`."""
    read_without_token: bool = False
    """Whoever reaches the port may look, in the console as well; the token is for changes only."""
    hosts: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(default=[])
    """Names that callers may use for this address. A request by any other name is refused: DNS rebinding."""


class KedaSection(Section):
    """KEDA's external scaler: forecasts of demand, for ScaledObjects to scale by. Read-only, in the clear."""

    address: Ip = "127.0.0.1"
    """To bind. Off loopback, whoever reaches the port can read every service's demand."""
    port: Port = 18001
    """To bind; 0 lets the kernel choose."""


class RecordingSection(Section):
    """Telemetry and decisions, kept as Parquet for replay."""

    folder: Annotated[str, Field(min_length=1)] | None = None
    """Where to write, relative to the mesh file; without it nothing is recorded."""
    part: Annotated[float, Duration("1s", "1h")] = 60.0
    """Each part file holds this long. A crash loses at most the open one."""
    keep: Size | None = None
    """Oldest parts go when the folder holds more than this; without it nothing is removed."""


class CheckpointSection(Section):
    """What the brain has learned, kept across restarts."""

    file: Annotated[str, Field(min_length=1)] | None = None
    """Where to write, relative to the mesh file; without it every start is a cold one."""
    every: Annotated[float, Duration("1s", "1d")] = 30.0
    """Between writes."""


class DiscoverySection(Section):
    """DNS names among the endpoints."""

    interval: Annotated[float, Duration("1s", "1h")] = 10.0
    """Between resolutions. A name that does not resolve keeps its last good addresses."""


class LoggingSection(Section):
    """Weirflow's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least to tell."""
    format: Literal["console", "json"] = "console"
    """For people, or a JSON object a line."""


class Document(Section):
    """A mesh file."""

    nodes: Annotated[list[NodeSection], Field(min_length=1)]
    """The proxies."""
    listeners: list[ListenerSection] = Field(default=[])
    """Where they accept requests."""
    routes: list[RouteSection] = Field(default=[])
    """Which requests go where."""
    services: Annotated[list[ServiceSection], Field(min_length=1)]
    """The upstreams."""
    adaptive: AdaptiveSection = Field(default_factory=AdaptiveSection)
    """What the brain may do."""
    xds: XdsSection = Field(default_factory=XdsSection)
    """Where Envoys call."""
    admin: AdminSection = Field(default_factory=AdminSection)
    """The local API and the metrics."""
    keda: KedaSection | None = None
    """The external scaler. Not served unless it is given."""
    alerts: AlertsSection = Field(default_factory=AlertsSection)
    """Who hears of alerts. They are in the log and in `weirflow alerts` in any case."""
    tracing: TracingSection | None = None
    """Where spans go. Nothing is traced unless it is given."""
    recording: RecordingSection = Field(default_factory=RecordingSection)
    """Telemetry and decisions, kept for replay."""
    checkpoint: CheckpointSection = Field(default_factory=CheckpointSection)
    """What was learned, kept across restarts."""
    discovery: DiscoverySection = Field(default_factory=DiscoverySection)
    """DNS names among the endpoints."""
    logging: LoggingSection = Field(default_factory=LoggingSection)
    """Weirflow's own log."""
