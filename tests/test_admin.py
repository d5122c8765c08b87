"""The admin API: what it tells, what it does, and whom it does not listen to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from brain.commands import Freeze, Rollback, SetMode
from brain.settings import Mode
from weirflow.access import MAX_BODY_BYTES, Access
from weirflow.admin import Admin, application
from weirflow.config import ConfigError
from weirflow.config.build import Admin as Section
from weirflow.staged import StagedOperations, example_decision

TOKEN = "a-token-of-sixteen-characters-or-more"


@pytest.fixture
def operations():
    return StagedOperations(example_decision())


@pytest.fixture
async def ask(operations):
    """A client of an admin API without a token, on loopback."""
    async with TestClient(TestServer(application(operations, Access()))) as client:
        yield client


@pytest.fixture
async def ask_with_token(operations):
    access = Access(address="0.0.0.0", hosts=("weirflow.example",), token=TOKEN)
    async with TestClient(TestServer(application(operations, access))) as client:
        yield client


# What it tells.


async def test_status_is_the_last_decision_and_the_process_in_json_without_nan(ask):
    answer = await ask.get("/status")
    assert answer.status == 200
    body = json.loads(await answer.text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert body["decision"]["services"][0]["endpoints"][1]["reason"] == "p50 28 times its peers'"
    assert body["decision"]["plan"]["version"] == 7
    assert body["process"]["wires"]["nodes"]["front-2"]["clock_offset_s"] is None


async def test_status_before_the_first_tick_has_no_decision(ask, operations):
    operations.shown = None
    assert (await (await ask.get("/status")).json())["decision"] is None
    answer = await ask.get("/explain/orders")
    assert answer.status == 409
    assert "nothing has been decided yet" in (await answer.json())["error"]


async def test_explain_sets_an_endpoint_beside_the_middle_of_its_peers(ask):
    body = await (await ask.get("/explain/orders/10.0.0.2:8080")).json()
    assert body["endpoint"]["guard"] == "step_down"
    assert body["peers"] == {
        "count": 1, "capacity": 120.0, "rate_per_s": 60.0, "error_share": 0.001, "latency_s": 0.012,
        "p50_s": 0.01, "p99_s": 0.035, "in_flight": 1.0,
    }  # fmt: skip
    assert body["would_be"] == {"without_guard": 4, "static": 1}
    assert "endpoints" not in body["service"]


async def test_explain_takes_an_ipv6_endpoint_and_tells_limits_of_a_service(ask):
    assert (await ask.get("/explain/search/%5B::1%5D:9000")).status == 200
    body = await (await ask.get("/explain/orders")).json()
    assert body["limits"] == {"max_requests": 300}
    assert body["leased"] is True


async def test_a_name_that_is_not_there_is_answered_with_the_nearest_one(ask):
    for path, error, mend in (
        ("/explain/ordrs", "no service is named 'ordrs'", "did you mean 'orders'?"),
        ("/explain/orders/10.0.0.2:808", "no endpoint is named '10.0.0.2:808'", "did you mean '10.0.0.2:8080'?"),
    ):
        answer = await ask.get(path)
        assert answer.status == 404
        assert await answer.json() == {"error": error, "mend": mend}


async def test_metrics_and_health_are_served(ask):
    text = await (await ask.get("/metrics")).text()
    assert 'weirflow_endpoint_weight{endpoint="10.0.0.2:8080",service="orders"} 11.0' in text
    assert (await ask.get("/healthz")).status == 200


# What it does.


async def test_commands_reach_the_brain_with_who_gave_them(ask, operations):
    who = {"X-Weirflow-Who": "ann@desk"}
    assert (await ask.post("/freeze", json={}, headers=who)).status == 200
    assert (await ask.post("/freeze", json={"on": False})).status == 200
    assert (await ask.post("/rollback", json={})).status == 200
    mode = {"service": "search", "mode": "adaptive", "share_percent": 50}
    assert (await ask.post("/mode", json=mode)).status == 200
    assert [command for command, _ in operations.told] == [
        Freeze(True), Freeze(False), Rollback(), SetMode("search", Mode.ADAPTIVE, 50.0),
    ]  # fmt: skip
    assert [who for _, who in operations.told][:2] == ["ann@desk from 127.0.0.1", "unknown from 127.0.0.1"]


async def test_every_command_is_audited_with_before_and_after_even_when_it_is_refused(ask, operations):
    operations.command = refuse_all
    with capture_logs() as logged:
        assert (await ask.post("/rollback", json={})).status == 404
    entries = (await (await ask.get("/audit")).json())["entries"]
    assert [(e["what"], e["refused"]) for e in entries] == [("Rollback", "nobody knows it")]
    assert entries[0]["before"] == entries[0]["after"]
    assert entries[0]["before"]["services"]["search"] == {"mode": "shadow", "share_percent": 95.0}
    assert [line["what"] for line in logged if line["event"] == "operator"] == ["Rollback"]


def refuse_all(command, who):
    raise KeyError("nobody knows it")


async def test_a_hostile_claim_of_who_it_is_stays_one_line_of_text(ask, operations):
    await ask.post("/freeze", json={}, headers={"X-Weirflow-Who": "x [bold]\t" + "y" * 500})
    assert operations.told[0][1] == ("x??bold??" + "y" * 500)[:64] + " from 127.0.0.1"


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/mode", {"service": "orders", "mode": "adaptiv"}, "'adaptiv' is not a mode"),
        ("/mode", {"service": "ordrs", "mode": "static"}, "no service is named 'ordrs'"),
        ("/mode", {"mode": "static"}, "'service' must be a service's name"),
        ("/mode", {"service": "orders", "mode": "static", "share_percent": 101}, "must be from 0 to 100"),
        ("/mode", {"service": "orders", "mode": "static", "share_percent": True}, "must be a number"),
        ("/mode", {"service": "orders", "mode": ["static"]}, "is not a mode"),
        ("/mode", {"service": "orders", "mode": "static", "share": 5}, "unknown key 'share'"),
        ("/freeze", {"on": "yes"}, "'on' must be true or false"),
        ("/rollback", {"to": 7}, "unknown key 'to'"),
        ("/rollback", [], "must be a JSON object"),
    ],
)
async def test_a_body_that_is_wrong_is_refused_and_reaches_nobody(ask, operations, path, body, error):
    answer = await ask.post(path, json=body)
    assert answer.status in (400, 404)
    assert error in (await answer.json())["error"]
    assert operations.told == []


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"share_percent": NaN}' * 2, b"[" * 5000, b'{"a":' * 3000])
async def test_a_body_that_is_not_json_is_refused(ask, operations, raw):
    answer = await ask.post("/mode", data=raw, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert operations.told == []


async def test_a_share_that_is_not_a_number_is_refused(ask, operations):
    raw = b'{"service": "orders", "mode": "static", "share_percent": NaN}'
    assert (await ask.post("/mode", data=raw, headers={"Content-Type": "application/json"})).status == 400
    assert operations.told == []


async def test_a_body_that_is_too_long_is_refused(ask, operations):
    body = {"service": "x" * MAX_BODY_BYTES, "mode": "static"}
    answer = await ask.post("/mode", json=body)
    assert answer.status == 413
    assert "error" in await answer.json()
    assert operations.told == []


# Whom it does not listen to.


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.7", "localhost.evil", "", "a b"])
async def test_a_request_by_another_name_is_refused_because_of_dns_rebinding(ask, host):
    assert (await ask.get("/status", headers={"Host": host})).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9901", "127.0.0.1", "127.9.9.9:1", "[::1]:9901"])
async def test_a_request_by_a_name_of_this_machine_is_answered(ask, host):
    assert (await ask.get("/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
async def test_a_page_of_another_site_can_change_nothing(ask, operations, headers):
    sent = {"Content-Type": "application/json"} | headers
    answer = await ask.post("/freeze", data=b"{}", headers=sent)
    assert answer.status in (403, 415)
    assert operations.told == []


async def test_a_page_of_this_site_can(ask, operations):
    origin = f"http://127.0.0.1:{ask.port}"
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert (await ask.post("/freeze", json={}, headers=headers)).status == 200
    assert len(operations.told) == 1


async def test_with_a_token_only_health_is_told_without_it(ask_with_token, operations):
    assert (await ask_with_token.get("/healthz")).status == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}):
        assert (await ask_with_token.get("/status", headers=headers)).status == 401
        assert (await ask_with_token.post("/freeze", json={}, headers=headers)).status == 401
    right = {"Authorization": f"Bearer {TOKEN}", "Host": "Weirflow.example:9901"}
    assert (await ask_with_token.post("/freeze", json={}, headers=right)).status == 200
    assert len(operations.told) == 1


async def test_no_other_method_or_path_and_no_error_of_ours_shows_a_traceback(ask, operations):
    for method, path, status in (
        ("DELETE", "/status", 405),
        ("PUT", "/freeze", 405),
        ("GET", "/nothing", 404),
        ("GET", "/freeze", 405),
    ):
        answer = await ask.request(method, path, json={} if method in ("DELETE", "PUT") else None)
        assert answer.status == status
        assert set(await answer.json()) == {"error", "mend"}
    operations.decision = lambda: 1 / 0
    with capture_logs():
        answer = await ask.get("/status")
    assert answer.status == 500
    assert await answer.json() == {"error": "internal error", "mend": "the log has the details"}


# Its port.


async def test_it_binds_tells_where_and_lets_go(operations):
    admin = Admin(operations, Section("127.0.0.1", 0, None, ()))
    address = await admin.start()
    taken = Admin(operations, Section("127.0.0.1", int(address.rpartition(":")[2]), None, ()))
    with pytest.raises(OSError, match="address already in use"):
        await taken.start()
    await taken.stop()
    await admin.stop()
    await admin.stop()


@pytest.mark.parametrize("content", [None, "", "short\n"])
async def test_a_token_file_without_a_token_keeps_it_from_starting(operations, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"admin\.token_file"):
        await Admin(operations, Section("127.0.0.1", 0, file, ())).start()


async def test_a_frozen_mesh_shows_in_the_audit_as_it_was_before(ask, operations):
    operations.shown = replace(operations.shown, frozen=True)
    body = await (await ask.post("/freeze", json={"on": False})).json()
    assert body["before"]["frozen"] is True
    assert body["after"] == {"frozen": False}
