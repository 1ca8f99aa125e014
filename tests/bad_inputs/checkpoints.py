"""Checkpoints that are cut, changed, absent or of another model: restored all or not at all.

`tests/test_checkpoint_format.py` tries every bit and every length; these are the classes of it, through the Saver.

State: none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import (
    DATA_LOSS,
    DTYPE,
    FAILED,
    GRAPH,
    INVALID,
    NOT_FOUND,
    OURS,
    OURS_AND_TYPE,
    Bad,
    Kind,
    World,
)


def _saved(world: World) -> tuple[Any, str, Path]:
    """A Saver, the prefix that it has written, and the file with the values; the variables differ from those saved."""
    saver = tf.train.Saver()
    world.session.run(world.step)
    prefix = saver.save(world.session, str(world.folder / "model"))
    world.count.load(7, world.session)
    files = [p for p in world.folder.iterdir() if p.name.startswith("model") and "meta" not in p.name]
    assert len(files) == 1, files
    return saver, prefix, files[0]


def _damaged(name: str, damage: Callable[[bytes], bytes], *words: str) -> Bad:
    def do(world: World) -> None:
        saver, prefix, file = _saved(world)
        content = file.read_bytes()
        changed = damage(content)
        assert changed != content
        file.write_bytes(changed)
        saver.restore(world.session, prefix)

    return Bad(f"damaged-{name}", do, DATA_LOSS, words)


def _flip(position: Callable[[bytes], int], bit: int = 0) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        at = position(content)
        return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]

    return damage


def _at(part: float) -> Callable[[bytes], int]:
    return lambda content: min(int(len(content) * part), len(content) - 1)


def _header(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _restore(name: str, path: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    def do(world: World) -> None:
        tf.train.Saver().restore(world.session, path(world))

    return Bad(f"restore-{name}", do, kind, words)


def _other_model(name: str, build: Callable[[], Any], kind: Kind, *words: str) -> Bad:
    """The checkpoint of a graph that has other variables."""

    def do(world: World) -> None:
        graph = tf.Graph()
        with graph.as_default(), tf.Session(graph=graph) as session:
            build()
            session.run(tf.global_variables_initializer())
            prefix = tf.train.Saver().save(session, str(world.folder / "other"))
        tf.train.Saver().restore(world.session, prefix)

    return Bad(f"other-model-{name}", do, kind, words)


def _garbage(world: World) -> str:
    prefix = str(world.folder / "model")
    _, prefix, file = _saved(world)
    file.write_bytes(os.urandom(200))
    return prefix


def _save(name: str, do: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(f"save-{name}", do, kind, words)


def _closed_save(world: World) -> Any:
    saver, session = tf.train.Saver(), tf.Session(graph=world.graph)
    session.close()
    return saver.save(session, str(world.folder / "m"))


def _f(shape: tuple[int, ...]) -> Any:
    return np.zeros(shape, np.float32)


ROWS = [
    _damaged("empty", lambda c: b""),
    _damaged("one-byte", lambda c: c[:1]),
    _damaged("seven-bytes", lambda c: c[:7]),
    _damaged("length-only", lambda c: c[:8]),
    _damaged("half-a-header", lambda c: c[: _header(c) // 2]),
    _damaged("header-only", lambda c: c[: _header(c)]),
    _damaged("last-byte-missing", lambda c: c[:-1]),
    _damaged("byte-appended", lambda c: c + b"\0"),
    _damaged("twice", lambda c: c + c),
    _damaged("zeros", lambda c: bytes(len(c))),
    _damaged("ones", lambda c: b"\xff" * len(c)),
    _damaged("text", lambda c: b"not a checkpoint, but long enough to hold a length\n" * 10),
    _damaged("length-flipped", _flip(lambda c: 0)),
    _damaged("length-huge", _flip(lambda c: 7, 7)),
    _damaged("first-of-header-flipped", _flip(lambda c: 8)),
    _damaged("header-flipped", _flip(lambda c: _header(c) // 2, 5)),
    _damaged("end-of-header-flipped", _flip(lambda c: _header(c) - 1, 3)),
    _damaged("first-of-data-flipped", _flip(_header)),
    _damaged("data-flipped", _flip(lambda c: (_header(c) + len(c)) // 2, 7)),
    _damaged("last-bit-flipped", _flip(_at(1.0), 7)),
    _damaged("data-swapped", lambda c: c[: _header(c)] + c[_header(c) :][::-1]),
    _damaged("data-zeroed", lambda c: c[: _header(c)] + bytes(len(c) - _header(c))),
    _damaged("name-changed", lambda c: c.replace(b'"count"', b'"counu"', 1)),
    _damaged("shape-changed", lambda c: c.replace(b"[3,2]", b"[2,3]").replace(b"[3, 2]", b"[2, 3]")),
    _restore("absent", lambda w: str(w.folder / "nothing"), NOT_FOUND, "nothing"),
    _restore("absent-folder", lambda w: str(w.folder / "no" / "where"), NOT_FOUND, "where"),
    _restore("None", lambda w: None, INVALID, "None", "latest_checkpoint"),
    _restore("number", lambda w: 3, INVALID, "not a path", "3"),
    _restore("folder", lambda w: str(w.folder), OURS),
    _restore("garbage", _garbage, DATA_LOSS),
    _other_model("missing", lambda: tf.Variable(_f((3, 2)), name="w"), NOT_FOUND, "count"),
    _other_model("nothing-in-common", lambda: tf.Variable(1.0, name="a"), NOT_FOUND, "count", "w"),
    _other_model("shape", lambda: (tf.Variable(_f((2, 3)), name="w"), tf.Variable(1, name="count")), INVALID, "w",
                 "[3, 2]", "[2, 3]"),
    _other_model("dtype", lambda: (tf.Variable(_f((3, 2)), name="w"), tf.Variable(1.0, name="count")), INVALID, "count",
                 "int32", "float32"),
    _other_model("shape-and-dtype-at-once",
                 lambda: (tf.Variable(_f((2, 3)), name="w"), tf.Variable(1.0, name="count")), INVALID, "count", "w"),
    _save("session-None", lambda w: tf.train.Saver().save(None, str(w.folder / "m")), DTYPE, "session", "None"),
    _save("session-graph", lambda w: tf.train.Saver().save(w.graph, str(w.folder / "m")), DTYPE, "session"),
    _save("path-None", lambda w: tf.train.Saver().save(w.session, None), INVALID, "not a path", "None"),
    _save("no-folder", lambda w: tf.train.Saver().save(w.session, str(w.folder / "no" / "m")), OURS, "no"),
    _save("nothing", lambda w: tf.train.Saver([]), INVALID, "No variables"),
    _save("var_list-text", lambda w: tf.train.Saver("w"), OURS_AND_TYPE, "w"),
    _save("var_list-number", lambda w: tf.train.Saver(3), OURS_AND_TYPE, "3"),
    _save("var_list-tensor", lambda w: tf.train.Saver([w.y]), OURS_AND_TYPE, "y"),
    _save("max_to_keep", lambda w: tf.train.Saver(max_to_keep=-1), INVALID, "max_to_keep", "-1"),
    Bad("save-foreign", lambda w: tf.train.Saver([w.strange_variable]).save(w.session, str(w.folder / "m")), GRAPH,
        ("strange_variable", "not of the session's graph")),
    Bad("save-closed", _closed_save, FAILED, ("closed Session",)),
    Bad("save-uninitialized", lambda w: tf.train.Saver().save(tf.Session(graph=w.graph), str(w.folder / "m")), FAILED,
        ("uninitialized", "variables 'count', 'w'")),
]  # fmt: skip
