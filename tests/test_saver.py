"""Saver: round trips, what does not fit, what is corrupt, what is interrupted.

Policy: after every failure the variables are compared with what they were before.  Owns no state.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import checkpoint
from graphflow.ops import arithmetic, debug
from graphflow.variables import Variable, global_variables_initializer

train = tf.train
DTYPES = ["bool", "int8", "uint16", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128"]


def two() -> tuple[Any, Any]:
    return Variable(np.arange(6.0).reshape(2, 3), name="a"), Variable(np.float32(7.0), name="scope/b")


def started(graph: Any = None) -> Any:
    sess = tf.Session(graph=graph)
    sess.run(global_variables_initializer())
    return sess


def values(sess: Any, variables: Any) -> list[Any]:
    return [np.array(v) for v in sess.run(list(variables))]


def same(first: Any, second: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# -- the plain case --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3, 2), (0, 4)], ids=str)
def test_every_dtype_and_rank_comes_back(dtype: str, shape: tuple[int, ...], tmp_path: Path, rng: Any) -> None:
    value = (rng.normal(size=shape) * 10).astype(dtype)
    v = Variable(value, name="v")
    sess = started()
    path = train.Saver().save(sess, tmp_path / "model")
    v.load(np.zeros(shape, dtype), sess)
    train.Saver().restore(sess, path)
    found = sess.run(v)
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)


def test_restoring_needs_no_initializer_and_goes_on_training(tmp_path: Path) -> None:
    w = Variable(np.array([1.0, -2.0]), name="w")
    count = train.create_global_step()
    step = train.AdamOptimizer(0.1).minimize(arithmetic.square(w), global_step=count)
    saver = train.Saver()
    sess = started()
    for _ in range(5):
        sess.run(step)
    path = saver.save(sess, tmp_path / "model", global_step=count)
    assert path == str(tmp_path / "model-5")
    for _ in range(5):
        sess.run(step)
    with tf.Session() as other:
        saver.restore(other, path)
        for _ in range(5):
            other.run(step)
        assert same(values(sess, saver.variables.values()), values(other, saver.variables.values()))


def test_files_and_their_names(tmp_path: Path) -> None:
    two()
    sess = started()
    train.Saver().save(sess, tmp_path / "m", global_step=7)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "m-7.meta.json", "m-7.safetensors"]
    train.Saver(pad_step_number=True).save(sess, tmp_path / "m", np.int64(7), write_meta_graph=False, write_state=False)
    assert (tmp_path / "m-00000007.safetensors").exists()
    assert not (tmp_path / "m-00000007.meta.json").exists()
    assert train.latest_checkpoint(tmp_path) == str(tmp_path / "m-7")
    train.Saver().restore(sess, tmp_path / "m-7.safetensors")  # the file itself will do as well
    assert train.checkpoint_exists(tmp_path / "m-7") and not train.checkpoint_exists(tmp_path / "m-8")


def test_a_path_without_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    two()
    sess = started()
    assert train.Saver().save(sess, "model.ckpt") == "model.ckpt"
    assert train.latest_checkpoint(".") == os.path.join(".", "model.ckpt")
    train.Saver().restore(sess, "./model.ckpt")


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    two()
    path = train.Saver().save(started(), tmp_path / "model")
    found = safetensors.load_file(path + ".safetensors")
    assert sorted(found) == ["a", "scope/b"]
    np.testing.assert_array_equal(found["a"], np.arange(6.0).reshape(2, 3))


# -- choosing variables ----------------------------------------------------------------------------------------------


def test_some_variables_and_other_names(tmp_path: Path) -> None:
    a, b = two()
    sess = started()
    path = train.Saver().save(sess, tmp_path / "all")
    a.load(np.zeros((2, 3)), sess)
    b.load(np.float32(0), sess)
    train.Saver([b]).restore(sess, path)
    assert sess.run(b) == 7.0 and not sess.run(a).any()
    part = train.Saver({"renamed": a}).save(sess, tmp_path / "part")
    assert train.list_variables(part) == [("renamed", [2, 3])]
    a.load(np.ones((2, 3)), sess)
    train.Saver({"renamed": a}).restore(sess, part)
    assert not sess.run(a).any()


def test_variables_made_after_the_saver_are_not_its_own(tmp_path: Path) -> None:
    two()
    saver, later = train.Saver(), train.Saver(defer_build=True)
    Variable(1.0, name="late")
    sess = started()
    assert [n for n, _ in train.list_variables(saver.save(sess, tmp_path / "m"))] == ["a", "scope/b"]
    assert "late" in dict(train.list_variables(later.save(sess, tmp_path / "n")))


def test_reshape(tmp_path: Path) -> None:
    a, _ = two()
    sess = started()
    path = train.Saver([a]).save(sess, tmp_path / "m")
    flat = Variable(np.zeros(6), name="flat")
    sess.run(flat.initializer)
    with pytest.raises(ValueError, match=r"'a' has the shape \[2, 3\], the variable \[6\]"):
        train.Saver({"a": flat}).restore(sess, path)
    train.Saver({"a": flat}, reshape=True).restore(sess, path)
    np.testing.assert_array_equal(sess.run(flat), np.arange(6.0))


# -- what does not fit -----------------------------------------------------------------------------------------------


def test_everything_that_does_not_fit_is_listed_and_nothing_changes(tmp_path: Path) -> None:
    a, b = two()
    path = train.Saver().save(started(), tmp_path / "m")
    tf.reset_default_graph()
    a = Variable(np.zeros((3, 2)), name="a")
    b = Variable(np.zeros((), np.float64), name="scope/b")
    new = Variable(np.ones(2), name="new")
    sess = started()
    before = values(sess, [a, b, new])
    with pytest.raises(tf.errors.NotFoundError) as caught:
        train.Saver().restore(sess, path)
    text = str(caught.value)
    assert "'new' is not in it" in text
    assert "'a' has the shape [2, 3], the variable [3, 2]" in text
    assert "'scope/b' is float32, the variable float64" in text
    assert same(values(sess, [a, b, new]), before)


def test_all_uninitialized_variables_are_listed(tmp_path: Path) -> None:
    two()
    with tf.Session() as sess, pytest.raises(tf.errors.FailedPreconditionError, match=r"'a', 'scope/b'"):
        train.Saver().save(sess, tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_failure_while_assigning_takes_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two()
    sess = started()
    path = train.Saver().save(sess, tmp_path / "m")
    a.load(np.zeros((2, 3)), sess)
    b.load(np.float32(0), sess)
    before = values(sess, [a, b])
    kind = type(sess.cell(b.op))
    assign = kind.assign

    def failing(cell: Any, value: Any) -> Any:
        if cell.name == "scope/b" and value != 0:
            raise MemoryError
        return assign(cell, value)

    monkeypatch.setattr(kind, "assign", failing)
    with pytest.raises(MemoryError):
        train.Saver().restore(sess, path)
    monkeypatch.undo()
    assert same(values(sess, [a, b]), before)


def _saved(tmp_path: Path) -> tuple[Any, Any, list[Any], Path]:
    variables = [Variable(np.arange(4.0) + i, name=f"v{i}") for i in range(3)]
    sess = started()
    path = train.Saver(max_to_keep=0).save(sess, tmp_path / "m", write_meta_graph=False)
    for v in variables:
        v.load(np.full(4, -1.0), sess)
    return train.Saver(variables[1:]), sess, variables, Path(path + ".safetensors")


def test_every_truncation_and_many_flipped_bits_change_nothing(tmp_path: Path) -> None:
    saver, sess, variables, file = _saved(tmp_path)
    raw = file.read_bytes()
    before = values(sess, variables)
    broken = [raw[:n] for n in range(0, len(raw), 7)]
    for bit in range(0, len(raw) * 8, 29):  # the tensor that nobody asks for is covered as well
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        broken.append(bytes(changed))
    assert len(broken) > 250
    for content in broken:
        file.write_bytes(content)
        with pytest.raises(tf.errors.DataLossError):
            saver.restore(sess, tmp_path / "m")
    assert same(values(sess, variables), before)
    file.write_bytes(raw)
    saver.restore(sess, tmp_path / "m")
    assert same(values(sess, variables[1:]), [np.arange(4.0) + 1, np.arange(4.0) + 2])


def _foreign() -> list[Any]:
    with tf.Graph().as_default():
        return [Variable(1.0, name="a")]


def _save(path: Any, **options: Any) -> Any:
    two()
    return train.Saver().save(started(), path, **options)


def _restore_directory(p: Path) -> None:
    (p / "m.safetensors").mkdir()
    train.Saver(two()).restore(started(), p / "m")


MISTAKES: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "no variables": (lambda p: train.Saver(), ValueError, "No variables to save"),
    "not variables": (lambda p: train.Saver([tf.constant(1.0)]), TypeError, "saves variables"),
    "one variable": (lambda p: train.Saver(two()[0]), TypeError, "a list or a dict"),
    "text": (lambda p: train.Saver("a"), TypeError, "a list or a dict"),
    "one name twice": (
        lambda p: train.Saver([two()[0], *_foreign()]), ValueError, "two variables have the same name: a",
    ),
    "numbers as names": (lambda p: train.Saver({1: two()[0]}), TypeError, "under a name"),
    "max_to_keep": (lambda p: train.Saver(two(), max_to_keep=-1), ValueError, "max_to_keep"),
    "defer_build": (lambda p: train.Saver(two(), defer_build=True), ValueError, "defer_build"),
    "saver_def": (lambda p: train.Saver(two(), saver_def=object()), NotImplementedError, "SaverDef"),
    "no session": (lambda p: train.Saver(two()).save("sess", p / "m"), TypeError, "takes a session"),
    "no values": (lambda p: train.Saver(two()).save(tf.Session(), p / "m"), RuntimeError, "uninitialized"),
    "other graph": (lambda p: train.Saver(_foreign()).save(tf.Session(), p / "m"), ValueError, "not of the session's"),
    "no directory": (lambda p: _save(p / "nowhere" / "m"), ValueError, "Parent directory"),
    "no name": (lambda p: _save(f"{p}/"), ValueError, "file name"),
    "name of the state file": (lambda p: _save(p / "checkpoint"), ValueError, "file name"),
    "state file elsewhere": (lambda p: _save(p / "m", latest_filename="x/y"), ValueError, "path components"),
    "step as text": (lambda p: _save(p / "m", global_step="1"), TypeError, "global_step"),
    "step as fraction": (lambda p: _save(p / "m", global_step=1.5), TypeError, "global_step"),
    "restore None": (lambda p: train.Saver(two()).restore(started(), None), ValueError, "when it is None"),
    "restore nothing": (
        lambda p: train.Saver(two()).restore(started(), p / "m"), tf.errors.NotFoundError, "no such file",
    ),
    "restore a graph": (lambda p: train.Saver(two()).restore(started(), p / "m.meta"), ValueError, "holds a graph"),
    "restore a directory": (_restore_directory, ValueError, "not a regular file"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_typed_errors(name: str, tmp_path: Path) -> None:
    build, error, text = MISTAKES[name]
    with pytest.raises(error, match=text) as caught:
        build(tmp_path)
    assert isinstance(caught.value, tf.errors.OpError)


def test_a_closed_session_is_refused(tmp_path: Path) -> None:
    two()
    sess = started()
    path = train.Saver().save(sess, tmp_path / "m")
    sess.close()
    for use in (lambda: train.Saver().save(sess, tmp_path / "m"), lambda: train.Saver().restore(sess, path)):
        with pytest.raises(RuntimeError, match="closed Session"):
            use()


# -- which checkpoints are kept --------------------------------------------------------------------------------------


def test_max_to_keep(tmp_path: Path) -> None:
    two()
    sess, saver = started(), train.Saver(max_to_keep=2)
    for step in range(5):
        saver.save(sess, tmp_path / "m", global_step=step)
    kept = [str(tmp_path / "m-3"), str(tmp_path / "m-4")]
    assert saver.last_checkpoints == kept
    names = ["checkpoint", "m-3.meta.json", "m-3.safetensors", "m-4.meta.json", "m-4.safetensors"]
    assert sorted(os.listdir(tmp_path)) == names
    state = train.get_checkpoint_state(tmp_path)
    assert state is not None and state.all_model_checkpoint_paths == kept
    assert state.model_checkpoint_path == kept[1] and len(state.all_model_checkpoint_timestamps) == 2


@pytest.mark.parametrize("keep", [0, None])
def test_keeping_all(keep: Any, tmp_path: Path) -> None:
    two()
    sess, saver = started(), train.Saver(max_to_keep=keep)
    for step in range(7):
        saver.save(sess, tmp_path / "m", global_step=step, write_meta_graph=False)
    assert len(list(tmp_path.glob("*.safetensors"))) == 7 and saver.last_checkpoints == []
    assert train.latest_checkpoint(tmp_path) == str(tmp_path / "m-6")


def test_one_name_again_and_again_counts_once(tmp_path: Path) -> None:
    two()
    sess, saver = started(), train.Saver(max_to_keep=2)
    for _ in range(4):
        saver.save(sess, tmp_path / "m")
    assert saver.last_checkpoints == [str(tmp_path / "m")]


def test_one_every_n_hours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two()
    now = 1e9
    monkeypatch.setattr("time.time", lambda: now)
    sess, saver = started(), train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1)
    for step, hours in enumerate((0.0, 0.5, 1.5, 1.6, 1.7, 2.5, 2.6)):
        now = 1e9 + 3600 * hours
        saver.save(sess, tmp_path / "m", step)
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [f"m-{i}.safetensors" for i in (2, 5, 6)]


def test_a_new_process_takes_over_the_list(tmp_path: Path) -> None:
    two()
    sess = started()
    first = train.Saver(max_to_keep=2)
    for step in range(2):
        first.save(sess, tmp_path / "m", global_step=step)
    second = train.Saver(max_to_keep=2)
    state = train.get_checkpoint_state(tmp_path)
    assert state is not None
    second.recover_last_checkpoints([*state.all_model_checkpoint_paths, str(tmp_path / "gone")])
    second.save(sess, tmp_path / "m", global_step=2)
    assert [os.path.basename(p) for p in second.last_checkpoints] == ["m-1", "m-2"]
    assert not (tmp_path / "m-0.safetensors").exists()


def test_a_failed_save_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two()
    sess, saver = started(), train.Saver(max_to_keep=1)
    saver.save(sess, tmp_path / "m", 0)

    def full(*args: Any, **kwargs: Any) -> None:
        raise tf.errors.ResourceExhaustedError("no space")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        saver.save(sess, tmp_path / "m", 1)
    monkeypatch.undo()
    assert train.latest_checkpoint(tmp_path) == str(tmp_path / "m-0")
    saver.restore(sess, tmp_path / "m-0")


# -- the state file --------------------------------------------------------------------------------------------------


def test_tensorflows_state_file_is_read(tmp_path: Path) -> None:
    two()
    path = train.Saver().save(started(), tmp_path / "model-3")
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "model-3"\n'
        'all_model_checkpoint_paths: "/else\\"where/model-2"\n'
        'all_model_checkpoint_paths: "model-3"\n'
        "all_model_checkpoint_timestamps: 1574000000.5\n"
        "last_preserved_timestamp: 1.5e9\n"
    )
    assert train.latest_checkpoint(tmp_path) == path
    state = train.get_checkpoint_state(tmp_path)
    assert state is not None
    assert state.all_model_checkpoint_paths == ['/else"where/model-2', path]
    assert (state.all_model_checkpoint_timestamps, state.last_preserved_timestamp) == ([1574000000.5], 1.5e9)


def test_a_directory_may_be_moved(tmp_path: Path) -> None:
    two()
    (tmp_path / "old").mkdir()
    train.Saver().save(started(), tmp_path / "old" / "m", 1)
    (tmp_path / "old").rename(tmp_path / "new")
    assert train.latest_checkpoint(tmp_path / "new") == str(tmp_path / "new" / "m-1")


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert train.get_checkpoint_state(tmp_path) is None
    assert train.latest_checkpoint(tmp_path) is None
    assert train.latest_checkpoint(tmp_path / "nowhere") is None
    train.update_checkpoint_state(tmp_path, str(tmp_path / "m-1"))
    assert train.latest_checkpoint(tmp_path) is None  # named, but its file is gone


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", "\xff\xfe", "\0", "[" * 100_000, "x: 1e+-", "model_checkpoint_path",
        '{"model_checkpoint_path": 1}', '{"model_checkpoint_path": ""}', "model_checkpoint_path: 1.0",
        '{"model_checkpoint_path": "m", "all_model_checkpoint_paths": 1}', 'all_model_checkpoint_paths: "m"',
        '{"model_checkpoint_path": "m", "all_model_checkpoint_timestamps": ["x"]}', 'model_checkpoint_path: "a\\000b"',
    ],
)  # fmt: skip
def test_a_state_file_that_cannot_be_trusted_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(text.encode("latin-1"))
    with pytest.raises(tf.errors.OpError):
        train.latest_checkpoint(tmp_path)


def test_looking_into_a_checkpoint(tmp_path: Path) -> None:
    two()
    path = train.Saver().save(started(), tmp_path / "m")
    for where in (path, tmp_path):
        assert train.list_variables(where) == [("a", [2, 3]), ("scope/b", [])]
        assert train.load_variable(where, "scope/b:0") == 7.0
        reader = train.load_checkpoint(where)
        assert reader.get_variable_to_shape_map() == {"a": [2, 3], "scope/b": []}
        assert reader.get_variable_to_dtype_map() == {"a": tf.float64, "scope/b": tf.float32}
        assert reader.has_tensor("a") and not reader.has_tensor("b")
        assert b"scope/b (float32) []" in reader.debug_string()
    assert train.NewCheckpointReader(path).get_tensor("a").sum() == 15.0
    with pytest.raises(tf.errors.NotFoundError, match="no tensor 'c'"):
        train.load_variable(path, "c")
    with pytest.raises(tf.errors.NotFoundError, match="has no checkpoint"):
        train.load_checkpoint(tmp_path.parent)
    train.remove_checkpoint(path)
    train.remove_checkpoint(path)
    assert os.listdir(tmp_path) == ["checkpoint"]


# -- graphs beside the values ----------------------------------------------------------------------------------------


def test_a_training_program_comes_back_from_its_files(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float64, [None, 2], name="x")
    w = Variable(np.array([[1.0], [2.0]]), name="w")
    loss = arithmetic.square(x @ w, name="loss")
    step = train.AdamOptimizer(0.1).minimize(loss, global_step=train.create_global_step())
    sess = started()
    feed = np.array([[1.0, 2.0], [3.0, -1.0]])
    sess.run(step, {x: feed})
    train.Saver().save(sess, tmp_path / "m", global_step=1)
    expected = [sess.run([step, loss, "w/read:0"], {x: feed})[1:] for _ in range(3)]
    sess.close()
    tf.reset_default_graph()
    for name in ("m-1.meta", "m-1.meta.json"):
        with tf.Graph().as_default() as graph, tf.Session() as other:
            saver = train.import_meta_graph(tmp_path / name)
            assert saver is not None
            saver.restore(other, tmp_path / "m-1")
            fetches = [graph.get_operation_by_name("Adam"), "loss:0", "w/read:0"]
            for value in expected:
                assert same(other.run(fetches, {"x:0": feed})[1:], value)
            assert train.get_global_step().op.name == "global_step"
            saver.save(other, tmp_path / "again")


def test_a_graph_that_cannot_be_written_does_not_stop_the_values(tmp_path: Path) -> None:
    two()
    debug.py_func(lambda: np.float32(1), [], tf.float32)
    saver = train.Saver()
    with pytest.warns(UserWarning, match="without its graph.*Python code"):
        path = saver.save(started(), tmp_path / "m")
    assert train.checkpoint_exists(path) and not os.path.exists(path + ".meta.json")


# -- interruptions and concurrency -----------------------------------------------------------------------------------


def test_a_save_is_one_moment_of_every_step(tmp_path: Path) -> None:
    w = [Variable(np.zeros(20_000), name=f"w{i}") for i in range(2)]
    optimizer = train.MomentumOptimizer(1.0, 0.5)
    step = optimizer.apply_gradients([(tf.constant(np.full(20_000, -1.0)), v) for v in w])
    sess, saver = started(), train.Saver(max_to_keep=1)
    stop = threading.Event()

    def train_on() -> None:
        while not stop.is_set():
            sess.run(step)

    worker = threading.Thread(target=train_on)
    worker.start()
    try:
        seen = set()
        for i in itertools.count():
            if i >= 30 and len(seen) > 3:  # some steps came between the saves
                break
            reader = train.load_checkpoint(saver.save(sess, tmp_path / "m", i, write_meta_graph=False))
            for name in ("w0", "w1"):
                value, slot = reader.get_tensor(name), reader.get_tensor(f"{name}/Momentum")
                assert (value == value[0]).all() and (slot == slot[0]).all()
                # after n steps the slot is -(2 - 2**(1-n)) and the variable the sum of these
                near = max(0, int(value[0] / 2) - 1)
                n = next(n for n in range(near, near + 5) if abs(2 * n - 2 * (1 - 0.5**n) - value[0]) < 1e-6)
                assert slot[0] == pytest.approx(-(2 - 2 * 0.5**n), abs=1e-9)
                seen.add(n)
    finally:
        stop.set()
        worker.join()


KILLED = """
import itertools, os, random, signal, sys, time
import numpy as np
import graphflow as tf
from graphflow.variables import Variable, global_variables_initializer

directory, kills = sys.argv[1], int(sys.argv[2])
v = Variable(np.zeros(4000), name="v")
sess = tf.Session()
sess.run(global_variables_initializer())
new = tf.train.Saver(max_to_keep=1)
generator = random.Random(0)
number, middle = 1, 0
v.load(np.full(4000, 1.0), sess)
tf.train.Saver().save(sess, os.path.join(directory, "m"), global_step=1)
for kill in itertools.count():
    if kill >= kills and middle > kills // 10:  # how many come in the middle of a save is chance: until it is enough
        break
    number += 1
    pid = os.fork()
    if not pid:
        while True:  # until we are killed
            v.load(np.full(4000, float(number)), sess)
            new.save(sess, os.path.join(directory, "m"), global_step=number % 5, write_meta_graph=number % 3 == 0)
            number += 1
    time.sleep(generator.uniform(0.001, 0.04))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    found = tf.train.latest_checkpoint(directory)
    middle += any(name.endswith(".tmp") for name in os.listdir(directory))
    assert found is not None, "a checkpoint was lost"
    tf.train.Saver([v]).restore(sess, found)
    value = sess.run(v)
    assert (value == value[0]).all() and value[0] >= 1
    number = max(number, int(value[0]))
print(kill)
"""


def test_after_300_kills_there_is_always_a_checkpoint(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "300"], capture_output=True, text=True, timeout=280, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert int(found.stdout) >= 300
    state = json.loads((tmp_path / "checkpoint").read_text())
    assert len(state["all_model_checkpoint_paths"]) == 1
