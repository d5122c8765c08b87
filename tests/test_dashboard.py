"""The Grafana dashboard and the recording rules: of metrics that there are, with answers from a real Prometheus."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML

from tests.servers import Prometheus, program, until
from weirflow.admin import Admin
from weirflow.config.build import Admin as Section
from weirflow.metrics import FAMILIES
from weirflow.staged import StagedOperations, example_decision

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "deploy" / "prometheus" / "weirflow.records.yaml"
GRAFANA = ROOT / "deploy" / "grafana"
LABELS = {family.name: {*family.labels} for family in FAMILIES}

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("servers")]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grafana_generate", GRAFANA / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "weirflow.json").read_text())
PANELS = [p for p in DASHBOARD["panels"] if p["type"] != "row"]
QUERIES = [(p["title"], t["expr"], t["legendFormat"]) for p in PANELS for t in p["targets"]]


def test_the_dashboard_is_what_its_description_makes() -> None:
    assert (GRAFANA / "weirflow.json").read_text() == generator().text(), "run: make docs"


def test_every_query_and_legend_goes_by_metrics_and_labels_that_there_are() -> None:
    for title, query, legend in QUERIES:
        metrics = set(re.findall(r"weirflow_\w+", query))
        assert metrics, title
        assert metrics <= LABELS.keys(), title
        known = set.union(*(LABELS[m] for m in metrics))
        assert set(re.findall(r"(\w+)=~?\"", query)) <= known, title
        assert set(re.findall(r"{{(\w+)}}", legend)) <= known, title


def test_every_metric_is_on_the_dashboard_but_those_that_say_nothing_over_time() -> None:
    shown = {m for _, query, _ in QUERIES for m in re.findall(r"weirflow_\w+", query)}
    left = LABELS.keys() - shown
    assert left == {
        "weirflow_build_info", "weirflow_config_reload_successful", "weirflow_lease_renewed_timestamp_seconds",
        "weirflow_lease_ttl_seconds", "weirflow_ticks_total", "weirflow_arm_requests_total",
        "weirflow_endpoint_static_weight", "weirflow_latency_goal_seconds", "weirflow_switchback_pairs",
        "weirflow_alerts_lost_total", "weirflow_recording_active", "weirflow_certificate_not_before_timestamp_seconds",
    }  # fmt: skip


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    numbers = [p["id"] for p in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_promtool_takes_the_recording_rules_and_they_go_by_metrics_that_there_are() -> None:
    done = subprocess.run([program("promtool"), "check", "rules", str(RECORDS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = YAML(typ="safe").load(RECORDS.read_text())["groups"][0]["rules"]
    recorded = {rule["record"] for rule in rules}
    for rule in rules:
        bare = re.sub("|".join(sorted(recorded, key=len, reverse=True)), "", rule["expr"])
        assert set(re.findall(r"weirflow_\w+", bare)) <= LABELS.keys(), rule["record"]


async def test_a_real_prometheus_answers_every_query_and_records(tmp_path: Path) -> None:
    admin = Admin(StagedOperations(example_decision()), Section("127.0.0.1", 0, None, ()))
    prometheus = Prometheus(tmp_path / "prometheus", await admin.start(), RECORDS)
    try:
        await prometheus.start()

        async def ask(query: str) -> Any:
            told = await prometheus.get(f"/api/v1/query?query={quote(query)}")
            assert told["status"] == "success", told
            return told["data"]["result"]

        async def recorded() -> Any:
            return await ask("service:weirflow_failed:avg5m") and await ask("service:weirflow_imbalance:ratio")

        await until(recorded, deadline_s=60)
        (failed,) = await ask('service:weirflow_failed:ratio{service="orders"}')
        assert float(failed["value"][1]) == pytest.approx(0.01 * 4.0 / 80.0)
        empty = {"Wanted over in force"}
        for title, query, _ in QUERIES:
            answer = await ask(query.replace("$service", ".*"))
            if not re.search(r"rate\(|increase\(", query) and title not in empty:
                assert answer, f"{title}: {query}"
        (group,) = (await prometheus.get("/api/v1/rules"))["data"]["groups"]
        assert {rule["health"] for rule in group["rules"]} == {"ok"}
    finally:
        await prometheus.stop()
        await admin.stop()
