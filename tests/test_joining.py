"""Kernels that join or repeat stretches of bytes give what NumPy's own give, however their inputs lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphflow_numpy import joining
from graphflow_numpy.table import TABLE, Fitted

from graphflow.dtypes import as_dtype
from graphflow.spec import TensorSpec


def fitted(type: str, inputs: list[Any], output: Any, **attrs: Any) -> Fitted | None:
    """The kernel for arrays such as these."""
    fit = TABLE[type].fit
    assert fit is not None
    specs = [TensorSpec(as_dtype(x.dtype), x.shape) for x in (*inputs, output)]
    return fit(attrs, specs[:-1], specs[-1:])


def check(kernel: Fitted | None, inputs: list[Any], expected: Any) -> None:
    """Both forms of a kernel, bit for bit."""
    assert kernel is not None and kernel.into is not None
    out = np.empty_like(expected)
    kernel.into(*inputs, out)
    for found in (out, kernel.function(*inputs)):
        assert found.dtype == expected.dtype and found.shape == expected.shape and found.flags.writeable
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "bool", "uint16"])
def test_many_short_pieces(dtype: str) -> None:
    pieces = [(np.arange(6 + 3 * (i % 2)).reshape(-1, 3) + i).astype(dtype) for i in range(joining.MANY)]
    expected = np.concatenate(pieces, 0)
    kernel = fitted("Concat", pieces, expected, axis=0)
    check(kernel, pieces, expected)
    turned = [np.asfortranarray(p) if i % 3 else np.repeat(p, 2, 0)[::2] for i, p in enumerate(pieces)]
    check(kernel, turned, expected)


def test_special_numbers_keep_their_bits() -> None:
    odd = np.array([[0x7FC00001, 0x80000000, 0xFFC12345]], np.uint32).view(np.float32)
    pieces = [odd * 1] * joining.MANY
    pieces[3] = odd
    check(fitted("Concat", pieces, np.concatenate(pieces), axis=0), pieces, np.concatenate(pieces))


def test_what_is_left_to_numpy() -> None:
    pieces = [np.zeros((2, 3), np.float32)] * joining.MANY
    assert fitted("Concat", pieces[:-1], np.concatenate(pieces[:-1]), axis=0) is None
    assert fitted("Concat", pieces, np.concatenate(pieces, 1), axis=1) is None
    long = [np.zeros((joining.SHORT, 1), np.float32)] * joining.MANY
    assert fitted("Concat", long, np.concatenate(long), axis=0) is None
    half = [p.astype(np.float16) for p in pieces]
    assert fitted("Concat", half, np.concatenate(half), axis=0) is None
    row = [p[:1] for p in pieces]
    check(fitted("Concat", row, np.concatenate(row, 1), axis=-1), row, np.concatenate(row, 1))


@pytest.mark.parametrize("multiples", [(1, 1, 5), (1, 3, 1), (7, 1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
def test_repeated_along_one_axis(dtype: str, multiples: tuple[int, ...]) -> None:
    x = (np.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    times = np.array(multiples, np.int32)
    expected = np.tile(x, multiples)
    kernel = fitted("Tile", [x, times], expected)
    check(kernel, [x, times], expected)
    check(kernel, [np.asfortranarray(x), times], expected)
    check(kernel, [np.repeat(x, 2, 1)[:, ::2], times], expected)


def test_repetitions_that_are_left_to_numpy() -> None:
    x = np.zeros((2, 3), np.float32)
    assert fitted("Tile", [x, np.array([2, 2])], np.tile(x, (2, 2))) is None
    assert fitted("Tile", [x, np.array([1, 1])], x) is None
    assert fitted("Tile", [x, np.array([0, 1])], x[:0]) is None
    assert fitted("Tile", [x[:0], np.array([1, 4])], np.tile(x[:0], (1, 4))) is None
