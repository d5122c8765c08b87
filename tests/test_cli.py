"""The command line, against a real admin API over a mesh that does not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from brain.commands import Freeze, Rollback, SetMode
from brain.settings import Mode
from dataplane.contract import Plan
from tests.served import Served, weirflow
from weirflow import __version__
from weirflow.recording import Recorder, invented
from weirflow.staged import NOW, StagedOperations, example_decision, example_endpoint, example_service

pytestmark = pytest.mark.usefixtures("quiet")

ROOT = Path(__file__).parent.parent
EXAMPLE = str(ROOT / "deploy" / "mesh.yaml")


@pytest.fixture
def nobody(unused_tcp_port) -> dict[str, str]:
    """The address of an admin API that is not there."""
    return {"WEIRFLOW_ADMIN": f"http://127.0.0.1:{unused_tcp_port}"}


# A mesh that runs.


def test_status_shows_weights_shares_arms_gain_and_nodes(mesh):
    said = mesh.weirflow("status")
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "mesh.yaml · tick 42, 250ms ago · plan 7, lease of 5s · recording recording, 900 attempts" in lines
    assert "orders adaptive 95% of its traffic on learned weights weights follow capacity" in lines
    assert "10.0.0.2:8080 b 1 11 4 50.0% → 10.0% 9 7.0 280ms 610ms 0.1% 6 p50 28 times its peers' [step_down]" in lines
    assert "static (holdout) 4.0 20ms 600ms 1.0% 400" in lines
    assert (
        "gain: 42.0% less felt cost on the adaptive arm, 95% interval 31.0% to 53.0%, 7600 against 400 requests"
        in lines
    )
    assert (
        "gain of the whole service: 35.0% less felt cost, 95% interval 28.0% to 41.0%, 24 pairs of blocks, "
        "now a block under static rules, 12s to go"
    ) in lines
    foretold = "82.0 (63.0 to 100.0) in 1 min, 85.0 (40.0 to 142.0) in 30 min"
    assert f"demand: 80.0/s now, {foretold}, -10.1% of 129/s to spare at its upper end" in lines
    assert "demand: –/s now, no forecast yet (12 s seen)" in lines
    assert (
        "front-1 yes fresh 400ms 80.0 80.0 1 3.1ms duration 3, unknown_cluster 1 EDS refused: weight 0 is not allowed"
        in lines
    )
    assert "search shadow, learning 0% of its traffic on learned weights too few samples" in lines
    assert any("share would be" in line for line in lines)
    assert "! alerts do not reach http://127.0.0.1:9093: Connection refused" in lines


def test_status_in_json_is_what_the_admin_api_says(mesh):
    assert json.loads(mesh.weirflow("status", "-o", "json"))["decision"]["tick"] == 42


def test_status_says_when_nothing_is_decided_leased_or_in_order(mesh):
    mesh.operations.shown = None
    mesh.operations.process["config"]["reload_error"] = "mesh.yaml:1:1: unknown key"
    mesh.operations.process["recording"]["problem"] = "No space left on device"
    said = mesh.weirflow("status")
    assert "Nothing has been decided yet" in said
    assert "! the last reload was refused: mesh.yaml:1:1: unknown key" in said
    assert "! the recording stopped: No space left on device" in said
    mesh.operations.shown = example_decision(plan=None, frozen=True)
    assert "no plan: nothing learned is leased · FROZEN by an operator" in mesh.weirflow("status")


def test_where_nobody_foretells_status_says_nothing_of_demand(mesh):
    mesh.operations.shown = example_decision(services=(example_service(forecast=None, capacity=None),))
    assert "demand" not in mesh.weirflow("status")


def test_status_bears_with_a_process_that_says_nothing_of_itself(mesh):
    mesh.operations.process.clear()
    assert "orders" in mesh.weirflow("status")


def test_explain_tells_what_was_seen_wanted_held_and_is_in_force(mesh):
    said = mesh.weirflow("explain", "orders", "10.0.0.2:8080")
    assert "orders 10.0.0.2:8080: weight 11 (10.0%), wanted 4, yours 1" in said
    assert "because p50 28 times its peers'" in said
    assert "p99 610ms 35ms" in [" ".join(line.split()) for line in said.splitlines()]
    assert "capacity is between 6 and 12 attempts/s (90% interval), from 400 recent samples" in said
    assert "held by step_down: it may not fall faster than the step allows" in said
    assert "without Weirflow: your weight 1" in said
    said = mesh.weirflow("explain", "search")
    assert "search: shadow, learning, 0% of its traffic on learned weights" in said
    assert "gain: not told yet" in said
    assert "demand: –/s now, no forecast yet (12 s seen)" in said
    assert "[::1]:9000: weight 100 (100.0%), wanted 100, yours 1; no samples yet" in said
    assert "capacity: unknown" in mesh.weirflow("explain", "search", "[::1]:9000")
    assert json.loads(mesh.weirflow("explain", "orders", "-o", "json"))["limits"] == {"max_requests": 300}


def test_explain_tells_what_may_be_open_and_whether_anybody_is_held_to_it(mesh):
    said = mesh.weirflow("explain", "orders")
    assert "with 60 requests open 99 of 100 take at most 0.8 s; not short, so no limit but yours" in said
    assert "20% of the retries are answered well, so the retry budget is 4 %" in said
    short = example_service(limited=True, refused_per_s=12.4)
    mesh.operations.shown = example_decision(services=(short,))
    said = " ".join(mesh.weirflow("explain", "orders").split())
    assert "short, so at most 60 requests may be open on the adaptive arm" in said
    assert "99 of 100 take at most 0.8 s, 12 a second are refused" in said


def test_explain_tells_quantiles_with_their_intervals_and_how_old_they_are(mesh):
    assert "intervals, by" not in mesh.weirflow("explain", "orders", "10.0.0.1:8080")
    told = {"p50": [0.009, 0.01, 0.012], "p95": [0.02, 0.03, 0.04], "p99": [0.03, 0.05, 0.11], "count": 180, "at": NOW}
    endpoint = example_endpoint(quantiles=told, route_quantiles={"pay": told | {"count": 40, "at": NOW - 75}})
    mesh.operations.shown = example_decision(services=(example_service(endpoints=(endpoint,)),))
    said = " ".join(mesh.weirflow("explain", "orders", "10.0.0.1:8080").split())
    levels = "p50 10ms (9ms to 12ms), p95 30ms (20ms to 40ms), p99 50ms (30ms to 110ms), 90% intervals"
    assert f"latency: {levels}, by 180 attempts latency of route pay: {levels}, by 40 attempts, 75 s ago" in said
    shown = json.loads(mesh.weirflow("explain", "orders", "10.0.0.1:8080", "-o", "json"))["endpoint"]
    assert shown["quantiles"] == told
    status = json.loads(mesh.weirflow("status", "-o", "json"))["decision"]
    assert status["services"][0]["endpoints"][0]["quantiles"] == told


def test_explain_tells_the_tier_where_there_are_several(mesh):
    assert "tier" not in mesh.weirflow("explain", "search")
    endpoints = [example_endpoint(id=i, address=f"10.0.0.{i}:80", tier=i) for i in range(3)]
    orders = example_service(endpoints=tuple(endpoints))
    mesh.operations.shown = example_decision(services=(orders,))
    assert "10.0.0.1:80: weight 100 (50.0%), wanted 104, yours 1, tier 2 of 3;" in mesh.weirflow("explain", "orders")
    assert "yours 1, tier 3 of 3" in mesh.weirflow("explain", "orders", "10.0.0.2:80")
    assert json.loads(mesh.weirflow("explain", "orders", "10.0.0.2:80", "-o", "json"))["tiers"] == 3


def test_a_name_that_is_not_there_is_wrong_usage_and_the_nearest_is_named(mesh):
    assert "did you mean 'orders'?" in mesh.weirflow("explain", "ordrs", code=2)
    assert "did you mean '10.0.0.1:8080'?" in mesh.weirflow("explain", "orders", "10.0.0.1:808", code=2)
    assert "did you mean 'search'?" in mesh.weirflow("mode", "serch", "static", code=2)
    assert "'adaptiv' is not one of" in mesh.weirflow("mode", "orders", "adaptiv", code=2)
    assert "less than or equal to 100" in mesh.weirflow("mode", "orders", "adaptive", "--share", "101", code=2)
    assert mesh.operations.told == []


def test_freeze_rollback_and_mode_reach_the_brain_and_say_what_they_did(mesh):
    assert "the present plan is held" in mesh.weirflow("freeze")
    assert "the brain decides again" in mesh.weirflow("freeze", "--off")
    assert "every service is back on the static rules" in mesh.weirflow("rollback")
    said = mesh.weirflow("mode", "search", "adaptive", "--share", "50")
    assert "search is in adaptive mode, 50 % of its traffic adaptive" in said
    assert json.loads(mesh.weirflow("mode", "search", "shadow", "-o", "json"))["after"]["mode"] == "shadow"
    assert [command for command, _ in mesh.operations.told] == [
        Freeze(True), Freeze(False), Rollback(),
        SetMode("search", Mode.ADAPTIVE, 50.0), SetMode("search", Mode.SHADOW, None),
    ]  # fmt: skip
    assert all(who.endswith(" from 127.0.0.1") for _, who in mesh.operations.told)


def test_explain_before_the_first_tick_fails_and_says_when_to_ask_again(mesh):
    mesh.operations.shown = None
    assert "the first tick comes within a second" in mesh.weirflow("explain", "orders", code=1)


def test_hostile_names_and_reasons_are_shown_as_text(mesh):
    hostile = "[red]x[/red]\x1b[2J\n[link=http://evil]"
    endpoint = example_endpoint(address=hostile, zone=hostile, reason=hostile, guard=hostile)
    service = example_service(name=hostile, reason=hostile, state=hostile, endpoints=(endpoint,))
    mesh.operations.shown = example_decision(services=(service,), notes=(hostile,), plan=Plan(7, {}))
    for said in (
        mesh.weirflow("status"),
        mesh.weirflow("explain", hostile),
        mesh.weirflow("explain", hostile, hostile),
    ):
        assert "\x1b" not in said
        assert r"[red]x[/red]\x1b[2J\n[link=http://evil]" in said


def test_into_a_pipe_nothing_is_coloured_cut_or_padded(mesh):
    service = example_service(endpoints=(example_endpoint(reason="because " * 60 + "so it is"),))
    mesh.operations.shown = example_decision(services=(service,))
    run = subprocess.run(
        [sys.executable, "-m", "weirflow", "status", "--admin", mesh.url],
        capture_output=True, text=True, check=True, timeout=60, env=os.environ | {"COLUMNS": "40"},
    )  # fmt: skip
    assert "because so it is" in run.stdout
    assert "\x1b" not in run.stdout
    assert not any(line.endswith(" ") for line in run.stdout.splitlines())


# A brain that is not there, or is not ours to ask.


@pytest.mark.parametrize(
    "command",
    [["status"], ["explain", "x"], ["freeze"], ["rollback"], ["mode", "x", "static"], ["status", "-o", "json"]],
)
def test_without_a_brain_every_command_says_how_to_start_one_and_exits_3(nobody, command):
    said = weirflow(*command, code=3, env=nobody)
    assert "no brain answers at http://127.0.0.1:" in said
    assert "weirflow run mesh.yaml" in said


@pytest.mark.parametrize("url", ["ftp://x:1", "http://", "http://x:99999", "http://h:1/path", "::::"])
def test_an_admin_address_that_is_none_is_wrong_usage(url):
    assert "is not an admin address" in weirflow("status", "--admin", url, code=2)


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[1]", b"", b"[" * 5000])
def test_something_else_that_answers_is_not_taken_for_a_brain(answer):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the standard library asks for
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        said = weirflow("status", "--admin", f"127.0.0.1:{server.server_port}", code=3)
        server.shutdown()
    assert "is not Weirflow (HTTP 200)" in said


def test_a_token_is_sent_when_there_is_one(tmp_path):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    with Served(StagedOperations(example_decision()), file) as served:
        assert "a token is needed" in served.weirflow("status", code=1)
        assert "orders" in served.weirflow("status", "--token-file", str(file))
        assert "cannot be read" in served.weirflow("status", "--token-file", str(tmp_path / "none"), code=2)


# Mesh files.


def test_validate_accepts_the_example_and_counts_what_is_in_it():
    assert weirflow("validate", EXAMPLE).endswith("accepted (nodes: 1, services: 2, endpoints: 5)\n")
    assert json.loads(weirflow("validate", EXAMPLE, "-o", "json")) == {
        "file": EXAMPLE,
        "accepted": True,
        "problems": [],
    }


def test_validate_tells_all_mistakes_and_exits_2(tmp_path):
    file = tmp_path / "mesh.yaml"
    file.write_text("nodes: [{name: a, concurency: 2}]\nservices: [{name: s, endpoints: []}]\n")
    said = weirflow("validate", str(file), code=2)
    assert f"{file}:1:19: nodes[0].concurency: unknown key; did you mean 'concurrency'?" in said
    assert f"{file}:2:33: services[0].endpoints: must not be empty" in said
    told = json.loads(weirflow("validate", str(file), "-o", "json", code=2))
    assert told["accepted"] is False
    assert told["problems"][0]["line"] == 1
    assert told["problems"][0]["mend"] == "did you mean 'concurrency'?"


def test_a_warning_is_told_and_accepted_unless_strict(tmp_path):
    file = tmp_path / "mesh.yaml"
    file.write_text("nodes: [{name: a}]\nservices: [{name: s, endpoints: ['x:1']}]\n")
    assert "warning: services[0]: no route leads to it" in weirflow("validate", str(file))
    assert "warning" in weirflow("validate", "--strict", str(file), code=1)


def test_a_file_that_is_not_there_is_told_by_every_command_that_reads_one(tmp_path):
    none = str(tmp_path / "none.yaml")
    for command in (["validate", none], ["run", none], ["config", "show", none], ["bootstrap", "a", "--mesh", none]):
        assert "no such file; name the mesh file to read" in weirflow(*command, code=2)


def test_config_show_marks_what_is_a_default():
    assert "    step_down: 0.01  # default\n" in weirflow("config", "show", EXAMPLE)
    shown = json.loads(weirflow("config", "show", EXAMPLE, "-o", "json"))
    assert shown["effective"]["xds"]["ttl"] == "5s"
    assert "xds.ttl" in shown["defaults"]


def test_config_schema_prints_the_shipped_file():
    assert weirflow("config", "schema") == (ROOT / "weirflow" / "config" / "mesh.schema.json").read_text()


def test_bootstrap_prints_what_envoy_needs_for_a_node():
    made = json.loads(weirflow("bootstrap", "front-1", "--mesh", EXAMPLE, "-o", "json"))
    assert made["node"]["id"] == "front-1"
    assert "port_value: 18000" in weirflow("bootstrap", "front-1", "--mesh", EXAMPLE)
    elsewhere = weirflow("bootstrap", "front-1", "--mesh", EXAMPLE, "--xds", "brain.example:7000")
    assert "port_value: 7000" in elsewhere
    assert "did you mean 'front-1'?" in weirflow("bootstrap", "front-2", "--mesh", EXAMPLE, code=2)
    assert "has no port" in weirflow("bootstrap", "front-1", "--mesh", EXAMPLE, "--xds", "brain", code=2)


def test_bootstrap_asks_where_the_brain_is_when_the_file_leaves_it_open(tmp_path):
    file = tmp_path / "mesh.yaml"
    file.write_text("nodes: [{name: a}]\nservices: [{name: s, endpoints: ['x:1']}]\nxds: {port: 0}\n")
    assert "say with --xds where that Envoy reaches it" in weirflow("bootstrap", "a", "--mesh", str(file), code=2)


def test_bootstrap_knows_of_no_file_for_sidecars_that_another_control_plane_configures(tmp_path):
    file = tmp_path / "mesh.yaml"
    file.write_text("nodes: [{name: a, spawn: false, ids: 'sidecar~*'}]\nservices: [{name: s, endpoints: ['x:1']}]\n")
    said = weirflow("bootstrap", "a", "--mesh", str(file), code=2)
    assert "a is all proxies whose ids match 'sidecar~*'; another has their bootstraps" in " ".join(said.split())


SECURED = (
    "nodes: [{name: a, spawn: false}]\nservices: [{name: s, endpoints: ['x:1']}]\n"
    "xds: {port: 18000, tls: {cert_file: c, key_file: k, client_ca_file: ca}}\n"
)


def test_bootstrap_over_tls_writes_the_files_that_a_node_rotates_by(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh.yaml").write_text(SECURED)
    assert "say with --to where to write the bootstrap and its secrets" in weirflow("bootstrap", "a", code=2)
    elsewhere = ("--xds", "brain.example:7000", "--to", "out/a", "--at", "/etc/weirflow", "-o", "json")
    assert weirflow("bootstrap", "a", *elsewhere) == ""
    made = json.loads((tmp_path / "out/a/bootstrap.json").read_text())
    (cluster,) = made["static_resources"]["clusters"]
    tls = cluster["transport_socket"]["typed_config"]
    common = tls["common_tls_context"]
    assert tls["sni"] == "brain.example"
    default = common["combined_validation_context"]["default_validation_context"]
    assert default == {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "brain.example"}}]}
    (named,) = common["tls_certificate_sds_secret_configs"]
    assert named["sds_config"]["path_config_source"]["path"] == "/etc/weirflow/certificate.json"
    (secret,) = json.loads((tmp_path / "out/a/certificate.json").read_text())["resources"]
    assert secret["tls_certificate"]["private_key"]["filename"] == "/etc/weirflow/tls/tls.key"
    (ca,) = json.loads((tmp_path / "out/a/ca.json").read_text())["resources"]
    assert ca["validation_context"]["trusted_ca"]["filename"] == "/etc/weirflow/tls/ca.crt"
    weirflow("bootstrap", "a", "--to", "here", "--certs", "/run/certs")
    assert f"{tmp_path}/here/ca.json" in (tmp_path / "here/bootstrap.yaml").read_text()
    assert "san_type: IP_ADDRESS" in (tmp_path / "here/bootstrap.yaml").read_text()
    assert "/run/certs/tls.crt" in (tmp_path / "here/certificate.json").read_text()


def test_bootstrap_in_the_clear_can_be_written_to_a_folder_as_well(tmp_path):
    weirflow("bootstrap", "front-1", "--mesh", EXAMPLE, "--to", str(tmp_path / "x"))
    assert [f.name for f in (tmp_path / "x").iterdir()] == ["bootstrap.yaml"]


# Recordings.


def test_record_inspect_takes_the_newest_run_of_a_folder_and_tells_what_it_covers(tmp_path):
    calls = invented.run(4)
    start = next(calls)
    settings, topology = start.argument.settings, start.argument.topology
    recorder = Recorder(tmp_path / "run-1", settings=settings, topology=topology, now=start.now, on_problem=pytest.fail)
    for call in calls:
        invented.tell(recorder, call)
    recorder.close()
    assert "coverage" in weirflow("record", "inspect", str(tmp_path))
    assert json.loads(weirflow("record", "inspect", str(tmp_path), "-o", "json"))["sound"] is True
    for part in (tmp_path / "run-1").rglob("*.parquet"):
        part.write_bytes(b"x" * 100)
    assert "damaged" in weirflow("record", "inspect", str(tmp_path), code=1)


def test_record_inspect_of_something_else_says_so(tmp_path):
    assert "is no recording and holds none" in weirflow("record", "inspect", str(tmp_path), code=1)


# The command itself.


def test_help_and_version_answer():
    assert "validate" in weirflow("--help")
    assert weirflow("version") == f"weirflow {__version__}\n"
    assert "No such command" in weirflow("expalin", code=2)


@pytest.mark.parametrize("arguments", [["--help"], ["validate", EXAMPLE], ["config", "show", EXAMPLE]])
def test_quick_commands_import_nothing_heavy(arguments):
    """Time on a shared machine says little; what is imported says why."""
    code = (
        "import sys; from typer.testing import CliRunner; from weirflow.cli import app; "
        f"assert CliRunner().invoke(app, {arguments!r}).exit_code == 0; "
        "print(sorted({'numpy', 'grpc', 'pyarrow', 'aiohttp', 'structlog'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
