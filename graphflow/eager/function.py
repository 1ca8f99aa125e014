"""`function`: a Python function that is traced to a graph once, and run as a compiled program from then on.

Policy: one trace for each signature, found by one look-up.  While a graph is being built, and for symbolic arguments,
the Python code is simply called, so traced functions call each other and serve graphs too.  Many traces of one
function are reported once, with what keeps changing.  A function of a class has traces of its own for each object,
which end with the object.

State: each function owns its traces, at most `MAX_TRACES`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from graphflow.defaults import stacks
from graphflow.dtypes import as_dtype
from graphflow.eager import signatures
from graphflow.eager.notices import Notices, is_tensor_key, place_of
from graphflow.eager.reading import around
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.trace_session import TraceSession, new_session
from graphflow.eager.traced import trace_here
from graphflow.eager.tracing import Trace
from graphflow.errors import Error, FailedPreconditionError, InvalidArgumentError, shown
from graphflow.runtime.config import ConfigProto
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor
from graphflow.tensor_shape import TensorShape, as_dims

MAX_TRACES = 64
MAX_MODES = 3  # traces for one signature that wait until modules are in the mode again that they are for
_PLAIN = signatures.PLAIN


class Function:
    """A traced function: call it like the Python function that it was made of."""

    def __init__(
        self, python: Callable[..., Any], declared: Sequence[TensorSpec] | None, options: Any, trains: bool
    ) -> None:
        self._python = python
        self._trains = trains
        self._shared: TraceSession | None = None  # of all traces, if they train
        self._declared = declared
        self._options = options
        self._parameters = inspect.signature(python)
        self._traces: dict[Any, Trace] = {}
        self._resting: dict[Any, list[Trace]] = {}  # made while modules, or the caller, were in another mode
        self._quick: dict[Any, Trace] = {}  # by what the positional arguments are: the quick way to the same traces
        self._modules: list[Any] = []  # weak references: whether these are in training is part of a signature
        self._lock = threading.RLock()
        self._last: tuple[weakref.ref[Trace], tuple[Any, ...]] | None = None
        self._of: dict[int, tuple[Any, Function]] = {}  # for objects, as a method: by id, with a weak reference
        self.__name__ = str(getattr(python, "__name__", type(python).__name__))
        functools.update_wrapper(self, python, updated=())
        self._notices = Notices(python, self.__name__)

    # -- calling ---------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the Python function returns, computed by the compiled program."""
        graphs = stacks.graphs
        if graphs and not graphs[-1].computes:
            graph = trace_here()
            before = around([self._python]) if graph is not None else None
            made = self._python(*args, **kwargs)
            if before is not None:
                graph.reliance.watch(before)
            return made
        if not kwargs:
            key: list[Any] = self._training() if self._modules else []
            tensors = []
            for x in args:
                kind = type(x)
                if kind is EagerTensor or isinstance(x, EagerTensor):
                    key += x.dtype, getattr(x.value, "shape", ())
                    tensors.append(x)
                elif kind in _PLAIN:
                    key += kind, x
                else:
                    break
            else:
                trace = self._quick.get(tuple(key))
                if trace is not None and not trace.is_outdated():
                    return trace.run(tensors)
        return self._slow(args, kwargs)

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = self._bound(args, kwargs)
        parts = signatures.Parts(bound.arguments)
        if parts.symbolic:
            return self._python(*args, **kwargs)
        trace = self._trace(bound, parts)
        plain = not kwargs and self._declared is None and not parts.objects
        if plain and all(type(x) in _PLAIN or isinstance(x, Tensor) for x in args):
            key = self._training()
            for x in args:
                key += (x.dtype, x.dims) if isinstance(x, Tensor) else (type(x), x)
            self._quick[tuple(key)] = trace
        return trace.run(parts.tensors)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        try:
            bound = self._parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgumentError(f"{self.__name__}(): {error}", expected=str(self._parameters)) from None
        bound.apply_defaults()
        return bound

    def _training(self) -> list[Any]:
        return [getattr(module(), "training", None) for module in self._modules]

    # -- tracing ---------------------------------------------------------------------------------------------------

    def _trace(self, bound: inspect.BoundArguments, parts: signatures.Parts) -> Trace:
        """The trace for these arguments, made now if there is none."""
        with self._lock:
            if self._declared is not None:
                signatures.check_declared(self._declared, parts.tensors)
            key = self._key(parts)
            trace = self._traces.get(key)
            if trace is not None and trace.is_outdated():
                trace = self._of_this_mode(key, trace)
            if trace is None:
                self._look_around()
                key = self._key(parts)
                trace = self._traced(bound, parts)
                while len(self._traces) >= MAX_TRACES:
                    self._forget(next(iter(self._traces)))
                self._traces[key] = trace
                trace.watched = [weakref.ref(x, self._forgetting(key)) for x in parts.objects]
            self._last = weakref.ref(trace), tuple([x.dims for x in parts.tensors])
            return trace

    def _of_this_mode(self, key: Any, outdated: Trace) -> Trace | None:
        """The trace that was made when modules were in training as they are now; the other one may be of use again."""
        known = [t for t in [*self._resting.get(key, ()), outdated] if t.is_of_another_mode()]
        self._forget(key)
        found = next((t for t in known if not t.is_outdated()), None)
        self._resting[key] = [t for t in known if t is not found][-MAX_MODES:]
        if found is not None:
            self._traces[key] = found
        return found

    def _key(self, parts: signatures.Parts) -> Any:
        if self._declared is not None:
            return "declared", *self._training(), *[k for k in parts.key if not is_tensor_key(k)]
        return (*self._training(), *parts.key)

    def _look_around(self) -> None:
        """Whose training is part of a signature; where that is another module now, no trace is of use any more."""
        found = signatures.modules_around(self._python)
        if [id(module()) for module in found] != [id(module()) for module in self._modules]:
            self._modules = found
            for known in (self._traces, self._resting, self._quick):
                known.clear()

    def _forgetting(self, key: Any) -> Callable[[Any], None]:
        """What to do when an object dies that a signature names: its trace can never be used again."""
        mine = weakref.ref(self)

        def forget(_: Any) -> None:
            function = mine()
            if function is not None:  # this may come at any moment, so it takes no lock
                function._traces.pop(key, None)
                function._resting.pop(key, None)

        return forget

    def _forget(self, key: Any) -> None:
        self._resting.pop(key, None)
        trace = self._traces.pop(key, None)
        for quick in [k for k, found in self._quick.items() if found is trace]:
            del self._quick[quick]

    def _traced(self, bound: inspect.BoundArguments, parts: signatures.Parts) -> Trace:
        specs = self._declared or [TensorSpec(x.dtype, x.dims) for x in parts.tensors]

        def call(symbols: Sequence[Tensor]) -> Any:
            supply = iter(symbols)
            given = {name: signatures.symbols_in(v, supply) for name, v in bound.arguments.items()}
            again = inspect.BoundArguments(self._parameters, given)
            return self._python(*again.args, **again.kwargs)

        session = self._shared or new_session(self._options, self._trains)
        if self._trains:  # slots of optimizers and the like serve all traces
            self._shared = session
        before = around([self._python], bound.arguments.values())
        trace = Trace(self.__name__, session).build(call, specs, before)
        self._notices.traced(parts.kinds, trace.bound)
        return trace

    # -- methods ---------------------------------------------------------------------------------------------------

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        known = self._of.get(id(instance))
        if known is None or known[0]() is not instance:
            made = Function(_OfObject(self._python, instance), self._declared, self._options, self._trains)
            with self._lock:
                known = self._of[id(instance)] = weakref.ref(instance, self._leaving(id(instance))), made
        return _Method(known[1], instance)

    def _leaving(self, number: int) -> Callable[[Any], None]:
        """What to do when an object dies: its traces go with it, unless its number is another's already."""
        of = self._of

        def leave(ref: Any) -> None:
            if number in of and of[number][0] is ref:
                del of[number]

        return leave

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        """The same of a copy of what it was made of, such as a module, without traces."""
        return Function(copy.deepcopy(self._python, memo), self._declared, self._options, self._trains)

    # -- looking inside --------------------------------------------------------------------------------------------

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> Trace:
        """The trace for such arguments, made now if there is none; it is called with the tensors among them."""
        bound = self._bound(args, kwargs)
        return self._trace(bound, signatures.Parts(bound.arguments))

    @property
    def graph(self) -> Any:
        """The graph of the last trace."""
        return self._traced_last()[0].graph

    @property
    def traces(self) -> list[Trace]:
        """The traces, the oldest first."""
        return list(self._traces.values())

    def render(self, path: Any, view: str = "graph", **options: Any) -> str:
        """Draw the last trace; options as in `graphflow.render`, whose views of programs are there too."""
        from graphflow.render.picture import render

        trace, shapes = self._traced_last()
        target = trace.fetches if view in ("graph", "gradients") else trace.explain(shapes).program
        return render(target, path, view, **options)

    def explain(self) -> Any:
        """What the compiler made of the last trace: print it, or read its fields."""
        trace, shapes = self._traced_last()
        return trace.explain(shapes)

    def _traced_last(self) -> tuple[Trace, tuple[Any, ...]]:
        trace = None if self._last is None else self._last[0]()
        if trace is None or self._last is None:
            raise FailedPreconditionError(
                f"{self.__name__} was not traced yet", hint="call it, or get_concrete_function(*arguments)"
            )
        return trace, self._last[1]

    def __repr__(self) -> str:
        return f"<traced function {place_of(self._python, self.__name__)}, traces: {len(self._traces)}>"


class _OfObject:
    """A method as a function of its other arguments; the object is held weakly."""

    def __init__(self, python: Callable[..., Any], instance: Any) -> None:
        self._python = python
        self._instance = weakref.ref(instance)
        functools.update_wrapper(self, python, updated=())
        parameters = list(inspect.signature(python).parameters.values())[1:]
        self.__signature__ = inspect.Signature(parameters)

    @property
    def __self__(self) -> Any:
        return self._instance()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        instance = self._instance()
        return self._python(instance, *args, **kwargs)


class _Method:
    """A function together with its object, which it keeps alive as Python's own methods do."""

    def __init__(self, function: Function, instance: Any) -> None:
        self.__self__ = instance
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Sequence[Any] | None = None,
    *,
    optimization_level: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    trains: bool = False,
) -> Any:
    """Trace a Python function to a graph, once for each signature, and run the compiled program from then on.

    @gf.function
    def loss(x, y):
        return gf.reduce_mean(gf.square(model(x) - y))

    input_signature     a TensorSpec for each tensor among the arguments: one trace, dimensions may be None
    optimization_level  as of `Session`
    device              as of `Session`: "opencl", for example
    workers             how many tasks of a run may be done at once; default: the number of cores
    trains              parameters of modules become variables of the graph, so that an optimizer of `graphflow.train`
                        updates them inside: `optimizer.minimize(loss)`, returned or not

    The Python code runs while it is traced, and not again, until something that it went by is another: a tensor,
    a module or a plain value that a name means in its code or in functions that this names, plain attributes of objects
    so named, the parts of the modules that it used and whether they are in training, the values that it looked at,
    whether its caller records.  Small dicts, lists, tuples and sets of plain values, up to 64, are such values too.
    What is reached in other ways is read once, and so are larger containers, and NumPy arrays that it does not get as
    arguments: `torch.as_tensor(array)` outside makes a tensor of one, which is read at each call.  Tensors from
    outside that it changes in place are changed at each call; random numbers are drawn at each call; what is computed
    under `no_grad` has no gradient.  There is no autograph: `if` and `for` over tensors raise, and say what there is
    instead.
    """
    declared = None if input_signature is None else [_declared(s) for s in input_signature]
    options: dict[str, Any] = {"optimization_level": optimization_level, "device": device}
    if workers is not None:
        options["config"] = ConfigProto(inter_op_parallelism_threads=workers)
    if func is None:
        return functools.partial(_made, declared=declared, options=options, trains=trains)
    return _made(func, declared, options, trains)


def _made(func: Any, declared: Any, options: Any, trains: bool) -> Function:
    if not callable(func):
        raise InvalidArgumentError("function takes a Python function", got=shown(func))
    return Function(func._python if isinstance(func, Function) else func, declared, options, bool(trains))


def _declared(item: Any) -> TensorSpec:
    if isinstance(item, TensorSpec):
        dtype, dims = item.dtype, item.dims
        if isinstance(dtype, (list, tuple, TensorShape)):  # TensorFlow's order
            dtype, dims = dims, dtype
        try:
            return TensorSpec(as_dtype(dtype), as_dims(dims))
        except Error as error:
            error.hint = error.hint or "a spec is TensorSpec(dtype, dims)"
            raise
    if hasattr(item, "dtype") and hasattr(item, "dims"):
        return TensorSpec(item.dtype, item.dims)
    raise InvalidArgumentError(
        "input_signature is a list of specs", expected="TensorSpec(dtype, dims)", got=shown(item)
    )
