"""ConfigProto and its relatives: what TF1 code writes is taken, and what has no effect says so once."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import graphflow as tf
from graphflow.runtime import config


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(config, "_mentioned", set())
    caplog.set_level(logging.WARNING, logger="graphflow")
    return caplog


def test_what_tf1_programs_write(fresh: pytest.LogCaptureFixture) -> None:
    options = tf.ConfigProto(
        allow_soft_placement=True,
        log_device_placement=False,
        inter_op_parallelism_threads=np.int64(4),
        device_count={"GPU": 0},
        gpu_options=tf.GPUOptions(per_process_gpu_memory_fraction=np.float32(0.5), allow_growth=1),
    )
    options.gpu_options.allow_growth = True
    options.gpu_options.visible_device_list = "0"
    options.intra_op_parallelism_threads = 1
    options.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    x = tf.placeholder(tf.float32, [])
    with tf.Session(config=options) as session:
        assert session.run(x + 1.0, {x: 1.0}) == 2.0


def test_what_has_no_effect_says_so_once(fresh: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        tf.ConfigProto(log_device_placement=True)
    said = [r.getMessage() for r in fresh.records]
    assert said == ["ConfigProto.log_device_placement has no effect in graphflow"]
    tf.ConfigProto(log_device_placement=False)
    tf.ConfigProto(allow_soft_placement=True)
    tf.Session("")
    assert len(fresh.records) == 1
    tf.Session("grpc://elsewhere:2222")
    assert "Session.target" in fresh.records[-1].getMessage()


def test_numbers_of_threads_are_honoured(fresh: pytest.LogCaptureFixture) -> None:
    options = tf.ConfigProto(inter_op_parallelism_threads=np.int64(2), intra_op_parallelism_threads=3)
    session = tf.Session(config=options)
    assert (session.workers, session.threads) == (2, 3)
    assert min(tf.Session().workers, tf.Session().threads) >= 1
    assert fresh.records == []
    for field, least in (("inter_op_parallelism_threads", -1), ("intra_op_parallelism_threads", 0)):
        tf.ConfigProto(**{field: least})
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{field} takes {least} or more"):
            tf.ConfigProto(**{field: least - 1})


def test_records_are_independent() -> None:
    a, b = tf.ConfigProto(), tf.ConfigProto()
    a.device_count["GPU"] = 1
    a.graph_options.optimizer_options.opt_level = -1
    assert b.device_count == {} and b.graph_options.optimizer_options.opt_level == 0
    b.CopyFrom(a)
    assert b.graph_options.optimizer_options.opt_level == -1
    assert "allow_soft_placement=False" in repr(b)


def test_the_optimization_level_is_honoured() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.add(x * 2.0, x * 2.0)

    def multiplications(session: tf.Session) -> int:
        return sum(ins.type == "Mul" for ins in session.program(y, {x: [1.0, 2.0]}).instructions)

    off = tf.ConfigProto()
    off.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    assert multiplications(tf.Session(config=off)) == 2
    assert multiplications(tf.Session(config=tf.ConfigProto())) == 1
    assert multiplications(tf.Session(config=off, optimization_level=1)) == 1
    assert multiplications(tf.Session(optimization_level=0)) == 2


def test_soft_placement_is_honoured() -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.device("/gpu:0"):
        y = x + 1.0
    with tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as session:
        assert session.run(y, {x: 1.0}) == 2.0


def test_run_options_and_metadata() -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.add(x, 1.0, name="y")
    metadata = tf.RunMetadata()
    with tf.Session() as session:
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        assert session.run(y, {x: 1.0}, options=options, run_metadata=metadata) == 2.0
    assert [ins.op.name for ins in metadata.program.instructions] == ["y"]


@pytest.mark.parametrize("device", [None, "cpu", "/cpu:0", "numpy"])
def test_names_of_the_cpu(device: str | None) -> None:
    with tf.Session(device=device) as session:
        assert session.run(tf.constant(1.0)) == 1.0
        assert session.list_devices() == ["/device:CPU:0"] and session.sess_str == ""


def test_the_compiler_that_tf1_calls_jit_is_level_2() -> None:
    config = tf.ConfigProto()
    config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    x = tf.placeholder(tf.float32, [2])
    assert tf.Session(config=config).program(x + 1.0, {x: [1.0, 2.0]}).level == 2
    assert tf.Session(config=config, optimization_level=1).program(x + 1.0, {x: [1.0, 2.0]}).level == 1
