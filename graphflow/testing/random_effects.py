"""Rows of random graphs that do more than compute: variables, random numbers, branches, gradients, refusals.

Policy: as `random_rows` says.

State: none.
"""

from __future__ import annotations

import warnings

from graphflow.testing.drawing import Drawing
from graphflow.testing.random_arithmetic import SMOOTH
from graphflow.testing.recipes import Body, Data, Face, Local, Step

OPTIMIZERS = (
    ("train.GradientDescentOptimizer", (0.1,)), ("train.MomentumOptimizer", (0.1, 0.9)),
    ("train.AdamOptimizer", (0.01,)), ("train.RMSPropOptimizer", (0.01,)), ("train.AdagradOptimizer", (0.1,)),
)  # fmt: skip


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
        d.add("check_numerics", *d.add(d.choose(("log", "sqrt", "exp")), d.want("f")), "not a number")
    elif chance < 0.6:
        x = d.want("i")
        d.add(d.choose(("floordiv", "floormod")), x, d.numbers(x.dtype, x.dims, 5))
    elif chance < 0.8:
        x = d.want("w", rank=1)
        d.add("gather", x, d.numbers("int32", (2,), x.dims[0] + 2))
    else:
        x = d.want("f")
        (holds,) = d.add("reduce_all", *d.add("less", x, Data(x.dtype, (), (3.0,))))
        d.writes.append(d.object("Assert", holds, (x,)))
        d.wait_for_last()
