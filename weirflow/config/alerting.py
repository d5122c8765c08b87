"""The `alerts` section: who is told when something opens or closes, and what is said beside it."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator

from weirflow.config.fields import Duration, Section, refuse

OWN_LABELS = ("alertname", "severity", "service", "endpoint", "zone", "caller", "node", "type", "model")
"""What Weirflow labels alerts with by itself."""
RUNBOOK = "docs/runbook.md"
"""The page that comes with Weirflow. It has no address of its own: serve it, and say where."""
MOST_RECEIVERS = 16

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,127}")


def _url(value: str) -> str:
    try:
        split = urlsplit(value)
        host, _ = split.hostname, split.port
    except ValueError:
        raise refuse("is not a URL", "as in http://host:9093") from None
    if split.scheme not in ("http", "https") or not host:
        raise refuse("is not a URL of http or https", "as in http://host:9093")
    if not re.fullmatch(r"[!-~]{1,2048}", value):
        raise refuse("is not a URL", "percent-encode what is not printable ASCII")
    if split.username is not None or split.password is not None:
        message = "a URL with a user name in it does not belong in a file that is shown and logged"
        raise refuse(message, "take the name out")
    return value


def _base(value: str) -> str:
    split = urlsplit(_url(value))
    if split.query or split.fragment:
        raise refuse("is a base, to which paths are added", "take out what follows '?' or '#'")
    return value.rstrip("/")


def _label_value(value: str) -> str:
    if not value or not value.isprintable():
        raise refuse("is not the value of a label", "write printable text, at least one character")
    return value


_HTTP = WithJsonSchema({"type": "string", "pattern": "^https?://"})
Url = Annotated[str, AfterValidator(_url), _HTTP]
Base = Annotated[str, AfterValidator(_base), _HTTP]


class WebhookSection(Section):
    """Who is sent a signed POST for everything that opens or closes."""

    url: Url
    """Where to POST."""
    secret_file: Annotated[str, Field(min_length=1)]
    """A file whose first line signs each body: HMAC-SHA256, as `X-Weirflow-Signature: sha256=...`."""


class AlertsSection(Section):
    """Who hears of alerts. They are in the log and in `weirflow alerts` in any case."""

    alertmanagers: Annotated[list[Base], Field(max_length=MOST_RECEIVERS)] = Field(default=[])
    """Alertmanagers, by the address of their page. Each is told everything, as Prometheus does it."""
    resend: Annotated[float, Duration("1s", "1h")] = 30.0
    """Alerts that are open are told again so often, and end by themselves after three times that without a word."""
    labels: dict[str, Annotated[str, Field(max_length=1024), AfterValidator(_label_value)]] = Field(default={})
    """Of every alert, beside its own: which mesh or site this is."""
    runbook: Base | None = None
    """Where the runbook is served; without it alerts name the page that comes with Weirflow."""
    console: Base | None = None
    """Where a console is served: alerts then link to it."""
    webhooks: Annotated[list[WebhookSection], Field(max_length=MOST_RECEIVERS)] = Field(default=[])
    """Who else is told."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """Where to append a JSON line for all that opens or closes, relative to the mesh file."""

    @field_validator("alertmanagers", "webhooks")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        urls = [item if isinstance(item, str) else item.url for item in value]
        for url in urls:
            if urls.count(url) > 1:
                raise refuse(f"a list has {url!r} twice", "keep one")
        return value

    @field_validator("labels")
    @classmethod
    def _ours_stay_ours(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name in OWN_LABELS:
                raise refuse(f"a mapping sets {name!r}, which is Weirflow's own", "give it another name")
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                message = f"a mapping has {name[:60]!r}, which is not the name of a label"
                raise refuse(message, "use letters, digits and '_', not beginning with a digit or '__'")
        return value
