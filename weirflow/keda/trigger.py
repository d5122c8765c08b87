"""What a ScaledObject's trigger asks for, and what a Decision says to that. Nothing here is of the wire.

What is unknown is an error and never 0: KEDA acts on an error by its own `fallback`, and on a 0 by taking replicas
away.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from brain.decision import Decision, ForecastView, ServiceView
from weirflow.config.problems import mend_of, nearest
from weirflow.config.units import format_duration, parse_duration
from weirflow.explanation import service_named

QUANTILES = {"p50": "value", "high": "high", "p99": "p99"}
"""What a trigger may call them, and what a ForecastView does. `high` is the upper end of the 90 % interval."""
KEYS = ("service", "ahead", "quantile", "target", "utilization", "activationThreshold")
KEDAS_KEYS = ("scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsClientCert", "tlsClientKey")
FROM_ENV = "FromEnv"  # of a key whose value KEDA took from the container's environment


class MetadataError(ValueError):
    """The trigger cannot be meant; the message says what to write."""


class NoServiceError(LookupError):
    """No service has this name."""


class UnknownError(RuntimeError):
    """What was asked for is not known now; later it may be."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """The metadata of one trigger, checked."""

    service: str
    ahead_s: float = 300.0
    quantile: str = "high"
    target: float | None = None  # requests a second for each replica; None: what one endpoint bears, and `utilization`
    utilization: float = 0.7
    activation: float = 0.0  # requests a second above which it is active

    @property
    def metric(self) -> str:
        """A name that Kubernetes takes. It holds all that the figure depends on."""
        name = f"weirflow-demand-{self.service}-{format_duration(self.ahead_s)}-{self.quantile}"
        return re.sub(r"[^a-z0-9-]+", "-", name.lower())


def read(metadata: Mapping[str, str]) -> Trigger:
    """Check a trigger's metadata. MetadataError when something is missing, or cannot be meant."""
    told: dict[str, str] = {}
    for key, value in metadata.items():
        stem = key.removesuffix(FROM_ENV)
        if stem in KEYS:
            told[stem] = value
        elif key not in KEDAS_KEYS and (near := nearest(stem, KEYS)) is not None:
            # A key that looks like none of ours may be one that a later KEDA brings.
            raise MetadataError(f"unknown key {key[:60]!r} in the trigger's metadata; did you mean {near!r}?")
    if not told.get("service"):
        raise MetadataError("the trigger's metadata has no 'service': name the Weirflow service to scale by")
    checks: dict[str, tuple[str, Callable[[str], Any]]] = {
        "ahead": ("ahead_s", _ahead),
        "quantile": ("quantile", _quantile),
        "target": ("target", lambda text: _number("target", text, math.inf)),
        "utilization": ("utilization", lambda text: _number("utilization", text, 1.0)),
        "activationThreshold": ("activation", _activation),
    }
    given = {name: check(told[key]) for key, (name, check) in checks.items() if key in told}
    return Trigger(service=told["service"], **given)


def demand(trigger: Trigger, decision: Decision | None, age_s: float, stale_after_s: float) -> float:
    """Requests a second that will be asked of the service. UnknownError, NoServiceError."""
    forecast = _forecast(_service(trigger, decision, age_s, stale_after_s))
    figures: tuple[float | None, ...] = getattr(forecast, QUANTILES[trigger.quantile])
    found = np.interp(trigger.ahead_s, forecast.ahead_s, [math.nan if f is None else f for f in figures])
    if not math.isfinite(found):
        raise UnknownError(
            f"the demand of {trigger.service!r} is not known yet, by {forecast.count:.0f} s of traffic in sight"
        )
    return float(found)


def target(trigger: Trigger, decision: Decision | None, age_s: float, stale_after_s: float) -> float:
    """Requests a second for each replica. UnknownError, NoServiceError."""
    service = _service(trigger, decision, age_s, stale_after_s)
    if trigger.target is not None:
        return trigger.target
    if not service.capacity:
        raise UnknownError(
            f"what a replica of {trigger.service!r} bears is not known yet: give 'target', in requests a second"
        )
    return trigger.utilization * service.capacity / len(service.endpoints)


def _service(trigger: Trigger, decision: Decision | None, age_s: float, stale_after_s: float) -> ServiceView:
    if decision is None:
        raise UnknownError("nothing has been decided yet; the first tick comes within a second")
    if age_s > stale_after_s:
        raise UnknownError(f"the last decision is {age_s:.0f} s old: the brain does not tick")
    try:
        return service_named(decision, trigger.service)
    except KeyError:
        mend = mend_of(trigger.service, [s.name for s in decision.services], kind="services")
        raise NoServiceError(f"no service is named {trigger.service[:128]!r}; {mend}") from None


def _forecast(service: ServiceView) -> ForecastView:
    if service.forecast is None:
        raise UnknownError("no demand is foretold here: the mesh file says adaptive.models.demand: false")
    return service.forecast


def _ahead(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise MetadataError(f"ahead is {text[:60]!r}, which {error}") from None
    if not 1 <= seconds <= 1800:
        raise MetadataError(f"ahead is {text[:60]!r}; it must be from 1s to 30m")
    return seconds


def _quantile(text: str) -> str:
    if text not in QUANTILES:
        raise MetadataError(f"quantile is {text[:60]!r}; {mend_of(text, QUANTILES, kind='quantiles')}")
    return text


def _number(key: str, text: str, most: float) -> float:
    """A finite number above 0, at most `most`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most or math.isinf(number):
        up_to = "" if math.isinf(most) else f" and at most {most:g}"
        raise MetadataError(f"{key} is {text[:60]!r}; write a number above 0{up_to}")
    return number


def _activation(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise MetadataError(f"activationThreshold is {text[:60]!r}; write requests a second, 0 or more")
    return number
