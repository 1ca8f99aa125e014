"""Sessions: closed, absent, left in the wrong order; their options, and the devices that ops ask for.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from graphflow.compile.pipeline import Options
from tests.bad_inputs.world import DTYPE, FAILED, FEED, INVALID, NOT_FOUND, SHAPE, Bad, Kind, World


def _closed(name: str, use: Callable[[Any, World], Any]) -> Bad:
    def do(world: World) -> Any:
        session = tf.Session(graph=world.graph)
        session.run(world.twice, {world.s: 1.0})
        session.close()
        session.close()
        return use(session, world)

    return Bad(f"closed-{name}", do, FAILED, ("closed Session", "make a new session"))


def _closed_callable(world: World) -> Any:
    session = tf.Session(graph=world.graph)
    call = session.make_callable(world.twice, [world.s])
    assert call(2.0) == 4.0
    session.close()
    return call(2.0)


def _left(world: World) -> Any:
    with tf.Session(graph=world.graph) as session:
        pass
    return session.run(world.twice, {world.s: 1.0})


def _enter_closed(world: World) -> Any:
    session = tf.Session(graph=world.graph)
    session.close()
    with session:
        pass


def _wrong_order(world: World) -> None:
    first, second = tf.Session(graph=world.graph), tf.Session(graph=world.other)
    first.__enter__()
    second.__enter__()
    try:
        first.__exit__(None, None, None)
    finally:
        second.__exit__(None, None, None)
        first.__exit__(None, None, None)


def _as_default_wrong_order(world: World) -> None:
    first, second = tf.Session(graph=world.graph).as_default(), tf.Session(graph=world.graph).as_default()
    first.__enter__()
    second.__enter__()
    try:
        first.__exit__(None, None, None)
    finally:
        second.__exit__(None, None, None)
        first.__exit__(None, None, None)


def _never_entered(world: World) -> None:
    tf.Session(graph=world.graph).__exit__(None, None, None)


def _absent(name: str, use: Callable[[World], Any]) -> Bad:
    return Bad(f"absent-{name}", use, FAILED, ("no session", "with tf.Session()"))


def _session(name: str, kind: Kind, words: tuple[str, ...], **arguments: Any) -> Bad:
    return Bad(f"new-{name}", lambda w: tf.Session(**arguments), kind, words)


def _config(name: str, make: Callable[[], Any], kind: Kind, *words: str) -> Bad:
    return Bad(f"config-{name}", lambda w: make(), kind, words)


def _assign(path: str, value: Any) -> None:
    config: Any = tf.ConfigProto()
    *parents, last = path.split(".")
    for parent in parents:
        config = getattr(config, parent)
    setattr(config, last, value)


def _run(name: str, kind: Kind, *words: str, **arguments: Any) -> Bad:
    def do(world: World) -> Any:
        return world.session.run(world.step, **arguments)  # which would count, if it ran

    return Bad(f"run-{name}", do, kind, words)


def _device(name: str, device: Any, *words: str, soft: bool = False) -> Bad:
    def do(world: World) -> Any:
        with tf.device(device):
            y = tf.negative(world.s, name="placed")
        config = tf.ConfigProto(allow_soft_placement=soft)
        with tf.Session(graph=world.graph, config=config) as session:
            return session.run(y, {world.s: 1.0})

    return Bad(f"device-{name}", do, INVALID, ("'placed'", *words), leaves=("Neg",))


def _callable(name: str, make: Callable[[World], Any], *words: str) -> Bad:
    return Bad(f"callable-{name}", make, FEED, words)


def _options(name: str, words: tuple[str, ...], **arguments: Any) -> Bad:
    return Bad(f"options-{name}", lambda w: Options(**arguments), INVALID, words)


ROWS = [
    _closed("run", lambda s, w: s.run(w.twice, {w.s: 1.0})),
    _closed("run-unseen", lambda s, w: s.run(w.y)),
    _closed("make_callable", lambda s, w: s.make_callable(w.twice, [w.s])),
    _closed("program", lambda s, w: s.program(w.twice, {w.s: 1.0})),
    _closed("eval", lambda s, w: w.twice.eval({w.s: 1.0}, s)),
    _closed("op-run", lambda s, w: w.step.op.run(session=s)),
    Bad("closed-callable", _closed_callable, FAILED, ("closed Session",)),
    Bad("closed-by-with", _left, FAILED, ("closed Session",)),
    Bad("closed-entered", _enter_closed, FAILED, ("closed Session",)),
    Bad("left-in-wrong-order", _wrong_order, FAILED, ("not left in the order",)),
    Bad("left-as_default-in-wrong-order", _as_default_wrong_order, FAILED, ("not left in the order",)),
    Bad("left-but-not-entered", _never_entered, FAILED, ("not left in the order",)),
    _absent("eval", lambda w: w.twice.eval({w.s: 1.0})),
    _absent("run", lambda w: w.step.op.run()),
    _absent("variable-eval", lambda w: w.w.eval()),
    _absent("variable-load", lambda w: w.w.load(np.zeros((3, 2)))),
    Bad("eval-in-a-number", lambda w: w.twice.eval(session=5), INVALID, ("session takes a tf.Session", "5")),
    Bad("eval-in-a-graph", lambda w: w.twice.eval(session=w.graph), INVALID, ("session takes a tf.Session",)),
    _session("graph-text", INVALID, ("a session runs a tf.Graph", "'g'"), graph="g"),
    _session("graph-number", INVALID, ("a session runs a tf.Graph",), graph=3),
    _session("config-dict", INVALID, ("tf.ConfigProto",), config={"allow_soft_placement": True}),
    _session("config-class", INVALID, ("tf.ConfigProto",), config=tf.ConfigProto),
    Bad("new-graph-for-target", lambda w: tf.Session(w.graph), INVALID, ("target is a string", "graph=graph")),
    Bad("new-empty-graph-for-target", lambda w: tf.Session(tf.Graph()), INVALID, ("target is a string",)),
    _session("device", NOT_FOUND, ("no backend named 'abacus'", "numpy"), device="abacus"),
    _session("device-number", NOT_FOUND, ("no backend named '3'",), device=3),
    _session("level-7", INVALID, ("optimization level is 0, 1 or 2", "7"), optimization_level=7),
    _session("level-negative", INVALID, ("0, 1 or 2", "-1"), optimization_level=-1),
    _session("level-text", INVALID, ("0, 1 or 2", "'O1'"), optimization_level="O1"),
    _session("level-list", INVALID, ("0, 1 or 2", "[1]"), optimization_level=[1]),
    _options("pass", ("no pass named", "'fusion'", "merge_common"), disabled=["fusion"]),
    _options("level", ("0, 1 or 2", "nan"), level=float("nan")),
    _config("unknown-field", lambda: tf.ConfigProto(allow_soft=True), INVALID, "no field 'allow_soft'",
            "allow_soft_placement"),
    _config("unknown-attribute", lambda: _assign("gpu_option", 1), INVALID, "no field 'gpu_option'", "gpu_options"),
    _config("unknown-nested", lambda: _assign("gpu_options.growth", True), INVALID, "GPUOptions has no field 'growth'"),
    _config("nested-type", lambda: tf.ConfigProto(gpu_options=3), INVALID, "gpu_options takes a GPUOptions", "3"),
    _config("nested-wrong", lambda: _assign("graph_options", tf.GPUOptions()), INVALID, "GraphOptions"),
    _config("device_count", lambda: tf.ConfigProto(device_count=0), INVALID, "device_count takes a dict"),
    _config("bool", lambda: tf.ConfigProto(allow_soft_placement="no"), DTYPE, "allow_soft_placement", "'no'"),
    _config("threads", lambda: tf.ConfigProto(inter_op_parallelism_threads="4"), DTYPE, "an integer", "'4'"),
    _config("fraction", lambda: tf.GPUOptions(per_process_gpu_memory_fraction="0.5"), DTYPE, "a number"),
    _config("visible", lambda: tf.GPUOptions(visible_device_list=0), DTYPE, "a string", "0"),
    _config("level", lambda: _assign("graph_options.optimizer_options.opt_level", "L1"), DTYPE, "an integer"),
    _config("run-options", lambda: tf.RunOptions(timeout=3), INVALID, "no field 'timeout'", "timeout_in_ms"),
    _config("metadata", lambda: tf.RunMetadata(stats=3), INVALID, "no field 'stats'"),
    _config("CopyFrom", lambda: tf.ConfigProto().CopyFrom(tf.GPUOptions()), DTYPE, "ConfigProto"),
    _config("CopyFrom-None", lambda: tf.ConfigProto().CopyFrom(None), DTYPE, "None"),
    _run("options-number", INVALID, "tf.RunOptions", "5", options=5),
    _run("options-dict", INVALID, "tf.RunOptions", options={"timeout_in_ms": 3}),
    _run("options-config", INVALID, "tf.RunOptions", options=tf.ConfigProto()),
    _run("metadata-list", INVALID, "tf.RunMetadata", "[]", run_metadata=[]),
    _run("metadata-class", INVALID, "tf.RunMetadata", run_metadata=tf.RunMetadata),
    _device("missing-gpu", "/gpu:0", "there is no such device", "allow_soft_placement"),
    _device("missing-second-gpu", "/device:GPU:1", "there is no such device", "/cpu:0"),
    _device("tpu", "/job:worker/task:0/device:TPU:3", "there is no such device"),
    _device("text", "gpu please", "not a device", "'gpu please'"),
    _device("text-soft", "gpu please", "not a device", soft=True),
    _device("slash", "/", "not a device"),
    _device("letters", "/cpu:zero", "not a device"),
    _device("newline", "/cpu:0\n", "not a device"),
    _callable("twice", lambda w: w.session.make_callable(w.twice, [w.s, w.s]), "names a tensor twice"),
    _callable("array", lambda w: w.session.make_callable(w.twice, [np.zeros(2)]), "feed_list is a list of tensors"),
    _callable("nested", lambda w: w.session.make_callable(w.twice, [[w.s]]), "feed_list is a list of tensors"),
    _callable("foreign", lambda w: w.session.make_callable(w.twice, [w.stranger]), "stranger:0"),
    _callable("None", lambda w: w.session.make_callable(w.twice, [None]), "None"),
    _callable("too-few", lambda w: w.session.make_callable(w.twice, [w.s])(), "as many values", "expected: 1",
              "got:      0"),
    _callable("too-many", lambda w: w.session.make_callable(w.twice, [w.s])(1.0, 2.0), "expected: 1", "got:      2"),
    Bad("callable-value", lambda w: w.session.make_callable(w.twice, [w.s])("1.5"), FEED,
        ("cannot feed 's:0'", "float32[]")),
    Bad("callable-shape", lambda w: w.session.make_callable(w.y, [w.x])(np.zeros(3)), SHAPE,
        ("x:0", "float32[?, 3]")),
    Bad("callable-missing", lambda w: w.session.make_callable(w.y)(), INVALID, ("placeholder 'x'",)),
]  # fmt: skip
