"""What is open, what has to be told, and how it is told: without an Alertmanager, and with receivers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from brain.decision import Alert, Decision, IncidentView
from tests.servers import free_port, until
from weirflow.clock import Clock
from weirflow.config import ConfigError
from weirflow.config.build import Alerts, Webhook
from weirflow.notify import Notifier, alertmanager, incidents, outbox
from weirflow.notify.alertmanager import Alertmanager
from weirflow.notify.health import wait_s
from weirflow.notify.incidents import IncidentLog
from weirflow.notify.journal import Journal
from weirflow.notify.open import RESOLVED_FOR_S, Change, OpenAlerts
from weirflow.notify.silence import Silence, SilenceError, read
from weirflow.notify.webhook import SIGNATURE
from weirflow.notify.words import Words
from weirflow.staged import example_alert, example_decision, example_incident

STALE = Alert("TelemetryStale", True, {"node": "front-1"}, "node front-1 is unknown", since_s=99.0)
OVER = replace(STALE, opened=False)
SECRET = "a secret of more than sixteen characters"


def decision(at: float, *alerts: Alert, incidents: tuple[IncidentView, ...] = ()) -> Decision:
    return Decision(at, 1, None, (), (), alerts, incidents=incidents)


def same(at: float) -> float:
    return at


# What is open.


def test_what_opened_is_open_until_it_closes_and_its_end_is_told_for_five_minutes() -> None:
    alerts = OpenAlerts()
    (opened,) = alerts.told(decision(100.0, STALE), same)
    assert (opened.event, opened.notice.starts_at, opened.notice.ends_at) == ("opened", 99.0, None)
    assert alerts.told(decision(101.0), same) == []
    assert [n.kind for n in alerts.open] == ["TelemetryStale"]
    (closed,) = alerts.told(decision(130.0, OVER), same)
    assert (closed.event, closed.notice.ends_at) == ("closed", 130.0)
    assert closed.notice.summary == STALE.summary, "people read what it was, not that it is over"
    assert alerts.open == ()
    assert alerts.resolved(130.0 + RESOLVED_FOR_S - 1) == (closed.notice,)
    assert alerts.resolved(130.0 + RESOLVED_FOR_S) == ()


def test_one_that_comes_back_is_no_longer_over() -> None:
    alerts = OpenAlerts()
    for at, alert in ((100.0, STALE), (110.0, OVER), (120.0, STALE)):
        alerts.told(decision(at, alert), same)
    assert len(alerts.open) == 1
    assert alerts.resolved(121.0) == ()


def test_the_end_of_one_that_was_never_heard_of_is_told_too() -> None:
    (closed,) = OpenAlerts().told(decision(100.0, OVER), same)
    assert closed.over is not None
    assert closed.over.ends_at == 100.0


def test_moments_are_told_as_other_machines_have_them() -> None:
    (opened,) = OpenAlerts().told(decision(100.0, STALE), lambda at: at + 7.0)
    assert (opened.at, opened.notice.starts_at) == (107.0, 106.0)


def test_moments_follow_a_step_of_the_systems_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, words, alerts = Clock(), Words(), OpenAlerts()
    now = clock.now()
    alerts.told(decision(now, replace(STALE, since_s=now)), clock.wall)
    monkeypatch.setattr("weirflow.clock.time.time", lambda: now - 3600)
    alerts.told(decision(now + 1), clock.wall)
    assert alerts.vouched_at == pytest.approx(now - 3600, abs=5)
    posted = words.posted(alerts.open[0], ends_at=now - 3600 + 90)
    assert posted["startsAt"] <= posted["endsAt"], "Alertmanager refuses the other"


def test_words_follow_the_incident_and_labels_do_not() -> None:
    alerts, incident = OpenAlerts(), example_incident()
    alerts.told(decision(100.0, example_alert(since_s=99.0), incidents=(incident,)), same)
    before = alerts.open[0]
    worse = replace(incident, summary="it takes 900 ms", harm=0.5)
    assert alerts.told(decision(101.0, incidents=(worse,)), same) == []
    (now,) = alerts.open
    assert now.key == before.key
    assert (now.summary, now.incident) == ("it takes 900 ms", "I-1")
    assert "touches 50.0%" in now.description


def test_one_that_gets_more_severe_ends_as_what_it_was_and_begins_when_it_did() -> None:
    alerts, mild = OpenAlerts(), example_incident(severity="warning")
    alerts.told(decision(100.0, example_alert(severity="warning", since_s=99.0), incidents=(mild,)), same)
    (change,) = alerts.told(decision(105.0, incidents=(replace(mild, severity="critical"),)), same)
    assert (change.event, change.notice.severity, change.notice.starts_at) == ("worsened", "critical", 99.0)
    assert change.over is not None
    assert (change.over.severity, change.over.ends_at) == ("warning", 105.0)
    closed = replace(example_alert(severity="warning"), opened=False)
    (end,) = alerts.told(decision(120.0, closed), same)
    assert end.notice.severity == "critical", "the brain names it by what it was when it opened"


def test_ends_are_kept_in_bounds() -> None:
    alerts = OpenAlerts()
    many = tuple(replace(STALE, labels={"node": f"n{i}"}) for i in range(3000))
    alerts.told(decision(100.0, *many), same)
    alerts.told(decision(101.0, *(replace(a, opened=False) for a in many)), same)
    assert len(alerts.resolved(101.0)) == 1000
    alerts.told(decision(101.0 + RESOLVED_FOR_S), same)
    assert alerts._resolved == {}


# What is written.


def test_an_alert_is_posted_with_its_labels_the_operators_and_links() -> None:
    words = Words({"site": "east"}, "https://wiki.example/runbook", "https://console.example")
    alerts = OpenAlerts()
    alerts.told(decision(100.0, example_alert(since_s=0.5), incidents=(example_incident(),)), same)
    posted = words.posted(alerts.open[0], ends_at=190.0)
    assert posted["labels"] == {
        "alertname": "EndpointSlow", "severity": "critical", "service": "orders", "endpoint": "10.0.0.2:8080",
        "site": "east",
    }  # fmt: skip
    assert posted["startsAt"] == "1970-01-01T00:00:00.500Z"
    assert posted["endsAt"] == "1970-01-01T00:03:10.000Z"
    assert posted["annotations"]["runbook_url"] == "https://wiki.example/runbook#endpointslow"
    assert posted["generatorURL"] == posted["annotations"]["console_url"] == "https://console.example/incidents/I-1"
    assert "generatorURL" not in Words().posted(alerts.open[0], 190.0), "a page without an address is no URL"


def test_no_figure_is_ever_in_a_label() -> None:
    words, alerts = Words(), OpenAlerts()
    alerts.told(example_decision(), same)
    for notice in alerts.open:
        for value in words.labelled(notice).values():
            assert value in (notice.kind, notice.severity, "front-2", "orders", "10.0.0.2:8080")


# When one is down.


def test_waits_grow_stay_in_bounds_and_are_nobody_elses() -> None:
    waits = [wait_s(n, 15.0, "http://a") for n in range(1, 40)]
    assert all(0.25 <= w <= 15.0 for w in waits)
    assert waits[0] <= 0.5
    assert min(waits[6:]) >= 7.5
    assert waits != [wait_s(n, 15.0, "http://b") for n in range(1, 40)]
    assert waits == [wait_s(n, 15.0, "http://a") for n in range(1, 40)]


def over(i: int) -> Change:
    alerts = OpenAlerts()
    (change,) = alerts.told(decision(100.0, replace(OVER, labels={"node": f"n{i}"})), same)
    return change


def test_what_one_missed_waits_for_it_in_bounds_and_the_rest_is_counted() -> None:
    down = Alertmanager("http://down", OpenAlerts(), Words(), lambda: 0.0, resend_s=30.0)
    down.changed([over(i) for i in range(alertmanager.MOST_OWED + 5)])
    assert len(down._owed) == alertmanager.MOST_OWED
    assert down.health.lost == 5
    assert not down.settled


class Receiver:
    """A web server that answers as it is told to and remembers every request."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.hangs = False
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/{path:.*}", self._post)
        self.server = TestServer(app)

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hangs:
            await asyncio.sleep(3600)
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.heard.append((dict(request.headers), body))
        return web.Response(status=status, text="no" if status != 200 else "")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/hook"))

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.server.start_server()
    yield made
    await made.server.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\nanother line\n")
    return file


async def so(condition: Callable[[], Any]) -> None:
    """Wait until it is so."""

    async def asked() -> Any:
        return condition()

    await until(asked, deadline_s=20)


async def test_many_alerts_go_out_in_batches_and_all_arrive(receiver: Receiver) -> None:
    notifier = Notifier(Alerts(alertmanagers=(receiver.url,)), Clock())
    many = tuple(replace(STALE, labels={"node": f"n{i}"}) for i in range(600))
    notifier.told(decision(notifier._clock.now(), *many))
    await notifier.start()
    try:
        await so(lambda: sum(len(b) for b in receiver.bodies()) >= 600)
        assert [len(b) for b in receiver.bodies()] == [256, 256, 88]
    finally:
        await notifier.stop()


async def test_an_alertmanager_that_hangs_holds_up_neither_the_tick_nor_the_others(receiver: Receiver) -> None:
    hanging = Receiver()
    hanging.hangs = True
    await hanging.server.start_server()
    notifier = Notifier(Alerts(alertmanagers=(hanging.url, receiver.url), resend_s=0.2), Clock())
    await notifier.start()
    try:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for i in range(1000):
            notifier.told(decision(notifier._clock.now(), replace(STALE, labels={"node": f"n{i % 7}"})))
        assert loop.time() - began < 1.0
        await so(lambda: any(len(b) == 7 for b in receiver.bodies()))
    finally:
        await notifier.stop()
        await hanging.server.close()


async def test_nothing_that_is_told_raises_into_the_driver() -> None:
    notifier = Notifier(Alerts(), Clock())
    with capture_logs() as logged:
        notifier.told(None)  # type: ignore[arg-type]
        notifier.told(decision(1.0, Alert("X", True, None, "no labels")))  # type: ignore[arg-type]
    assert [line["event"] for line in logged if line["log_level"] == "error"]


async def test_a_receiver_that_is_down_is_logged_once_and_again_when_it_is_back(receiver: Receiver) -> None:
    receiver.answers = [503, 503]
    notifier = Notifier(Alerts(alertmanagers=(receiver.url,), resend_s=0.1), Clock())
    with capture_logs() as logged:
        await notifier.start()
        await so(lambda: len(receiver.heard) >= 2)
        await notifier.stop()
    assert [line["event"] for line in logged] == ["receiver is not reached", "receiver is back"]
    assert logged[0]["error"] == "HTTP 503: no"


# The webhook.


async def hooked(receiver: Receiver, secret: Path, **section: Any) -> Notifier:
    notifier = Notifier(Alerts(webhooks=(Webhook(receiver.url, secret),), **section), Clock(), "e1")
    await notifier.start()
    return notifier


async def test_a_webhook_gets_what_opens_and_closes_in_order_and_signed(receiver: Receiver, secret: Path) -> None:
    notifier = await hooked(receiver, secret, labels={"site": "east"})
    try:
        for at, alert in ((100.0, STALE), (130.0, OVER)):
            notifier.told(decision(at, alert))
        await so(lambda: len(receiver.heard) == 2)
    finally:
        await notifier.stop()
    opened, closed = receiver.bodies()
    assert (opened["event"], closed["event"]) == ("opened", "closed")
    assert opened["id"] != closed["id"]
    assert opened["alert"]["labels"] == {"node": "front-1", "site": "east"}
    assert (opened["alert"]["ends_at"] is None, closed["alert"]["ends_at"] is None) == (True, False)
    for headers, body in receiver.heard:
        expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers[SIGNATURE] == f"sha256={expected}"


async def test_a_webhook_that_fails_is_tried_again_with_the_same_id_and_the_order_stays(
    receiver: Receiver, secret: Path
) -> None:
    receiver.answers = [500, 429, 200]
    notifier = await hooked(receiver, secret)
    try:
        notifier.told(decision(100.0, STALE))
        notifier.told(decision(130.0, OVER))
        await so(lambda: len(receiver.heard) == 2)
        assert [b["id"] for b in receiver.bodies()] == ["e1-1", "e1-2"]
        assert notifier.health()[0].lost == 0
    finally:
        await notifier.stop()


async def test_what_a_webhook_refuses_for_good_is_counted_and_the_next_is_told(
    receiver: Receiver, secret: Path
) -> None:
    receiver.answers = [400]
    notifier = await hooked(receiver, secret)
    try:
        notifier.told(decision(100.0, STALE))
        notifier.told(decision(130.0, OVER))
        await so(lambda: len(receiver.heard) == 1)
        assert receiver.bodies()[0]["event"] == "closed"
        assert notifier.health()[0].lost == 1
    finally:
        await notifier.stop()


async def test_a_new_secret_signs_from_the_next_delivery_on(receiver: Receiver, secret: Path) -> None:
    notifier = await hooked(receiver, secret)
    try:
        notifier.told(decision(100.0, STALE))
        await so(lambda: len(receiver.heard) == 1)
        secret.write_text("quite another secret, as long\n")
        notifier.told(decision(130.0, OVER))
        await so(lambda: len(receiver.heard) == 2)
    finally:
        await notifier.stop()
    headers, body = receiver.heard[1]
    expected = hmac.new(b"quite another secret, as long", body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={expected}"


@pytest.mark.parametrize("content", [None, "", "short\n"])
async def test_a_secret_file_without_a_secret_keeps_it_from_starting(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    notifier = Notifier(Alerts(webhooks=(Webhook("http://127.0.0.1:1/", file),)), Clock())
    with pytest.raises(ConfigError, match=r"alerts\.webhooks\[0\]\.secret_file"):
        await notifier.start()
    await notifier.stop()


async def test_a_queue_keeps_the_newest_and_counts_what_it_gave_up(secret: Path) -> None:
    section = Alerts(webhooks=(Webhook(f"http://127.0.0.1:{free_port()}/", secret),))
    notifier = Notifier(section, Clock(), "e1")
    for i in range(outbox.MOST_WAITING + 3):
        notifier.told(decision(100.0 + i, STALE if i % 2 == 0 else OVER))
    (box,) = notifier._outboxes
    assert len(box._waiting) == outbox.MOST_WAITING
    assert box._waiting[0]["id"] == "e1-4"
    assert box.health.lost == 3
    await notifier.stop()


# The file.


async def test_the_file_gets_a_line_for_each_change_and_survives_rotation(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    notifier = Notifier(Alerts(file=file), Clock(), "e1")
    await notifier.start()
    try:
        notifier.told(decision(100.0, STALE))
        await so(lambda: file.exists() and file.read_text().count("\n") == 1)
        file.rename(tmp_path / "alerts.jsonl.1")
        notifier.told(decision(130.0, OVER))
        await so(lambda: file.exists() and file.read_text().count("\n") == 1)
    finally:
        await notifier.stop()
    old, new = (json.loads((tmp_path / n).read_text()) for n in ("alerts.jsonl.1", "alerts.jsonl"))
    assert (old["event"], new["event"]) == ("opened", "closed")


def test_a_line_that_the_disk_takes_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "alerts.jsonl")
    journal.append(b'{"n": 1}\n')
    wrote = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 3:
            return wrote(descriptor, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weirflow.notify.journal.os.write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append(b"abcde\n")
    monkeypatch.setattr("weirflow.notify.journal.os.write", wrote)
    journal.append(b'{"n": 2}\n')
    journal.close()
    assert (tmp_path / "alerts.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'


async def test_a_stop_lets_the_last_line_arrive(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    notifier = Notifier(Alerts(file=file), Clock())
    await notifier.start()
    notifier.told(decision(100.0, STALE))
    await notifier.stop()
    assert json.loads(file.read_text())["event"] == "opened"


# Incidents as they went.


def test_an_incident_has_a_timeline_of_what_was_news_and_can_be_read_when_it_is_over() -> None:
    log, first = IncidentLog(), example_incident(severity="warning", since_s=95.0)
    log.told(decision(100.0, incidents=(first,)), same)
    figures = replace(first, done="its share of the adaptive arm is 3.0%, by your weights it is 50.0%", harm=0.2)
    log.told(decision(101.0, incidents=(figures,)), same)
    before = len(log["I-1"].timeline)
    causes = ("EndpointHangs 10.0.0.2:8080", *first.causes, "TrafficDrop orders")
    worse = replace(figures, severity="critical", causes=causes, done="nothing")
    log.told(decision(102.0, incidents=(worse,)), same)
    log.noted("EndpointSlow", {"service": "orders"}, 103.0, "acknowledged by ann")
    log.noted("EndpointSlow", {"service": "search"}, 103.0, "not this one")
    log.told(decision(130.0), same)
    lines = log["I-1"].to_dict()["timeline"]
    assert before == 3, "figures alone are no news"
    assert [(line["at"], line["what"].partition(":")[0]) for line in lines] == [
        (95.0, "first found"), (100.0, "opened as EndpointSlow, warning"), (100.0, "done"), (102.0, "critical"),
        (102.0, "likeliest cause"), (102.0, "found as well"), (102.0, "done"), (103.0, "acknowledged by ann"),
        (130.0, "over"),
    ]  # fmt: skip
    assert log["I-1"].to_dict()["ended"] == 130.0


def test_the_last_fifty_that_are_over_can_be_read_and_a_timeline_is_bounded() -> None:
    log = IncidentLog()
    for i in range(60):
        log.told(decision(float(i), incidents=(example_incident(id=f"I-{i}"),)), same)
    log.told(decision(99.0), same)
    assert [r.view.id for r in log] == [f"I-{i}" for i in range(10, 60)]
    with pytest.raises(KeyError):
        log["I-9"]
    record = log["I-59"]
    for i in range(500):
        record.add(float(i), f"line {i}")
    assert len(record.timeline) == incidents.MOST_LINES
    assert record.timeline[-1] == (499.0, "line 499")


# Silences.


def test_a_silence_is_for_one_kind_its_labels_and_no_other_mesh() -> None:
    asked = read({"kind": "EndpointSlow", "labels": {"service": "orders"}, "for": "90m", "comment": "known"}, "ann")
    posted = asked.posted({"site": "east"}, 0.0)
    assert {(m["name"], m["value"]) for m in posted["matchers"]} == {
        ("alertname", "EndpointSlow"), ("service", "orders"), ("site", "east"),
    }  # fmt: skip
    assert all(m["isEqual"] and not m["isRegex"] for m in posted["matchers"])
    assert (posted["startsAt"], posted["endsAt"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T01:30:00.000Z")


def test_an_acknowledgement_lasts_four_hours_unless_said_otherwise_and_names_who() -> None:
    asked = read({"kind": "EndpointSlow", "ack": True}, "ann@desk from 10.0.0.9")
    assert (asked.lasts_s, asked.comment) == (4 * 3600.0, "acknowledged by ann@desk from 10.0.0.9")
    assert read({"kind": "EndpointSlow", "ack": True, "for": "5m"}, "ann").lasts_s == 300.0


@pytest.mark.parametrize(
    ("body", "said", "mend"),
    [
        ({}, "'None' is not a kind of alert", "kinds: "),
        ({"kind": "EndpointSlo"}, "'EndpointSlo' is not a kind of alert", "did you mean 'EndpointSlow'?"),
        ({"kind": "EndpointSlow", "labels": {"servce": "x"}}, "no label 'servce'", "did you mean 'service'?"),
        ({"kind": "EndpointSlow", "labels": {"service": ""}}, "must hold texts", ""),
        ({"kind": "EndpointSlow", "labels": ["service"]}, "must hold texts", ""),
        ({"kind": "EndpointSlow", "for": "1h"}, "'comment' must say why", ""),
        ({"kind": "EndpointSlow", "for": "1h", "comment": " "}, "'comment' must say why", ""),
        ({"kind": "EndpointSlow", "comment": "x"}, "'for' must say how long", "30m or 4h"),
        ({"kind": "EndpointSlow", "comment": "x", "for": "3"}, "is not a duration", "a number with a unit"),
        ({"kind": "EndpointSlow", "comment": "x", "for": "31d"}, "from 1s to 30d", ""),
        ({"kind": "EndpointSlow", "ack": "yes"}, "'ack' must be true or false", ""),
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused_with_the_mend(body: dict[str, Any], said: str, mend: str) -> None:
    with pytest.raises(SilenceError) as caught:
        read(body, "ann", ("site",))
    assert caught.value.status == 400
    assert said in caught.value.message
    assert mend in caught.value.mend


def test_a_silence_covers_what_has_its_labels() -> None:
    alerts = OpenAlerts()
    alerts.told(decision(100.0, example_alert()), same)
    (notice,) = alerts.open
    for labels, constant, covers in (
        ({}, {}, True),
        ({"service": "orders", "severity": "critical"}, {}, True),
        ({"site": "east"}, {"site": "east"}, True),
        ({"site": "west"}, {"site": "east"}, False),
        ({"service": "search"}, {}, False),
    ):
        asked = Silence("EndpointSlow", tuple(labels.items()), 60.0, "x", "ann")
        assert asked.covers(notice, constant) is covers
