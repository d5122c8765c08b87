"""The `tracing` section: where the spans of requests and attempts go, and of how many."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from weirflow.config.fields import Address, Percent, Section, refuse


def _service_name(value: str) -> str:
    if not re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", value):
        raise refuse("is not a service name", "write 1 to 255 characters of printable ASCII, no space at either end")
    return value


class TracingSection(Section):
    """Spans of requests and of their attempts, sent by each node to a collector in OpenTelemetry's protocol."""

    otlp: Address
    """Where it takes OTLP over gRPC, in the clear: `ip:port` or `name:port`, as nodes dial it. Usually port 4317."""
    sampling_percent: Percent = 1.0
    """Of the requests that bring no `traceparent`. One that brings it goes as its caller decided."""
    service_name: Annotated[str, AfterValidator(_service_name)] = "weirflow"
    """OpenTelemetry's `service.name`, of all nodes: which of them it was is the tag `node_id`."""
