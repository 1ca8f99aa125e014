"""Rows of random graphs that compute: elementwise functions, reductions, products, losses, images.

Policy: as `random_rows` says.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.testing.drawing import Drawing, Value
from graphflow.testing.recipes import Data, Face

F_UNARY = (
    "tanh", "sigmoid", "exp", "log", "sqrt", "rsqrt", "square", "negative", "abs", "sign", "floor", "ceil", "round",
    "reciprocal", "log1p", "expm1", "sin", "cos", "atan", "asinh", "erf", "nn.relu", "nn.relu6", "nn.elu", "nn.selu",
    "nn.softplus", "nn.softsign", "nn.leaky_relu", "nn.swish", "log_sigmoid", "identity", "stop_gradient",
)  # fmt: skip
I_UNARY = ("square", "negative", "abs", "sign", "identity")
ANY_UNARY = ("zeros_like", "ones_like", "identity")
F_BINARY = (
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "squared_difference", "floordiv", "floormod",
    "div_no_nan", "atan2", "pow",
)  # fmt: skip
I_BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "squared_difference")
COMPARE = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
LOGIC = ("logical_and", "logical_or", "logical_xor")
F_REDUCE = (
    "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_logsumexp", "reduce_variance",
)  # fmt: skip
I_REDUCE = ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min")
SMOOTH = ("tanh", "sigmoid", "sin", "atan", "negative", "nn.relu", "square")


def f_unary(d: Drawing) -> None:
    """An elementwise function of floats."""
    d.add(d.choose(F_UNARY), d.want("f"))


def f_chain(d: Drawing) -> None:
    """Several elementwise steps one after the other: what fusion is for."""
    x = d.want("w", rank=1)
    for _ in range(d.rng.randint(2, 5)):
        if d.chance(0.5):
            (x,) = d.add(d.choose(SMOOTH), x)
        else:
            pair = [x, d.partner(x, same=d.chance(0.6))]
            d.rng.shuffle(pair)
            (x,) = d.add(d.choose(("add", "subtract", "multiply", "maximum")), *pair)


def f_binary(d: Drawing) -> None:
    """An elementwise function of two floats that broadcast; now and then twice the same."""
    x = d.want("f")
    pair = [x, x if d.chance(0.08) else d.partner(x)]
    d.rng.shuffle(pair)
    d.add(d.choose(F_BINARY), *pair)


def with_literal(d: Drawing) -> None:
    """x * 1, x + 0, 0 - x and the like, which simplifications look for."""
    x = d.want("fi")
    literal: float = d.choose((0, 1, -1, 2)) if x.dtype.startswith("i") else d.choose((0.0, -0.0, 1.0, -1.0, 2.0, 0.5))
    pair = [x, Data(x.dtype, (), (literal,))]
    if d.chance(0.5):
        pair.reverse()
    calls = I_BINARY if x.dtype.startswith("i") else ("add", "subtract", "multiply", "divide", "maximum", "pow")
    d.add(d.choose(calls), *pair)


def i_arithmetic(d: Drawing) -> None:
    """Integers; division by what cannot be zero, but in faulty graphs."""
    x = d.want("i")
    chance = d.rng.random()
    if chance < 0.3:
        d.add(d.choose(I_UNARY), x)
    elif chance < 0.75:
        d.add(d.choose(I_BINARY), x, d.partner(x))
    else:
        divisor: Any = Data(x.dtype, (), (d.choose((1, 2, 3, -2)),))
        d.add(d.choose(("floordiv", "floormod", "truncatediv")), x, d.partner(x) if d.faulty else divisor)


def anything(d: Drawing) -> None:
    """What takes any dtype."""
    d.add(d.choose(ANY_UNARY), d.want("fib"))


def compare(d: Drawing) -> None:
    """Comparisons, tests for NaN, and logic on their results."""
    chance = d.rng.random()
    if chance < 0.55:
        x = d.want("fi")
        d.add(d.choose(COMPARE), x, d.partner(x))
    elif chance < 0.7:
        d.add(d.choose(("is_nan", "is_inf", "is_finite")), d.want("f"))
    elif chance < 0.8:
        d.add("logical_not", d.want("b"))
    else:
        x = d.want("b")
        d.add(d.choose(LOGIC), x, d.partner(x))


def select(d: Drawing) -> None:
    """tf.where with a condition of the same shape."""
    x = d.want("fi")
    y = d.partner(x, same=True)
    condition = d.pick("b", lambda v: v.dims == x.dims) or d.source("bool", x.dims)
    d.add("where", condition, x, y)


def clip(d: Drawing) -> None:
    """Values kept between bounds."""
    x = d.want("w")
    d.add("clip_by_value", x, d.choose((-1.0, 0.0)), d.choose((0.5, 1.0, 6.0)))


def cast(d: Drawing) -> None:
    """Between dtypes; from floats to integers where a value is sure to fit."""
    x = d.want("fib")
    if x.dtype.startswith("float") and d.chance(0.4):
        (bounded,) = d.add("clip_by_value", x, -100.0, 100.0)
        (known,) = d.add("where", *d.add("is_nan", bounded), *d.add("zeros_like", bounded), bounded)
        d.add("cast", known, Face(d.choose(("int32", "int64", "bool"))))
    elif x.dtype.startswith("float"):
        d.add("cast", x, Face(d.choose(("float16", "float32", "float64", "bool"))))
    else:
        d.add("cast", x, Face(d.choose(("int32", "int64", "float32", "float64", "bool"))))


def reduction(d: Drawing) -> None:
    """Reductions over any axes."""
    chance = d.rng.random()
    x = d.want("f" if chance < 0.75 else "i" if chance < 0.9 else "b")
    calls = F_REDUCE if x.dtype.startswith("f") else I_REDUCE if x.dtype != "bool" else ("reduce_all", "reduce_any")
    axis = d.some(range(len(x.dims)), 3) if x.dims and d.chance(0.8) else None
    if axis is not None and d.chance(0.3):
        axis = tuple(a - len(x.dims) for a in axis)
    call = d.choose(calls)
    if call in ("reduce_max", "reduce_min", "reduce_logsumexp") and 0 in x.dims:
        call = "reduce_sum"
    d.add(call, x, axis=axis[0] if axis and len(axis) == 1 and d.chance(0.5) else axis, keepdims=d.chance(0.4))


def arg_reduction(d: Drawing) -> None:
    """argmax, argmin, cumsum."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    if x.dims[axis] and d.chance(0.6):
        d.add(d.choose(("argmax", "argmin")), x, axis)
    else:
        d.add(d.choose(("cumsum", "cumprod")), x, axis, exclusive=d.chance(0.3), reverse=d.chance(0.3))


def matmul(d: Drawing) -> None:
    """Products of matrices, or of stacks of them, with and without transposition."""
    a: Value | None = d.pick("f", lambda v: len(v.dims) in (2, 3))
    if a is None or a.size > 4096 and d.chance(0.5):
        a = d.source(d.dtype("f"), d.shape(2, 2))
    *batch, rows, columns = a.dims
    flip_a, flip_b = d.chance(0.3), d.chance(0.3)
    inner = rows if flip_a else columns
    place = -1 if flip_b else -2
    b = d.pick("f", lambda v: v.dtype == a.dtype and len(v.dims) == len(a.dims) and v.dims[place] == inner
               and list(v.dims[:-2]) == batch) if d.chance(0.7) else None  # fmt: skip
    if b is None:
        outer = d.choose(d.sizes)
        b = d.source(a.dtype, (*batch, outer, inner) if flip_b else (*batch, inner, outer))
    d.add("matmul", a, b, transpose_a=flip_a, transpose_b=flip_b)


def products(d: Drawing) -> None:
    """Several matrix products of one operand, and their sum: what may be merged."""
    a = d.source(d.dtype("w"), (d.choose(d.sizes), d.choose(d.sizes)))
    outer = d.choose(d.sizes)
    found = [d.add("matmul", a, d.source(a.dtype, (a.dims[1], outer)))[0] for _ in range(d.rng.randint(2, 4))]
    if d.chance(0.6):
        d.add("add_n", found)


def dense(d: Drawing) -> None:
    """A layer of a net: product, bias, activation."""
    x = d.pick("w", lambda v: len(v.dims) == 2) or d.source(d.dtype("w"), d.shape(2, 2))
    outer = d.choose(d.sizes)
    (product,) = d.add("matmul", x, d.source(x.dtype, (x.dims[1], outer)))
    (sum_,) = d.add(d.choose(("add", "nn.bias_add")), product, d.source(x.dtype, (outer,)))
    d.add(d.choose(("nn.relu", "tanh", "sigmoid")), sum_)


def softmax(d: Drawing) -> None:
    """Softmax and its kin."""
    x = d.want("f", rank=1)
    if 0 not in x.dims:
        d.add(d.choose(("nn.softmax", "nn.log_softmax")), x, axis=d.choose((-1, -1, 0)))


def cross_entropy(d: Drawing) -> None:
    """Losses of classifiers and their means."""
    logits = d.pick("w", lambda v: len(v.dims) == 2 and 0 not in v.dims)
    if logits is None:
        logits = d.source(d.dtype("w"), (d.choose(d.sizes), d.choose(d.sizes)))
    chance = d.rng.random()
    if chance < 0.4:
        labels = d.add("constant", d.data("int32", logits.dims[:1], 0, logits.dims[1]))[0]
        if not d.special:
            d.add("nn.sparse_softmax_cross_entropy_with_logits", labels=labels, logits=logits)
    elif chance < 0.7:
        labels = d.add("nn.softmax", d.partner(logits, same=True))[0]
        d.add("nn.softmax_cross_entropy_with_logits_v2", labels=labels, logits=logits)
    else:
        labels = d.partner(logits, same=True)
        d.add("nn.sigmoid_cross_entropy_with_logits", labels=labels, logits=logits)
    if d.chance(0.6):
        d.add("reduce_mean", d.values[-1])


def image(d: Drawing) -> None:
    """Convolution and pooling of small images."""
    dtype = d.dtype("w")
    channels = d.rng.randint(1, 3)
    x = d.pick("w", lambda v: len(v.dims) == 4 and min(v.dims) >= 1 and v.size < 2000)
    if x is None:
        x = d.source(dtype, (d.rng.randint(1, 2), d.rng.randint(3, 6), d.rng.randint(3, 6), channels))
    padding = "SAME" if min(x.dims[1:3]) < 3 else d.choose(("SAME", "VALID"))
    strides = (1, d.choose((1, 1, 2)), d.choose((1, 1, 2)), 1)
    if d.chance(0.6):
        kernel = d.source(x.dtype, (d.rng.randint(1, 3), d.rng.randint(1, 3), x.dims[3], d.rng.randint(1, 3)))
        d.add("nn.conv2d", x, kernel, strides=strides, padding=padding)
    else:
        d.add(d.choose(("nn.max_pool", "nn.avg_pool")), x, ksize=(1, 2, 2, 1), strides=strides, padding=padding)


def add_n(d: Drawing) -> None:
    """A sum of several, some of them twice."""
    x = d.want("fi")
    d.add("add_n", [x, *[d.partner(x, same=True) for _ in range(d.rng.randint(1, 3))], *([x] if d.chance(0.2) else [])])


def einsum(d: Drawing) -> None:
    """Contractions written with letters."""
    x = d.pick("w", lambda v: len(v.dims) == 2)
    if x is not None:
        y = d.source(x.dtype, (x.dims[1], d.choose(d.sizes)))
        d.add("einsum", d.choose(("ij,jk->ik", "ij,jk->ki", "ij,jk->i", "ij,jk->")), x, y)


def norms(d: Drawing) -> None:
    """Norms, l2_loss, normalised rows."""
    x = d.want("w", rank=1)
    call = d.choose(("nn.l2_loss", "norm", "nn.l2_normalize"))
    d.add(call, x, *((0,) if call == "nn.l2_normalize" else ()))
