"""The algebra of partial shapes, and the TensorShape that users see.

Every function of `spec` is checked against its definition: a partial shape stands for the set of concrete shapes that
fit it, so what is computed of partial shapes must cover what NumPy does with each of these, and refuse only what it
refuses for all of them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import spec
from graphflow.tensor_shape import Dimension, TensorShape, as_dimension, as_dims

ShapeError, DTypeError = tf.errors.ShapeError, tf.errors.DTypeError
SIZES = (0, 1, 2, 3)
PARTIAL: list[spec.Dims] = [None]
for _rank in range(3):
    PARTIAL += list(itertools.product((None, 0, 1, 2, 3), repeat=_rank))


def fitting(dims: spec.Dims, ranks: Sequence[int] = (0, 1, 2)) -> Iterator[tuple[int, ...]]:
    """The concrete shapes, of small sizes, that fit a partial one."""
    if dims is None:
        for rank in ranks:
            yield from itertools.product(SIZES, repeat=rank)
    else:
        yield from itertools.product(*[SIZES if d is None else (d,) for d in dims])


def covers(dims: spec.Dims, shape: Sequence[int]) -> bool:
    if dims is None or len(dims) != len(shape):
        return dims is None
    return all(d is None or d == s for d, s in zip(dims, shape, strict=True))


def check(function: Callable[..., spec.Dims], real: Callable[..., tuple[int, ...]], *partial: spec.Dims) -> None:
    """`function` of partial shapes against NumPy's `real` on all concrete shapes that fit."""
    found = []
    for shapes in itertools.product(*map(fitting, partial)):
        try:
            found.append(real(*shapes))
        except ValueError:
            continue
    try:
        dims = function(*partial)
    except ShapeError:
        assert not found, f"{partial} refused, but {found[0]} is possible"
        return
    assert all(covers(dims, shape) for shape in found), f"{partial} -> {dims}, which excludes one of {found[:5]}"
    if None not in partial and all(None not in p for p in partial):
        assert found and dims == found[0], f"{partial} -> {dims}, and not {found}"


@pytest.mark.parametrize("a", PARTIAL, ids=spec.describe)
def test_broadcast_against_numpy(a: spec.Dims) -> None:
    for b in PARTIAL:
        check(spec.broadcast, np.broadcast_shapes, a, b)


@pytest.mark.parametrize("a", PARTIAL, ids=spec.describe)
def test_compatible_and_merge_by_definition(a: spec.Dims) -> None:
    mine = set(fitting(a))
    for b in PARTIAL:
        both = mine & set(fitting(b))
        assert spec.compatible(a, b) == bool(both)
        if both:
            assert set(fitting(spec.merge(a, b))) == both
        else:
            with pytest.raises(ShapeError, match="do not agree"):
                spec.merge(a, b)


def test_broadcast_keeps_what_is_certain() -> None:
    """A size above 1 decides; next to a 1, what is not known stays not known."""
    assert spec.broadcast((None,), (3,)) == spec.broadcast((3,), (None,)) == (3,)
    assert spec.broadcast((None, 2), (0, 1)) == (0, 2)
    assert spec.broadcast((None,), (1,)) == spec.broadcast((None,), (None,)) == (None,)
    assert spec.broadcast((4, 1), (None,)) == (4, None) and spec.broadcast((None, 4, 1), (5,)) == (None, 4, 5)


def test_broadcast_all() -> None:
    assert spec.broadcast_all([]) == ()
    assert spec.broadcast_all([(2, 1), (), (1, 3), (None, 1, 1)]) == (None, 2, 3)
    assert spec.broadcast_all([(2,), None]) is None


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=2)))
def test_matmul_against_numpy(flags: tuple[bool, bool], rng: np.random.Generator) -> None:
    options: list[spec.Dims] = [None, (2, 3), (3, 2), (None, 3), (2, None), (None, None), (0, 3)]
    options += [(4, 2, 3), (1, 3, 2), (None, 3, 2)]

    def real(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        if len(a) < 2 or len(b) < 2:
            raise ValueError
        x, y = np.zeros(a), np.zeros(b)
        x = x.swapaxes(-1, -2) if flags[0] else x
        y = y.swapaxes(-1, -2) if flags[1] else y
        return (x @ y).shape

    for a, b in itertools.product(options, repeat=2):
        check(lambda p, q: spec.matmul(p, q, *flags), real, a, b)


@pytest.mark.parametrize("keepdims", [False, True])
def test_reduced_against_numpy(keepdims: bool) -> None:
    axes: list[Any] = [None, 0, -1, 1, (0,), (0, 1), (-1, -2), ()]

    def real(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
        if shape == () and axis not in (None, ()):
            raise ValueError("NumPy takes axis 0 of a scalar for no axis, for old programs' sake")
        return tuple(np.sum(np.zeros(shape), axis, keepdims=keepdims).shape)

    for dims, axis in itertools.product(PARTIAL, axes):
        check(lambda d, axis=axis: spec.reduced(d, axis, keepdims), lambda s, axis=axis: real(s, axis), dims)


def test_reshaped_against_numpy() -> None:
    targets = [(), (1,), (6,), (-1,), (2, 3), (3, -1), (-1, 0), (0, 5), (2, -1, 3), (1, 1, 6), (4,), (-1, 4)]
    for dims, target in itertools.product([*PARTIAL, (2, 3), (6,), (0, 3)], targets):
        check(lambda d, t=target: spec.reshaped(d, t), lambda s, t=target: np.zeros(s).reshape(t).shape, dims)
    assert spec.reshaped((2, 3), None) is None
    assert spec.reshaped((2, 3), (None, 3)) == (None, 3)
    assert spec.reshaped((2, 3), (None, -1)) == (None, None)


def test_concatenated_against_numpy() -> None:
    shapes: list[spec.Dims] = [None, (2,), (None,), (2, 3), (None, 3), (1, None), (2, 2), (0, 3), ()]

    def real(axis: int, *parts: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(np.concatenate([np.zeros(p) for p in parts], axis).shape)

    for a, b, axis in itertools.product(shapes, shapes, (0, 1, -1)):
        check(lambda *d, axis=axis: spec.concatenated(d, axis), functools.partial(real, axis), a, b)
    assert spec.concatenated([(2, 3), (4, 3)], None) == (None, None)
    assert spec.concatenated([None, None], 0) is None


def test_window_output_against_the_definition() -> None:
    """SAME: one window for each stride begun; VALID: the windows that lie inside; (a, b): inside the padded axis."""
    for size, window, stride, dilation in itertools.product(range(8), range(1, 4), range(1, 4), range(1, 3)):
        reach = (window - 1) * dilation + 1
        assert spec.window_output(size, window, stride, dilation, "SAME") == len(range(0, size, stride))
        for before, after in ((0, 0), (1, 2)):
            padded = size + before + after
            inside = len([p for p in range(0, padded, stride) if p + reach <= padded])
            padding = "VALID" if not before else (before, after)
            if padded < reach:
                if not size and (padded - reach) // stride >= -1:
                    continue  # no element, no window: 0 as well as an error is right
                with pytest.raises(ShapeError, match="larger than its input"):
                    spec.window_output(size, window, stride, dilation, padding)
            else:
                assert spec.window_output(size, window, stride, dilation, padding) == inside
    assert spec.window_output(None, 3, 1, 1, "SAME") is None
    for wrong in ((5, 3, 0, 1), (5, 3, 1, 0), (5, -1, 1, 1)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="at least"):
            spec.window_output(*wrong, "VALID")


def test_axes() -> None:
    assert [spec.normal_axis(a, 3) for a in (-3, -1, 0, 2)] == [0, 2, 0, 2]
    assert spec.normal_axes(None, 3) == (0, 1, 2) and spec.normal_axes((-1, 0), 3) == (0, 2)
    for axis in (3, -4):
        with pytest.raises(ShapeError, match=f"{axis} is out of range"):
            spec.normal_axis(axis, 3)
    with pytest.raises(ShapeError, match="twice"):
        spec.normal_axes((1, -2), 3)


def test_numel_does_not_overflow() -> None:
    assert spec.numel([]) == 1 and spec.numel([2, 0, 3]) == 0
    assert spec.numel([2**40, 2**40]) == 2**80


def test_describe() -> None:
    assert [spec.describe(d) for d in (None, (), (2,), (None, 3))] == ["<unknown>", "[]", "[2]", "[?, 3]"]
    assert not spec.is_concrete(None) and not spec.is_concrete((2, None)) and spec.is_concrete(())


# -- TensorShape -----------------------------------------------------------------------------------------------------

SPELLINGS: list[tuple[Any, spec.Dims]] = [
    (None, None),
    ([], ()),
    ((), ()),
    ([2, None], (2, None)),
    ((2, 3), (2, 3)),
    (5, (5,)),
    (np.int64(5), (5,)),
    (np.array(5), (5,)),
    (np.array([2, 3]), (2, 3)),
    (np.array([], int), ()),
    (TensorShape([2, None]), (2, None)),
    (TensorShape(None), None),
    (Dimension(4), (4,)),
    ([Dimension(4), Dimension(None), np.int32(1)], (4, None, 1)),
    (range(3), (0, 1, 2)),
    ((d for d in (1, 2)), (1, 2)),
]


@pytest.mark.parametrize(("given", "dims"), SPELLINGS, ids=lambda v: repr(v)[:30])
def test_what_counts_as_a_shape(given: Any, dims: spec.Dims) -> None:
    assert as_dims(given) == dims


@pytest.mark.parametrize("given", ["ab", b"ab", 1.5, [1.5], [True], True, ["2"], {"a": 1}, [[1]], 1j, object()])
def test_what_does_not_count_as_a_shape(given: Any) -> None:
    with pytest.raises(DTypeError):
        as_dims(given)


def test_negative_sizes_are_refused() -> None:
    for given in (-1, [-1], np.array([2, -1])):
        with pytest.raises(ShapeError, match="negative"):
            as_dims(given)


def test_a_shape_is_a_sequence() -> None:
    shape = TensorShape([2, None, 3])
    assert shape.as_list() == [2, None, 3] and shape.ndims == shape.rank == len(shape) == 3
    assert [d.value for d in shape] == [2, None, 3] == [d.value for d in shape.dims]
    assert shape[0] == 2 and shape[-1] == 3 and shape[1].value is None
    assert shape[1:] == [None, 3] and shape[::-1].as_list() == [3, None, 2]
    assert str(shape) == "(2, ?, 3)" and str(TensorShape([2])) == "(2,)" and str(TensorShape(None)) == "<unknown>"
    assert repr(shape) == "TensorShape([Dimension(2), Dimension(None), Dimension(3)])"
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="no such dimension"):
            shape[wrong]


def test_a_shape_of_unknown_rank() -> None:
    shape = TensorShape(None)
    assert shape.dims is None and shape.ndims is None and not shape and shape.num_elements() is None
    assert shape[3].value is None and shape[1:].ndims is None
    assert shape.concatenate([2]) == TensorShape(None) and not shape.is_fully_defined()
    assert TensorShape([]) and TensorShape([]).is_fully_defined()


def test_shapes_combine() -> None:
    shape = TensorShape([2, None])
    more = [3]
    assert (shape + more).as_list() == [2, None, 3] and (more + shape).as_list() == [3, 2, None]
    assert shape.merge_with([None, 4]).as_list() == [2, 4] and shape.concatenate(5).as_list() == [2, None, 5]
    assert shape.is_compatible_with([2, 7]) and not shape.is_compatible_with([3, 7])
    shape.assert_is_compatible_with(None)
    shape.assert_has_rank(2)
    assert shape.with_rank(2) == shape and shape.with_rank_at_least(1) is shape
    assert TensorShape(None).with_rank(2).as_list() == [None, None]
    assert TensorShape([2, 3]).num_elements() == 6 and shape.num_elements() is None
    assert TensorShape([]).num_elements() == 1


def test_shapes_compare_with_whatever_is_a_shape() -> None:
    assert TensorShape([2, 3]) == [2, 3] == TensorShape((2, 3)) and TensorShape([2]) != [3]
    assert TensorShape([2]) != "2" and (TensorShape([2]) == object()) is False
    assert len({TensorShape([2]), TensorShape([2]), TensorShape([3])}) == 2


def test_dimensions_compute() -> None:
    six, unknown = Dimension(6), Dimension(None)
    assert [(six + 1).value, (1 + six).value, (six - 2).value, (8 - six).value, (six * 2).value, (2 * six).value] == [
        7, 7, 4, 2, 12, 12,
    ]  # fmt: skip
    assert ((six // 4).value, (13 // six).value, (six / 2).value, (six % 4).value) == (1, 2, 3, 2)
    assert (six + unknown).value is None and (unknown * 2).value is None
    assert (six < 7, six <= 6, six > 7, six >= 6) == (True, True, False, True) and (six < unknown) is None
    assert six == 6 and six != 7 and six != "6" and int(six) == 6 and list(range(Dimension(2))) == [0, 1]
    assert "abcdefgh"[six] == "g" and np.zeros([six, 2]).shape == (6, 2)
    assert (str(unknown), repr(unknown), str(six)) == ("?", "Dimension(None)", "6")
    assert len({Dimension(2), Dimension(2)}) == 1
    for wrong in ("a", 1.5, [1]):
        with pytest.raises(TypeError):
            six + wrong
        with pytest.raises(DTypeError):
            six < wrong  # noqa: B015
    with pytest.raises(ShapeError, match="negative"):
        six - 7


def test_as_dimension() -> None:
    assert [as_dimension(v) for v in (None, 3, np.uint8(3), Dimension(3), Dimension(None))] == [None, 3, 3, 3, None]


def test_dimensions_of_a_tensor_stand_in_for_sizes() -> None:
    x = tf.placeholder(tf.float32, [4, None])
    assert tf.zeros([x.shape[0], 2]).shape == [4, 2]
    assert tf.reshape(tf.zeros([8]), [x.get_shape()[0], -1]).shape == [4, 2]
    assert tf.constant(x.shape[0]).dtype is tf.int32 and tf.constant(tf.zeros([2, 3]).shape).shape == [2]
