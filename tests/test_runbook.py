"""The runbook has a section for everything that can be alerted about, where the links lead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from brain.alerts import RULES
from brain.findings import KINDS
from weirflow.config.alerting import RUNBOOK
from weirflow.notify.words import Words

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus" / "weirflow.rules.yaml"


def sections() -> dict[str, str]:
    """What stands under each heading, by the anchor that a renderer gives it."""
    parts = re.split(r"^##? (.+)$", (ROOT / RUNBOOK).read_text(), flags=re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-"): body
        for head, body in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize("kind", [*RULES, *(k for k in KINDS if k not in RULES)])
def test_every_kind_of_alert_has_its_section_where_its_link_leads(kind: str) -> None:
    page, _, anchor = Words().runbook_url(kind).partition("#")
    assert page == RUNBOOK
    said = sections()[anchor]
    for part in ("**Means.**", "**Confirm.**", "**Do.**", "**Ends.**"):
        assert part in said, f"{kind}: {part}"


def test_every_rule_for_prometheus_leads_to_a_section() -> None:
    known, rules = sections(), YAML(typ="safe").load(PROMETHEUS.read_text())["groups"][0]["rules"]
    assert len(rules) >= 10
    for rule in rules:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == RUNBOOK
        if "{{" in anchor:
            assert anchor == "{{ $labels.kind | toLower }}"
        else:
            assert anchor in known, rule["alert"]


def test_an_operators_own_runbook_has_the_same_anchors() -> None:
    assert Words(runbook="https://wiki.example/w").runbook_url("EndpointSlow") == "https://wiki.example/w#endpointslow"
