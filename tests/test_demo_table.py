"""The story's report: figures go to the right arm, table and JSON say the same, and one broken claim breaks it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from dataplane.contract import Arm
from weirflow.demo import table
from weirflow.demo.answers import UNKNOWN, Answers, Figures
from weirflow.demo.report import Claim, Phase, Report, Row, Timing, rows


def some(n: int, *, at: float, service: int, arm: int, latency_s: float, status: int = 200) -> Answers:
    zero = np.zeros(n)
    return Answers.of(
        intended_s=zero + at, latency_s=zero + latency_s, late_s=zero, status=zero + status, service=zero + service,
        node=zero, arm=zero + arm, backend=zero,
    )  # fmt: skip


def a_report() -> Report:
    return Report(
        rows=[
            Row("shadow", "catalog", Figures(500, 0, 20.25, 40.0, 80.5), Figures(0, 0, None, None, None), untold=0),
            Row("gray", "catalog", Figures(19, 1, None, None, None), Figures(900, 0, 21.0, 50.0, 95.0), untold=0),
        ],
        timings=[Timing("divert", 3.25, "from the fault on"), Timing("recover", None, "from the mend on")],
        claims=[Claim("nothing is applied in shadow", True, "0 of 500 requests")],
        requests=1419,
        failed=1,
        sent_late_p99_ms=1.5,
        took_s=80,
    )


def text(report: Report) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(table.render(report))
    return out.getvalue()


def test_a_row_counts_the_requests_that_were_due_in_its_phase_by_service_and_arm() -> None:
    seen = Answers.concat(
        [
            some(40, at=15, service=0, arm=Arm.STATIC, latency_s=0.5),
            some(60, at=15, service=0, arm=Arm.ADAPTIVE, latency_s=0.25),
            some(1, at=15, service=0, arm=UNKNOWN, latency_s=0.0, status=0),
            some(30, at=19.99, service=1, arm=Arm.ADAPTIVE, latency_s=9.0),  # due in the phase, answered after it
            some(99, at=20.0, service=1, arm=Arm.ADAPTIVE, latency_s=0.1),
        ]
    )
    catalog, checkout = rows(Phase("gray", 10, 20), seen, ["catalog", "checkout"])
    assert catalog == Row(
        "gray", "catalog", Figures(40, 0, 500.0, 500.0, 500.0), Figures(60, 0, 250.0, 250.0, 250.0), untold=1
    )
    assert (checkout.adaptive.requests, checkout.adaptive.p99_ms) == (30, 9000.0)


def test_the_table_shows_what_the_report_holds_and_a_dash_for_what_nobody_can_tell() -> None:
    shown = text(a_report())
    gray = next(line for line in shown.splitlines() if "gray" in line)
    assert [cell.strip() for cell in gray.split("│")[3:-1]] == ["-", "-", "-", "1 of 19", "21", "50", "95", "0 of 900"]
    shadow = next(line for line in shown.splitlines() if "shadow" in line)
    assert [cell.strip() for cell in shadow.split("│")[3:-1]] == ["20", "40", "80", "0 of 500", "", "", "", ""]
    for words in (
        "divert",
        "3.2 s",
        "from the fault on",
        "never",
        "held    nothing is applied",
        "1419 requests, 1 failed",
    ):
        assert words in shown


def test_the_json_holds_the_same_and_reads_back() -> None:
    told = json.loads(json.dumps(a_report().to_dict()))
    assert told["held"] is True
    assert told["format"] == 1
    assert told["rows"][1]["adaptive"] == {"requests": 900, "failed": 0, "p50_ms": 21.0, "p90_ms": 50.0, "p99_ms": 95.0}
    assert told["timings"][1]["seconds"] is None
    assert told["claims"][0]["figure"] == "0 of 500 requests"


def test_a_report_holds_only_when_every_claim_does_and_an_empty_one_does_not() -> None:
    report = a_report()
    assert report.held
    report.claim("the brain came back", False, "no adaptive answer in 15 s")
    assert not report.held
    assert "FAILED  the brain came back: no adaptive answer in 15 s" in text(report)
    assert not Report().held


def test_a_row_that_was_not_measured_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(KeyError):
        a_report().row("shadow", "checkout")
