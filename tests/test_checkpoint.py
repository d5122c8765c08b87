"""A checkpoint comes back as it was saved, or is refused and set aside; there is nothing between."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weirflow import checkpoint
from weirflow.checkpoint import CheckpointError, decode, encode, load, save

SMALL = {"samples": np.arange(3, dtype=np.int16), "by": {"name": ["a", 1.5, None, True]}}


def same(a: Any, b: Any) -> bool:
    """Equal in type, shape and every bit."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


arrays = hnp.arrays(
    st.one_of(
        hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(),
        hnp.complex_number_dtypes(), hnp.byte_string_dtypes(max_len=5), hnp.unicode_string_dtypes(max_len=5),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars | arrays, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@with_settings(max_examples=300, deadline=None)
@given(state=st.dictionaries(st.text(), values, max_size=4))
def test_any_nested_state_comes_back_in_every_bit(state: dict[str, Any]) -> None:
    assert same(decode(encode(state)), state)


def test_arrays_come_back_as_arrays_of_their_own_that_may_be_written_to(tmp_path: Path) -> None:
    save(tmp_path / "c", {"a": np.zeros(3)})
    state = load(tmp_path / "c")
    assert state is not None
    state["a"][0] = 1.0


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3).T, np.arange(9)[::2], np.array(3.5)])
def test_views_of_any_memory_order_are_saved_as_what_they_show(array: np.ndarray[Any, Any]) -> None:
    assert np.array_equal(decode(encode({"a": array}))["a"], array)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {"b": object()}]}, r"state\.a\[1\]\.b is a object"),
        ({"a": np.array([object()])}, r"state\.a is an array of object, which cannot be saved without pickle"),
        ({"a": {1: 2}}, r"state\.a has the key 1; only strings can be keys"),
        ({"a": {1, 2}}, r"state\.a is a set"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_its_place_in_the_state(state: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode(state)


def test_a_state_without_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(ValueError, match="nested deeper than 64"):
        encode(endless)


def test_no_single_flipped_byte_goes_unseen() -> None:
    good = encode(SMALL)
    for place in range(len(good)):
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(good)
            bad[place] ^= flip
            with pytest.raises(ValueError, match=r"is damaged|is not a Weirflow checkpoint"):
                decode(bytes(bad))


def test_no_truncation_and_no_appendix_goes_unseen() -> None:
    good = encode(SMALL)
    for length in range(len(good)):
        with pytest.raises(ValueError, match=r"is damaged|is cut short"):
            decode(good[:length])
    with pytest.raises(ValueError, match="is damaged"):
        decode(good + b"\0")


def test_a_corrupt_checkpoint_is_set_aside_and_the_start_is_cold(tmp_path: Path) -> None:
    path = tmp_path / "brain.checkpoint"
    for n in (1, 2):
        path.write_bytes(encode(SMALL)[:-1])
        with pytest.raises(
            CheckpointError, match=rf"brain\.checkpoint is damaged.*set aside as .*corrupt-{n}; starting cold"
        ):
            load(path)
        assert load(path) is None  # met once
    assert sorted(p.name for p in tmp_path.iterdir()) == ["brain.checkpoint.corrupt-1", "brain.checkpoint.corrupt-2"]


def test_a_checkpoint_of_the_future_is_told_from_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    save(tmp_path / "c", SMALL)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 2; this Weirflow reads format 1; set aside"):
        load(tmp_path / "c")


def test_a_symbolic_link_is_followed_neither_to_read_nor_to_write(tmp_path: Path) -> None:
    save(tmp_path / "real", SMALL)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = (tmp_path / "real").read_bytes()
    with pytest.raises(CheckpointError, match="is a symbolic link, which is not followed; starting cold"):
        load(tmp_path / "link")
    with pytest.raises(CheckpointError, match="nothing was written"):
        save(tmp_path / "link", {})
    assert (tmp_path / "real").read_bytes() == before


def test_a_pipe_in_the_files_place_is_refused_and_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        load(tmp_path / "c")


def test_a_checkpoint_bigger_than_any_of_ours_is_not_even_read(tmp_path: Path) -> None:
    with open(tmp_path / "c", "wb") as file:
        file.truncate(checkpoint.MAX_BYTES + 1)
    with pytest.raises(CheckpointError, match="more than the"):
        load(tmp_path / "c")


def forged(tree: Any, blobs: bytes = b"") -> bytes:
    """A file with a right checksum over a tree that we would never write."""
    text = json.dumps(tree).encode()
    body = struct.pack("<Q", len(text)) + text + blobs
    head = struct.pack("<8sI", b"WEIRFLOW", 1)
    return head + checkpoint.hashlib.sha256(head + body).digest() + body


@pytest.mark.parametrize(
    "tree",
    [
        {"d": {"a": {"a": ["<f8", [1 << 60], 0]}}},  # eight exabytes
        {"d": {"a": {"a": ["<f8", [1 << 40, 1 << 40], 0]}}},  # a product that overflows
        {"d": {"a": {"a": ["<f8", [0, 1 << 70], 0]}}},  # nothing, of an absurd shape
        {"d": {"a": {"a": ["<f8", [-1], 0]}}},
        {"d": {"a": {"a": ["<f8", [1], -8]}}},
        {"d": {"a": {"a": ["|O", [1], 0]}}},
        {"d": {"a": {"a": ["f8,O", [1], 0]}}},
        {"d": {"a": {"a": ["no such", [1], 0]}}},
        {"d": {"a": {"a": 3}}},
        {"d": 3},
        {"x": 3},
        [],
        3,
    ],
)
def test_a_forged_body_is_refused_and_nothing_is_allocated_for_it(tree: Any) -> None:
    with pytest.raises(ValueError, match=r"makes no sense|holds no state"):
        decode(forged(tree, b"12345678"))


@with_settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"is|has|holds"):
        decode(data)


def test_a_disk_that_refuses_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    save(tmp_path / "c", SMALL)
    program = """
import resource, signal, sys, numpy as np
from pathlib import Path
from weirflow.checkpoint import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(Path(sys.argv[1]), {"a": np.zeros(100_000)})
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "File too large\n"
    assert same(load(tmp_path / "c"), SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
