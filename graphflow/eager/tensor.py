"""`EagerTensor`: a tensor that has its value already, and `Record`: the op that it came from.

Policy: an eager tensor is a `Tensor`, so every op, shape rule and gradient of the library takes it as it is; what a
graph knows of a tensor (`dims`, `hint`) is read off the value.  A record is kept only where a gradient may be asked
for.  It knows its outputs weakly, so records and tensors form no cycles and are freed as soon as nobody holds them.
Memory that is changed in place counts its versions: a gradient that would read what is no longer there is refused.

State: the numbers of records, and which types of arrays lie on other devices.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphflow import source
from graphflow.defaults import stacks
from graphflow.dtypes import DType
from graphflow.eager.traced import looked_at, no_gradients_here
from graphflow.errors import DTypeError, FailedPreconditionError, InvalidArgumentError, ShapeError, shown
from graphflow.spec import TensorSpec
from graphflow.tensor import Scope, Tensor

UNTRACKED, TAPED, REQUIRED = 0, 1, 2  # by nobody; by a tape that watches it; as what `backward` is asked for
LARGEST_HINT = 64
ANY, LEARNED, KEPT = 0, 1, 2  # what a tensor is: nothing special; a parameter; a buffer of a module
DEVICES: dict[type, str] = {}  # array type of a device in use -> the device
_number = itertools.count(1)


def last_record() -> int:
    """A number after that of every record that was made, before that of those to come."""
    return next(_number)


class Size(tuple[int, ...]):
    """A shape: a tuple, with TensorFlow's words for it as well."""

    __slots__ = ()

    def as_list(self) -> list[int]:
        """The sizes as a list."""
        return list(self)

    @property
    def ndims(self) -> int:
        """How many axes."""
        return len(self)

    rank = ndims

    def num_elements(self) -> int:
        """How many elements."""
        total = 1
        for size in self:
            total *= size
        return total

    numel = num_elements

    def is_fully_defined(self) -> bool:
        """Always: the value is there."""
        return True

    def __repr__(self) -> str:
        return f"Size({list(self)})"


class _Views(list["weakref.ref[EagerTensor]"]):
    """The views of a tensor, which they outlive or not."""

    __slots__ = ("limit",)

    def __init__(self) -> None:
        self.limit = 32

    def tidy(self) -> None:
        """Forget those that nobody holds any longer; so seldom that a view pays next to nothing."""
        self[:] = [found for found in self if found() is not None]
        self.limit = 2 * len(self) + 32


class EagerTensor(Tensor):
    """A value, where it came from, and whether gradients may be asked of it."""

    __slots__ = (
        "_grad", "apart", "base", "cut", "hooks", "memory", "origin", "role", "track", "value", "views",
    )  # fmt: skip

    # These five are there only where they are needed, so that the others do not pay for them:
    apart: weakref.ref[EagerTensor]  # on a device: the tensor whose memory it would show elsewhere
    base: EagerTensor  # for a view: the tensor whose memory it shows
    cut: int  # the number of the last record before it was detached in place
    hooks: dict[int, Any]  # what a leaf's gradient goes through: `eager.hooks`
    views: _Views  # those that show its memory

    graph: Any  # the one eager graph; the engine sets it for the class

    def __init__(self, value: Any, dtype: DType, track: int = UNTRACKED) -> None:
        self.value = value
        self.dtype = dtype
        self.track = track
        self.origin: Record | None = None
        self.index = 0
        self._grad: EagerTensor | None = None
        self.role = ANY
        self.memory: list[int] | None = None  # the number of changes in place, shared by all that share the memory

    if TYPE_CHECKING:  # the operators, methods and properties that `graphflow.eager.methods` attaches

        def __getattr__(self, name: str) -> Any: ...

    # -- what the library reads of a tensor ----------------------------------------------------------------------

    @property
    def op(self) -> Any:  # type: ignore[override]
        """The op that made it; for what no op made, an op without inputs."""
        return self.origin if self.origin is not None else Leaf(self)

    @property
    def dims(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape as a tuple."""
        return getattr(self.value, "shape", ())

    @property
    def hint(self) -> Any:
        """The value of a small integer tensor, for inference."""
        value = self.value
        if not self.dtype.is_integer or type(value) in DEVICES or value.ndim > 1 or value.size > LARGEST_HINT:
            return None
        return int(value) if value.ndim == 0 else tuple(value.tolist())

    @property
    def name(self) -> str:
        """The op's name and the output's number."""
        return f"{self.op.name}:{self.index}"

    @property
    def device(self) -> str:
        """Where the value lies."""
        return DEVICES.get(type(self.value), "cpu")

    @property
    def shape(self) -> Size:  # type: ignore[override]
        """The shape."""
        return Size(self.dims)

    def get_shape(self) -> Size:  # type: ignore[override]
        """The shape."""
        return Size(self.dims)

    def set_shape(self, shape: Any) -> None:
        """Check the shape, which is known."""
        from graphflow import spec
        from graphflow.tensor_shape import as_dims

        spec.merge(self.dims, as_dims(shape))

    # -- what a user reads of it ---------------------------------------------------------------------------------

    def _array(self) -> Any:
        if stacks.graphs:
            looked_at(self)
        found = self.value.numpy() if hasattr(self.value, "numpy") else self.value
        if type(found) is not np.ndarray:
            return np.asarray(found, self.dtype.np)
        view = found.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The one element as a Python number."""
        found = self._array()
        if found.size != 1:
            raise InvalidArgumentError(
                "item() takes a tensor of one element", got=f"shape {list(found.shape)}", hint="x.tolist()"
            )
        return found.reshape(()).item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self._array().tolist()

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_integer or self.dims != ():
            raise InvalidArgumentError("only a scalar of integers is an index", got=repr(self)[:80], hint="int(x)")
        return int(self.item())

    def __iter__(self) -> Iterator[Any]:
        if not self.dims:
            raise InvalidArgumentError("a scalar cannot be iterated over", hint="x.item() is its value")
        return (self[i] for i in range(self.dims[0]))

    __hash__ = object.__hash__

    # -- gradients -----------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` computes a gradient for it, or through it."""
        return self.track == REQUIRED

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted and not (self.dtype.is_floating or self.dtype.is_complex):
            raise DTypeError(
                "only floating-point tensors require gradients",
                got=self.dtype.name,
                hint="x.float(), or values such as 1.0; torch.tensor([1, 2]) holds int64",
            )
        if not wanted and self.origin is not None:
            raise FailedPreconditionError(
                "only a leaf can stop requiring gradients", got=repr(self)[:80], hint="x.detach() is cut off"
            )
        self.track = REQUIRED if wanted else UNTRACKED

    @property
    def grad(self) -> EagerTensor | None:
        """What `backward` has added up for it; None before."""
        if stacks.graphs:
            no_gradients_here(self)
        return self._grad

    @grad.setter
    def grad(self, wanted: EagerTensor | None) -> None:
        if stacks.graphs:
            no_gradients_here(self)
        if wanted is not None:
            check_gradient(self, wanted)
        self._grad = wanted

    @property
    def is_leaf(self) -> bool:
        """Whether it is what gradients are added up for, or takes no part in them."""
        return self.origin is None or self.track != REQUIRED

    def touched(self) -> list[int]:
        """The counter of changes of its memory."""
        if self.memory is None:
            self.memory = [0]
        return self.memory

    def shareable(self) -> Any:
        """The value as memory that two tensors can have: a scalar as an array."""
        if isinstance(self.value, np.generic):
            self.value = np.array(self.value)
        return self.value

    def owns(self, value: Any) -> None:
        """From now on it has memory of its own, with the same values: it is a view of nothing."""
        self.value, self.memory = value, None
        if hasattr(self, "base"):
            del self.base
        if hasattr(self, "apart"):
            del self.apart

    def is_apart_from(self, x: EagerTensor) -> None:
        """On a device it is a copy of what it would show elsewhere: x, or what x would show."""
        earlier = getattr(x, "apart", None)
        self.apart = weakref.ref(x) if earlier is None or earlier() is None else earlier

    def shown_by(self, y: EagerTensor) -> None:
        """Tensor y is a view of this one: what is changed in place in one is changed in the other."""
        y.memory = self.touched()
        if y.dtype is not self.dtype:
            return
        is_leaf = self.track == REQUIRED and self.origin is None
        y.base = base = self if is_leaf else getattr(self, "base", self)
        try:
            views = base.views
        except AttributeError:
            views = base.views = _Views()
        views.append(weakref.ref(y))
        if len(views) > views.limit:
            views.tidy()


def check_gradient(x: EagerTensor, gradient: Any) -> None:
    """Raise unless this may be the gradient of x."""
    if not isinstance(gradient, EagerTensor):
        raise DTypeError("a gradient is a tensor or None", got=shown(gradient), hint="x.grad = torch.zeros_like(x)")
    if gradient is x:
        raise InvalidArgumentError("a tensor cannot be its own gradient", hint="x.grad = x.detach().clone()")
    if gradient.dtype is not x.dtype:
        raise DTypeError(
            "a gradient has the dtype of its tensor",
            expected=x.dtype.name,
            got=gradient.dtype.name,
            hint=f"grad.to(torch.{x.dtype.name})",
        )
    if gradient.dims != x.dims:
        raise ShapeError(
            "a gradient has the shape of its tensor",
            expected=str(list(x.dims)),
            got=str(list(gradient.dims)),
            hint="x.grad = torch.zeros_like(x)",
        )
    if gradient.dims and gradient.device != x.device:
        raise InvalidArgumentError(
            "a gradient lies where its tensor does",
            expected=x.device,
            got=gradient.device,
            hint="x.grad = grad.to(x.device)",
        )


class Leaf:
    """The op of a tensor that no recorded op made."""

    __slots__ = ("graph", "outputs")

    gradient_type = "Leaf"
    inputs: tuple[Tensor, ...] = ()
    control_inputs: tuple[Any, ...] = ()
    device = ""
    region = None
    id = 0
    source = "a value, not an op"

    def __init__(self, tensor: EagerTensor) -> None:
        self.graph = tensor.graph
        self.outputs = (tensor,)

    @property
    def type(self) -> str:
        """To rules that treat constants in their own way, what nobody differentiates by is one."""
        x = self.outputs[0]
        return "Const" if x.track == UNTRACKED and x.dtype.kind != "resource" else "Leaf"

    @property
    def attrs(self) -> dict[str, Any]:
        """Those of a constant."""
        x = self.outputs[0]
        return {"value": x.value, "dtype": x.dtype}

    @property
    def name(self) -> str:
        """The name of a variable's memory; values have none."""
        return str(getattr(self.outputs[0].value, "name", "value"))

    def __eq__(self, other: object) -> bool:
        return type(other) is Leaf and other.outputs[0] is self.outputs[0]

    def __hash__(self) -> int:
        return id(self.outputs[0])


class Record:
    """One op that was computed: what `Operation` is in a graph, for as long as a gradient may need it."""

    __slots__ = (
        "__weakref__", "_name", "_outputs", "attrs", "dtypes", "freed", "gradient_type", "graph", "id", "inputs",
        "type", "user_source", "values", "versions",
    )  # fmt: skip

    control_inputs: tuple[Any, ...] = ()
    device = ""
    region = None

    def __init__(
        self,
        graph: Any,
        type: str,
        scope: Scope,
        inputs: tuple[EagerTensor, ...],
        attrs: dict[str, Any],
        name: str | None,
        place: source.Source,
    ) -> None:
        self.graph = graph
        self.type = type
        self.gradient_type = type
        for original, replacement in scope.gradient_map:
            if original == type:
                self.gradient_type = replacement
                break
        self.inputs = inputs
        self.attrs = attrs
        self._name = name
        self.user_source = place
        self.id = next(_number)
        self.freed = False
        self.versions = [x.memory[0] if x.memory is not None else 0 for x in inputs]

    def made(self, outputs: Sequence[EagerTensor]) -> None:
        """These are its outputs."""
        self._outputs = [weakref.ref(x) for x in outputs]
        self.values = [x.value for x in outputs]
        self.dtypes = [x.dtype for x in outputs]
        for index, x in enumerate(outputs):
            x.origin, x.index = self, index

    @property
    def name(self) -> str:
        """The name that was given, or type and number."""
        return (self._name or self.type).rstrip("/") if self._name else f"{self.type}_{self.id}"

    @property
    def source(self) -> str:
        """The user's own line."""
        return str(self.user_source)

    def let_go(self) -> None:
        """Its derivative was asked for: let go of what that needed.  Places in the graph are still asked for."""
        if type(self) is Record and self._is_view():
            return  # it needs no values, and holds no memory that the view does not
        self.freed = True
        self.inputs = tuple([x if x.origin is None and x.track else EagerTensor(None, x.dtype) for x in self.inputs])
        self.values = [None] * len(self.values)

    def _is_view(self) -> bool:
        """Whether what it made is in use, and shows the memory of what it was made from."""
        memory = self.inputs[0].memory if self.inputs else None
        made = self._outputs[0]() if memory is not None else None
        return made is not None and made.memory is memory and hasattr(made, "base")

    def is_as_it_was(self) -> bool:
        """Whether no input was changed in place since."""
        for x, version in zip(self.inputs, self.versions):  # noqa: B905 - one for each
            if x.memory is not None and x.memory[0] != version:
                return False
        return True

    @property
    def outputs(self) -> tuple[EagerTensor, ...]:
        """The tensors that it made; one that nobody holds any longer comes as a new one of the same value."""
        if len(self._outputs) == 1:  # the usual case the quick way
            only = self._outputs[0]()
            if only is not None:
                return (only,)
        out = []
        for index, found in enumerate(self._outputs):
            x = found()
            if x is None:
                dtype = self.dtypes[index]
                tracks = [i.track for i in self.inputs] if dtype.is_floating or dtype.is_complex else []
                x = EagerTensor(self.values[index], dtype, max(tracks, default=UNTRACKED))
                x.origin, x.index = self, index
                self._outputs[index] = weakref.ref(x)
            out.append(x)
        return tuple(out)

    def get_attr(self, name: str) -> Any:
        """One attribute by name."""
        return self.attrs[name]

    def known(self) -> list[TensorSpec]:
        """Dtypes and shapes of the outputs."""
        return [TensorSpec(d, getattr(v, "shape", ())) for d, v in zip(self.dtypes, self.values, strict=True)]
