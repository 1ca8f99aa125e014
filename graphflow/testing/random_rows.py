"""The table of what a random graph is made of: each row draws one call, or a few that belong together.

Policy: a row asks the pool for values that fit and adds valid steps only; where nothing fits it does nothing.  What a
row computes is of no importance, only that its ops meet those of other rows in all combinations.

State: none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from graphflow.testing.drawing import Drawing, Value
from graphflow.testing.recipes import Body, Cut, Data, Face, Local, Step

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
OPTIMIZERS = (
    ("train.GradientDescentOptimizer", (0.1,)), ("train.MomentumOptimizer", (0.1, 0.9)),
    ("train.AdamOptimizer", (0.01,)), ("train.RMSPropOptimizer", (0.01,)), ("train.AdagradOptimizer", (0.1,)),
)  # fmt: skip
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


def transpose(d: Drawing) -> None:
    """Axes in another order."""
    x = d.want("fib", rank=1)
    order = list(range(len(x.dims)))
    d.rng.shuffle(order)
    d.add("transpose", x, *((order,) if d.chance(0.7) else ()))


def reshape(d: Drawing) -> None:
    """The same elements in another shape; sometimes it is computed."""
    x = d.want("fib")
    if d.chance(0.2):
        d.add("reshape", x, *d.add("shape", x))
        return
    options: list[tuple[int, ...]] = [(x.size,), (1, *x.dims), (*x.dims, 1)]
    if x.size:
        options.append((-1,))
    if len(x.dims) >= 2:
        options += [(x.dims[0] * x.dims[1], *x.dims[2:]), (*x.dims[::-1],)]
    if x.dims and x.dims[-1] % 2 == 0:
        options.append((*x.dims[:-1], 2, x.dims[-1] // 2))
    d.add("reshape", x, d.choose(options))


def axes(d: Drawing) -> None:
    """expand_dims and squeeze."""
    x = d.want("fib")
    ones = [i for i, n in enumerate(x.dims) if n == 1]
    if ones and d.chance(0.6):
        d.add("squeeze", x, axis=(d.choose(ones),))
    elif len(x.dims) < 5:
        d.add("expand_dims", x, d.rng.randint(0, len(x.dims)))


def concat(d: Drawing) -> None:
    """concat and stack of values that differ in one axis at most."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    other = d.pick("fi", lambda v: v.dtype == x.dtype and len(v.dims) == len(x.dims)
                   and v.dims[:axis] == x.dims[:axis] and v.dims[axis + 1 :] == x.dims[axis + 1 :])  # fmt: skip
    parts = [x, other or x, *([x] if d.chance(0.2) else [])]
    if d.chance(0.3):
        d.add("stack", [x, d.partner(x, same=True)], axis)
    elif sum(p.size for p in parts) <= d.limit:
        d.add("concat", parts, axis)


def pieces(d: Drawing) -> None:
    """split and unstack, of which only some outputs will be read."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    size = x.dims[axis]
    if size in (2, 3, 4, 5) and d.chance(0.5):
        d.add("unstack", x, axis=axis)
    elif size >= 2:
        first = d.rng.randint(0, size)
        d.add("split", x, (first, size - first), axis=axis)


def subscript(d: Drawing) -> None:
    """Slices with steps, also backwards, and single elements."""
    x = d.want("fib", rank=1)
    key: list[Any] = []
    for size in x.dims[: d.rng.randint(1, len(x.dims))]:
        chance = d.rng.random()
        if chance < 0.3 and size:
            key.append(d.rng.randrange(-size, size))
        elif chance < 0.5:
            key.append(Cut(None, None, None))
        elif chance < 0.65:
            key.append(Cut(None, None, -1))
        else:
            start = d.rng.randint(0, size)
            key.append(Cut(start, d.rng.randint(start, size), d.choose((None, None, 2))))
    d.add("[]", x, tuple(key))


def slice_(d: Drawing) -> None:
    """tf.slice."""
    x = d.want("fi", rank=1)
    begin = tuple(d.rng.randint(0, n) for n in x.dims)
    d.add("slice", x, begin, tuple(d.rng.randint(0, n - b) for n, b in zip(x.dims, begin, strict=True)))


def pad(d: Drawing) -> None:
    """Padding with a constant or by reflection."""
    x = d.want("fi", rank=1)
    mode = d.choose(("CONSTANT", "CONSTANT", "REFLECT", "SYMMETRIC"))
    most = [2 if mode == "CONSTANT" else n - 1 if mode == "REFLECT" else n for n in x.dims]
    paddings = tuple((d.rng.randint(0, max(0, min(2, m))), d.rng.randint(0, max(0, min(2, m)))) for m in most)
    if x.size * 2 <= d.limit or len(x.dims) == 1:
        d.add("pad", x, paddings, mode)


def repeat(d: Drawing) -> None:
    """tile, broadcast_to, reverse, roll."""
    x = d.want("fi", rank=1)
    chance = d.rng.random()
    axis = d.rng.randrange(len(x.dims))
    if chance < 0.35:
        multiples = tuple(d.rng.randint(1, 2) for _ in x.dims)
        if x.size * 2 ** len(x.dims) <= d.limit:
            d.add("tile", x, multiples)
    elif chance < 0.6 and x.size * 3 <= d.limit:
        d.add("broadcast_to", x, (d.rng.randint(0, 3), *x.dims))
    elif chance < 0.8:
        d.add("reverse", x, (axis,))
    else:
        d.add("roll", x, d.rng.randint(-3, 3), axis)


def gather(d: Drawing) -> None:
    """Rows by number; the numbers may be computed, and in faulty graphs may not exist."""
    x = d.want("fi", rank=1)
    axis = d.rng.randrange(len(x.dims))
    size = x.dims[axis]
    count = d.rng.randint(0, 4)
    if not size or x.size * max(count, 1) > d.limit * 4:
        return
    computed = d.pick("i", lambda v: v.size <= 8 and x.size * max(v.size, 1) <= d.limit)
    if computed is not None and d.chance(0.6):
        (index,) = d.add("floormod", computed, Data(computed.dtype, (), (size,)))
    else:
        kind = d.choose(("int32", "int64"))
        index = d.numbers(kind, (count,), size + 1 if d.faulty else size)
    d.add("gather", x, index, axis=axis)


def one_hot(d: Drawing) -> None:
    """Ones at places."""
    x = d.pick("i", lambda v: v.size <= 64)
    if x is not None:
        d.add("one_hot", x, d.rng.randint(1, 4), dtype=Face(d.dtype("w")))


def masked(d: Drawing) -> None:
    """Results whose shape depends on values, and what is computed from them."""
    x = d.want("w", rank=1)
    mask = d.source("bool", x.dims[:1])
    d.add("boolean_mask", x, mask)
    d.add(d.choose(("reduce_sum", "reduce_prod")), d.opaque[-1], axis=0)


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


def shapes(d: Drawing) -> None:
    """Shapes as values, and what is filled from them."""
    x = d.want("fib")
    (found,) = d.add(d.choose(("shape", "size", "rank")), x)
    if len(found.dims) == 1 and d.chance(0.5):
        d.add("fill", found, Data(d.dtype("w"), (), (1.5,)))


def segments(d: Drawing) -> None:
    """Sums of the rows of each segment."""
    x = d.pick("w", lambda v: len(v.dims) >= 1 and v.dims[0] > 0)
    if x is not None:
        ids = d.add("constant", d.data("int32", x.dims[:1], 0, 3))[0]
        d.add(d.choose(("unsorted_segment_sum", "unsorted_segment_max")), x, ids, 3)


def ordering(d: Drawing) -> None:
    """Sorting and the largest few."""
    x = d.want("w", rank=1)
    if x.dims[-1] > 0:
        d.add(*d.choose((("sort", x), ("nn.top_k", x, d.rng.randint(1, x.dims[-1])))))


# -- state -----------------------------------------------------------------------------------------------------------


def write(d: Drawing) -> None:
    """A variable is assigned to, added to or subtracted from; a read may follow."""
    known = [v for v in d.variables if v.dtype != "bool"]
    v = d.choose(known) if known else d.variable(d.data(d.dtype("wi"), d.shape(0, 2)))
    value = d.partner(v, same=True)
    (found,) = d.add(d.choose(("assign", "assign_add", "assign_add", "assign_sub")), v, value)
    d.writes.append(found.ref)
    if d.chance(0.5):
        d.add(".read_value", v)


def read(d: Drawing) -> None:
    """A variable is read here and now."""
    if d.variables:
        d.add(".read_value", d.choose(d.variables))


def train(d: Drawing) -> None:
    """A step of an optimizer: gradients and, for each variable, an update that is one atomic region."""
    weights = d.variable(d.data(d.dtype("w"), (d.choose(d.sizes), d.choose(d.sizes))))
    x = d.pick("w", lambda v: v.dtype == weights.dtype and v.dims[1:] == weights.dims[:1])
    if x is None:
        x = d.source(weights.dtype, (d.choose(d.sizes), weights.dims[0]))
    (product,) = d.add("matmul", x, weights)
    (loss,) = d.add("reduce_mean", *d.add("square", product))
    call, rest = d.choose(OPTIMIZERS)
    optimizer = d.object(call, *rest)
    d.writes.append(d.object(".minimize", optimizer, loss, var_list=(weights,)))
    d.wait_for_last()


def scatter(d: Drawing) -> None:
    """Some rows of a variable are changed, some of them twice."""
    v = next((v for v in d.variables if v.dims and v.dims[0] > 0 and v.dtype != "bool"), None)
    if v is not None:
        index = d.add("constant", d.data("int32", (2,), 0, v.dims[0]))[0]
        updates = d.source(v.dtype, (2, *v.dims[1:]))
        (found,) = d.add(d.choose(("scatter_add", "scatter_sub", "scatter_update")), v, index, updates)
        d.writes.append(found.ref)


def draws(d: Drawing) -> None:
    """Random numbers with a seed."""
    call = d.choose(("random_normal", "random_uniform", "truncated_normal"))
    d.add(call, d.shape(0, 2), dtype=Face(d.dtype("w")), seed=d.rng.randint(0, 5))


def dropout(d: Drawing) -> None:
    """Random zeros."""
    d.add("nn.dropout", d.want("w", rank=1), keep_prob=0.75, seed=d.rng.randint(0, 5))


# -- functions and gradients -----------------------------------------------------------------------------------------


def cond(d: Drawing) -> None:
    """Two branches of one shape, which read what stands outside; sometimes one of them writes."""
    x = d.want("w")
    y = d.partner(x, same=True)
    pred = d.pick("b", lambda v: v.dims == ()) or d.source("bool", ())
    steps = [Step(d.choose(SMOOTH), (x.ref,)), Step(d.choose(("add", "multiply", "subtract")), (Local(0), y.ref))]
    written = next((v for v in d.variables if v.dims == x.dims and v.dtype == x.dtype), None)
    if written is not None and d.chance(0.4):
        steps.append(Step("assign_add", (written.ref, Local(1))))
    d.add(
        "cond", pred, Body(0, tuple(steps), (Local(len(steps) - 1),)), Body(0, (), (x.ref if d.chance(0.5) else y.ref,))
    )


def loop(d: Drawing) -> None:
    """A loop of a few steps over a counter and a value."""
    x = d.want("w")
    condition = Body(2, (Step("less", (Local(0), d.rng.randint(0, 3))),), (Local(2),))
    body = Body(2, (Step("add", (Local(0), 1)), Step(d.choose(SMOOTH), (Local(1),))), (Local(2), Local(3)))
    d.add("while_loop", condition, body, (Data("int32", (), (0,)), x))


def gradient(d: Drawing) -> None:
    """The derivatives of a sum with respect to what it was computed from."""
    y = d.pick("w", lambda v: d.depth(v) > 0)
    if y is None:
        return
    (loss,) = d.add(d.choose(("reduce_sum", "reduce_mean")), y)
    above = d.ancestors(loss)
    if any(d.steps[n].call == "cond" and "assign_add" in str(d.steps[n]) for n in above):
        return  # no gradient goes through a branch that writes what it reads
    sources = [v for v in d.values if v.dtype in ("float32", "float64") and v.ref.step in above]
    if sources:
        with warnings.catch_warnings(record=True) as unconnected:
            warnings.simplefilter("always")
            d.add("gradients", loss, d.some(sources, 4))
        if unconnected:
            d.take_back()


def faulty(d: Drawing) -> None:
    """What may refuse its values."""
    chance = d.rng.random()
    if not d.faulty:
        return
    if chance < 0.4:
        d.add("check_numerics", d.want("f"), "not a number")
    elif chance < 0.6:
        x = d.want("i")
        d.add(d.choose(("floordiv", "floormod")), x, d.numbers(x.dtype, x.dims, 9))
    elif chance < 0.8:
        x = d.want("w", rank=1)
        d.add("gather", x, d.numbers("int32", (2,), x.dims[0] + 1))
    else:
        x = d.want("f")
        (holds,) = d.add("reduce_all", *d.add("less", x, Data(x.dtype, (), (3.0,))))
        d.add("Assert", holds, (x,))
        d.wait_for_last()


class Row(NamedTuple):
    """A way to go on, and how often it is taken."""

    draw: Callable[[Drawing], None]
    weight: float = 1.0
    large: bool = False  # whether graphs of large arrays have it, too


ROWS = (
    Row(f_unary, 9, True), Row(f_chain, 3, True), Row(f_binary, 9, True), Row(with_literal, 3, True),
    Row(i_arithmetic, 3), Row(anything, 1.5), Row(compare, 3, True), Row(select, 2, True), Row(clip, 1.5, True),
    Row(cast, 3, True), Row(reduction, 5, True), Row(arg_reduction, 1.5), Row(matmul, 4), Row(products, 1.2),
    Row(dense, 1.5), Row(transpose, 2, True), Row(reshape, 2, True), Row(axes, 1.5, True), Row(concat, 2),
    Row(pieces, 1.5), Row(subscript, 2, True), Row(slice_, 1), Row(pad, 1), Row(repeat, 1.5), Row(gather, 2),
    Row(one_hot, 0.7), Row(masked, 0.5), Row(softmax, 1.5, True), Row(cross_entropy, 1.5), Row(image, 1.2),
    Row(add_n, 2, True), Row(einsum, 0.6), Row(norms, 0.7, True), Row(shapes, 0.7), Row(segments, 0.5),
    Row(ordering, 0.5), Row(write, 3, True), Row(read, 1, True), Row(scatter, 0.7), Row(train, 0.7), Row(draws, 1), Row(dropout, 0.5),
    Row(cond, 0.7), Row(loop, 0.3), Row(gradient, 2, True), Row(faulty, 4),
)  # fmt: skip
