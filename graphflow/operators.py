"""Python's operators on tensors and variables.

Policy: every operator is one line that looks its op up by name in a table, which `graphflow.ops` fills once; so the
graph layer needs to know no op.  NumPy arrays on the left yield to the symbolic side (`__array_ufunc__`).
What cannot be answered without running the graph (`if`, `for`, `len`, `float`) raises with advice.

State: the table of operator implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from graphflow.errors import SymbolicUseError

_table: dict[str, Callable[..., Any]] = {}
_UFUNCS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "true_divide": "truediv",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "power": "pow",
    "matmul": "matmul",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_xor": "xor",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
}


def bind_operators(table: Mapping[str, Callable[..., Any]]) -> None:
    """Fill the table; called once by the vocabulary."""
    _table.update(table)


class Operators:
    """Mixin: arithmetic, comparison and slicing by symbolic ops."""

    __slots__ = ()
    __array_priority__ = 100

    def on_value(self, function: Callable[[Any], Any]) -> Any:
        """Call `function(value)` whenever a run computes this; returns a handle with `remove()`.  Also a decorator."""
        return _table["on_value"](self, function)

    def __add__(self, other: Any) -> Any:
        return _table["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return _table["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return _table["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return _table["sub"](other, self)

    def __mul__(self, other: Any) -> Any:
        return _table["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return _table["mul"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return _table["truediv"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _table["truediv"](other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _table["floordiv"](self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _table["floordiv"](other, self)

    def __mod__(self, other: Any) -> Any:
        return _table["mod"](self, other)

    def __rmod__(self, other: Any) -> Any:
        return _table["mod"](other, self)

    def __pow__(self, other: Any) -> Any:
        return _table["pow"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return _table["pow"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return _table["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _table["matmul"](other, self)

    def __and__(self, other: Any) -> Any:
        return _table["and"](self, other)

    def __rand__(self, other: Any) -> Any:
        return _table["and"](other, self)

    def __or__(self, other: Any) -> Any:
        return _table["or"](self, other)

    def __ror__(self, other: Any) -> Any:
        return _table["or"](other, self)

    def __xor__(self, other: Any) -> Any:
        return _table["xor"](self, other)

    def __rxor__(self, other: Any) -> Any:
        return _table["xor"](other, self)

    def __lt__(self, other: Any) -> Any:
        return _table["lt"](self, other)

    def __le__(self, other: Any) -> Any:
        return _table["le"](self, other)

    def __gt__(self, other: Any) -> Any:
        return _table["gt"](self, other)

    def __ge__(self, other: Any) -> Any:
        return _table["ge"](self, other)

    def __neg__(self) -> Any:
        return _table["neg"](self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return _table["abs"](self)

    def __invert__(self) -> Any:
        return _table["invert"](self)

    def __getitem__(self, key: Any) -> Any:
        return _table["getitem"](self, key)

    def __bool__(self) -> bool:
        _refuse(
            self, "used as a Python bool", "tf.cond chooses by value inside the graph; `x is not None` tests for None"
        )

    def __iter__(self) -> Iterator[Any]:
        _refuse(
            self, "iterated over", "tf.unstack(x) gives a list of tensors; tf.map_fn and tf.while_loop run over them"
        )

    def __len__(self) -> int:
        _refuse(
            self,
            "asked for its len()",
            "x.get_shape()[0].value where it is known, tf.shape(x)[0] otherwise (in a forward x.size(0); x.flatten(1))",
        )

    def __float__(self) -> float:
        _refuse(self, "converted to a Python number", "run it: sess.run(x, feed_dict={...})")

    def __int__(self) -> int:
        _refuse(self, "converted to a Python number", "run it: sess.run(x, feed_dict={...})")

    def __index__(self) -> int:
        _refuse(self, "used as a Python index", "tf.gather picks by symbolic index; x[t] slices by a scalar tensor t")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """What `array + tensor` and `numpy.exp(tensor)` come to: arithmetic is symbolic, everything else refused."""
        name = _UFUNCS.get(ufunc.__name__)
        if name is None or method != "__call__" or kwargs:
            _refuse(self, f"given to numpy.{ufunc.__name__}", f"tf.{ufunc.__name__} builds the op, if there is one")
        return _table[name](*inputs)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        _refuse(self, "assigned to", "tf.where chooses elementwise; tf.scatter_update changes rows of a variable")

    def __format__(self, form: str) -> str:
        return repr(self) if not form else _refuse(self, "formatted as a number", "run it: sess.run(x)")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self, "converted to a NumPy array", "run it: sess.run(x, feed_dict={...})")

    def __contains__(self, item: Any) -> bool:
        _refuse(self, "searched with `in`", "tf.reduce_any(tf.equal(x, item)) asks inside the graph")


def _refuse(what: Any, how: str, hint: str) -> NoReturn:
    op = getattr(what, "op", None)
    raise SymbolicUseError(f"a symbolic tensor was {how}: it has no value before it is run", op=op, hint=hint)
