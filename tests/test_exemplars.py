"""From a metric to a trace: a real Prometheus scrapes an exemplar, and keeps it."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.served import Served
from tests.servers import Prometheus, until
from weirflow.staged import StagedOperations, example_decision, example_status

pytestmark = pytest.mark.usefixtures("quiet")

ROOT = Path(__file__).parent.parent
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.timeout(180)
async def test_prometheus_takes_the_exemplar_of_each_arm_from_a_scrape(tmp_path):
    status = example_status()
    status["wires"]["exemplars"] = [
        {"service": "orders", "arm": "adaptive", "trace_id": TRACE, "seconds": 0.25, "at": time.time()}
    ]
    with Served(StagedOperations(example_decision(), status)) as served:
        target = served.url.removeprefix("http://")
        prometheus = Prometheus(tmp_path / "p", target, ROOT / "deploy" / "prometheus" / "weirflow.rules.yaml")
        prometheus._arguments += ("--enable-feature=exemplar-storage",)
        await prometheus.start()
        try:
            around = {"start": time.time() - 600, "end": time.time() + 600}
            asked = urlencode({"query": "weirflow_arm_requests_total", **around})

            async def kept():
                return (await prometheus.get(f"/api/v1/query_exemplars?{asked}"))["data"]

            (found,) = await until(kept)
            assert found["seriesLabels"]["arm"] == "adaptive"
            assert found["seriesLabels"]["service"] == "orders"
            (exemplar,) = found["exemplars"]
            assert exemplar["labels"] == {"trace_id": TRACE}
            assert float(exemplar["value"]) == 0.25
        finally:
            await prometheus.stop()
