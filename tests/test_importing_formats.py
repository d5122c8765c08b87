"""Every format says the same of the same requests, and none says who asked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import logs
from tests.logs import T0, imported, some
from weirflow.importing import Options, WrongUseError, envoy, nginx, run
from weirflow.importing.formats import FORMATS
from weirflow.recording import inspect

EVERY = [*logs.LINES, *logs.WHOLE]
WITHOUT_ROUTE_SIZE = {"otlp", "haproxy"}


def check(attempts, asked, name=""):
    """The attempts are those that were asked, whatever the format cannot tell left out."""
    order = np.lexsort((attempts["endpoint"], attempts["started_s"]))
    got = {k: v[order] for k, v in attempts.items()}
    coarse = name == "ingress-nginx"  # $time_local is told to the second
    assert got["started_s"] == pytest.approx([a.at.timestamp() for a in asked], abs=1.0 if coarse else 0.002)
    assert sorted(got["duration_s"]) == pytest.approx(sorted(a.duration_ms / 1000 for a in asked), abs=1e-6)
    if not coarse:
        assert got["duration_s"] == pytest.approx([a.duration_ms / 1000 for a in asked], abs=1e-6)
        assert list(got["endpoint"]) == [a.endpoint for a in asked]
        assert list(got["status"]) == [a.status for a in asked]
        assert list(got["route"]) == [logs.ROUTES[logs.PATHS.index(a.path)] for a in asked]
    assert sorted(got["outcome"]) == sorted("OK" if a.status == 200 else "ERROR" for a in asked)
    assert set(got["attempt"]) == {1}


@pytest.mark.parametrize("name", EVERY)
def test_a_log_is_taken_for_what_it_is_and_its_requests_become_attempts(tmp_path, name):
    asked = some()
    report, attempts = imported(tmp_path, logs.content(name, asked))
    assert [f.format for f in report.files] == [name]
    assert report.files[0].why.startswith("taken for")
    assert (report.attempts, report.rejected) == (30, 0)
    check(attempts, asked, name)
    if name not in WITHOUT_ROUTE_SIZE | {"goreplay"}:
        assert set(attempts["bytes_out"]) == {900}
    if name not in ("csv", "har"):
        assert np.isfinite(attempts["ttfb_s"]).any() or name in ("goreplay", "otlp", "ingress-nginx")


@pytest.mark.parametrize("name", EVERY)
def test_nothing_of_who_asked_is_in_a_recording(tmp_path, name):
    report, _ = imported(tmp_path, logs.content(name, some()))
    for file in Path(report.folder).iterdir():
        held = file.read_bytes()
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            held = json.dumps(table.to_pylist(), default=str).encode()
        for word in (b"secret", b"192.0.2.77", b"Mozilla", b"0123456789ab", b"/orders/17"):
            assert word not in held, (file.name, word)


@pytest.mark.parametrize("name", EVERY)
def test_a_recording_made_of_a_log_can_be_looked_through(tmp_path, name):
    report, attempts = imported(tmp_path, logs.content(name, some()))
    found = inspect.inspect(Path(report.folder))
    assert found.sound
    assert found.imported
    assert found.gaps == ()  # a log never has decisions and load reports: none of them is missing
    assert "imported from logs, which hold no decisions and no load reports" in inspect.render(found)
    assert found.rows["attempts"] == 30
    assert (np.diff(attempts["now"]) >= 0).all()
    assert (attempts["now"] + 1e-3 >= attempts["started_s"] + attempts["duration_s"]).all()


@pytest.mark.parametrize("pack", ["gzip", "bz2", "zstd"])
def test_a_packed_log_is_read_as_it_is(tmp_path, pack):
    content = logs.content("envoy", some())
    packed = pa.compress(content, codec=pack, asbytes=True) if pack != "bz2" else __import__("bz2").compress(content)
    report, attempts = imported(tmp_path, gzip.compress(content) if pack == "gzip" else packed)
    assert report.attempts == 30
    check(attempts, some())


def test_two_packed_pieces_in_one_file_are_both_read(tmp_path):
    """As `cat a.gz b.gz` makes, and many rotations."""
    asked = some()
    whole = gzip.compress(logs.content("envoy", asked[:10])) + gzip.compress(logs.content("envoy", asked[10:]))
    report, _ = imported(tmp_path, whole)
    assert report.attempts == 30


@pytest.mark.parametrize("name", ["envoy", "istio-json", "nginx", "otlp"])
@pytest.mark.parametrize("runtime", ["cri", "docker"])
def test_what_a_container_runtime_put_around_a_line_is_taken_off(tmp_path, name, runtime):
    lines = logs.content(name, some()).decode().splitlines()
    if runtime == "cri":
        wrapped = [f"2026-09-21T14:00:00.123456789Z stdout F {line}" for line in lines]
    else:
        wrapped = [json.dumps({"log": line + "\n", "stream": "stdout"}, separators=(",", ":")) for line in lines]
    report, attempts = imported(tmp_path, "\n".join(wrapped))
    assert (report.files[0].format, report.rejected) == (name, 0)
    check(attempts, some())


def test_a_log_that_tells_seconds_only_is_said_to(tmp_path):
    report, _ = imported(tmp_path, logs.content("ingress-nginx", some()))
    assert any("to the second" in note for note in report.notes)
    report, _ = imported(tmp_path, logs.content("nginx", some()))
    assert not any("to the second" in note for note in report.notes)


def test_istios_cluster_is_called_as_people_call_it(tmp_path):
    _, attempts = imported(tmp_path, logs.content("istio", some()))
    assert set(attempts["service"]) == {"shop.prod.svc.cluster.local:9080/v1"}


@pytest.mark.parametrize(
    ("chosen", "service"),
    [
        ("auto", "shop.prod.svc.cluster.local:9080/v1"),
        ("authority", "shop.example"),
        ("upstream_cluster", "shop.prod.svc.cluster.local:9080/v1"),
        ("const:mine", "mine"),
        (r"regex:^(10\.0)", "10.0"),
    ],
)
def test_the_service_is_what_the_user_says(tmp_path, chosen, service):
    _, attempts = imported(tmp_path, logs.content("istio", some()), cluster_from=chosen)
    assert set(attempts["service"]) == {service}


@pytest.mark.parametrize(
    ("chosen", "routes"),
    [
        ("path", {"/orders/{}", "/cart"}),
        ("host", {"shop.example"}),
        ("cluster", {"outbound|9080|v1|shop.prod.svc.cluster.local"}),
        ("route", {"default"}),
        ("regex:^/([a-z]+)", {"orders", "cart"}),
    ],
)
def test_the_route_is_what_the_user_says(tmp_path, chosen, routes):
    _, attempts = imported(tmp_path, logs.content("istio", some()), route_from=chosen)
    assert set(attempts["route"]) == routes


def test_an_envoy_format_of_ones_own_is_compiled(tmp_path):
    form = (
        "%START_TIME(%s.%3f)%|%REQ(:METHOD)%|%REQ(:PATH)%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|"
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%|%DURATION%|%UPSTREAM_HOST%|%UPSTREAM_CLUSTER%|%BYTES_SENT%|%ENVIRONMENT(POD_NAME)%\n"
    )
    asked = some()
    content = "".join(
        f"{a.at.timestamp():.3f}|GET|{a.path}|{a.status}|-|{a.duration_ms * 1000}|999999|{a.endpoint}|shop|900|pod-1\n"
        for a in asked
    )
    report, attempts = imported(tmp_path, content, envoy_format=form)
    assert report.rejected == 0
    check(attempts, asked)
    assert set(attempts["node"]) == {"pod-1"}
    assert set(attempts["service"]) == {"shop"}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("%START_TIME%%DURATION%", "nothing between them"),
        ("no operator at all", "nothing that can be used"),
        ("%START_TIME(%Q)% %DURATION%", "not understood"),
        ("%START_TIME(%H:%M)% %DURATION%", "no moment"),
        ("%START_TIME%\n%DURATION%", "several lines"),
    ],
)
def test_a_format_that_cannot_be_read_is_refused_with_the_reason(form, said):
    with pytest.raises(WrongUseError, match=said):
        envoy.compiled(form)


def test_a_log_format_without_upstreams_is_refused_with_a_better_one(tmp_path):
    with pytest.raises(WrongUseError, match="upstream_addr"):
        nginx.compiled('$remote_addr [$time_local] "$request" $status')
    combined = '10.1.1.1 - - [21/Sep/2026:14:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"\n' * 3
    with pytest.raises(WrongUseError, match="log with"):
        imported(tmp_path, combined)


def test_every_upstream_of_an_nginx_line_is_an_attempt(tmp_path):
    line = (
        f'{T0.timestamp() + 1:.3f} 0.500 200 "GET /a" "h" "shop" "id1" 7 900 "10.0.0.1:80, 10.0.0.2:80 : 10.1.0.1:80" '
        '"502, 504 : 200" "-, 0.001 : 0.001" "-, - : 0.090" "0.000, 0.300 : 0.100"\n'
    )
    gone = (
        f'{T0.timestamp() + 2:.3f} 0.000 502 "GET /a" "h" "shop" "id2" 7 0 "shop" "502" "-" "-" "0.000"\n'
        f'{T0.timestamp() + 3:.3f} 0.250 499 "GET /a" "h" "shop" "id3" 7 0 "10.0.0.1:80" "-" "0.000" "-" "0.250"\n'
    )
    before = f'{T0.timestamp() + 0.85:.3f} 0.010 200 "GET /a" "h" "shop" "id0" 7 1 "x:1" "200" "0" "0" "0.010"\n'
    report, got = imported(tmp_path, before + line + gone)
    assert report.rejected == 0
    got = {name: column[got["endpoint"] != "x:1"] for name, column in got.items()}
    assert list(got["endpoint"]) == ["10.0.0.1:80", "10.0.0.2:80", "10.1.0.1:80", None, "10.0.0.1:80"]
    assert list(got["outcome"]) == ["UNREACHED", "TIMEOUT", "OK", "UNREACHED", "CANCELLED"]
    assert list(got["attempt"]) == [1, 2, 3, 1, 1]
    assert got["duration_s"] == pytest.approx([0.0, 0.3, 0.1, 0.0, 0.25])
    assert got["started_s"] - T0.timestamp() == pytest.approx([0.5, 0.5, 0.8, 2.0, 2.75])
    assert got["felt_s"] == pytest.approx([0.0, 0.3, 0.4, 0.0, 0.25])
    assert list(got["bytes_out"]) == [0, 0, 900, 0, 0]
    assert report.files[0].out_of_order == 0


@pytest.mark.parametrize(
    ("state", "server", "status", "outcome"),
    [
        ("----", "s1", "200", "OK"),
        ("----", "s1", "500", "ERROR"),
        ("sH--", "s1", "504", "TIMEOUT"),
        ("sC--", "s1", "503", "UNREACHED"),
        ("SC--", "s1", "503", "UNREACHED"),
        ("SH--", "s1", "502", "ERROR"),
        ("sQ--", "<NOSRV>", "503", "REJECTED"),
        ("SC--", "<NOSRV>", "503", "UNREACHED"),
        ("CH--", "s1", "-1", "CANCELLED"),
        ("cD--", "s1", "200", "CANCELLED"),
        ("PC--", "s1", "503", "REJECTED"),
    ],
)
def test_haproxys_termination_state_says_how_an_attempt_ended(tmp_path, state, server, status, outcome):
    line = (
        f"192.0.2.1:1 [21/Sep/2026:14:00:00.500] f b/{server} 1/2/-1/-1/20 {status} 0 - - {state} 1/1/1/1/+3 0/0 "
        '"GET /a"b HTTP/1.1"\n'
    )
    _, got = imported(tmp_path, line, format="haproxy")
    assert (list(got["outcome"]), list(got["attempt"])) == ([outcome], [4])
    assert got["started_s"][0] - T0.timestamp() == pytest.approx(0.503)
    assert got["duration_s"][0] == pytest.approx(0.017)


@pytest.mark.parametrize(
    ("flags", "status", "outcome"),
    [
        ("-", 200, "OK"),
        ("UF,URX", 503, "UNREACHED"),
        ("UT", 504, "TIMEOUT"),
        ("DC", 0, "CANCELLED"),
        ("UpstreamOverflow", 503, "REJECTED"),
        ("NR", 404, None),
        ("ZZ", 500, None),
    ],
)
def test_envoys_flags_mean_what_they_mean_on_the_wire(tmp_path, flags, status, outcome):
    line = logs.envoy(some(1)[0]).replace("200 - 7", f"{status} {flags} 7")
    report, got = imported(tmp_path, line + "\n", format="envoy")
    if outcome is None:
        assert (report.attempts, sum(report.files[0].left_out.values())) == (0, 1)
    else:
        assert list(got["outcome"]) == [outcome]


def test_what_the_proxy_answered_itself_is_left_out_with_its_reason(tmp_path):
    asked = some()
    lines = logs.content("envoy", asked).replace(b'"10.0.0.1:8080"', b'"-"')
    report, _ = imported(tmp_path, lines)
    assert report.files[0].left_out == {"no endpoint: the proxy answered itself": 10}
    assert (report.attempts, report.rejected) == (20, 0)


def test_columns_and_keys_of_ones_own_are_mapped(tmp_path):
    asked = some()
    keys = {"started_ms": "when", "duration_us": "took", "endpoint": "up.addr", "service": "up.name", "status": "code"}
    content = "".join(
        json.dumps(
            {
                "when": a.at.timestamp() * 1000,
                "took": a.duration_ms * 1000,
                "up": {"addr": a.endpoint, "name": "shop"},
                "code": str(a.status),
                "path": a.path,
            }
        )
        + "\n"
        for a in asked
    )
    report, attempts = imported(tmp_path, content, keys=keys | {"path": "path"})
    assert report.files[0].format == "json"
    check(attempts, asked)
    table = pa.table(
        {
            "ts": pa.array([a.at for a in asked], pa.timestamp("ms", "UTC")),
            "elapsed": [a.duration_ms for a in asked],
            "service": pa.array(["shop"] * 30).dictionary_encode(),
            "endpoint": [a.endpoint for a in asked],
            "path": [a.path for a in asked],
            "status": pa.array([a.status for a in asked], pa.int16()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    report, attempts = imported(
        tmp_path, (tmp_path / "t.parquet").read_bytes(), keys={"started": "ts", "duration_ms": "elapsed"}
    )
    assert report.files[0].format == "parquet"
    check(attempts, asked)


def test_times_and_spans_of_arrows_own_types_are_understood(tmp_path):
    asked = some()
    table = pa.table(
        {
            "started": pa.array(
                [int(a.at.timestamp() * 1000) * 1_000_000 + 123 for a in asked], pa.timestamp("ns", "UTC")
            ),
            "took": pa.array([a.duration_ms * 1000 for a in asked], pa.duration("us")),
            "service": ["shop"] * 30,
            "endpoint": [a.endpoint for a in asked],
            "path": [a.path for a in asked],
            "status": [float(a.status) for a in asked],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    _, attempts = imported(tmp_path, (tmp_path / "t.parquet").read_bytes(), keys={"duration_ms": "took"})
    check(attempts, asked)


def test_files_of_one_name_in_several_folders_are_several_nodes_and_a_rotation_is_one(tmp_path):
    content = logs.content("envoy", some()).splitlines(keepends=True)
    files = ["a/access.log", "a/access.log.1", "a/access.log-20260921.gz", "b/access.log", "c/edge.log"]
    for i, name in enumerate(files):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        part = b"".join(content[i::5])
        (tmp_path / name).write_bytes(gzip.compress(part) if name.endswith("gz") else part)
    report = run([str(tmp_path / name) for name in files], tmp_path / "to", Options())
    assert report.nodes == {"a/access": 18, "b/access": 6, "edge": 6}


def test_the_attempts_of_a_recording_are_imported_as_they_are(tmp_path):
    report, first = imported(tmp_path, logs.content("csv", some()))
    (file,) = Path(report.folder).glob("attempts-*.parquet")
    _, again = imported(tmp_path, file.read_bytes())
    for name in first:
        if name not in ("now", "seq"):
            np.testing.assert_array_equal(first[name], again[name], err_msg=name)


def test_a_column_that_is_not_there_is_said_and_a_name_that_is_none_is_mended(tmp_path):
    from weirflow.importing.mapping import mapping

    with pytest.raises(WrongUseError, match="has no column for --map status=kode"):
        imported(tmp_path, logs.content("csv", some()), format="csv", keys={"status": "kode"})
    with pytest.raises(WrongUseError, match="did you mean endpoint"):
        mapping(["endpont=x"])
    with pytest.raises(WrongUseError, match="duration needs its unit"):
        mapping(["duration=x"])
    (tmp_path / "m.yaml").write_text("duration_ms: elapsed\nstarted: ts\n")
    assert mapping(["started=at"], tmp_path / "m.yaml") == {"duration_ms": "elapsed", "started": "at"}


def test_what_cannot_be_told_apart_is_not_guessed(tmp_path):
    with pytest.raises(WrongUseError, match="like nothing that is known"):
        imported(tmp_path, "some words\nand some more\n")
    with pytest.raises(WrongUseError, match="keys of no format"):
        imported(tmp_path, '{"a": 1}\n{"a": 2}\n')
    mixed = logs.content("envoy", some(10)) + logs.content("haproxy", some(10))
    with pytest.raises(WrongUseError, match=r"may be .*envoy.*haproxy|may be .*haproxy.*envoy"):
        imported(tmp_path, mixed)


def test_a_format_that_is_none_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(WrongUseError, match="otlp"):
        imported(tmp_path, "x", format="apache")
    assert {"envoy", "als", "parquet"} <= set(FORMATS)
