"""A mesh file is read whole or refused whole, and what is wrong with it is told with its place and the mend."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from brain.settings import Cost, Guard, Learning, Limits, Mode, Proof, Settings, Switchback
from dataplane.envoy.bootstrap import bootstrap
from dataplane.mesh import BreakerSpec, EndpointSpec, NodeSpec, OutlierSpec, Registry, RetrySpec, RouteSpec, TracingSpec
from weirflow.config import ConfigError, load, schema, show, units
from weirflow.config.build import Alerts, Webhook, build
from weirflow.config.check import check, check_text
from weirflow.config.source import MAX_BYTES
from weirflow.recording.calls import plain, revive, to_json, without_addresses

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "deploy").glob("*.yaml"))
FILE = Path("mesh.yaml")

SMALLEST = """\
nodes:
  - name: front-1
services:
  - name: orders
    endpoints: [127.0.0.1:8081]
routes:
  - {name: all, service: orders}
"""


def refused(text: str) -> list[str]:
    """What is said of a file that is not accepted."""
    with pytest.raises(ConfigError) as caught:
        check_text(text, FILE)
    return str(caught.value).splitlines()


def warned(text: str) -> list[str]:
    """What is said of a file that is accepted."""
    return [str(p) for p in check_text(text, FILE).warnings]


# What is accepted.


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_example_files_are_accepted_without_a_warning(path):
    assert load(path).warnings == ()


def test_the_smallest_file_has_the_defaults_of_the_program(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_text(SMALLEST)
    config = load(path)
    assert config.settings == Settings(patience_s={"orders": 15.0}), "the route's timeout"
    assert config.mesh.nodes == (NodeSpec("front-1"),)
    assert config.mesh.routes == (RouteSpec("all", "orders"),)
    assert config.mesh.services[0].breakers == BreakerSpec()
    assert config.mesh.services[0].endpoints == (EndpointSpec("127.0.0.1:8081"),)
    assert config.mesh.services[0].outliers is None
    assert config.xds.ttl_s == 5.0
    assert config.admin.address == "127.0.0.1"
    assert config.recording.folder is None


def test_sections_that_are_named_and_empty_are_the_defaults_of_the_program():
    text = SMALLEST.replace("endpoints:", "outlier_detection: {}\n    endpoints:").replace(
        "orders}", "orders, retry: {}}"
    )
    config = build(check_text(text + "adaptive:\n  guard:\n  # step_up: 2\nadmin:\n", FILE))
    assert config.mesh.services[0].outliers == OutlierSpec()
    assert config.mesh.routes[0].retry == RetrySpec()
    assert config.settings.guard == Guard()


@pytest.mark.parametrize(
    ("group", "section"),
    [(Learning, "learning"), (Cost, "cost"), (Guard, "guard"), (Limits, "limits"), (Proof, "proof")],
)
def test_every_setting_of_the_brain_can_be_written_in_the_file(group, section):
    keys = schema.schema()["$defs"][f"{section.capitalize()}Section"]["properties"]
    assert [f.name if f.name.endswith("_per_s") else f.name.removesuffix("_s") for f in fields(group)] == list(keys)


EVERYTHING_ELSE = """\
xds: {ttl: 20s}
adaptive:
  mode: adaptive
  share: 80
  pick: module
  reports: false
  slow_start: false
  tick: 2s
  services: {orders: {mode: static, share: 7, pick: module, switchback: {enabled: false}, latency_goal: 2s}}
  learning: {half_life: 4s, min_samples: 31, min_time: 6s, prior_samples: 11, error_exponent: 3, stale_after: 4s}
  cost: {quantile: 0.9, error_price: 2s, zone_crossing: 5ms, overhang_price: 40ms, reserve: 0.3}
  guard: {floor_share_of_mean: 0.06, explore_per_s: 0.5, explore_share_of_mean: 0.08,
          cap_share_of_mean: 6, step_up: 1.6, step_down: 0.2, deadband: 0.2,
          push_interval: 2s, picks_per_cycle: 4, drain_factor: 3, drain_interval: 6s, weight_mean: 99,
          trouble_share: 0.6}
  limits: {enabled: false, goal_times: 12}
  proof: {window: 3m, min_requests: 99, negative_for: 31s, steps_percent: [80, 0], retry_after: 11m,
          switchback: {block: 1m, washout: 7s, rest: 5m, window: 2h}}
  models: {own: {mine: "mine:make"}, challenger: mine, watch: 5m, quantiles: true, demand: false, anomalies: false}
"""


def test_no_setting_of_the_brain_is_out_of_the_files_reach():
    """Every field is given another value than its default; one that the build forgets would still have it."""
    made, default = (
        asdict(
            build(
                check_text(
                    SMALLEST.replace("orders}", "orders, retry: {}, priority: critical}")
                    + "  - {name: crawl, service: orders, prefix: /crawl, priority: sheddable}\n"
                    + EVERYTHING_ELSE,
                    FILE,
                )
            ).settings
        ),
        asdict(Settings()),
    )
    for group in ("learning", "cost", "guard", "limits", "proof", "models"):
        made |= {f"{group}.{k}": v for k, v in made.pop(group).items()}
        default |= {f"{group}.{k}": v for k, v in default.pop(group).items()}
    assert [key for key in default if made[key] == default[key]] == []
    assert made["lease_ttl_s"] == 20.0
    assert made["proof.switchback"] == asdict(Switchback(60.0, 7.0, 300.0, 7200.0))
    assert made["switchbacks"] == {"orders": None}, "taken out"


def test_the_brain_knows_of_each_service_what_its_routes_say_of_patience_retries_and_priority():
    text = SMALLEST.replace(
        "{name: all, service: orders}",
        "{name: slow, service: orders, prefix: /slow, timeout: 0s}\n"
        "  - {name: try, service: orders, prefix: /t, timeout: 9s, retry: {per_try_timeout: 2s, budget_percent: 12}}\n"
        "  - {name: all, service: orders, timeout: 5s, retry: {}}",
    )
    assert text != SMALLEST
    text = text.replace("{name: try,", "{name: try, priority: critical,")
    config = build(check_text(text, FILE))
    settings = config.settings
    assert settings.critical == ("orders",)
    assert [r.priority for r in config.mesh.routes] == ["default", "critical", "default"]
    assert settings.patience_s == {"orders": 2.0}
    assert settings.retry_budgets == {"orders": (12.0, 3)}


def test_whatever_the_brain_is_set_to_survives_a_recording():
    text = SMALLEST.replace("orders}", "orders, retry: {}, priority: critical}") + EVERYTHING_ELSE
    settings = build(check_text(text, FILE)).settings
    assert revive("Settings", json.loads(to_json(plain(settings)))) == settings


def test_a_service_may_have_a_switchback_of_its_own_or_alone():
    text = SMALLEST + "adaptive: {services: {orders: {switchback: {block: 2m}}}}"
    settings = build(check_text(text, FILE)).settings
    assert settings.switchback("orders") == Switchback(block_s=120.0)
    assert settings.switchback("search") is None


def test_everything_written_reaches_the_program(tmp_path):
    config = load(ROOT / "deploy" / "mesh.yaml")
    orders, search = config.mesh.services
    assert orders.endpoints[2] == EndpointSpec("127.0.0.1:8083", weight=2, zone="b")
    assert orders.breakers.max_requests == 256
    assert orders.outliers is not None
    assert search.policy == "ROUND_ROBIN"
    assert config.mesh.routes[0].retry == RetrySpec(
        "connect-failure,refused-stream,retriable-status-codes", per_try_timeout_s=2.0
    )
    assert config.settings.mode is Mode.SHADOW
    assert config.settings.shares == {"search": 50.0}
    assert config.recording.keep_bytes == 2 << 30
    assert config.recording.folder == ROOT / "deploy" / "../weirflow-data/recording"


def test_what_the_how_to_shows_of_tracing_and_of_other_names_is_accepted():
    page = (ROOT / "docs" / "how-to.md").read_text()
    (tracing,) = re.findall(r"```yaml\n(tracing: .*?)```", page, re.DOTALL)
    assert build(check_text(SMALLEST + tracing, FILE)).mesh.tracing == TracingSpec(
        "otel-collector.observability:4317", 1.0, "edge"
    )
    (services,) = re.findall(r"```yaml\n(services:\n  - \{name: orders,.*?)```", page, re.DOTALL)
    assert build(check_text("nodes: [{name: front-1}]\n" + services, FILE)).mesh.services[0].also_known_as


def test_the_other_names_of_a_service_reach_the_program_and_are_shown():
    text = SMALLEST.replace(
        "  - name: orders\n", "  - name: orders\n    also_known_as: ['outbound|80||orders.shop.svc']\n"
    )
    checked = check_text(text, FILE)
    (service,) = build(checked).mesh.services
    assert service.also_known_as == ("outbound|80||orders.shop.svc",)
    assert build(check_text(show.as_yaml(checked), FILE)).mesh.services == (service,)


def test_everything_that_is_written_of_tracing_reaches_the_program_and_is_shown_and_none_of_it_is_recorded():
    assert build(check_text(SMALLEST, FILE)).mesh.tracing is None
    least = build(check_text(SMALLEST + "tracing: {otlp: '10.0.0.1:4317'}", FILE)).mesh.tracing
    assert least == TracingSpec("10.0.0.1:4317", 1.0, "weirflow")
    text = SMALLEST + "tracing: {otlp: 'otel.example:4317', sampling_percent: 0.1, service_name: edge of the shop}"
    checked = check_text(text, FILE)
    mesh = build(checked).mesh
    assert mesh.tracing == TracingSpec("otel.example:4317", 0.1, "edge of the shop")
    assert build(check_text(show.as_yaml(checked), FILE)).mesh == mesh
    assert "otel" not in to_json(plain(without_addresses(mesh)))


def test_everything_that_is_written_of_alerts_reaches_the_program_and_is_shown():
    text = (
        SMALLEST
        + """\
alerts:
  alertmanagers: ["http://a:9093/", "https://b.example/alertmanager"]
  resend: 10s
  labels: {site: east}
  runbook: https://wiki.example/weirflow
  console: http://console.example
  webhooks: [{url: "https://hooks.example/x?y=1", secret_file: keys/hook}]
  file: alerts.jsonl
"""
    )
    checked = check_text(text, Path("etc/mesh.yaml"))
    assert build(checked).alerts == Alerts(
        alertmanagers=("http://a:9093", "https://b.example/alertmanager"),
        resend_s=10.0,
        labels={"site": "east"},
        runbook="https://wiki.example/weirflow",
        console="http://console.example",
        webhooks=(Webhook("https://hooks.example/x?y=1", Path("etc/keys/hook")),),
        file=Path("etc/alerts.jsonl"),
    )
    assert check_text(show.as_yaml(checked), FILE).document == checked.document
    assert "alerts.labels" not in show.as_dict(checked)["defaults"]
    assert build(check_text(SMALLEST, FILE)).alerts == Alerts()


def test_a_full_scan_and_the_zone_of_a_node_reach_the_wires():
    text = SMALLEST.replace("    endpoints:", "    full_scan: true\n    endpoints:")
    config = build(check_text(text.replace("- name: front-1", "- {name: front-1, zone: b}"), FILE))
    assert config.mesh.services[0].full_scan
    (node,) = config.mesh.nodes
    assert Registry().topology(config.mesh).nodes[0].zone == node.zone == "b"
    assert bootstrap(node, "127.0.0.1:1")["node"]["locality"] == {"zone": "b"}


def test_a_good_answer_is_a_services_or_a_routes_own():
    text = SMALLEST.replace("    endpoints:", "    good_answer: {min_body_bytes: 64}\n    endpoints:")
    mesh = build(check_text(text, FILE)).mesh
    assert (mesh.services[0].min_body_bytes, mesh.routes[0].min_body_bytes) == (64, None)
    text = text.replace("service: orders}", "service: orders, good_answer: {min_body_bytes: 0}}")
    assert build(check_text(text, FILE)).mesh.routes[0].min_body_bytes == 0


def test_yaml_is_1_2_so_short_words_are_names_and_not_booleans():
    for word in ("n", "no", "on", "off", "yes", "y"):
        checked = check_text(SMALLEST.replace("front-1", word), FILE)
        assert checked.document.nodes[0].name == word


def test_an_alias_stands_for_what_it_names():
    text = SMALLEST.replace("[127.0.0.1:8081]", "&all [127.0.0.1:8081]") + (
        "  - {name: more, service: more, prefix: /more}\n"
    )
    text = text.replace("routes:", "  - {name: more, endpoints: *all}\nroutes:")
    assert check_text(text, FILE).document.services[1].endpoints[0].address == "127.0.0.1:8081"


# What is refused: test_config_mistakes.py has the messages.


def test_all_mistakes_of_all_kinds_are_told_at_once_in_the_order_of_the_file():
    said = refused(
        "nodes:\n  - {name: a, concurency: 2}\n  - {name: a}\n"
        "services:\n  - {name: s, endpoints: ['x'], policy: R}\n"
        "routes:\n  - {name: r, service: t, timeout: 5}\n"
        "adaptive: {guard: {step_up: 0.5}}\n"
    )
    places = [line.split(": ")[1] for line in said]
    assert places == [
        "nodes[0].concurency", "nodes[1].name", "services[0].endpoints[0].address", "services[0].policy",
        "routes[0].service", "routes[0].timeout", "adaptive.guard.step_up",
    ]  # fmt: skip


def test_a_service_that_is_wrong_is_still_known_by_its_name():
    said = refused(SMALLEST.replace("[127.0.0.1:8081]", "[]"))
    assert len(said) == 1


def test_two_nodes_may_have_one_port_when_they_are_on_other_machines():
    text = "nodes: [{name: a, spawn: false}, {name: b, spawn: false}]\nservices: [{name: s, endpoints: ['x:1']}]\n"
    listeners = "listeners: [{name: one, port: 80, nodes: [a]}, {name: two, port: 80, nodes: [b]}]\n"
    routes = "routes: [{name: r, service: s}]\n"
    assert warned(text + listeners + routes) == []
    assert "is also listener one's" in refused(text.replace("spawn: false", "spawn: true") + listeners + routes)[0]


# What is accepted with a word.


def test_a_service_that_no_route_leads_to_is_a_warning():
    assert warned(SMALLEST.replace("routes:\n  - {name: all, service: orders}\n", "")) == [
        "mesh.yaml:4:5: warning: services[0]: no route leads to it; add one to 'routes'"
    ]


# What cannot be read at all.


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"nodes:\n  - name: caf\xe9\n")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    for path, said in (
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "is a directory"),
        (tmp_path / "latin.yaml", ":2:14: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (tmp_path / "huge.yaml", "is larger than 1 MiB"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert said in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mesh.yaml: is empty"),
        ("# only a comment\n", "mesh.yaml: is empty"),
        ("- a\n- b\n", "mesh.yaml:1:1: a mesh file is a mapping of keys, not a list; begin with 'nodes:'"),
        ("nodes: [", "mesh.yaml:1:9: not YAML: while parsing a flow node"),
        ("nodes:\n\t- x", "mesh.yaml:2:1: not YAML: while scanning for the next token"),
        ("a: *b", "mesh.yaml:1:4: not YAML: found undefined alias 'b'"),
        ("%YAML 1.1\n---\na: 1\n", "mesh.yaml:1:1: mesh files are YAML 1.2; take the %YAML line out"),
        ("a: \x01", "mesh.yaml: not YAML: unacceptable character"),
        ("[" * 5000, "mesh.yaml: nested deeper than 32 levels"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than 32 levels"),
        ("a: &a [*a]", "nested deeper than 32 levels"),
        ("a: 1\n---\nb: 2\n", "not YAML: expected a single document in the stream"),
        ("a: " + "9" * 5000, "mesh.yaml:1:4: a: '99999"),
    ],
)
def test_text_that_is_no_mesh_is_refused_with_a_word(text, said):
    assert any(said in line for line in refused(text)), refused(text)


def test_aliases_that_multiply_end_as_a_message_and_not_in_all_the_memory():
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    assert any("holds more than 200000 values" in line for line in refused(laughs))


def test_a_file_of_ten_thousand_mistakes_tells_the_first_hundred_and_counts_the_rest():
    said = refused(SMALLEST + "".join(f"wrong{i}: 1\n" for i in range(10_000)))
    assert len(said) == 101
    assert said[-1].startswith("mesh.yaml: and at least ")


# Whatever is thrown at it: a Config, or a ConfigError.

_TEXT = (ROOT / "deploy" / "mesh.yaml").read_text()
_SCRAPS = [
    *("~", "null", "[]", "{}", "-1", "0", "1e999", ".nan", "on", "'", '"', "&a", "*a", "!!x", "é", "|", ">", "%", "?"),
    *("@", "`", "\t", "\0", "9" * 30, ": ", "- "),
]


def built_or_told(text: str) -> bool:
    """Whether the text made a whole configuration, or a refusal that says something."""
    try:
        build(check_text(text, FILE))
    except ConfigError as error:
        return bool(error.problems) and all(p.message for p in error.problems)
    return True


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The example with a few pieces cut out, doubled, or replaced by what parsers stumble on."""
    text = draw(st.sampled_from([_TEXT, SMALLEST]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.sampled_from(_SCRAPS), st.text(max_size=8), st.just(text[start:end] * 2)))
        text = text[:start] + piece + text[end:]
    return text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(mutated(), st.text(max_size=200)))
def test_no_text_crashes_the_loader(text):
    assert built_or_told(text)


_KEYS = st.sampled_from(["name", "nodes", "services", "routes", "endpoints", "adaptive", "guard", "xds", "hosts"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)


@settings(max_examples=200, deadline=None)
@given(st.recursive(_LEAVES, lambda x: st.lists(x, max_size=4) | st.dictionaries(_KEYS, x, max_size=5), max_leaves=20))
def test_no_data_of_whatever_shape_crashes_the_loader(data):
    assert built_or_told(json.dumps(data))


@given(st.floats(min_value=1e-6, max_value=1e7))
def test_a_duration_written_by_us_is_read_as_what_it_was(seconds):
    assert units.parse_duration(units.format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@given(st.integers(0, 1 << 45))
def test_a_size_written_by_us_is_read_as_what_it_was(count):
    assert units.parse_size(units.format_size(count)) == count


# What is shown and shipped.


def test_what_config_show_prints_is_a_mesh_file_that_means_the_same():
    checked = check(ROOT / "deploy" / "mesh.yaml")
    printed = show.as_yaml(checked)
    assert check_text(printed, checked.file).document == checked.document
    assert f"    step_down: {Guard().step_down}  # default" in printed
    assert "    step_up: 1.5\n" in printed
    assert "adaptive.guard.step_down" in show.as_dict(checked)["defaults"]
    assert "adaptive.guard.step_up" not in show.as_dict(checked)["defaults"]


def test_the_shipped_schema_is_what_the_models_say():
    assert schema.FILE.read_text() == schema.text(), "run: weirflow config schema > weirflow/config/mesh.schema.json"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_example_files_fit_the_shipped_schema(path):
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    jsonschema.validate(YAML(typ="safe", pure=True).load(path.read_text()), json.loads(schema.FILE.read_text()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": []},
        {"nodes": [{"name": "a"}], "services": [{"name": "s", "endpoints": [{"adress": "x:1"}]}]},
        {"x": 1},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema.schema())
    assert refused(json.dumps(wrong))


def test_a_device_is_read_no_further_than_a_file_may_be():
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        load(Path("/dev/zero"))


def test_what_the_file_is_checked_by_is_what_the_data_plane_has() -> None:
    """Said twice, so that a file is checked without NumPy."""
    from dataplane.contract import ADAPTIVE_SUFFIX
    from dataplane.mesh import TracingSpec
    from weirflow.config import rules
    from weirflow.config.tracing import TracingSection

    assert rules.ADAPTIVE_SUFFIX == ADAPTIVE_SUFFIX
    made, spec = TracingSection(otlp="127.0.0.1:4317"), TracingSpec("127.0.0.1:4317")
    assert (made.sampling_percent, made.service_name) == (spec.sampling_percent, spec.service_name)
