"""The mesh file in the console: what reading it again would change, and that it is read with the token, and logged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from weirflow.access import Access
from weirflow.admin import MOST_CHANGES, application
from weirflow.config.check import check_text
from weirflow.config.differs import Change, changes, digest, tuned
from weirflow.config.model import Document
from weirflow.staged import StagedOperations, example_decision

TOKEN = "a-token-of-sixteen-characters-or-more"
BASE = """
nodes: [{name: edge}]
services:
  - {name: shop, endpoints: [{address: 127.0.0.1:9000}, {address: 127.0.0.1:9001, weight: 2}]}
adaptive: {guard: {step_up: 1.4}}
"""


def of(text: str) -> Document:
    return check_text(text, Path("mesh.yaml")).document


def test_a_file_that_says_the_same_in_other_words_changes_nothing() -> None:
    assert changes(of(BASE), of(BASE + "# a remark\nlogging: {level: info}\n")) == []


def test_what_is_otherwise_is_told_by_its_key_with_before_and_after() -> None:
    after = of(BASE.replace("step_up: 1.4", "step_up: 2.5, deadband: 0.1").replace("weight: 2", "weight: 3"))
    assert changes(of(BASE), after) == [
        Change("services[shop].endpoints[127.0.0.1:9001].weight", 2, 3),
        Change("adaptive.guard.step_up", 1.4, 2.5),
        Change("adaptive.guard.deadband", 0.05, 0.1),
    ]


def test_a_service_that_comes_above_another_is_no_change_of_that_one() -> None:
    after = BASE.replace("services:\n", "services:\n  - {name: cart, endpoints: [{address: 127.0.0.1:9002}]}\n")
    found = changes(of(BASE), of(after))
    assert {c.key.partition(".")[0] for c in found} == {"services[cart]"}
    assert Change("services[cart].endpoints[127.0.0.1:9002].address", None, "127.0.0.1:9002") in found
    gone = changes(of(after), of(BASE))
    assert {(c.before is None, c.after) for c in gone if c.key.endswith(".address")} == {(False, None)}


def test_what_is_read_once_is_told_by_name_and_its_values_by_nobody() -> None:
    hook = "alerts: {webhooks: [{url: 'http://127.0.0.1:1/secret-path', secret_file: s}]}\nadmin: {port: 9999}\n"
    own = "adaptive: {guard: {step_up: 1.4}, models: {own: {mine: 'a:b'}}}"
    found = changes(of(BASE), of(BASE.replace("adaptive: {guard: {step_up: 1.4}}", own) + hook))
    assert found == [Change(key, None, None, live=False) for key in ("adaptive.models.own", "admin", "alerts")]
    assert changes(of(BASE), of(BASE + "keda: {port: 1234}\n")) == [Change("keda", None, None, live=False)]


def test_every_setting_is_told_with_its_default_and_whether_the_file_says_it() -> None:
    rows = {t.key: t for t in tuned(of(BASE + "# and\ndiscovery: {interval: 5s}\n"))}
    step = rows["adaptive.guard.step_up"]
    assert (step.value, step.default, step.written) == (1.4, 1.5, True)
    assert step.about.startswith("An endpoint's share grows at most by this factor a push")
    assert (rows["discovery.interval"].value, rows["discovery.interval"].default) == ("5s", "10s")
    assert not rows["adaptive.guard.deadband"].written
    assert all(t.about for t in rows.values())
    own = {t.key: t for t in tuned(of(BASE.replace("{guard:", "{services: {shop: {share: 10}}, guard:")))}
    assert (own["adaptive.services.shop.share"].value, own["adaptive.services.shop.share"].written) == (10.0, True)


# Over the API.


@pytest.fixture
def operations(tmp_path: Path) -> StagedOperations:
    out = StagedOperations(example_decision())
    out.file = tmp_path / "mesh.yaml"
    out.file.write_text(BASE)
    out.config()
    return out


@pytest.fixture
async def ask(operations: StagedOperations) -> AsyncIterator[TestClient]:
    access = Access(token=TOKEN, read_without_token=True)
    async with TestClient(TestServer(application(operations, access))) as client:
        yield client


async def read(ask: TestClient, body: dict[str, Any], token: str = TOKEN) -> tuple[int, dict[str, Any]]:
    answer = await ask.post("/reload", json=body, headers={"Authorization": f"Bearer {token}"})
    return answer.status, await answer.json()


async def test_the_difference_is_shown_then_read_and_the_audit_has_who_what_before_and_after(
    ask: TestClient, operations: StagedOperations
) -> None:
    told = await (await ask.get("/console/api/file")).json()
    assert told["changes"] == []
    assert {p["severity"] for p in told["problems"]} == {"warning"}, "no route leads to its service"
    operations.file.write_text(BASE.replace("1.4", "2.5"))
    told = await (await ask.get("/console/api/file")).json()
    assert told["changes"] == [{"key": "adaptive.guard.step_up", "before": 1.4, "after": 2.5, "live": True}]
    status, done = await read(ask, {"digest": told["digest"]})
    assert (status, done["before"], done["after"]) == (
        200,
        {"adaptive.guard.step_up": 1.4},
        {"adaptive.guard.step_up": 2.5},
    )
    (entry,) = (await (await ask.get("/audit")).json())["entries"]
    assert (entry["what"], entry["before"], entry["after"]) == ("Reload", done["before"], done["after"])
    assert entry["who"].endswith("from 127.0.0.1")
    settings = {s["key"]: s["value"] for s in (await (await ask.get("/console/api/file")).json())["settings"]}
    assert settings["adaptive.guard.step_up"] == 2.5


async def test_without_the_token_the_file_is_looked_at_and_not_read(
    ask: TestClient, operations: StagedOperations
) -> None:
    assert (await ask.get("/console/api/file")).status == 200
    operations.file.write_text(BASE.replace("1.4", "2.5"))
    status, _ = await read(ask, {}, token="another")
    assert status == 401
    assert operations.config().settings.guard.step_up == 1.4


async def test_a_file_with_a_mistake_is_told_with_key_line_and_mend_and_the_refusal_is_in_the_audit(
    ask: TestClient, operations: StagedOperations
) -> None:
    operations.file.write_text(BASE.replace("step_up", "step_upp"))
    told = await (await ask.get("/console/api/file")).json()
    (problem,) = (p for p in told["problems"] if p["severity"] == "error")
    assert (problem["line"], problem["key"], problem["mend"]) == (
        5,
        "adaptive.guard.step_upp",
        "did you mean 'step_up'?",
    )
    assert told["digest"] is None
    status, refused = await read(ask, {})
    assert (status, refused["mend"]) == (409, "did you mean 'step_up'?")
    assert "adaptive.guard.step_upp: unknown key" in refused["error"]
    (entry,) = (await (await ask.get("/audit")).json())["entries"]
    assert "unknown key; did you mean 'step_up'?" in entry["refused"]
    assert operations.config().settings.guard.step_up == 1.4


async def test_a_digest_is_text_and_the_audit_names_so_many_changes_and_counts_the_rest(
    ask: TestClient, operations: StagedOperations
) -> None:
    assert (await read(ask, {"digest": 7}))[0] == 400
    assert (await read(ask, {"dijest": "7"}))[0] == 400
    many = ", ".join(f"{{address: 127.0.0.1:{port}}}" for port in range(9100, 9200))
    operations.file.write_text(BASE.replace("[{address: 127.0.0.1:9000}", f"[{many}, {{address: 127.0.0.1:9000}}"))
    _, done = await read(ask, {})
    assert len(done["before"]) == MOST_CHANGES
    assert done["after"]["further changes"] == 3 * 100 - MOST_CHANGES


def test_a_digest_tells_one_text_from_another() -> None:
    assert digest(BASE) == digest(str(BASE))
    assert digest(BASE) != digest(BASE + "\n")
