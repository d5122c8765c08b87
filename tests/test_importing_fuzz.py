"""No bytes make a reader raise: they become counted rejects, and every row that comes of them makes sense."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import logs
from tests.logs import some
from tests.test_importing_als import dump
from weirflow.importing import ImportingError, Options, run
from weirflow.importing.attempts import LONGEST_S, Read, Understanding
from weirflow.importing.envoy import compiled, flag_bits
from weirflow.importing.formats import FORMATS, Forms, reader
from weirflow.importing.names import Names
from weirflow.importing.opening import Bounds, Source
from weirflow.importing.rejects import Rejects
from weirflow.importing.routes import Routes, template
from weirflow.importing.services import Services
from weirflow.importing.sniff import sniff

KEYS = {"started": "started", "duration_ms": "duration", "endpoint": "a.b", "service": "s", "status": "status"}
WITHOUT = {"parquet"}  # it has no line to go on from; test_importing_faults damages it
NAMES = sorted(set(FORMATS) - WITHOUT)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def good(name: str) -> bytes:
    if name == "als":
        return dump(some(6))
    if name == "json":
        return b'{"started": 1789999200, "duration": 5, "a": {"b": "e:1"}, "s": "s", "status": 200}\n' * 6
    return logs.content(name, some(6))


def read_all(name: str, content: bytes, folder: Path) -> tuple[int, Rejects]:
    """Rows and rejects of a content, whatever it is; every row that comes is held against what a row may be."""
    file = folder / "x"
    file.write_bytes(content)
    source = Source(str(file), Bounds())
    rejects, rows = Rejects(), 0
    understanding = Understanding(Names(), Routes(), Services())
    try:
        for read in reader(name, Forms(keys=KEYS if name == "json" else {})).read(source, rejects):
            assert isinstance(read, Read)
            assert {len(c) for c in read.columns.values()} == {len(read.lines)}
            made = understanding.rows(read, "n", rejects)
            assert (made["duration"] >= 0).all()
            assert (made["duration"] <= LONGEST_S).all()
            assert (made["started"] > 3e8).all()
            assert np.isfinite(made["ended"]).all()
            assert ((made["status"] >= 0) & (made["status"] < 1000)).all()
            assert (made["service"] >= 0).all()
            assert (made["bytes_out"] >= 0).all()
            rows += len(made)
    except ImportingError:
        pass  # the whole file is no such thing
    finally:
        source.close()
    assert len(rejects.shown) <= 5
    return rows, rejects


@pytest.mark.parametrize("name", NAMES)
@given(content=st.binary(max_size=400))
@FEW
def test_bytes_of_any_kind_are_rejects(tmp_path, name, content):
    read_all(name, content, tmp_path)


@pytest.mark.parametrize("name", NAMES)
@given(draw=st.data())
@FEW
def test_a_good_log_that_was_tampered_with_costs_no_more_than_what_was_touched(tmp_path, name, draw):
    content = bytearray(good(name))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(content) - 1))
        to = draw.draw(st.integers(at, min(at + 9, len(content))))
        content[at:to] = draw.draw(st.binary(max_size=9))
    read_all(name, bytes(content), tmp_path)


@given(st.binary(max_size=300) | st.sampled_from([b'{"log":"\\n"}\n', b"\n \n", b"PAR1", b"1 ", b"\xff" * 50]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_taken_for_something_or_refused(content):
    with contextlib.suppress(ImportingError):
        assert sniff("x", content, Forms()).format in FORMATS


@pytest.mark.parametrize("name", sorted(logs.LINES))
@given(line=st.integers(1, 5), noise=st.binary(max_size=60))
@FEW
def test_a_bad_line_takes_no_other_with_it(tmp_path, name, line, noise):
    lines = good(name).splitlines()
    lines[line] = noise.replace(b"\n", b"")
    rows, rejects = read_all(name, b"\n".join(lines), tmp_path)
    assert rows == 5
    assert sum(rejects.rejected.values()) == (1 if noise.replace(b"\n", b"").decode("utf-8", "replace").strip() else 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "evil", ['"', " ", "[", "{", '{"a":', "-", ", ", " : ", "1", "|", "/", '" "', "\\", "\r", "\0", "é"]
)
@pytest.mark.timeout(60)
def test_a_line_made_to_take_long_takes_no_longer(tmp_path, name, evil):
    """A pattern that went back and forth would need years for these."""
    head = good(name).split(b"\n")[0][:80]
    content = head + (evil * (60_000 // len(evil))).encode()
    read_all(name, b"\n".join([content, content[:30_000], content + b'"']), tmp_path)


SHAPE = ("started", "duration", "a", "s", "status")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(SHAPE, values)), max_size=5))
@FEW
def test_json_of_any_shape_is_rows_or_rejects(tmp_path, objects):
    content = "\n".join(json.dumps(o) for o in objects).encode()
    rows, rejects = read_all("json", content, tmp_path)
    assert rows + sum(rejects.rejected.values()) + sum(rejects.left_out.values()) == len(objects) == rejects.records


@pytest.mark.parametrize("key", list(KEYS.values()))
def test_json_that_nests_deeper_than_python_follows_is_a_reject(tmp_path, key):
    for deep in (100, 900, 990, 100_000):
        line = b'{"%s": %s%s}' % (key.partition(".")[0].encode(), b"[" * deep, b"]" * deep)
        rows, rejects = read_all("json", b"\n".join([line, line, good("json").splitlines()[0]]), tmp_path)
        assert rows == 1
        assert sum(rejects.rejected.values()) + sum(rejects.left_out.values()) == 2


@pytest.mark.parametrize("name", ["otlp", "har"])
@given(draw=st.data())
@FEW
def test_a_document_with_any_value_anywhere_is_rows_or_rejects(tmp_path, name, draw):
    document = json.loads(good(name).splitlines()[0])
    paths = list(_paths(document))
    for way in draw.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3)):
        at: Any = document
        try:
            for step in way[:-1]:
                at = at[step]
            at[way[-1]] = draw.draw(values)
        except (TypeError, KeyError, IndexError):
            continue
    read_all(name, json.dumps(document).encode(), tmp_path)


def _paths(value, way=()):
    if way:
        yield way
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*way, key))


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60))
@FEW
def test_a_template_keeps_no_digits_but_those_of_a_version(path):
    made = template("/" + path)
    assert "?" not in made
    for part in (
        made.replace("{}", "").replace("/", ".").replace("-", ".").replace("_", ".").replace("~", ".").split(".")
    ):
        assert not any(c.isdigit() for c in part) or part[0] == "v"


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/", "/"),
        ("/orders/17", "/orders/{}"),
        ("/orders/17/items?x=1#y", "/orders/{}/items"),
        ("/api/v1beta2/pods", "/api/v1beta2/pods"),
        ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Check"),
        ("/u/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/u/{}"),
        ("/c/deadbeefcafe", "/c/{}"),
        ("/t/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "/t/{}"),
        ("/m/alice@example.org", "/m/{}"),
        ("/f/caf%C3%A9", "/f/{}"),
        ("/s/QmVyTnRXaEtKbQ", "/s/{}"),
        ("http://host.example/a/5", "/a/{}"),
        ("*", "*"),
        ("host:443", "*"),
        ("/a/b/c/d/e/f/g/h/i/j/k/l", "/a/b/c/d/e/f/g/h/i/j/*"),
    ],
)
def test_a_path_becomes_its_template(path, made):
    assert template(path) == made
    routes = Routes()
    routes.count(routes.of([path], path=True), np.array([0]))
    assert routes.settled()[0] == [made]


def test_names_in_the_place_of_ids_become_one_template():
    routes = Routes()
    paths = [f"/users/{a}{b}" for a in "abcdefgh" for b in "klmnop"] + ["/health/live"]
    codes = routes.of(paths, path=True)
    routes.count(codes, np.zeros(len(paths), np.int64))
    names, services, by_code = routes.settled()
    assert sorted(names) == ["/health/live", "/users/{}"]
    assert services == [0, 0]
    assert len(set(by_code[codes].tolist())) == 2


@given(st.text(max_size=80))
@FEW
def test_an_envoy_format_of_any_text_is_a_pattern_or_a_refusal(form):
    from weirflow.importing import WrongUseError

    for text in (form, f"%DURATION%{form}%START_TIME%", f"%START_TIME({form})%"):
        try:
            compiled(text)
        except WrongUseError:
            continue


@given(st.text(max_size=30))
@FEW
def test_flags_of_any_text_are_bits(text):
    assert 0 <= flag_bits(text) < 1 << 64


def test_an_import_of_noise_writes_nothing(tmp_path):
    file = tmp_path / "noise"
    file.write_bytes(bytes(range(256)) * 500)
    for name in NAMES:
        try:
            report = run([str(file)], tmp_path / name, Options(format=name, keys=KEYS))
        except ImportingError:
            continue
        assert report.folder == ""
        assert not (tmp_path / name).exists()
