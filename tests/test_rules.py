"""The rules for Prometheus, judged by the real promtool, and by a real Prometheus that scrapes a real port."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.servers import Prometheus, program, until
from weirflow.admin import Admin
from weirflow.config.build import Admin as Section
from weirflow.metrics import FAMILIES
from weirflow.staged import StagedOperations, example_decision

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy" / "prometheus" / "weirflow.rules.yaml"

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("servers")]


def promtool(*words: str) -> str:
    done = subprocess.run([program("promtool"), *words], capture_output=True, text=True, check=False, cwd=ROOT)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_promtool_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_the_rules_open_and_close_as_promtools_cases_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(ROOT / "tests" / "rules" / "weirflow.test.yaml"))


def test_promtool_takes_the_metrics(tmp_path: Path) -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    from weirflow.metrics import MeshCollector

    registry = CollectorRegistry()
    registry.register(MeshCollector(StagedOperations(example_decision())))
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr.decode()  # 3: it would name things otherwise
    assert not re.search(rb"^weirflow_(incident|alert)", done.stdout + done.stderr, re.MULTILINE)


def test_every_rule_has_what_people_need_and_goes_by_metrics_that_there_are() -> None:
    names = {family.name for family in FAMILIES}
    for rule in YAML(typ="safe").load(RULES.read_text())["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
        assert rule["labels"]["severity"]
        assert set(re.findall(r"weirflow_\w+", rule["expr"])) <= names, rule["alert"]


async def test_a_real_prometheus_scrapes_weirflow_loads_the_rules_and_alerts(tmp_path: Path) -> None:
    admin = Admin(StagedOperations(example_decision()), Section("127.0.0.1", 0, None, ()))
    prometheus = Prometheus(tmp_path / "prometheus", await admin.start(), RULES)
    try:
        await prometheus.start()

        async def firing() -> Any:
            alerts = (await prometheus.get("/api/v1/alerts"))["data"]["alerts"]
            found = {a["labels"]["alertname"]: a for a in alerts if a["state"] == "firing"}
            return found if {"WeirflowIncident", "WeirflowNackParked"} <= set(found) else None

        found = await until(firing, deadline_s=60)
        incident = found["WeirflowIncident"]
        assert incident["labels"]["severity"] == "critical"
        assert incident["labels"]["service"] == "orders"
        assert incident["annotations"]["runbook_url"] == "docs/runbook.md#endpointslow"
        (group,) = (await prometheus.get("/api/v1/rules"))["data"]["groups"]
        assert {rule["health"] for rule in group["rules"]} == {"ok"}
        assert "WeirflowDown" not in found
    finally:
        await prometheus.stop()
        await admin.stop()
