"""Looking inside a running graph: Print, Assert, py_func, check_numerics, and the assert_* family.

Policy: all of these act on the world, so they are never folded, merged or moved over a control edge.

State: each graph keeps the callbacks of its tensors (`graph.store`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import constants, dtypes, source, spec
from graphflow.compile.lower import CALLBACKS
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, shown
from graphflow.graph import FuncGraph, get_default_graph
from graphflow.opdef import call, op
from graphflow.ops import array, compare, core
from graphflow.ops.inference import check_kind
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Scope, Tensor


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
    if message is not None and not isinstance(message, str):
        raise DTypeError("the message of a Print is a string", got=shown(message))
    first = _count(first_n, "first_n", -1)
    return _print(input_, data, message or "", first, _count(summarize, "summarize", 3), name=name)


def _count(given: Any, what: str, default: int) -> int:
    """A number of elements or of times; a negative one means all."""
    if given is None:
        return default
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise DTypeError(f"{what} is an integer; -1 means all", got=shown(given))
    return int(given)


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
    found: Any = _assert(condition, data, _count(summarize, "summarize", 3), name=name)
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
    if not isinstance(inp, (list, tuple)):
        raise DTypeError(
            "py_func takes a list of tensors", got=shown(inp), hint="tf.py_func(function, [x], tf.float32)"
        )
    single = not isinstance(Tout, (list, tuple))
    wanted = tuple(dtypes.as_dtype(d) for d in ([Tout] if single else Tout))
    found = _call_python(list(inp), func, wanted, bool(stateful), name=name)
    if not wanted:
        return found if isinstance(found, Operation) else get_default_graph().get_operations()[-1]
    return found[0] if single else list(found)


class Callback:
    """A function that sees the value of a tensor whenever it is computed or fed, in any session, until `remove()`.

    It gets an array of its own, once in each run and in each turn of a loop.  No op is added to the graph: what is
    lowered gets an instruction beside the one that makes the tensor, which computes nothing more than was asked for.
    """

    def __init__(self, tensor: Any, function: Callable[[Any], Any]) -> None:
        # a tensor is taken as it is: it may be of a body that is built already
        self.tensor = tensor if isinstance(tensor, Tensor) else constants.convert_to_tensor(tensor)
        if not callable(function):
            raise DTypeError("on_value takes a function of the value", op=self.tensor.op, got=repr(function)[:80])
        if self.tensor.dtype is dtypes.resource:
            raise DTypeError("a variable's handle has no value to look at", op=self.tensor.op, hint="variable.value()")
        self.function = function
        self.called = f"the callback of {self.tensor.name}"
        graph, maker = self.tensor.graph, self.tensor.op
        attrs = {"function": self, "out": (), "stateful": True}
        name, place = f"{maker.name}/on_value", source.user_frame()
        self._op = Operation(graph, maker.id, "PyFunc", name, (self.tensor,), attrs, Scope(), place, ())
        graph.store.setdefault(CALLBACKS, {}).setdefault(self.tensor, []).append(self._op)
        graph.outdate_plans()

    def __call__(self, value: Any) -> Any:
        """The function itself, so that its name still means it after `@tensor.on_value`."""
        return self.function(value)

    def remove(self) -> None:
        """Call it no more; a second time does nothing."""
        graph = self.tensor.graph
        mine = graph.store.get(CALLBACKS, {}).get(self.tensor, [])
        if self._op in mine:
            mine.remove(self._op)
            graph.outdate_plans()

    def __enter__(self) -> Callback:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


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
            default_data = [f"x {words} y does not hold; {x.name}:", x, f"{y.name}:", y]
            said = list(data) if data is not None else default_data
            return Assert(compare_op(x, y), [*([message] if message else ()), *said], summarize)

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
        said = data if data is not None else [f"not every element is {words}; {x.name}:", x]
        return against_zero(x, array.zeros_like(x), said, summarize, message, name=name or default)

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
