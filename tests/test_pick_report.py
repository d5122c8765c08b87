"""What an endpoint says of its queue in an answer, as the module reads it: any bytes may come, and few are a report."""

from __future__ import annotations

import base64
import ctypes
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

from tests.compiled import chooser

Reader = Callable[..., float]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """`in_flight_of` of report.h: of a header's value the number in flight, -1 for none."""
    library = chooser(tmp_path_factory.mktemp("report"))
    library.told_of.restype = ctypes.c_double
    library.told_of.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_bool]

    def read(value: bytes | str, *, message: bool = False) -> float:
        value = value.encode() if isinstance(value, str) else value
        return float(library.told_of(value, len(value), message))

    return read


def written(report: OrcaLoadReport) -> str:
    return base64.b64encode(report.SerializeToString()).decode()


@pytest.mark.parametrize(
    "value",
    [
        "TEXT named_metrics.in_flight=7",
        "TEXT cpu_utilization=0.3,named_metrics.in_flight=7,rps_fractional=12",
        "TEXT named_metrics.in_flight=7.0",
        'JSON {"cpu_utilization": 0.3, "named_metrics": {"in_flight": 7}}',
        'JSON {"named_metrics":{"other":1,"in_flight":7.0}}',
        "BIN " + written(OrcaLoadReport(cpu_utilization=0.3, named_metrics={"in_flight": 7.0})),
    ],
)
def test_each_form_of_the_header_is_read(told: Reader, value: str) -> None:
    assert told(value) == 7.0


@given(st.floats(0.0, 1e9), st.dictionaries(st.text(max_size=9), st.floats(0.0, 9.0), max_size=4))
def test_the_message_itself_is_read_whatever_stands_beside(told: Reader, n: float, others: dict[str, float]) -> None:
    report = OrcaLoadReport(rps_fractional=2.5, named_metrics={**others, "in_flight": n})
    assert told(written(report), message=True) == n
    assert told("BIN " + written(report)) == n


@given(st.integers(0, 10**9))
def test_a_number_is_read_as_it_was_written(told: Reader, n: int) -> None:
    assert told(f"TEXT named_metrics.in_flight={n}") == n
    assert told("JSON " + json.dumps({"named_metrics": {"in_flight": n}})) == n


@pytest.mark.parametrize(
    "value",
    [
        "",
        "TEXT",
        "TEXT cpu_utilization=0.3",
        "TEXT named_metrics.in_flight",
        "TEXT named_metrics.in_flight=",
        "TEXT named_metrics.in_flight=-1",
        "TEXT named_metrics.in_flight=nan",
        "TEXT named_metrics.in_flight=99999999999999999999",
        "TEXT named_metrics.in_flights=7",
        "TEXT named_metrics.not_in_flight=7",
        'JSON {"in_flight',
        'JSON {"in_flight"',
        'JSON {"in_flight": "7"}',
        "BIN !!!!",
        "BIN " + written(OrcaLoadReport(named_metrics={"in_flight": -1.0})),
        "BIN " + written(OrcaLoadReport(named_metrics={"in_flight": float("nan")})),
        "BIN " + written(OrcaLoadReport(named_metrics={"in_flight": float("inf")})),
        "BIN " + written(OrcaLoadReport(utilization={"x": 0.5})),
    ],
)
def test_what_is_no_report_of_a_queue_is_none(told: Reader, value: str) -> None:
    assert told(value) == -1.0


@given(st.binary(max_size=700), st.booleans())
def test_any_bytes_are_a_number_in_range_or_none(told: Reader, value: bytes, message: bool) -> None:
    n = told(value, message=message)
    assert n == -1.0 or 0.0 <= n <= 1e9
