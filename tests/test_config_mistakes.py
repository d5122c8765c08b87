# ruff: noqa: E501 - a message is one line, and so is the row that expects it
"""The golden messages: each mistake with the file, line, column and key it is told at, and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from weirflow.config import ConfigError
from weirflow.config.check import check_text

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
    with pytest.raises(ConfigError) as caught:
        check_text(text, FILE)
    return str(caught.value).splitlines()


def warned(text: str) -> list[str]:
    return [str(p) for p in check_text(text, FILE).warnings]


MISTAKES = [
    ("services[0].polcy", "    polcy: RANDOM", "mesh.yaml:5:5: services[0].polcy: unknown key; did you mean 'policy'?"),
    ("bad policy", "    policy: RANDM", "mesh.yaml:5:13: services[0].policy: 'RANDM' is not one of its values; did you mean 'RANDOM'?"),
    ("policy in small letters", "    policy: random", "mesh.yaml:5:13: services[0].policy: 'random' is not one of its values; did you mean 'RANDOM'?"),
    ("a good answer of less than nothing", "    good_answer: {min_body_bytes: -1}", "mesh.yaml:5:35: services[0].good_answer.min_body_bytes: -1 is out of range; it must be at least 0"),
    ("a full scan of another policy", "    policy: RANDOM\n    full_scan: true", "mesh.yaml:6:16: services[0].full_scan: true goes with LEAST_REQUEST only, not with RANDOM; take out one of the two"),
    ("a bare number for a duration", "    connect_timeout: 5", "mesh.yaml:5:22: services[0].connect_timeout: a duration needs a unit; write '5s' for seconds or '5ms'"),
    ("a duration with a strange unit", "    connect_timeout: 5 years", "mesh.yaml:5:22: services[0].connect_timeout: '5 years' is not a duration; write a number with a unit, as in 250ms, 5s, 1m or 1h"),
    ("a duration out of range", "    connect_timeout: 1h", "mesh.yaml:5:22: services[0].connect_timeout: '1h' must be from 1ms to 1m"),
    ("a word for true", "    http2: on", "mesh.yaml:5:12: services[0].http2: must be true or false, not 'on'; write true"),
    ("a number in quotes", "    circuit_breakers: {max_requests: '7'}", "mesh.yaml:5:38: services[0].circuit_breakers.max_requests: must be a whole number, not '7'; take the quotes off"),
    ("a key given twice", "    http2: true\n    http2: false", "mesh.yaml:6:5: services[0].http2: is written twice, first on line 5; keep one"),
    ("a list for a mapping", "    circuit_breakers: [1]", "mesh.yaml:5:23: services[0].circuit_breakers: must be a mapping of keys, not a list"),
    ("a merge key", "    <<: {http2: true}", "mesh.yaml:5:5: services[0]['<<']: merge keys are not part of YAML 1.2; write the keys out, or alias a value"),
    ("a tag", "    http2: !!python/object:os.system true", "mesh.yaml:5:12: services[0].http2: the tag 'python/object:os.system' is not read here; take it out"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_in_a_service_is_told_with_its_place_and_the_mend(line, said):
    assert said in refused(SMALLEST.replace("    endpoints:", f"{line}\n    endpoints:"))


WHOLE_FILE_MISTAKES = [
    ("a pattern of one id", "front-1", "front-1\n    spawn: false\n    ids: sidecar", "mesh.yaml:4:10: nodes[0].ids: 'sidecar' is not a pattern of ids; write 2 to 255 characters of ASCII without a space, '*' for any text"),
    ("a pattern with a space", "front-1", "front-1\n    spawn: false\n    ids: 'side *'", "mesh.yaml:4:10: nodes[0].ids: 'side *' is not a pattern of ids; write 2 to 255 characters of ASCII without a space, '*' for any text"),
    ("many to be started", "front-1", "front-1\n    ids: sidecar~*", "mesh.yaml:3:10: nodes[0].ids: many proxies speak as it, and none is started; add 'spawn: false'"),
    ("weight 0", "[127.0.0.1:8081]", "[{address: 'a:1', weight: 0}]", "mesh.yaml:5:42: services[0].endpoints[0].weight: 0 is out of range; it must be at least 1"),
    ("no endpoint", "[127.0.0.1:8081]", "[]", "mesh.yaml:5:16: services[0].endpoints: must not be empty; list at least one"),
    ("no port", "127.0.0.1:8081", "127.0.0.1", "mesh.yaml:5:17: services[0].endpoints[0].address: '127.0.0.1' has no port; write ip:port or name:port"),
    ("not an address", "127.0.0.1:8081", "300.1.1.1:80", "mesh.yaml:5:17: services[0].endpoints[0].address: '300.1.1.1:80' is neither ip:port nor name:port"),
    ("bare IPv6", "127.0.0.1:8081", "'::1:80'", "mesh.yaml:5:17: services[0].endpoints[0].address: '::1:80' is not ip:port or name:port; an IPv6 address needs brackets, as in [::1]:8080"),
    ("an address twice", "[127.0.0.1:8081]", "['a:1', 'a:1']", "mesh.yaml:5:24: services[0].endpoints[1]: 'a:1' is given twice, first on line 5; keep one, or rename it"),
    ("unknown service", "service: orders}", "service: ordrs}", "mesh.yaml:7:26: routes[0].service: no service is named 'ordrs'; did you mean 'orders'?"),
    ("unknown listener", "service: orders}", "service: orders, listeners: [web]}", "mesh.yaml:7:46: routes[0].listeners[0]: no listener is named 'web'; there are no listeners"),
    ("our own suffix", "name: orders", "name: orders~adaptive", "mesh.yaml:4:11: services[0].name: 'orders~adaptive' may not hold '~'; Weirflow adds ~adaptive itself; it becomes an Envoy cluster or route, a runtime key and a metric label"),
    ("a control character in a name", "name: orders", 'name: "or\\nders"', "mesh.yaml:4:11: services[0].name: 'or\\nders' is not a name; use letters, digits, '.', '_' and '-', at most 128, with a letter or digit at both ends: it becomes an Envoy cluster or route, a runtime key and a metric label"),
    ("a number for a name", "name: orders", "name: 80", "mesh.yaml:4:11: services[0].name: must be text, not a number; quote it: '80'"),
    ("no name", "  - name: orders\n    endpoints", "  - endpoints", "mesh.yaml:4:5: services[0].name: is missing; give it a name"),
    ("no nodes", "nodes:\n  - name: front-1\n", "", "mesh.yaml:1:1: nodes: is missing; give it a value"),
    ("a node twice", "  - name: front-1\n", "  - name: front-1\n  - name: front-1\n", "mesh.yaml:3:11: nodes[1].name: 'front-1' is given twice, first on line 2; keep one, or rename it"),
    ("not a prefix", "orders}", "orders, prefix: 'x?'}", "mesh.yaml:7:42: routes[0].prefix: 'x?' is not a path prefix; it begins with '/' and has no '?', '#' or space"),
    ("not a host", "orders}", "orders, hosts: ['a b']}", "mesh.yaml:7:42: routes[0].hosts[0]: 'a b' is not a host; as in Envoy: shop.example, *.example, shop.* or *, with or without :port"),
    ("a cluster of two services", "[127.0.0.1:8081]", "[127.0.0.1:8081]\n    also_known_as: [x|y]\n  - {name: search, endpoints: ['a:1'], also_known_as: [x|y]}", "mesh.yaml:7:56: services[1].also_known_as[0]: 'x|y' is given twice, first on line 6; keep one, or rename it"),
    ("a cluster called as another service", "[127.0.0.1:8081]", "[127.0.0.1:8081]\n  - {name: search, endpoints: ['a:1'], also_known_as: [orders]}", "mesh.yaml:6:56: services[1].also_known_as[0]: 'orders' is given twice, first on line 4; keep one, or rename it"),
    ("an adaptive cluster of one's own", "[127.0.0.1:8081]", "[127.0.0.1:8081]\n    also_known_as: [o~adaptive]", "mesh.yaml:6:21: services[0].also_known_as[0]: 'o~adaptive' is not the name of a cluster of yours; write 1 to 255 characters of ASCII without a space"),
    ("unknown retry term", "orders}", "orders, retry: {retry_on: [5x]}}", "mesh.yaml:7:53: routes[0].retry.retry_on[0]: '5x' is not one of its values; did you mean '5xx'?"),
    ("a collector with a scheme", "nodes:\n", "tracing: {otlp: 'http://a:4317'}\nnodes:\n", "mesh.yaml:1:17: tracing.otlp: 'http://a:4317' is not ip:port or name:port; an IPv6 address needs brackets, as in [::1]:8080"),
    ("tracing to nowhere", "nodes:\n", "tracing: {sampling_percent: 5}\nnodes:\n", "mesh.yaml:1:1: tracing.otlp: is missing; give it a value"),
    ("more than all traced", "nodes:\n", "tracing: {otlp: 'a:1', sampling_percent: 101}\nnodes:\n", "mesh.yaml:1:42: tracing.sampling_percent: 101 is out of range; it must be at most 100"),
    ("a key of tracing misspelt", "nodes:\n", "tracing: {otlp: 'a:1', sampling: 5}\nnodes:\n", "mesh.yaml:1:24: tracing.sampling: unknown key; did you mean 'sampling_percent'?"),
    ("no name for spans", "nodes:\n", "tracing: {otlp: 'a:1', service_name: ' '}\nnodes:\n", "mesh.yaml:1:38: tracing.service_name: ' ' is not a service name; write 1 to 255 characters of printable ASCII, no space at either end"),
    ("unknown top key", "routes:", "route:", "mesh.yaml:6:1: route: unknown key; did you mean 'routes'?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"), [m[1:] for m in WHOLE_FILE_MISTAKES], ids=[m[0] for m in WHOLE_FILE_MISTAKES]
)
def test_a_mistake_anywhere_is_told_with_its_place_and_the_mend(old, new, said):
    assert old in SMALLEST
    assert said in refused(SMALLEST.replace(old, new, 1))


SECTION_MISTAKES = [
    ("adaptive: {mode: shadw}", "mesh.yaml:8:18: adaptive.mode: 'shadw' is not one of its values; did you mean 'shadow'?"),
    ("adaptive: {share: 101}", "mesh.yaml:8:19: adaptive.share: 101 is out of range; it must be at most 100"),
    ("adaptive: {services: {oders: {share: 5}}}", "mesh.yaml:8:23: adaptive.services.oders: no service is named 'oders'; did you mean 'orders'?"),
    ("adaptive: {models: {challenger: simpel}}", "mesh.yaml:8:33: adaptive.models.challenger: no model is named 'simpel'; did you mean 'simple'?"),
    ("adaptive: {models: {own: {simple: 'a:b'}}}", "mesh.yaml:8:27: adaptive.models.own.simple: 'simple' is a model of Weirflow's; call yours otherwise"),
    ("adaptive: {models: {own: {mine: 'a.b'}}}", "mesh.yaml:8:33: adaptive.models.own.mine: 'a.b' names no model; write module:factory, as in mine:make_model"),
    ("adaptive: {models: {own: {'a/b': 'a:b'}}}", "mesh.yaml:8:27: adaptive.models.own['a/b']: 'a/b' is no name; use letters, digits, '.', '_' and '-'"),
    ("adaptive: {guard: {floor_share_of_mean: 1}}", "mesh.yaml:8:41: adaptive.guard.floor_share_of_mean: 1 is out of range; it must be below 1"),
    ("adaptive: {guard: {floor_share_of_mean: 0}}", "mesh.yaml:8:41: adaptive.guard.floor_share_of_mean: 0 is out of range; it must be at least 0.001"),
    ("adaptive: {guard: {cap_share_of_mean: 1}}", "mesh.yaml:8:39: adaptive.guard.cap_share_of_mean: 1 is out of range; it must be above 1"),
    ("adaptive: {guard: {step_up: 1}}", "mesh.yaml:8:29: adaptive.guard.step_up: 1 is out of range; it must be above 1"),
    ("adaptive: {guard: {step_down: 1}}", "mesh.yaml:8:31: adaptive.guard.step_down: 1 is out of range; it must be below 1"),
    ("adaptive: {guard: {push_interval: 10ms}}", "mesh.yaml:8:35: adaptive.guard.push_interval: '10ms' must be from 1s to 1h"),
    ("adaptive: {guard: {step_up: .nan}}", "mesh.yaml:8:29: adaptive.guard.step_up: must be a finite number"),
    ("adaptive: {proof: {steps_percent: [50, 95, 0]}}", "mesh.yaml:8:35: adaptive.proof.steps_percent: the shares must fall, and end in 0; as in [95, 50, 10, 0]"),
    ("adaptive: {proof: {switchback: {block: 8s}}}", "mesh.yaml:8:32: adaptive.proof.switchback: a block of 8s is too short for its washout and four ticks after it; make it 10s or longer"),
    ("adaptive: {services: {orders: {switchback: {block: 60s, washout: 57s}}}}", "mesh.yaml:8:44: adaptive.services.orders.switchback: a block of 1m is too short for its washout and four ticks after it; make it 61s or longer"),
    ("xds: {ttl: 2s}", "mesh.yaml:8:12: xds.ttl: 2s is shorter than three ticks of 1s; one late tick would end the lease: make it longer"),
    ("xds: {port: 70000}", "mesh.yaml:8:13: xds.port: 70000 is out of range; it must be at most 65535"),
    ("xds: {address: 0.0.0.0}", "mesh.yaml:8:16: xds.address: 0.0.0.0 can be reached from elsewhere, and there is no xds.tls; name its certificates, or write 'insecure: true' and keep it in a private network"),
    ("xds: {address: '::', tls: }", "mesh.yaml:8:16: xds.address: :: can be reached from elsewhere, and there is no xds.tls; name its certificates, or write 'insecure: true' and keep it in a private network"),
    ("xds: {tls: {cert: a}}", "mesh.yaml:8:13: xds.tls.cert: unknown key; did you mean 'cert_file'?"),
    ("xds: {tls: {cert_file: a}}", "mesh.yaml:8:7: xds.tls.key_file: is missing; give it a value"),
    ("xds: {tls: {cert_file: a, key_file: '', client_ca_file: c}}", "mesh.yaml:8:37: xds.tls.key_file: must not be empty"),
    ("xds: {tls: {cert_file: a, key_file: b, client_ca_file: c, client_identity: 'spiffe://mesh/any'}}", "mesh.yaml:8:76: xds.tls.client_identity: 'spiffe://mesh/any' would let one certificate speak for every node; write {node} where the node's name is; nodes that share a certificate have their own 'identity'"),
    ("xds: {tls: {cert_file: a, key_file: b, client_ca_file: c, client_identity: '*.{node}'}}", "mesh.yaml:8:76: xds.tls.client_identity: '*.{node}' is no name of a certificate; write a URI or a DNS name, as in spiffe://mesh.example/front-1"),
    ("xds: {tls: {cert_file: a, key_file: b, client_ca_file: c, server_identity: 'a b'}}", "mesh.yaml:8:76: xds.tls.server_identity: 'a b' is no name of a certificate; write a URI or a DNS name, as in spiffe://mesh.example/front-1"),
    ("admin: {address: 0.0.0.0}", "mesh.yaml:8:18: admin.address: 0.0.0.0 can be reached from elsewhere, and there is no admin.token_file; name a token file, or bind 127.0.0.1"),
    ("admin: {address: localhost}", "mesh.yaml:8:18: admin.address: 'localhost' is not an IP address; Envoy and Weirflow bind addresses, as in 127.0.0.1 or 0.0.0.0"),
    ("keda: {port: 18000}", "mesh.yaml:8:14: keda.port: 127.0.0.1:18000 is also xds's; give one another port"),
    ("keda: {}\nadaptive: {models: {demand: false}}", "mesh.yaml:8:7: keda: has nothing to tell while adaptive.models.demand is false; leave that key out, or this section"),
    ("admin: {port: 18000}", "mesh.yaml:8:15: admin.port: 127.0.0.1:18000 is also xds's; give one another port"),
    ("recording: {keep: 5}", "mesh.yaml:8:19: recording.keep: a size needs a unit; write '5MiB' or '5GiB'"),
    ("recording: {keep: 5 gigs}", "mesh.yaml:8:19: recording.keep: '5 gigs' is not a size; write a number with a unit, as in 512MiB or 10GiB"),
    ("recording: {folder: ''}", "mesh.yaml:8:21: recording.folder: must not be empty"),
    ("alerts: {alertmanager: []}", "mesh.yaml:8:10: alerts.alertmanager: unknown key; did you mean 'alertmanagers'?"),
    ("alerts: {alertmanagers: ['am:9093']}", "mesh.yaml:8:26: alerts.alertmanagers[0]: 'am:9093' is not a URL of http or https; as in http://host:9093"),
    ("alerts: {alertmanagers: ['http://a:1/?x=1']}", "mesh.yaml:8:26: alerts.alertmanagers[0]: 'http://a:1/?x=1' is a base, to which paths are added; take out what follows '?' or '#'"),
    ("alerts: {alertmanagers: ['http://a:1', 'http://a:1/']}", "mesh.yaml:8:25: alerts.alertmanagers: a list has 'http://a:1' twice; keep one"),
    ("alerts: {console: 'http://ann:secret@a'}", "mesh.yaml:8:19: alerts.console: a URL with a user name in it does not belong in a file that is shown and logged; take the name out"),
    ("alerts: {resend: 30}", "mesh.yaml:8:18: alerts.resend: a duration needs a unit; write '30s' for seconds or '30ms'"),
    ("alerts: {labels: {severity: high}}", "mesh.yaml:8:18: alerts.labels: a mapping sets 'severity', which is Weirflow's own; give it another name"),
    ("alerts: {labels: {a-b: x}}", "mesh.yaml:8:18: alerts.labels: a mapping has 'a-b', which is not the name of a label; use letters, digits and '_', not beginning with a digit or '__'"),
    ("alerts: {labels: {site: 7}}", "mesh.yaml:8:25: alerts.labels.site: must be text, not a number; quote it: '7'"),
    ("alerts: {webhooks: [{url: 'http://a/'}]}", "mesh.yaml:8:21: alerts.webhooks[0].secret_file: is missing; give it a value"),
    ("alerts: {webhooks: [{url: 'ftp://a/', secret_file: s}]}", "mesh.yaml:8:27: alerts.webhooks[0].url: 'ftp://a/' is not a URL of http or https; as in http://host:9093"),
    ("logging: {format: xml}", "mesh.yaml:8:19: logging.format: 'xml' is not one of its values; known: console, json"),
    ("listeners: [{name: web, port: 1}, {name: two, port: 1}]", "mesh.yaml:8:53: listeners[1].port: 127.0.0.1:1 is also listener web's; give one another port"),
    ("listeners: [{name: web, port: 1, nodes: [front-2]}]", "mesh.yaml:8:42: listeners[0].nodes[0]: no node is named 'front-2'; did you mean 'front-1'?"),
    ("listeners: [{name: web, port: 9901, address: 0.0.0.0}]", "mesh.yaml:8:31: listeners[0].port: 0.0.0.0:9901 is also admin's; give one another port"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), SECTION_MISTAKES, ids=[m[0] for m in SECTION_MISTAKES])
def test_a_mistake_in_a_section_is_told_with_its_place_and_the_mend(line, said):
    assert said in refused(SMALLEST + line + "\n")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("  - {name: r2, service: orders, prefix: /x}\n", "mesh.yaml:8:5: warning: routes[1]: no request reaches it: routes[0] on line 7 takes them all; put the longer prefix first"),
        ("  - {name: r2, service: orders, hosts: [a.example]}\n", None),
        ("adaptive: {share: 0.95}\n", "mesh.yaml:8:19: warning: adaptive.share: 0.95 is less than one percent; did you mean 95?"),
        ("adaptive: {share: 100}\n", "mesh.yaml:8:19: warning: adaptive.share: leaves no holdout, so no gain can be told and a loss is not seen; 95 is the default"),
        ("keda: {address: 0.0.0.0}\n", "mesh.yaml:8:17: warning: keda.address: 0.0.0.0 can be reached from elsewhere, in the clear; whoever reaches it can read every service's demand: keep it in a private network"),
        ("keda:\nadaptive: {models: {demand: false}}\n", None),
        ("xds: {address: 0.0.0.0, insecure: true}\n", "mesh.yaml:8:16: warning: xds.address: 0.0.0.0 can be reached from elsewhere, and there is no xds.tls; whoever reaches it can speak for a node: keep it in a private network"),
        ("xds: {address: '::1'}\n", None),
        ("xds: {address: 0.0.0.0, tls: {cert_file: a, key_file: b, client_ca_file: c, server_identity: 10.0.0.1}}\n", None),
    ],
)  # fmt: skip
def test_what_is_probably_not_meant_is_a_warning(more, said):
    assert warned(SMALLEST + more) == ([said] if said else [])


def test_a_nodes_identity_is_a_name_and_asks_for_tls():
    named = SMALLEST.replace("- name: front-1", "- {name: front-1, identity: 'spiffe://mesh/a'}")
    assert warned(named) == ["mesh.yaml:2:31: warning: nodes[0].identity: no certificate is asked for; add 'xds.tls'"]
    assert warned(named + "xds: {tls: {cert_file: a, key_file: b, client_ca_file: c}}\n") == []
    said = refused(named.replace("spiffe://mesh/a", "no name"))
    assert said == [
        "mesh.yaml:2:31: nodes[0].identity: 'no name' is no name of a certificate; write a URI or a DNS name, as in spiffe://mesh.example/front-1"
    ]
