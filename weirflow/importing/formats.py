"""The formats by name, and the reader of each under the options given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from weirflow.importing import envoy, haproxy, nginx
from weirflow.importing.als import AlsReader
from weirflow.importing.errors import WrongUseError
from weirflow.importing.goreplay import GorReader
from weirflow.importing.har import HarReader
from weirflow.importing.jsonlines import JsonReader
from weirflow.importing.otlp import OtlpReader
from weirflow.importing.tables import CsvReader, ParquetReader
from weirflow.importing.text import PatternReader, Reader

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Forms:
    """What the user said of the formats. `keys`: of `mapping`."""

    envoy: str = ""
    nginx: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Format:
    """One format: what it is called, in words, and what makes its reader."""

    name: str
    words: str
    reader: Callable[[Forms], Reader]


def _envoy(form: str) -> Callable[[Forms], Reader]:
    def made(forms: Forms) -> Reader:
        compiled = envoy.compiled(form or forms.envoy or envoy.DEFAULT, forms.zone)
        return PatternReader(compiled.pattern, normal=compiled.normal)

    return made


def _nginx(form: str) -> Callable[[Forms], Reader]:
    def made(forms: Forms) -> Reader:
        return PatternReader(
            nginx.compiled(form or forms.nginx or nginx.DEFAULT),
            shaped=nginx.Unfolding(forms.zone),
            retries_hidden=False,
        )

    return made


def _json(preset: Mapping[str, str]) -> Callable[[Forms], Reader]:
    def made(forms: Forms) -> Reader:
        return JsonReader({**preset, **forms.keys})

    return made


def _mapped(forms: Forms) -> Reader:
    if not forms.keys:
        raise WrongUseError("--format json: say which keys are which, as --map started=ts --map duration_ms=elapsed")
    return JsonReader(forms.keys)


FORMATS = {
    f.name: f
    for f in (
        Format("envoy", "Envoy's text log, default or --envoy-format", _envoy("")),
        Format("istio", "Istio's text log", _envoy(envoy.ISTIO)),
        Format("istio-json", "Istio's JSON log", _json(envoy.ISTIO_JSON)),
        Format("gateway-json", "Envoy Gateway's JSON log", _json(envoy.GATEWAY_JSON)),
        Format("contour-json", "Contour's JSON log", _json(envoy.CONTOUR_JSON)),
        Format("json", "JSON lines with keys by --map", _mapped),
        Format("als", "a dump of Envoy's access log service, length-delimited", lambda _: AlsReader()),
        Format("nginx", "NGINX, the format of the how-to or --nginx-format", _nginx("")),
        Format("ingress-nginx", "the log of Kubernetes' ingress-nginx", _nginx(nginx.INGRESS)),
        Format(
            "haproxy",
            "HAProxy's HTTP log",
            lambda forms: PatternReader(haproxy.pattern(), shaped=haproxy.Shaping(forms.zone)),
        ),
        Format("har", "HAR 1.2", lambda _: HarReader()),
        Format("goreplay", "GoReplay's .gor", lambda _: GorReader()),
        Format("otlp", "OTLP JSON lines: client spans", lambda _: OtlpReader()),
        Format("csv", "CSV with canonical column names, or by --map", lambda forms: CsvReader(forms.keys)),
        Format("parquet", "Parquet, likewise", lambda forms: ParquetReader(forms.keys)),
    )
}


def reader(name: str, forms: Forms) -> Reader:
    """The reader of a format. WrongUseError, with those that there are, when it is none."""
    if name not in FORMATS:
        raise WrongUseError(f"--format {name}: there are {AUTO}, {', '.join(FORMATS)}")
    return FORMATS[name].reader(forms)
