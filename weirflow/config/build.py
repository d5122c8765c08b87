"""From a checked document to what the rest of the program is made with: the static mesh, the brain's settings, and
the process's own sections in plain dataclasses with units in their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from brain.settings import Cost, Guard, Learning, Limits, Models, Proof, Settings, Switchback
from dataplane.mesh import (
    BreakerSpec,
    EndpointSpec,
    ListenerSpec,
    Mesh,
    NodeSpec,
    OutlierSpec,
    RetrySpec,
    RouteSpec,
    ServiceSpec,
    TlsSpec,
    TracingSpec,
)
from weirflow.config.alerting import AlertsSection
from weirflow.config.check import Checked
from weirflow.config.model import Document, XdsSection
from weirflow.config.problems import Problem
from weirflow.config.rules import OutlierSection, RetrySection, RouteSection, ServiceSection
from weirflow.config.tls import TlsSection
from weirflow.config.tuning import AdaptiveSection, SwitchbackSection


@dataclass(frozen=True, slots=True)
class Xds:
    """Where Envoys call. `port` 0: a free one. `tls` None: in the clear. `server_identity` "": as nodes call us."""

    address: str
    port: int
    ttl_s: float
    tls: TlsSpec | None = None
    server_identity: str = ""


@dataclass(frozen=True, slots=True)
class Admin:
    """The local API. `token_file` None: callers need no token, and `address` is loopback."""

    address: str
    port: int
    token_file: Path | None
    hosts: tuple[str, ...]
    read_without_token: bool = False


@dataclass(frozen=True, slots=True)
class Keda:
    """Where the external scaler is served. `port` 0: a free one."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is sent a signed POST."""

    url: str
    secret_file: Path


@dataclass(frozen=True, slots=True)
class Alerts:
    """Who hears of alerts. `runbook` None: the page that comes with Weirflow; `console`, `file` None: there is none."""

    alertmanagers: tuple[str, ...] = ()
    resend_s: float = 30.0
    labels: Mapping[str, str] = field(default_factory=dict)
    runbook: str | None = None
    console: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """`folder` None: nothing is recorded. `keep_bytes` None: nothing is removed."""

    folder: Path | None
    part_s: float
    keep_bytes: int | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`file` None: none is kept."""

    file: Path | None
    every_s: float


@dataclass(frozen=True, slots=True)
class Logging:
    """Weirflow's own log: `format` is `console` or `json`."""

    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Config:
    """A mesh file, whole and checked. Endpoint addresses may still be names (`weirflow.discovery` resolves them)."""

    file: Path
    mesh: Mesh
    settings: Settings
    xds: Xds
    admin: Admin
    keda: Keda | None
    alerts: Alerts
    recording: Recording
    checkpoint: Checkpoint
    discovery_interval_s: float
    logging: Logging
    warnings: tuple[Problem, ...]
    text: str
    document: Document  # all this is made of


def build(checked: Checked) -> Config:
    """Translate. Nothing can be wrong any more: what `check` lets through is complete and in range."""
    document, folder = checked.document, checked.file.parent
    settings = _settings(document.adaptive, document.xds)
    token, recording, checkpoint = (
        folder / name if name is not None else None
        for name in (document.admin.token_file, document.recording.folder, document.checkpoint.file)
    )
    return Config(
        file=checked.file,
        mesh=_mesh(document, settings),
        settings=replace(
            settings,
            patience_s=_patience_s(document.routes),
            retry_budgets=_retry_budgets(document.routes),
            critical=tuple(sorted({route.service for route in document.routes if route.priority == "critical"})),
            sheddable=tuple(route.name for route in document.routes if route.priority == "sheddable"),
        ),
        xds=_xds(document.xds, folder),
        admin=Admin(
            document.admin.address,
            document.admin.port,
            token,
            tuple(document.admin.hosts),
            document.admin.read_without_token,
        ),
        keda=None if document.keda is None else Keda(document.keda.address, document.keda.port),
        alerts=_alerts(document.alerts, folder),
        recording=Recording(recording, document.recording.part, document.recording.keep),
        checkpoint=Checkpoint(checkpoint, document.checkpoint.every),
        discovery_interval_s=document.discovery.interval,
        logging=Logging(document.logging.level, document.logging.format),
        warnings=checked.warnings,
        text=checked.source.text,
        document=document,
    )


def _xds(section: XdsSection, folder: Path) -> Xds:
    plain = Xds(section.address, section.port, section.ttl)
    if section.tls is None:
        return plain
    return replace(plain, tls=_tls(section.tls, folder), server_identity=section.tls.server_identity or "")


def _tls(section: TlsSection, folder: Path) -> TlsSpec:
    cert, key, client_ca = section.cert_file, section.key_file, section.client_ca_file
    return TlsSpec(folder / cert, folder / key, folder / client_ca, section.client_identity)


def _alerts(section: AlertsSection, folder: Path) -> Alerts:
    return Alerts(
        alertmanagers=tuple(section.alertmanagers),
        resend_s=section.resend,
        labels=dict(section.labels),
        runbook=section.runbook,
        console=section.console,
        webhooks=tuple(Webhook(w.url, folder / w.secret_file) for w in section.webhooks),
        file=None if section.file is None else folder / section.file,
    )


def _mesh(document: Document, settings: Settings) -> Mesh:
    return Mesh(
        nodes=tuple(
            NodeSpec(
                n.name,
                n.spawn,
                n.concurrency,
                n.admin_port,
                n.log_level,
                n.zone,
                n.service,
                n.identity or "",
                n.ids or "",
            )
            for n in document.nodes
        ),
        listeners=tuple(ListenerSpec(x.name, x.address, x.port, tuple(x.nodes)) for x in document.listeners),
        routes=tuple(_route(r) for r in document.routes),
        services=tuple(replace(_service(s), module=settings.by_module(s.name)) for s in document.services),
        tracing=None if document.tracing is None else TracingSpec(**document.tracing.model_dump()),
    )


def _route(route: RouteSection) -> RouteSpec:
    return RouteSpec(
        name=route.name,
        service=route.service,
        hosts=tuple(route.hosts),
        prefix=route.prefix,
        listeners=tuple(route.listeners),
        timeout_s=route.timeout,
        retry=None if route.retry is None else _retry(route.retry),
        min_body_bytes=None if route.good_answer is None else route.good_answer.min_body_bytes,
        priority=route.priority,
        tell_arm=route.tell_arm,
    )


def _retry(retry: RetrySection) -> RetrySpec:
    return RetrySpec(
        retry_on=",".join(retry.retry_on),
        num_retries=retry.num_retries,
        per_try_timeout_s=retry.per_try_timeout,
        retriable_status_codes=tuple(retry.retriable_status_codes),
        budget_percent=retry.budget_percent,
        min_retry_concurrency=retry.min_retry_concurrency,
    )


def _service(service: ServiceSection) -> ServiceSpec:
    return ServiceSpec(
        name=service.name,
        endpoints=tuple(EndpointSpec(e.address, e.weight, e.zone) for e in service.endpoints),
        policy=service.policy,
        connect_timeout_s=service.connect_timeout,
        breakers=BreakerSpec(**service.circuit_breakers.model_dump()),
        outliers=None if service.outlier_detection is None else _outliers(service.outlier_detection),
        http2=service.http2,
        min_body_bytes=0 if service.good_answer is None else service.good_answer.min_body_bytes,
        full_scan=service.full_scan,
        also_known_as=tuple(service.also_known_as),
    )


def _outliers(outliers: OutlierSection) -> OutlierSpec:
    return OutlierSpec(
        consecutive_5xx=outliers.consecutive_5xx,
        interval_s=outliers.interval,
        base_ejection_time_s=outliers.base_ejection_time,
        max_ejection_percent=outliers.max_ejection_percent,
    )


def _patience_s(routes: Sequence[RouteSection]) -> dict[str, float]:
    """The shortest timeout, of a try or of a whole request, among the routes to each service; 0 is none."""
    out: dict[str, float] = {}
    for route in routes:
        for wait_s in (route.timeout, route.retry.per_try_timeout if route.retry is not None else None):
            if wait_s:
                out[route.service] = min(wait_s, out.get(route.service, wait_s))
    return out


def _retry_budgets(routes: Sequence[RouteSection]) -> dict[str, tuple[float, int]]:
    """The retry budget of each service that has one: the tightest, as its clusters have it."""
    out: dict[str, tuple[float, int]] = {}
    for route in routes:
        if route.retry is not None:
            own = route.retry.budget_percent, route.retry.min_retry_concurrency
            percent, least = out.get(route.service, own)
            out[route.service] = min(percent, own[0]), min(least, own[1])
    return out


def _settings(adaptive: AdaptiveSection, xds: XdsSection) -> Settings:
    learning, guard, proof = adaptive.learning, adaptive.guard, adaptive.proof
    return Settings(
        mode=adaptive.mode,
        share_percent=adaptive.share,
        modes={name: o.mode for name, o in adaptive.services.items() if o.mode is not None},
        shares={name: o.share for name, o in adaptive.services.items() if o.share is not None},
        pick=adaptive.pick,
        reports=adaptive.reports,
        slow_start=adaptive.slow_start,
        picks={name: o.pick for name, o in adaptive.services.items() if o.pick is not None},
        switchbacks={
            name: _switchback(o.switchback) for name, o in adaptive.services.items() if o.switchback is not None
        },
        tick_s=adaptive.tick,
        lease_ttl_s=xds.ttl,  # said once in the file: the data plane leases by it, the brain reckons with it
        learning=Learning(
            half_life_s=learning.half_life,
            min_samples=learning.min_samples,
            min_time_s=learning.min_time,
            prior_samples=learning.prior_samples,
            error_exponent=learning.error_exponent,
            stale_after_s=learning.stale_after,
        ),
        cost=Cost(
            quantile=adaptive.cost.quantile,
            error_price_s=adaptive.cost.error_price,
            zone_crossing_s=adaptive.cost.zone_crossing,
            overhang_price_s=adaptive.cost.overhang_price,
            reserve=adaptive.cost.reserve,
        ),
        guard=Guard(
            floor_share_of_mean=guard.floor_share_of_mean,
            explore_per_s=guard.explore_per_s,
            explore_share_of_mean=guard.explore_share_of_mean,
            cap_share_of_mean=guard.cap_share_of_mean,
            step_up=guard.step_up,
            step_down=guard.step_down,
            deadband=guard.deadband,
            push_interval_s=guard.push_interval,
            picks_per_cycle=guard.picks_per_cycle,
            drain_factor=guard.drain_factor,
            drain_interval_s=guard.drain_interval,
            weight_mean=guard.weight_mean,
            trouble_share=guard.trouble_share,
        ),
        limits=Limits(adaptive.limits.enabled, adaptive.limits.goal_times),
        goals_s={name: o.latency_goal for name, o in adaptive.services.items() if o.latency_goal is not None},
        proof=Proof(
            window_s=proof.window,
            min_requests=proof.min_requests,
            negative_for_s=proof.negative_for,
            steps_percent=tuple(proof.steps_percent),
            retry_after_s=proof.retry_after,
            switchback=None if proof.switchback is None else _switchback(proof.switchback),
        ),
        models=Models(
            own=dict(adaptive.models.own),
            challenger=adaptive.models.challenger,
            watch_s=adaptive.models.watch,
            quantiles=adaptive.models.quantiles,
            demand=adaptive.models.demand,
            anomalies=adaptive.models.anomalies,
        ),
    )


def _switchback(section: SwitchbackSection) -> Switchback | None:
    if not section.enabled:
        return None
    return Switchback(section.block, section.washout, section.rest, section.window)
