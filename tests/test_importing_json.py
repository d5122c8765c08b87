"""What JSON means in an import is what Python's parser says, whichever parser read it."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weirflow.importing import jsonlines
from weirflow.importing.jsonlines import JsonReader
from weirflow.importing.rejects import Rejects

KEYS = {"request": "id", "duration_ms": "took", "path": "http.path"}
DEEP = 3000

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**30, -0.0, 1e308, 5e-324]),
    st.floats(),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "id", "x"]), inner),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(["id", "took", "http", "http.path", "other"]), VALUES)
WRITTEN = st.one_of(
    OBJECTS.map(json.dumps),
    OBJECTS.map(lambda o: json.dumps(o, ensure_ascii=False)),
    st.lists(OBJECTS, max_size=2).map(json.dumps),
    st.text(max_size=20),
    st.sampled_from(
        [
            '{"id": NaN}',
            '{"id": -Infinity, "took": 1}',
            '{"id": -0, "took": -0.0}',
            '{"id": 1e400}',
            '{"id": "\\ud800"}',
            '{"id": "\\ud83d\\ude00"}',
            '{"id": 1, "id": 2}',
            '{"took": ' + "7" * 30 + "}",
            '{"took": ' + "7" * 350 + "}",
            '{"took": ' + "7" * 5000 + "}",
            '{"took": 0.1' + "0" * 40 + "1}",
            '{"x": ' + "[" * DEEP + "]" * DEEP + "}",
            '{"x": ' * DEEP + "1" + "}" * DEEP,
            '{"id": 01}',
            '{"id": 1.}',
            '{"id": "\t"}',
            '{"id": 1,}',
            '{"id": 1} {"id": 2}',
            '{"id": 1},{"id": 2}',
            '\ufeff{"id": 1}',
            '{"id": 1}\r',
            " ",
        ]
    ),
)


class Held:
    """A file that is held in memory."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode("utf-8", "surrogatepass") + b"\n"  # all lines in one chunk

    def blocks(self) -> list[bytes]:
        return [self._bytes]


def said(value: Any) -> str:
    """To the last bit; of a list or an object nobody reads more than that it is one."""
    return type(value).__name__ if isinstance(value, list | dict) else repr(value)


def read(text: str) -> tuple[list[Any], Any, Any, int]:
    """Lines and columns, rejects with their words, and how many lines were looked at."""
    rejects = Rejects()
    told = [
        (list(r.lines), {name: list(map(said, column)) for name, column in r.columns.items()})
        for r in JsonReader(KEYS).read(Held(text), rejects)
    ]
    return told, dict(rejects.rejected), rejects.shown, rejects.records


def by_python(text: str) -> tuple[list[Any], Any, Any, int]:
    """The same with the other parser refusing all."""

    def refuse(_text: str) -> Any:
        raise ValueError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonlines.orjson, "loads", refuse)
        return read(text)


@given(lines=st.lists(WRITTEN, max_size=6), rnd=st.randoms(use_true_random=False))
@example(lines=['{"id": -0, "took": 18446744073709551616}', '{"id": "a"}'], rnd=random.Random(1))
@settings(max_examples=400, deadline=None)
def test_what_is_read_and_what_is_rejected_is_what_pythons_parser_says(lines: list[str], rnd: random.Random) -> None:
    text = "\n".join(line.replace("\n", " ") for line in lines)
    if rnd.random() < 0.3 and text:  # damaged
        at = rnd.randrange(len(text))
        text = text[:at] + rnd.choice('{}[]",:0\\ \x00') + text[at + 1 :]
    assert read(text) == by_python(text)


def test_an_integer_beyond_64_bits_is_kept_to_its_last_digit() -> None:
    text = '{"id": 123456789012345678901, "took": 5}\n{"id": "a", "took": 6}'
    ((_, columns),), *_ = read(text)
    assert columns["request"] == ["123456789012345678901", "'a'"]
    assert orjson.loads(text.partition("\n")[0])["id"] != 123456789012345678901, "then nothing had to be asked again"


def test_a_line_that_only_python_reads_is_read_and_the_others_with_it() -> None:
    ((lines, columns),), rejected, *_ = read('{"id": "a", "took": NaN}\n{"id": "b", "took": 1}\n{"id": ')
    assert lines == [1, 2]
    assert columns["duration_ms"] == ["nan", "1"]
    assert rejected == {"is not JSON": 1}


def test_a_bomb_of_brackets_is_a_reject_in_pythons_words() -> None:
    bomb = '{"x": ' + "[" * DEEP + "]" * DEEP + "}"
    told, rejected, shown, records = read(f'{{"id": 1}}\n{bomb}\n{{"id": 2}}')
    assert told[0][0] == [1, 3]
    assert (rejected, records) == ({"is not JSON": 1}, 3)
    assert "recursion" in shown[0].reason
