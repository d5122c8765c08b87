"""The columns of a recording, each with its unit and its meaning, by stream.

A stream is one kind of Parquet file. `events` has a row for every call that the brain heard, in order; the rows of the
other streams belong to such a call by its `seq`. People read names (`service`, `endpoint`, `outcome`); exact replay
reads the integers beside them (`service_id`, ...), as the brain was told them. Names are dictionaries in Parquet, so
that they cost next to nothing.

Nothing here holds a path, a query, a header, a client's address or a request's id: they do not enter Weirflow's
columns, so there is nothing to redact.

A change of a column's name, type or meaning, and a column more, is a new FORMAT; readers refuse formats above theirs.
A column that an older format did not have reads as zeros, or as what stands for unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataplane.contract import Columns, Felt, InFlight, Requests

FORMAT = 3
ADDED = {("attempts", "method"): 2, ("felt", "route"): 3, ("felt", "route_id"): 3}  # to the first format that has it
UNKNOWN = {("felt", "route"): None, ("felt", "route_id"): -1}  # what an older format reads as, where that is not 0

ROW_GROUP = 1 << 17  # rows held before they are encoded and written: some 10 MB of columns

_NAME = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `holds` is the batch's column that it keeps bit for bit; empty for those added for people."""

    name: str
    type: Any
    unit: str
    meaning: str
    holds: str = ""


def _kept(batch: type[Columns], **texts: tuple[str, str]) -> list[Column]:
    """The columns of a batch with (unit, meaning) each; an integer that has a name beside it is called NAME_id."""
    named = {"service", "endpoint", "node", "route", "outcome", "arm"}
    return [
        Column(f"{n}_id" if n in named else n, pa.from_numpy_dtype(dtype), *texts[n], holds=n)
        for n, dtype in batch.dtypes().items()
    ]


_CALL = [
    Column("seq", pa.int64(), "", "number of the call that brought this row, from 1"),
    Column("now", pa.float64(), "s since 1970", "the brain's time at that call"),
]
_SERVICE = Column("service", _NAME, "", "name of the service; null when unknown")
_ENDPOINT = Column("endpoint", _NAME, "", "address of the endpoint; null when no host was picked")
_ZONE = Column("zone", _NAME, "", "zone of the endpoint")
_NODE = Column("node", _NAME, "", "name of the proxy that carried it")
_ROUTE = Column("route", _NAME, "", "name of the route; null when unknown")
_OUTCOME = Column("outcome", _NAME, "", "OK, ERROR, TIMEOUT, REJECTED, CANCELLED or UNREACHED")
_ARM = Column("arm", _NAME, "", "`static` or `adaptive`: which rules picked the endpoint")

_IDS = {
    "service": ("", "integer of the service in this run"),
    "endpoint": ("", "integer of the endpoint in this run, never used again; -1 when no host was picked"),
    "node": ("", "integer of the proxy in this run"),
    "route": ("", "integer of the route in this run; -1 unknown"),
    "outcome": ("", "integer of the outcome"),
    "arm": ("", "0 static, 1 adaptive"),
}
_ENDED = {
    "started_s": ("s since 1970", "when it started, by the node's own clock"),
    "duration_s": ("s", "from start to end"),
    "status": ("", "HTTP status; 0 when no response came"),
}

ATTEMPTS = (
    *_CALL,
    *(_SERVICE, _ENDPOINT, _ZONE, _NODE, _ROUTE, _OUTCOME, _ARM),
    *_kept(
        Requests,
        **_IDS,
        **_ENDED,
        ttfb_s=("s", "from start to the first byte of the response; NaN when none came"),
        felt_s=("s", "from the start of the request's first attempt to the end of this one"),
        bytes_in=("bytes", "body towards the endpoint"),
        bytes_out=("bytes", "body from the endpoint"),
        attempt=("", "1 for the first try"),
        plan=("", "version of the plan in force at the node when picked; 0 before the first"),
        weight=("", "of the endpoint on that arm under that plan; 0 without an endpoint"),
        method=("", "of the request: 1 GET, 2 HEAD, 3 POST and so on as Envoy numbers them; 0 unknown"),
        probability=("", "weight over the sum of weights: the nominal chance of this pick (propensity); NaN unknown"),
    ),
)

FELT = (*_CALL, _SERVICE, _NODE, _OUTCOME, _ARM, _ROUTE, *_kept(Felt, **_IDS, **_ENDED))

IN_FLIGHT = (
    *_CALL,
    *(_SERVICE, _ENDPOINT, _ZONE, _NODE, _ARM),
    Column("node_id", pa.int32(), "", "integer of the proxy in this run"),
    Column("interval_s", pa.float64(), "s", "that the report covers"),
    *_kept(
        InFlight,
        **_IDS,
        in_flight=("requests", "open at the end of the interval"),
        issued=("requests", "begun in the interval"),
        succeeded=("requests", "ended well in the interval"),
        failed=("requests", "ended badly in the interval"),
    ),
)

DECISIONS = (
    *_CALL,
    Column("tick", pa.int64(), "", "number of the tick"),
    Column("plan", pa.int64(), "", "version of the plan decided; null when none was, so that no lease was renewed"),
    Column("frozen", pa.bool_(), "", "whether an operator held the plan"),
    Column("decision", pa.string(), "JSON", "the whole Decision: plan, every endpoint's figures and reasons, alerts"),
)

EVENTS = (
    *_CALL,
    Column("verb", _NAME, "", "started, restored, moved, configured, told, heard, commanded, overran, failed, decided"),
    Column("kind", _NAME, "", "type of what was said: Requests, InFlight, Verdict, SetMode, Topology, ..."),
    Column("rows", pa.int64(), "", "rows of this call in the stream of its kind"),
    Column("who", pa.string(), "", "who gave a command; else empty"),
    Column("body", pa.string(), "JSON", "what was said, when it is not rows"),
    Column("state", pa.binary(), "", "what `restored` took up, as the bytes of a checkpoint; else null"),
)

STREAMS: dict[str, tuple[Column, ...]] = {
    "attempts": ATTEMPTS,
    "felt": FELT,
    "in_flight": IN_FLIGHT,
    "decisions": DECISIONS,
    "events": EVENTS,
}
TELEMETRY: dict[str, type[Columns]] = {"attempts": Requests, "felt": Felt, "in_flight": InFlight}
STREAM_OF: dict[str, str] = {batch.__name__: stream for stream, batch in TELEMETRY.items()}


def schema(stream: str, version: int = FORMAT) -> Any:
    """The Arrow schema of a stream in a format, with units, meanings and the format in its metadata."""
    columns = [c for c in STREAMS[stream] if ADDED.get((stream, c.name), 1) <= version]
    return pa.schema(
        [pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns],
        metadata={"weirflow.format": str(version), "weirflow.stream": stream},
    )


def completed(stream: str, table: Any) -> Any:
    """A whole table of an older format with the columns that it lacks, in the order of this one."""
    for field in schema(stream):
        if field.name not in table.column_names:
            value = UNKNOWN.get((stream, field.name), 0)
            table = table.append_column(field, pa.array([value] * len(table), field.type))
    return table.select(schema(stream).names)


def row_bytes(stream: str) -> int:
    """What one row of fixed-width columns takes at most, decoded; names count as their index and text as nothing."""
    widths = (4 if pa.types.is_dictionary(c.type) else getattr(c.type, "bit_width", 0) / 8 for c in _fixed(stream))
    return int(sum(widths)) + 1


def _fixed(stream: str) -> list[Column]:
    variable = (pa.string(), pa.binary())
    return [c for c in STREAMS[stream] if c.type not in variable]


def encodings(stream: str) -> dict[str, Any]:
    """How pyarrow shall write a stream: arguments of a ParquetWriter.

    All of them keep every bit. Floats seldom repeat, so a dictionary is paid for in vain; split by byte they press
    well. Integers are told by their differences, which costs less than looking each one up, and which DuckDB and its
    likes can read. Statistics are kept of what one searches by; those of all columns would cost a quarter of the time.
    """
    columns = STREAMS[stream]
    names = [c.name for c in columns if pa.types.is_dictionary(c.type)]
    split = [c.name for c in columns if pa.types.is_floating(c.type)]
    told = [c.name for c in columns if pa.types.is_integer(c.type)]
    return {
        "write_statistics": ["seq", "now"],
        "use_dictionary": names,
        "column_encoding": {**dict.fromkeys(split, "BYTE_STREAM_SPLIT"), **dict.fromkeys(told, "DELTA_BINARY_PACKED")},
    }
