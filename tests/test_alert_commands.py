"""`weirflow alerts` and `weirflow incident`, over a real admin API of a mesh that does not run."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from tests.served import Served
from weirflow.access import Access
from weirflow.admin import application
from weirflow.commands.incidents import changes
from weirflow.staged import NOW, StagedOperations, example_alert, example_decision

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def ended() -> StagedOperations:
    """The same mesh when the slow endpoint is well again."""
    operations = StagedOperations(example_decision())
    over = example_decision(now=NOW + 0.2, alerts=(replace(example_alert(), opened=False),), incidents=())
    operations.notifier.told(over)
    return operations


def test_alerts_are_listed_with_since_severity_labels_and_summary_and_found_is_1(mesh: Served) -> None:
    lines = [" ".join(line.split()) for line in mesh.weirflow("alerts", code=1).splitlines()]
    assert lines[0] == "since severity alert labels incident summary"
    assert lines[1] == (
        "2023-11-14 22:11:50Z (90s) critical EndpointSlow endpoint=10.0.0.2:8080, service=orders I-1 "
        "10.0.0.2:8080 of orders takes 280 ms, 8 to 14 ms would be usual"
    )
    assert lines[2].endswith("warning TelemetryStale node=front-2 node front-2 is unknown: it never reported")


def test_no_alert_is_said_and_is_0() -> None:
    with Served(StagedOperations(example_decision(alerts=(), incidents=()))) as mesh:
        assert mesh.weirflow("alerts") == "No alert is open.\n"


def test_alerts_in_json_are_what_the_api_says(mesh: Served) -> None:
    answer = json.loads(mesh.weirflow("alerts", "-o", "json", code=1))
    assert [a["kind"] for a in answer["open"]] == ["EndpointSlow", "TelemetryStale"]
    assert answer["open"][0]["runbook_url"] == "docs/runbook.md#endpointslow"
    assert answer["resolved"] == []


def test_a_receiver_that_is_not_reached_is_said(mesh: Served) -> None:
    health = mesh.operations.notifier.health
    assert health() == []
    from weirflow.notify.health import Health

    down = Health("http://am:9093", up=False, failures=4, lost=2, error="Connection refused")
    mesh.operations.notifier.health = lambda: [down]  # type: ignore[method-assign]
    said = mesh.weirflow("alerts", code=1)
    assert "! http://am:9093 is not reached, 4 times in a row: Connection refused\n" in said
    assert "! http://am:9093 missed 2 messages\n" in said


def test_the_story_of_an_incident_has_its_causes_evidence_timeline_and_what_was_done(mesh: Served) -> None:
    said = mesh.weirflow("incident", "I-1")
    assert said.startswith("I-1 critical EndpointSlow (service=orders, endpoint=10.0.0.2:8080), open for 90s\n")
    for line in (
        "touches 10.0% of the requests at worst",
        "  1. EndpointSlow 10.0.0.2:8080",
        "  2. ServiceSlow orders",
        "  2023-11-14 22:11:50Z first found",
        "done: its share of the adaptive arm is 10.0%, by your weights it is 50.0%",
        "to do: look at the endpoint's CPU, memory, disk and neighbours; restart or replace it",
    ):
        assert f"{line}\n" in said
    assert json.loads(mesh.weirflow("incident", "I-1", "-o", "json"))["incident"]["ended"] is None


def test_an_incident_that_is_over_can_still_be_read(ended: StagedOperations) -> None:
    with Served(ended) as mesh:
        assert ", over, it took 90s\n" in mesh.weirflow("incident", "I-1")
        assert "EndpointSlow" not in mesh.weirflow("alerts", code=1)


def test_an_incident_that_is_not_there_is_wrong_usage_and_the_nearest_is_named(mesh: Served) -> None:
    said = mesh.weirflow("incident", "I-11", code=2)
    assert said == "no incident is named 'I-11'; did you mean 'I-1'?\n"


def test_changes_are_a_line_each(ended: StagedOperations) -> None:
    before = StagedOperations(example_decision()).notifier.to_dict()
    (line,) = changes(before, ended.notifier.to_dict())
    assert str(line).startswith("2023-11-14 22:13:20Z closed critical EndpointSlow (endpoint=10.0.0.2:8080")
    (line,) = changes(ended.notifier.to_dict(), before)
    assert " opened critical EndpointSlow " in str(line)


def test_a_silence_needs_an_alertmanager_and_says_so(mesh: Served) -> None:
    said = mesh.weirflow("alerts", "silence", "EndpointSlow", "--for", "1h", "--comment", "known", code=1)
    assert said == "no Alertmanager is configured; name one in alerts.alertmanagers\n"
    said = mesh.weirflow("alerts", "ack", "EndpointHangs", code=1)
    assert said == "no such EndpointHangs is open; `weirflow alerts` lists what is\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("EndpointSlo",), "did you mean 'EndpointSlow'?"),
        (("EndpointSlow", "service"), "'service' is not LABEL=VALUE; as in service=orders"),
        (("EndpointSlow", "servce=orders"), "did you mean 'service'?"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(mesh: Served, words: tuple[str, ...], said: str) -> None:
    assert said in mesh.weirflow("alerts", "silence", *words, "--for", "1h", "--comment", "known", code=2)


async def test_a_silence_is_audited_even_when_it_is_refused() -> None:
    async with TestClient(TestServer(application(StagedOperations(example_decision()), Access()))) as ask:
        body = {"kind": "EndpointSlow", "labels": {"service": "orders"}, "for": "1h", "comment": "known"}
        with capture_logs():
            answer = await ask.post("/silences", json=body, headers={"X-Weirflow-Who": "ann@desk"})
        assert answer.status == 409
        (entry,) = (await (await ask.get("/audit")).json())["entries"]
        assert (entry["who"], entry["what"]) == ("ann@desk from 127.0.0.1", "Silence")
        assert entry["after"] == body
        assert entry["refused"] == "no Alertmanager is configured"
        assert (await ask.post("/silences", json={"knd": "x"})).status == 400
        assert [i["id"] for i in (await (await ask.get("/incidents")).json())["incidents"]] == ["I-1"]


def test_watching_tells_what_opens_and_closes_until_it_is_interrupted(mesh: Served) -> None:
    words = [sys.executable, "-m", "weirflow", "alerts", "--watch", "--admin", mesh.url]
    told: queue.Queue[str] = queue.Queue()
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},  # as in people's shells
        # Tests that were started in the background ignore SIGINT, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        assert child.stdout is not None
        reader = threading.Thread(target=lambda out: [told.put(line) for line in out], args=(child.stdout,))
        reader.start()
        try:
            assert told.get(timeout=30).split()[:3] == ["since", "severity", "alert"]
            over = example_decision(now=NOW + 0.2, alerts=(replace(example_alert(), opened=False),), incidents=())
            mesh.operations.notifier.told(over)
            while " closed critical EndpointSlow " not in told.get(timeout=30):
                pass
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == 0
        finally:
            child.kill()
            reader.join(30)
