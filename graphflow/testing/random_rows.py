"""The table of what a random graph is made of: each row draws one call, or a few that belong together.

Policy: a row asks the pool for values that fit and adds valid steps only; where nothing fits it does nothing.  What a
row computes is of no importance, only that its ops meet those of other rows in all combinations.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphflow.testing import random_arithmetic as arithmetic
from graphflow.testing import random_arrangements as arrangements
from graphflow.testing import random_effects as effects
from graphflow.testing.drawing import Drawing


class Row(NamedTuple):
    """A way to go on, and how often it is taken."""

    draw: Callable[[Drawing], None]
    weight: float = 1.0
    large: bool = False  # whether graphs of large arrays have it, too


ROWS = (
    Row(arithmetic.f_unary, 9, True), Row(arithmetic.f_chain, 3, True), Row(arithmetic.f_binary, 9, True),
    Row(arithmetic.with_literal, 3, True), Row(arithmetic.i_arithmetic, 3), Row(arithmetic.anything, 1.5),
    Row(arithmetic.compare, 3, True), Row(arithmetic.select, 2, True), Row(arithmetic.clip, 1.5, True),
    Row(arithmetic.cast, 3, True), Row(arithmetic.reduction, 5, True), Row(arithmetic.arg_reduction, 1.5),
    Row(arithmetic.matmul, 4), Row(arithmetic.products, 1.2), Row(arithmetic.dense, 1.5),
    Row(arithmetic.softmax, 1.5, True), Row(arithmetic.cross_entropy, 1.5), Row(arithmetic.image, 1.2),
    Row(arithmetic.add_n, 2, True), Row(arithmetic.einsum, 0.6), Row(arithmetic.norms, 0.7, True),
    Row(arrangements.transpose, 2, True), Row(arrangements.reshape, 2, True), Row(arrangements.axes, 1.5, True),
    Row(arrangements.concat, 2), Row(arrangements.pieces, 1.5), Row(arrangements.subscript, 2, True),
    Row(arrangements.slice_, 1), Row(arrangements.pad, 1), Row(arrangements.repeat, 1.5), Row(arrangements.gather, 2),
    Row(arrangements.one_hot, 0.7), Row(arrangements.masked, 0.5), Row(arrangements.shapes, 0.7),
    Row(arrangements.segments, 0.5), Row(arrangements.ordering, 0.5), Row(effects.write, 3, True),
    Row(effects.read, 1, True), Row(effects.scatter, 0.7), Row(effects.train, 0.7), Row(effects.draws, 1),
    Row(effects.dropout, 0.5), Row(effects.cond, 0.7), Row(effects.loop, 0.3), Row(effects.gradient, 2, True),
    Row(effects.faulty, 4),
)  # fmt: skip
