"""Every native kernel against NumPy's, on hard shapes and values: level 2 with native code, level 1 without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from graphflow_numpy.native import blas_calls, engine, matmul, segments

import graphflow as tf

pytestmark = pytest.mark.skipif(not engine.available(), reason="llvmlite is not installed")
SEED = 7


class Case(NamedTuple):
    name: str
    build: Callable[..., Any]
    shapes: tuple[Any, ...]
    ulp: float = 4.0  # allowed, counted from the largest element of the result
    types: tuple[str, ...] = ()  # that must have become native


def arrays(shapes: tuple[Any, ...], dtype: str, special: bool) -> list[Any]:
    rng = np.random.default_rng(SEED)
    out = []
    for shape in shapes:
        x = rng.normal(size=shape)
        if special and x.size > 3:
            flat = x.reshape(-1)
            flat[[0, x.size // 2, -1]] = np.nan, np.inf, -np.inf
            flat[1:3] = 0.0, -0.0
        out.append(x.astype(dtype))
    return out


def outcome(monkeypatch: Any, mode: str, case: Case, values: list[Any]) -> tuple[list[Any], set[str]]:
    monkeypatch.setenv("GRAPHFLOW_FAST", mode)
    monkeypatch.setattr(segments, "WORTH", 0.0)
    found: list[Any] = []
    plan = segments.plan
    monkeypatch.setattr(segments, "plan", lambda *a: found.extend(made := plan(*a)) or made)
    with tf.Graph().as_default():
        fed = [tf.placeholder(tf.as_dtype(v.dtype), v.shape) for v in values]
        fetches = case.build(*fed)
        fetches = list(fetches) if isinstance(fetches, list | tuple) else [fetches]
        with tf.Session(optimization_level=2 if mode == "wait" else 1) as sess:
            out = sess.run(fetches, dict(zip(fed, values, strict=True)))
    monkeypatch.setattr(segments, "plan", plan)
    return out, {ins.type for s in found for ins in s.plan.instructions}


def check(monkeypatch: Any, case: Case, dtype: str, special: bool = False) -> None:
    values = arrays(case.shapes, dtype, special)
    wanted, _ = outcome(monkeypatch, "0", case, values)
    found, native = outcome(monkeypatch, "wait", case, values)
    assert set(case.types) <= native, f"not native: {set(case.types) - native}"
    for w, f in zip(wanted, found, strict=True):
        w, f = np.asarray(w), np.asarray(f)
        assert (w.shape, w.dtype) == (f.shape, f.dtype)
        assert np.array_equal(np.isnan(w), np.isnan(f))
        finite = np.isfinite(w)
        assert np.array_equal(w[~finite & ~np.isnan(w)], f[~finite & ~np.isnan(w)])
        if w.dtype.kind != "f":
            assert np.array_equal(w, f)
        elif finite.any():
            scale = np.abs(w[finite]).max() * np.finfo(w.dtype).eps
            assert np.abs(w[finite] - f[finite]).max() <= case.ulp * scale


def product(m: int, n: int, k: int, a: bool, b: bool) -> Case:
    shapes = ((k, m) if a else (m, k), (n, k) if b else (k, n))
    return Case(
        f"{m}x{n}x{k}{'t' * a}{'T' * b}",
        lambda x, y: tf.matmul(x, y, transpose_a=a, transpose_b=b),
        shapes,
        max(4.0, 2 * k**0.5),
        ("MatMul",),
    )


SIZES = [(2, 2, 2), (3, 1, 7), (1, 5, 1), (33, 47, 19), (20, 20, 32), (64, 70, 66), (61, 130, 50), (30, 18, 1100)]
PRODUCTS = [product(*size, a, b) for size in SIZES for a in (False, True) for b in (False, True)]


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products(monkeypatch: Any, case: Case, dtype: str) -> None:
    check(monkeypatch, case, dtype)


def test_products_by_blas(monkeypatch: Any) -> None:
    if blas_calls.gemm("float32") is None:
        pytest.skip("this NumPy brings no BLAS that can be called")
    for a in (False, True):
        for b in (False, True):
            monkeypatch.setattr(matmul, "OWN_BYTES", 1 << 20)
            monkeypatch.setattr(matmul, "MEDIUM", 0)
            check(monkeypatch, product(60, 41, 33, a, b), "float32")
            check(monkeypatch, product(60, 41, 33, a, b), "float64")


def test_batches_of_products(monkeypatch: Any) -> None:
    for a, b in (((3, 4, 5), (3, 5, 6)), ((2, 3, 40, 50), (1, 1, 50, 45)), ((1, 33, 40), (2, 40, 35))):
        check(monkeypatch, Case("batch", tf.matmul, (a, b), 20.0, ("MatMul",)), "float32")


def test_products_keep_what_is_not_finite(monkeypatch: Any) -> None:
    check(monkeypatch, Case("nan", tf.matmul, ((9, 20), (20, 21)), 40.0, ("MatMul",)), "float32", True)


ROWS = ("Softmax", "LogSoftmax", "SoftmaxCrossEntropyWithLogits")


def softmaxes(x: Any, labels: Any) -> list[Any]:
    loss = tf.nn.softmax_cross_entropy_with_logits(labels=tf.abs(labels), logits=x)
    return [tf.nn.softmax(x), tf.nn.log_softmax(x), loss, *tf.gradients(loss, x)]


@pytest.mark.parametrize("shape", [(7, 10), (3, 1), (2, 16), (5, 2, 33), (4, 100)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows(monkeypatch: Any, shape: tuple[int, ...], dtype: str) -> None:
    check(monkeypatch, Case("rows", softmaxes, (shape, shape), 16.0, ROWS), dtype)


def test_rows_that_are_not_finite(monkeypatch: Any) -> None:
    check(monkeypatch, Case("rows", lambda x: softmaxes(x, tf.ones_like(x)), ((6, 11),), 16.0, ROWS), "float32", True)


def convolution(stride: int, padding: str, dilation: int = 1) -> Callable[..., Any]:
    def build(x: Any, w: Any) -> list[Any]:
        y = tf.nn.conv2d(x, w, [1, stride, stride, 1], padding, dilations=[1, dilation, dilation, 1])
        return [y, *tf.gradients(y * y, [x, w])]

    return build


CONVOLUTIONS = [
    ((2, 7, 6, 3), (3, 3, 3, 5), 1, "SAME", 1),
    ((2, 7, 6, 3), (3, 3, 3, 5), 1, "VALID", 1),
    ((1, 8, 8, 1), (5, 5, 1, 32), 1, "SAME", 1),
    ((3, 9, 9, 2), (5, 5, 2, 17), 2, "SAME", 1),
    ((2, 9, 10, 4), (3, 2, 4, 8), 1, "SAME", 2),
    ((2, 5, 5, 7), (1, 1, 7, 35), 1, "VALID", 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, "SAME", 1),
    ((2, 6, 9, 1), (3, 5, 1, 1), 1, "SAME", 1),
    ((2, 6, 30, 12), (2, 3, 12, 4), 3, "VALID", 1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x, w, stride, padding, dilation", CONVOLUTIONS, ids=str)
def test_convolutions(monkeypatch: Any, x: Any, w: Any, stride: int, padding: str, dilation: int, dtype: str) -> None:
    types = ("Conv2D", "Conv2DBackpropFilter", *(("Conv2DBackpropInput",) if stride == 1 else ()))
    check(monkeypatch, Case("conv", convolution(stride, padding, dilation), (x, w), 200.0, types), dtype)


def pooling(size: int, stride: int, padding: str) -> Callable[..., Any]:
    def build(x: Any) -> list[Any]:
        at = {"ksize": [1, size, size, 1], "strides": [1, stride, stride, 1], "padding": padding}
        top, mean = tf.nn.max_pool(x, **at), tf.nn.avg_pool(x, **at)
        return [top, mean, *tf.gradients(top * top, x), *tf.gradients(mean * mean, x)]

    return build


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(
    "shape, size, stride, padding",
    [
        ((2, 6, 6, 5), 2, 2, "SAME"),
        ((2, 7, 5, 3), 3, 2, "SAME"),
        ((1, 7, 7, 33), 3, 1, "SAME"),
        ((2, 8, 8, 16), 2, 3, "VALID"),
        ((1, 4, 4, 1), 2, 2, "VALID"),
    ],
)
def test_pooling(monkeypatch: Any, shape: Any, size: int, stride: int, padding: str, special: bool) -> None:
    types = ("MaxPool", "AvgPool", "MaxPoolGrad", "AvgPoolGrad")
    check(monkeypatch, Case("pool", pooling(size, stride, padding), (shape,), 8.0, types), "float32", special)


def test_the_first_of_equal_maxima_gets_the_gradient(monkeypatch: Any) -> None:
    case = Case("ties", lambda x: pooling(2, 2, "SAME")(tf.round(x)), ((2, 6, 6, 5),), 8.0, ("MaxPoolGrad",))
    check(monkeypatch, case, "float32")


def layouts(x: Any) -> list[Any]:
    out = [tf.transpose(x, p) for p in ([2, 0, 1], [0, 2, 1], [1, 0, 2], [2, 1, 0])]
    out += [tf.reverse(x, [1]), x[1:4, ::2, 3:], x[:, ::-1, 0], x[2], *tf.split(x, 3, axis=2), *tf.unstack(x)[:2]]
    out += [tf.concat([x, x[:, :4], x], 1), tf.stack([x, x], 2), tf.slice(x, [0, 1, 2], [4, 5, -1])]
    out += [tf.tile(x, [2, 1, 3]), tf.tile(x, [1, 3, 1])]
    return [*out, tf.broadcast_to(x[:, :1], x.shape), tf.broadcast_to(x[:, :, 3:4], x.shape)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_layouts(monkeypatch: Any, dtype: str) -> None:
    types = (
        "Transpose",
        "Reverse",
        "StridedSlice",
        "Split",
        "Unpack",
        "Concat",
        "Pack",
        "Slice",
        "BroadcastTo",
        "Tile",
    )
    check(monkeypatch, Case("layouts", layouts, ((5, 33, 18),), 0.0, types), dtype)


def gradients_of_layouts(x: Any) -> list[Any]:
    y = tf.sin(x)
    values = [tf.concat([x, y], 2) * 3.0, tf.reduce_mean(y, [1]), y[:, 1:9:2] * 2.0, tf.slice(y, [0, 1, 2], [4, 5, -1])]
    padded = tf.pad(x, [[1, 0], [0, 2], [3, 1]])
    return [padded, *[tf.gradients(v, x)[0] for v in [*values, padded * padded]]]


def test_gradients_of_layouts(monkeypatch: Any) -> None:
    case = Case("gradients", gradients_of_layouts, ((5, 33, 18),), 8.0, ("Pad", "SliceGrad"))
    check(monkeypatch, case, "float32")


def test_sums_that_undo_a_broadcast(monkeypatch: Any) -> None:
    def build(x: Any, row: Any, column: Any, bias: Any) -> list[Any]:
        y = tf.nn.bias_add(x * row + column, bias)
        return [y, *tf.gradients(tf.sin(y), [row, column, bias])]

    shapes = ((9, 4, 7), (7,), (4, 1), (7,))
    check(monkeypatch, Case("sum to", build, shapes, 16.0, ("SumTo",)), "float32")


def test_sums_of_many(monkeypatch: Any) -> None:
    def build(x: Any) -> Any:
        return tf.add_n([tf.nn.softmax(x + float(i)) for i in range(12)])

    check(monkeypatch, Case("add_n", build, ((6, 6),), 32.0, ("AddN",)), "float32")


def test_a_vector_of_bools_chooses_rows(monkeypatch: Any) -> None:
    def build(x: Any, y: Any, row: Any) -> list[Any]:
        return [tf.where(row > 0.0, x, y) * 2.0, tf.exp(x) + y]

    check(monkeypatch, Case("rows", build, ((4, 4), (4, 4), (4,)), 8.0, ("Exp",)), "float32")


def test_the_logarithm_of_a_sum_keeps_its_digits(monkeypatch: Any) -> None:
    case = Case("digits", tf.nn.log_softmax, ((1, 2),))
    for dtype in ("float32", "float64"):
        (found,), native = outcome(monkeypatch, "wait", case, [np.array([[0.0, -10.0]], dtype)])
        assert native == {"LogSoftmax"}
        np.testing.assert_allclose(found[0, 0], -np.log1p(np.exp(-10.0)), rtol=4 * np.finfo(dtype).eps)


def test_nothing_is_native_without_elements(monkeypatch: Any) -> None:
    case = Case("empty", lambda x: [tf.matmul(x, tf.ones([4, 5])), tf.nn.softmax(x), tf.sin(x) + x], ((0, 4),))
    values = arrays(case.shapes, "float32", False)
    found, native = outcome(monkeypatch, "wait", case, values)
    assert found[0].shape == (0, 5) and not native & {"MatMul", "Softmax", "Sin"}
