"""`tf.summary`: what TensorBoard's own reader finds in the files."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf

pytest.importorskip("tensorboardX")
reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
loading = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")


def read(logdir: Path) -> Any:
    found = reading.EventAccumulator(str(logdir), size_guidance={"images": 0, "histograms": 0, "scalars": 0})
    return found.Reload()


def test_curves_distributions_pictures_and_text(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [None, 4, 5, 3], name="x")
    with tf.name_scope("layer"):
        weights = tf.Variable(np.array([[-1.0, 2.0], [3.0, 0.5]], np.float32), name="w")
        tf.summary.histogram("weights", weights)
    tf.summary.scalar("loss", tf.reduce_mean(x))
    tf.summary.image("picture", x, 2)
    tf.summary.text("note", tf.constant("**hello**"))
    merged = tf.summary.merge_all()
    with tf.Session() as sess, tf.summary.FileWriter(tmp_path / "logs", sess.graph) as writer:
        sess.run(tf.global_variables_initializer())
        for step in range(3):
            writer.add_summary(sess.run(merged, {x: np.full((3, 4, 5, 3), step)}), step)
    found = read(tmp_path / "logs")
    curve = found.Scalars("loss")
    assert [(e.step, e.value) for e in curve] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    histogram = found.Histograms("layer/weights")[-1].histogram_value
    assert (histogram.min, histogram.max, histogram.num, histogram.sum) == (-1.0, 3.0, 4.0, 4.5)
    counted = [(limit, n) for limit, n in zip(histogram.bucket_limit, histogram.bucket, strict=True) if n]
    assert [n for _, n in counted] == [1, 1, 1, 1]
    assert all(
        limit / 1.1 <= value < limit * 1.0001
        for (limit, _), value in zip(counted[1:], sorted([0.5, 2, 3]), strict=True)
    )
    assert set(found.Tags()["images"]) == {"picture/image/0", "picture/image/1"}
    assert (found.Images("picture/image/0")[0].width, found.Images("picture/image/0")[0].height) == (5, 4)
    assert list(found.Tensors("note")[0].tensor_proto.string_val) == [b"**hello**"]


def pixels(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The picture as it is stored."""
    from PIL import Image
    from tensorboardX.proto.summary_pb2 import Summary

    with tf.Graph().as_default(), tf.Session() as sess:
        text = sess.run(tf.summary.image("p", picture[None], 1))
    made = Summary.FromString(text).value[0]
    assert made.tag == "p/image"
    return np.asarray(Image.open(io.BytesIO(made.image.encoded_image_string)))


def test_pictures_are_scaled_to_fit() -> None:
    as_it_is = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert (pixels(as_it_is) == as_it_is).all()
    assert pixels(np.array([[[0.0], [1.0], [2.0]]]))[..., 0].tolist() == [[0, 127, 255]]
    assert pixels(np.array([[[-1.0], [0.0], [1.0]]]))[..., 0].tolist() == [[1, 128, 255]]
    assert pixels(np.array([[[np.nan] * 3, [4.0] * 3]])).tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert pixels(np.zeros((1, 2, 1)))[..., 0].tolist() == [[0, 0]]


def test_tags_are_scopes_and_names() -> None:
    with tf.name_scope("net"):
        first, second = tf.summary.scalar("a b?", 1.0), tf.summary.scalar("a b?", 2.0)
        with_family = tf.summary.scalar("loss", 3.0, family="train")
    tags = [x.op.attrs["tag"] for x in (first, second, with_family)]
    assert tags == ["net/a_b_", "net/a_b__1", "train/net/train/loss"]
    assert first.op.name == "net/a_b_"
    assert tf.get_collection(tf.GraphKeys.SUMMARIES) == [first, second, with_family]


def test_collections() -> None:
    assert tf.summary.merge_all() is None
    mine = tf.summary.scalar("mine", 1.0, collections=["mine"])
    other = tf.summary.scalar("other", 2.0)
    assert tf.get_collection("mine") == [mine]
    merged = tf.summary.merge_all("mine")
    assert merged is not None and list(merged.op.inputs) == [mine]
    assert tf.Session().run(tf.summary.merge([mine, other])) == b"".join(tf.Session().run([mine, other]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="two summaries have the tag 'mine'"):
        tf.Session().run(tf.summary.merge([mine, mine]))


def test_an_empty_histogram_and_whole_numbers(tmp_path: Path) -> None:
    empty, flags = tf.summary.histogram("empty", np.zeros((0, 3))), tf.summary.histogram("flags", [True, False, True])
    with tf.summary.FileWriter(tmp_path) as writer:
        writer.add_summary(tf.Session().run(tf.summary.merge([empty, flags])), 7)
    found = read(tmp_path)
    assert found.Histograms("empty")[0].histogram_value.num == 0
    assert found.Histograms("flags")[0].histogram_value.sum == 2


def test_the_graph(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    with tf.name_scope("layer"), tf.control_dependencies([x]):
        tf.add(tf.unstack(x, axis=1)[1], 1.0, name="sum")
    tf.summary.FileWriter(tmp_path, tf.get_default_graph()).close()
    nodes = {node.name: node for node in read(tmp_path).Graph().node}
    assert set(nodes) == {op.name for op in tf.get_default_graph().get_operations()}
    assert nodes["layer/sum"].op == "Add" and list(nodes["layer/sum"].input)[-1] == "^x"
    assert [d.size for d in nodes["x"].attr["_output_shapes"].list.shape[0].dim] == [-1, 3]
    assert all(name.partition(":")[0].lstrip("^") in nodes for node in nodes.values() for name in node.input)


def test_what_a_run_took(tmp_path: Path) -> None:
    from tensorboard.compat.proto.config_pb2 import RunMetadata

    x = tf.placeholder(tf.float32, [8], name="x")
    y = tf.exp(x, name="y")
    metadata = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    with tf.Session() as sess, tf.summary.FileWriter(tmp_path, sess.graph) as writer:
        sess.run(y, {x: np.ones(8)}, options=options, run_metadata=metadata)
        writer.add_run_metadata(metadata, "step 1", 1)
        with pytest.raises(tf.errors.AlreadyExistsError, match="'step 1'"):
            writer.add_run_metadata(metadata, "step 1", 2)
        with pytest.raises(tf.errors.InvalidArgumentError, match="no statistics"):
            writer.add_run_metadata(tf.RunMetadata(), "step 2")
    found = RunMetadata.FromString(read(tmp_path)._tagged_metadata["step 1"])
    nodes = {n.node_name: n for d in found.step_stats.dev_stats for n in d.node_stats}
    assert nodes["y"].all_end_rel_micros >= 0 and nodes["y"].all_start_micros > 0


def test_two_writers_of_one_folder_and_a_second_file(tmp_path: Path) -> None:
    summary = tf.Session().run(tf.summary.scalar("a", 1.0))
    first, second = tf.summary.FileWriter(tmp_path), tf.summary.FileWriter(tmp_path, filename_suffix=".eval")
    first.add_summary(summary, 1)
    second.add_summary(summary, 2)
    first.close()
    with pytest.raises(tf.errors.FailedPreconditionError, match="closed"):
        first.add_summary(summary, 3)
    first.close()
    first.reopen()
    first.add_summary(summary, np.int64(4))
    first.flush()
    second.close()
    steps = [e.step for path in sorted(tmp_path.iterdir()) for e in loading.EventFileLoader(str(path)).Load()]
    assert sorted(s for s in steps if s) == [1, 2, 4]
    assert len(list(tmp_path.iterdir())) == 3 and first.get_logdir() == str(tmp_path)
    first.close()


def test_a_torn_record_loses_nothing_before_it(tmp_path: Path) -> None:
    with tf.summary.FileWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_summary(tf.Session().run(tf.summary.scalar("a", float(step))), step)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert len(data) > length + 16
    path.write_bytes(data[:-3])
    assert [e.value for e in read(tmp_path).Scalars(read(tmp_path).Tags()["scalars"][0])] == [0.0]


def test_mistakes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(tf.errors.UnknownError, match="cannot write"):
        tf.summary.FileWriter(tmp_path / "file" / "logs")
    with pytest.raises(tf.errors.InvalidArgumentError, match="piece of a file's name"):
        tf.summary.FileWriter(tmp_path, filename_suffix="/../x")
    with pytest.raises(tf.errors.InvalidArgumentError, match="number of seconds"):
        tf.summary.FileWriter(tmp_path, flush_secs=-1)
    with tf.summary.FileWriter(tmp_path) as writer:
        for wrong in (None, "text", b"\xff\xff"):
            with pytest.raises(tf.errors.InvalidArgumentError, match="what a summary op computed"):
                writer.add_summary(wrong)
        with pytest.raises(tf.errors.InvalidArgumentError, match="add_graph takes"):
            writer.add_graph("net")
        with pytest.raises(tf.errors.InvalidArgumentError, match="an integer"):
            writer.add_summary(b"", "first")
        with pytest.raises(tf.errors.InvalidArgumentError, match="takes an Event"):
            writer.add_event(1)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf\.RunMetadata"):
            writer.add_run_metadata(None, "a")


def test_without_tensorboardx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboardX"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tf.errors.UnavailableError, match="pip install tensorboardX"):
        tf.summary.FileWriter(tmp_path)
    with pytest.raises(tf.errors.UnavailableError, match="pip install tensorboardX"):
        tf.Session().run(tf.summary.scalar("a", tf.placeholder_with_default(1.0, [])))
