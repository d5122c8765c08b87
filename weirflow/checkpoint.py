"""What the brain has learned, kept over a restart in one file that is either right or refused.

The state is a nested dict of NumPy arrays, numbers, strings, booleans, None and lists. There is no pickle, so a
file can at worst be wrong, never run. The file:

    magic, 8 bytes | format, u32 | SHA-256 of all the rest, 32 bytes | body

and the body is the length of the tree (u64), the tree as JSON, and the arrays' bytes end to end. In the tree a dict is
`{"d": {...}}` and an array `{"a": [dtype, shape, offset]}`, so no key of the state's can be taken for ours.

A file that fails any test is renamed to `NAME.corrupt-N`, so that it can be looked at and is not met again, and the
start is a cold one: a checkpoint saves minutes of learning, and is never worth a wrong weight.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from weirflow.files import read_bounded, write_whole

FORMAT = 1
MAX_BYTES = 1 << 28  # 100,000 endpoints need a tenth of it, and the demand of 1,000 services two thirds
MAX_DEPTH = 64

_MAGIC = b"WEIRFLOW"
_HEAD = struct.Struct("<8sI")
_PREFIX = _HEAD.size + hashlib.sha256().digest_size
_LENGTH = struct.Struct("<Q")
_KINDS = "biufcSU"  # dtypes whose bytes are their value: no objects, no addresses


class CheckpointError(OSError):
    """A checkpoint that could not be used or written: what, where, and what happens now."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write the state, whole or not at all.

    OSError when the disk refuses, CheckpointError when a symbolic link stands there: the old file is as it was.
    TypeError or ValueError, naming the place in the state, when it holds what cannot be saved.
    """
    if path.is_symlink():
        raise CheckpointError(f"checkpoint {path} is a symbolic link, which is not followed; nothing was written")
    write_whole(path, [encode(state)])


def load(path: Path) -> dict[str, Any] | None:
    """Read the state back; None when there is no file. NumPy scalars come back as numbers, tuples as lists.

    CheckpointError when the file cannot be used. When it is broken, foreign or of another format it has been set aside
    by then, and the message says under which name.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} {error.strerror}; starting cold") from error
    try:
        return decode(data)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path} {error}; {_set_aside(path)}; starting cold") from error


def look(path: Path) -> dict[str, Any]:
    """The state in a file, which stays as it is whatever is in it. CheckpointError, saying why, when it has none."""
    try:
        return decode(read_bounded(path, MAX_BYTES))
    except FileNotFoundError:
        raise CheckpointError(f"{path.name}: is not there") from None
    except OSError as error:
        raise CheckpointError(f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path.name}: {error}") from error


def encode(state: dict[str, Any]) -> bytes:
    """The state as the bytes of a file. TypeError or ValueError, naming the place, for what cannot be saved."""
    blobs: list[bytes] = []
    tree = json.dumps(_pack(state, blobs, [0], "state", 0), separators=(",", ":")).encode()
    body = b"".join([_LENGTH.pack(len(tree)), tree, *blobs])
    head = _HEAD.pack(_MAGIC, FORMAT)
    if len(head) + len(body) > MAX_BYTES:
        raise ValueError(f"the state has {len(body)} bytes, more than the {MAX_BYTES} that a checkpoint may have")
    return head + hashlib.sha256(head + body).digest() + body


def decode(data: bytes) -> dict[str, Any]:
    """The state in the bytes of a checkpoint file. ValueError, with the reason, for anything else."""
    if len(data) < _PREFIX:
        raise ValueError(f"is cut short: {len(data)} bytes")
    magic, version = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("is not a Weirflow checkpoint")
    head, digest, body = data[: _HEAD.size], data[_HEAD.size : _PREFIX], data[_PREFIX:]
    # The sum is tested before the version is believed: a flipped bit there is damage, not a file from the future.
    if hashlib.sha256(head + body).digest() != digest:
        raise ValueError("is damaged: its checksum does not match")
    if version != FORMAT:
        raise ValueError(f"has format {version}; this Weirflow reads format {FORMAT}")
    try:
        (tree_length,) = _LENGTH.unpack_from(body)
        tree = json.loads(body[_LENGTH.size : _LENGTH.size + tree_length])
        state = _unpack(tree, memoryview(body)[_LENGTH.size + tree_length :])
    except (ValueError, TypeError, KeyError, ArithmeticError, MemoryError, RecursionError, struct.error) as error:
        raise ValueError(f"has a body that makes no sense: {error!r}") from error
    if not isinstance(state, dict):
        raise ValueError("holds no state but something else")
    return state


def _pack(value: Any, blobs: list[bytes], end: list[int], where: str, depth: int) -> Any:
    """The JSON of one value; arrays go to `blobs`, and `end[0]` is where the next one begins."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{where} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _KINDS:
            raise TypeError(f"{where} is an array of {value.dtype}, which cannot be saved without pickle")
        offset = end[0]
        blobs.append(value.tobytes())
        end[0] += value.nbytes
        return {"a": [value.dtype.str, list(value.shape), offset]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_pack(v, blobs, end, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, dict):
        wrong = [k for k in value if not isinstance(k, str)]
        if wrong:
            raise TypeError(f"{where} has the key {wrong[0]!r}; only strings can be keys")
        return {"d": {k: _pack(v, blobs, end, f"{where}.{k}", depth + 1) for k, v in value.items()}}
    raise TypeError(f"{where} is a {type(value).__name__}, which cannot be saved")


def _unpack(tree: Any, blobs: memoryview) -> Any:
    """The value of a JSON tree. ValueError and its likes when the tree is not one that `_pack` makes."""
    if isinstance(tree, list):
        return [_unpack(v, blobs) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "d" in tree:
        return {k: _unpack(v, blobs) for k, v in dict(tree["d"]).items()}
    code, shape, offset = tree["a"]
    dtype = np.dtype(str(code))
    if dtype.kind not in _KINDS or any(not isinstance(n, int) or n < 0 for n in [*shape, offset]):
        raise ValueError(f"no array is {tree['a']}")
    count = math.prod(shape)  # Python's integers: a product that overflows is absurd, not small
    if count * dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    # Refuses whatever would lie beyond the end, before anything is allocated.
    return np.frombuffer(blobs, dtype, count, offset).reshape(shape).copy()


def _set_aside(path: Path) -> str:
    """Rename a broken file to the first free NAME.corrupt-N; returns what became of it."""
    for n in range(1, 1000):
        aside = path.with_name(f"{path.name}.corrupt-{n}")
        if not aside.exists() and not aside.is_symlink():
            try:
                os.rename(path, aside)
            except OSError as error:
                return f"it could not be set aside ({error.strerror}) and stays where it is"
            return f"set aside as {aside.name}"
    return "it stays where it is: 999 broken ones before it were never looked at"
