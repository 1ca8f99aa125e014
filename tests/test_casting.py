"""What may enter a graph: every dtype to every dtype, over the values where conversions go wrong.

The rule is stated here a second time, in exact arithmetic: a value may be rounded between floating-point widths and
from integers to floats, and changed in nothing else.
"""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import casting, dtypes

NUMERIC = [
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
EDGES: list[Any] = [0, 1, 2, 127, 128, 255, 256, 65535, 65536]
EDGES += [s * (2**b) + d for b in (7, 15, 31, 32, 33, 53, 63, 64) for s in (1, -1) for d in (-1, 0, 1)]
EDGES += [0.5, -0.5, -0.0, 1.5, 65504.0, 65520.0, 70000.0, 3.4028234663852886e38, 3.5e38, 1e-45, 1e-320, 1e300, 1.8e308]
EDGES += [float("nan"), float("inf"), float("-inf")]
EDGES += [1j, 2 + 0j, complex(1e300, 1), complex(0, 1e300), complex("nan+1j")]


def values_of(dtype: str) -> np.ndarray[Any, Any]:
    """The edges that a dtype holds."""
    target = np.dtype(dtype)
    found = []
    for value in EDGES:
        if isinstance(value, complex):
            keep = target.kind == "c"
        elif target.kind in "iu":
            keep = isinstance(value, int) and np.iinfo(target).min <= value <= np.iinfo(target).max
        elif target.kind == "b":
            keep = value in (0, 1) and isinstance(value, int)
        else:
            keep = True
        if keep:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(target.type(value) if isinstance(value, int) else np.array(value).astype(target))
    return np.array(found, target)


def allowed(value: Any, target: np.dtype[Any]) -> bool:
    """The rule, in Python's exact numbers."""
    if isinstance(value, complex) and target.kind != "c":
        return False
    if target.kind == "b":
        return value in (0, 1)
    if target.kind in "iu":
        if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
            return False
        return int(np.iinfo(target).min) <= int(value) <= int(np.iinfo(target).max)
    parts = [value.real, value.imag] if isinstance(value, complex) else [value]
    width = {8: np.float32, 16: np.float64}[target.itemsize] if target.kind == "c" else target.type
    info: Any = np.finfo(width)
    # the largest number that rounds to the largest finite one
    limit = int(info.max) + 2 ** (int(info.maxexp) - int(info.nmant) - 2)
    return all(not math.isfinite(p) or -limit < int(p) < limit for p in parts)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(NUMERIC, NUMERIC)))
def test_every_dtype_to_every_dtype(source: str, target: str) -> None:
    wanted = np.dtype(target)
    for value in values_of(source):
        array = np.array([value])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if not allowed(value.item(), wanted):
                with pytest.raises(tf.errors.DTypeError):
                    casting.as_array(array, tf.as_dtype(target))
                continue
            found = casting.as_array(array, tf.as_dtype(target))
        assert found.dtype == wanted and found.shape == (1,)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(found, array.astype(wanted), strict=True)
        assert np.signbit(found.real).tolist() == np.signbit(array.real).tolist() or wanted.kind in "iub"


@pytest.mark.parametrize("target", NUMERIC)
def test_one_bad_element_is_enough(target: str) -> None:
    values = values_of("float64")
    fine = [v for v in values if allowed(v.item(), np.dtype(target))]
    bad = next((v for v in values if not allowed(v.item(), np.dtype(target))), None)
    array = np.array(fine * 7)
    assert casting.as_array(array, tf.as_dtype(target)).shape == array.shape
    if bad is not None:
        array[len(array) // 2] = bad
        with pytest.raises(tf.errors.DTypeError, match=f"does not fit {target}"):
            casting.as_array(array, tf.as_dtype(target))


@pytest.mark.parametrize("target", NUMERIC)
def test_random_arrays_agree_with_the_rule(target: str, rng: np.random.Generator) -> None:
    for source in NUMERIC[:12]:
        raw = rng.integers(0, 256, (60, np.dtype(source).itemsize), dtype=np.uint8)
        array = raw.view(source).ravel() if source != "bool" else raw.ravel() > 127
        for value in array:
            ok = allowed(value.item(), np.dtype(target))
            try:
                casting.as_array(np.array(value), tf.as_dtype(target))
            except tf.errors.DTypeError:
                assert not ok, f"{source} {value!r} refused as {target}"
            else:
                assert ok, f"{source} {value!r} taken as {target}"


# -- layout ----------------------------------------------------------------------------------------------------------


def test_what_fits_is_not_copied() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert casting.as_array(array, tf.float32) is array
    array.flags.writeable = False
    assert casting.as_array(array, tf.float32) is array


LAYOUTS: dict[str, Any] = {
    "fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "read_only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "matrix": lambda a: np.asarray(a).view(np.matrix),
    "subclass": lambda a: a.view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_becomes_a_plain_one(layout: str, dtype: str) -> None:
    plain = np.arange(6).reshape(2, 3).astype(dtype)
    given = LAYOUTS[layout](plain)
    before = given.tobytes()
    found = casting.as_array(given, tf.as_dtype(dtype))
    assert type(found) is np.ndarray and found.flags.c_contiguous and found.flags.aligned and found.dtype.isnative
    np.testing.assert_array_equal(found, plain, strict=True)
    assert given.tobytes() == before


def test_overlapping_views_are_taken_apart() -> None:
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(5, dtype=np.float32), 3)
    found = casting.as_array(windows, tf.float32)
    assert found.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]] and found.flags.c_contiguous


def test_rank_0_and_size_0_keep_their_shape() -> None:
    assert casting.as_array(np.float64(1.5), tf.float32).shape == ()
    assert casting.as_array(np.zeros((0, 3)), tf.int32).shape == (0, 3)
    assert casting.as_array([], tf.int32).dtype == np.int32
    assert casting.as_array([[], []], tf.float32).shape == (2, 0)
    assert casting.as_array(np.zeros((3, 0))[:, ::-1], tf.float64).shape == (3, 0)


# -- literals --------------------------------------------------------------------------------------------------------

LITERALS: list[tuple[Any, str]] = [
    (1.5, "float32"), (1, "int32"), (True, "bool"), (1j, "complex64"), ("a", "string"), (b"a", "string"),
    ([1, 2], "int32"), ([1, 2.5], "float32"), ([1, 2j], "complex64"), ([True, 1], "int32"), ([], "float32"),
    (2**31 - 1, "int32"), (2**31, "int64"), (-(2**31) - 1, "int64"), (2**63, "uint64"), ([2**31, 1], "int64"),
    (np.float64(1.5), "float64"), (np.float32(1.5), "float32"), (np.int64(1), "int64"), (np.array([1.5]), "float64"),
    ([np.float64(1.5)], "float64"), ([np.int64(1), np.int64(2)], "int64"), (np.uint8(3), "uint8"),
    (np.bool_(True), "bool"),
    ((1, (2)), "int32"), (["a", "b"], "string"), (np.array(["a"]), "string"), (np.array(["a"], object), "string"),
    (float("nan"), "float32"), (float("inf"), "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "dtype"), LITERALS, ids=repr)
def test_the_dtype_of_a_literal(value: Any, dtype: str) -> None:
    assert tf.constant(value).dtype.name == dtype


def test_python_floats_beyond_float32_are_not_made_infinite() -> None:
    for value in (1e300, -1e39, [1.0, 1e300]):
        with warnings.catch_warnings(), pytest.raises(tf.errors.DTypeError, match="float32"):
            warnings.simplefilter("error")
            tf.constant(value, tf.float32)
        assert tf.constant(value, tf.float64).dtype is tf.float64


def test_text_becomes_bytes() -> None:
    found = casting.as_array([["a", b"b"], ["ü", ""]], tf.string)
    assert found.dtype == object and found.tolist() == [[b"a", b"b"], ["ü".encode(), b""]]
    assert casting.as_array("abc", tf.string)[()] == b"abc"
    assert casting.as_array(np.array(["ab", "c"]), tf.string).tolist() == [b"ab", b"c"]
    for bad in (1, [1], ["a", 1], np.array([1, "a"], object), None, [None]):
        with pytest.raises(tf.errors.DTypeError):
            casting.as_array(bad, tf.string)


def test_text_is_copied() -> None:
    mine = np.array([b"a", b"b"], object)
    casting.as_array(mine, tf.string)[0] = b"changed"
    assert mine.tolist() == [b"a", b"b"]


@pytest.mark.skipif(dtypes.bfloat16 is None, reason="ml_dtypes is not installed")
def test_bfloat16() -> None:
    assert tf.bfloat16 is not None
    found = casting.as_array([1.0, 3.0e38, float("nan")], tf.bfloat16)
    assert found.dtype == tf.bfloat16.np and np.isnan(float(found[2]))
    with pytest.raises(tf.errors.DTypeError):
        casting.as_array([1e300], tf.bfloat16)
    assert casting.as_array(found[:1], tf.float64).tolist() == [1.0]


# -- dtypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NUMERIC, "string"])
def test_a_dtype_by_all_its_names(name: str) -> None:
    dtype = tf.as_dtype(name)
    assert dtype is getattr(tf, name) and dtype.name == name and tf.as_dtype(dtype) is dtype
    assert tf.as_dtype(dtype.as_datatype_enum) is dtype
    if name != "string":
        assert tf.as_dtype(np.dtype(name)) is tf.as_dtype(np.dtype(name).type) is dtype
        assert tf.as_dtype(np.dtype(name).newbyteorder()) is dtype
        assert dtype == name and dtype == np.dtype(name) and dtype.as_numpy_dtype is np.dtype(name).type
        assert dtype.size == np.dtype(name).itemsize


def test_dtypes_are_told_apart() -> None:
    assert tf.float32 != tf.float64 and tf.float32 != "float64" and tf.float32 != None and tf.float32 != 3  # noqa: E711
    assert len({tf.float32, tf.as_dtype("float32"), tf.float64}) == 2
    assert (tf.uint8.min, tf.uint8.max, tf.bool.max, tf.int64.min) == (0, 255, True, -(2**63))
    assert tf.float16.max == np.finfo(np.float16).max and tf.complex64.real_dtype is tf.float32
    assert tf.uint8.is_unsigned and not tf.int8.is_unsigned and tf.float32.base_dtype is tf.float32
    assert tf.half is tf.float16 and tf.double is tf.float64 and tf.as_dtype(float) is tf.float32
    with pytest.raises(tf.errors.DTypeError, match="minimum"):
        _ = tf.complex64.min


def test_dtypes_survive_copy_and_pickle() -> None:
    import copy
    import pickle

    assert copy.deepcopy([tf.float32])[0] is tf.float32
    assert pickle.loads(pickle.dumps(tf.int8)) is tf.int8
