"""Looking inside a running graph: Print, Assert, py_func, check_numerics, and the assert_* family.

Policy: all of these act on the world, so they are never folded, merged or moved over a control edge.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import constants, dtypes, spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.graph import FuncGraph, get_default_graph
from graphflow.opdef import call, op
from graphflow.ops import array, compare, core, reduce
from graphflow.ops.inference import check_kind
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor


def _first(x: Any, *others: Any, **attrs: Any) -> TensorSpec:
    return TensorSpec(x.dtype, x.dims)


@op("Print", infer=_first, same_dtype=None, stateful=True)
def _print(input_: Any, data: Sequence[Any], message: str, first_n: int, summarize: int, name: str | None) -> Any:
    return call((input_, *data), name, message=message, first_n=first_n, summarize=summarize)


_print.vjp(lambda op, dy: dy, None)


def Print(
    input_: Any,
    data: Sequence[Any],
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Any:
    """`input_`, and when it is computed `message` and the tensors `data` are printed to standard error."""
    if not isinstance(data, (list, tuple)):
        raise DTypeError("Print takes a list of tensors to print", got=repr(data)[:80], hint="tf.Print(x, [x])")
    return _print(input_, data, message or "", -1 if first_n is None else int(first_n), summarize or 3, name=name)


@op(
    "Assert",
    infer=lambda *inputs, summarize: (),
    same_dtype=None,
    stateful=True,
    can_fail="always",
    differentiable=False,
)
def _assert(condition: Any, data: Sequence[Any], summarize: int, name: str | None) -> Any:
    return call((condition, *data), name, summarize=summarize)


def Assert(condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None) -> Operation:
    """An op that fails the run, showing `data`, unless `condition` holds."""
    if not isinstance(data, (list, tuple)):
        raise DTypeError("Assert takes a list of tensors to show", got=repr(data)[:80], hint="tf.Assert(ok, [x])")
    condition = constants.convert_to_tensor(condition)
    if condition.dtype is not dtypes.bool_:
        raise DTypeError("the condition must be bool", op=condition.op, expected="bool", got=condition.dtype.name)
    found: Any = _assert(condition, data, summarize or 3, name=name)
    return found  # type: ignore[no-any-return]


def _py_func(*inputs: Any, function: Any, out: tuple[dtypes.DType, ...], stateful: bool) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(d, None) for d in out)


@op(
    "PyFunc", infer=_py_func, same_dtype=None, stateful=True, can_fail="always", differentiable=False,
    result=lambda *outputs: outputs,
)  # fmt: skip
def _call_python(
    inputs: Sequence[Any], function: Callable[..., Any], out: Any, stateful: bool, name: str | None
) -> Any:
    return call(tuple(inputs), name, function=function, out=out, stateful=stateful)


def py_func(
    func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """The results of a Python function of NumPy arrays; set their shapes with `set_shape`."""
    if not callable(func):
        raise DTypeError("py_func takes a function", got=repr(func)[:80])
    single = not isinstance(Tout, (list, tuple))
    wanted = tuple(dtypes.as_dtype(d) for d in ([Tout] if single else Tout))
    found = _call_python(list(inp), func, wanted, bool(stateful), name=name)
    if not wanted:
        return found if isinstance(found, Operation) else get_default_graph().get_operations()[-1]
    return found[0] if single else list(found)


def _numeric(x: Any, *, message: str) -> TensorSpec:
    check_kind(x, "inexact")
    return TensorSpec(x.dtype, x.dims)


@op("CheckNumerics", infer=_numeric, stateful=True, can_fail="always")
def check_numerics(tensor: Any, message: str, name: str | None = None) -> Any:
    """The tensor; the run fails with `message` if it holds a NaN or an infinity."""
    return call((tensor,), name, message=str(message))


check_numerics.vjp(lambda op, dy: check_numerics(dy, f"gradient of {op.attrs['message']}"))


def verify_tensor_all_finite(t: Any, msg: str, name: str | None = None) -> Tensor:
    """The tensor, available once it is known to be finite."""
    found: Any = check_numerics(t, msg, name=name)
    return found  # type: ignore[no-any-return]


def add_check_numerics_ops() -> Operation:
    """An op that checks every floating-point tensor of the graph, in the order in which they were built."""
    graph = get_default_graph()
    if isinstance(graph, FuncGraph):
        raise InvalidArgumentError("add_check_numerics_ops checks a whole graph, not a branch or loop body")
    checks: list[Any] = []
    for operation in graph.get_operations():
        for tensor in operation.outputs:
            if tensor.dtype.is_floating and operation.type not in ("CheckNumerics", "Const"):
                with graph.control_dependencies(checks[-1:]):
                    checks.append(check_numerics(tensor, tensor.name))
    return core.group(*checks)


# -- assert_*: composed of comparisons, one row each -------------------------------------------------------------------

Check = Callable[..., Operation]


def _assertion(name: str, compare_op: Callable[..., Any], words: str) -> Check:
    """A function that asserts a comparison of two tensors."""

    def check(
        x: Any,
        y: Any,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Operation:
        with core.name_scope(name, default):
            x = constants.convert_to_tensor(x)
            y = constants.convert_to_tensor(y, preferred=x.dtype)
            shown = (
                list(data) if data is not None else [message or "", f"x {words} y does not hold: x = ", x, "y = ", y]
            )
            return Assert(reduce.reduce_all(compare_op(x, y)), shown, summarize)

    default = name
    check.__name__ = name
    check.__doc__ = f"Fail the run unless x {words} y, elementwise."
    return check


assert_equal = _assertion("assert_equal", compare.equal, "==")
assert_none_equal = _assertion("assert_none_equal", compare.not_equal, "!=")
assert_less = _assertion("assert_less", compare.less, "<")
assert_less_equal = _assertion("assert_less_equal", compare.less_equal, "<=")
assert_greater = _assertion("assert_greater", compare.greater, ">")
assert_greater_equal = _assertion("assert_greater_equal", compare.greater_equal, ">=")


def _sign_assertion(name: str, against_zero: Check, words: str) -> Check:
    """A function that asserts the sign of a tensor."""

    def check(
        x: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
    ) -> Operation:
        x = constants.convert_to_tensor(x)
        return against_zero(x, array.zeros_like(x), data, summarize, message, name=name or default)

    default = name
    check.__name__ = name
    check.__doc__ = f"Fail the run unless every element is {words}."
    return check


assert_positive = _sign_assertion("assert_positive", assert_greater, "positive")
assert_negative = _sign_assertion("assert_negative", assert_less, "negative")
assert_non_negative = _sign_assertion("assert_non_negative", assert_greater_equal, "not negative")
assert_non_positive = _sign_assertion("assert_non_positive", assert_less_equal, "not positive")


def _static_rank(x: Tensor, holds: bool, wanted: str) -> Operation:
    if not holds:
        raise ShapeError("the tensor has the wrong rank", op=x.op, expected=wanted, got=spec.describe(x.dims))
    done: Any = core.no_op(name="static_checks_determined_all_ok")
    return done  # type: ignore[no-any-return]


def assert_rank(
    x: Any,
    rank: int,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """Fail, now or in the run, unless x has that rank."""
    x = constants.convert_to_tensor(x)
    if x.dims is not None:
        return _static_rank(x, len(x.dims) == rank, f"rank {rank}")
    with core.name_scope(name, "assert_rank"):
        found = array.rank(x)
        return Assert(
            compare.equal(found, rank), data or [message or "", f"rank must be {rank}, is ", found], summarize
        )


def assert_rank_at_least(
    x: Any,
    rank: int,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """Fail, now or in the run, unless x has at least that rank."""
    x = constants.convert_to_tensor(x)
    if x.dims is not None:
        return _static_rank(x, len(x.dims) >= rank, f"rank {rank} or more")
    with core.name_scope(name, "assert_rank_at_least"):
        found = array.rank(x)
        shown = data or [message or "", f"rank must be {rank} or more, is ", found]
        return Assert(compare.greater_equal(found, rank), shown, summarize)


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Fail now unless the tensor has that dtype."""
    tensor = constants.convert_to_tensor(tensor)
    wanted = dtypes.as_dtype(tf_type)
    if tensor.dtype is not wanted:
        raise DTypeError(
            message or "the tensor has the wrong dtype", op=tensor.op, expected=wanted.name, got=tensor.dtype.name
        )
    done: Any = core.no_op(name="statically_determined_correct_type")
    return done  # type: ignore[no-any-return]


def assert_scalar(tensor: Any, name: str | None = None) -> Tensor:
    """The tensor, which must be a scalar."""
    scalar = constants.convert_to_tensor(tensor)
    if scalar.dims not in ((), None):
        raise ShapeError("expected a scalar", op=scalar.op, got=spec.describe(scalar.dims))
    return scalar


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Fail now unless the dtype is an integer type."""
    x = constants.convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise DTypeError(message or "expected integers", op=x.op, expected="an integer dtype", got=x.dtype.name)
    done: Any = core.no_op(name="statically_determined_is_integer")
    return done  # type: ignore[no-any-return]


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether it is a tensor of numbers."""
    return isinstance(tensor, Tensor) and tensor.dtype.is_numeric
