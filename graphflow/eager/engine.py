"""Ops computed at once: the graph whose ops are not kept but done.

Policy: `EAGER` stands where a graph stands, so op functions, shape inference, gradients and compositions are those of
graphs, each written once.  What an op does for inputs of certain dtypes, shapes and attributes is worked out once:
inference checks it, the backend binds its kernel, and both are kept under that signature, so that the next such op
costs one look-up beside the kernel itself.  Ops that need more than their inputs (variables, random numbers, branches,
Python functions), and arrays of other devices, run as programs of one instruction.

State: per process shapes (bounded), programs of variables, what stands for a session, and the number of the next run.
Per thread whether gradients are recorded, and the context in which kernels run.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphflow import source
from graphflow.backend import Cell, Executable, Run, load_backend
from graphflow.dtypes import int32, string
from graphflow.eager.bindings import BOUND, MAX_BOUND, Bound, Kernel, remember, signature_of
from graphflow.eager.tensor import DEVICES, REQUIRED, TAPED, EagerTensor, Leaf, Record
from graphflow.errors import Error, FailedPreconditionError, GraphError, InvalidArgumentError
from graphflow.graph import FuncGraph, Graph
from graphflow.keys import GraphKeys
from graphflow.opdef import OPS, OpDef, as_inputs, check_inputs, gradient_of
from graphflow.program import Instruction, Program
from graphflow.runtime.workers import usable_cores
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

MAX_OF_VARIABLE = 64  # programs that are kept for one variable


class _Here(threading.local):
    """What holds in one thread."""

    def __init__(self) -> None:
        self.records = True  # whether ops on tensors that require gradients are recorded
        self.tapes = 0  # how many tapes are open
        self.open: list[Any] = []  # those tapes
        self.context = load_backend("numpy").kernel_context()


here = _Here()


class _Session:
    """What a backend sees of a session, for programs of one instruction."""

    watch = None
    soft_placement = True
    threads = 1
    workers = 1

    def __init__(self) -> None:
        self.runs = itertools.count()
        self.entropy = secrets.randbits(64)
        self.threads = usable_cores()

    def is_closed(self) -> bool:
        """Never."""
        return False

    def next_run(self) -> Run:
        """Every op that draws random numbers is a run of its own."""
        return Run(next(self.runs), self.entropy)

    def cell(self, variable: Any) -> Cell:
        """The memory of a variable."""
        if isinstance(variable, Leaf):  # a handle, whose value is the memory
            found: Cell = variable.outputs[0].value
            return found
        return load_backend("numpy").new_cell(variable.name, variable.attrs["dtype"], variable.attrs["dims"])

    def compile_function(self, graph: Any, results: Sequence[Any], dims: Sequence[Any]) -> Executable:
        """The executable of a branch or loop body."""
        from graphflow.compile import pipeline

        backend = load_backend("numpy")
        resources = pipeline.Resources(1, self.threads, backend.storage, backend.is_whole)
        program = pipeline.compile_graph(
            list(results), [], graph.args, dims, backend.evaluate, pipeline.Options(0), resources
        )
        return backend.compile(program, self)


class EagerGraph(Graph):
    """Where a graph stands, and every op is computed when it is built."""

    computes = True
    # What neighbours that stand above set:
    recorded: Callable[[Any], Any]  # the graph of what tensors came from; `eager.pictures`
    put: Callable[[EagerTensor, str], EagerTensor]  # a tensor on a device; `eager.devices`

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[tuple[int, ...], EagerTensor] = {}
        self.session = _Session()
        self.store["variables"] = weakref.WeakValueDictionary()  # by handle
        # programs that read and write a variable, by its handle and their signature
        self._of_variables: weakref.WeakKeyDictionary[EagerTensor, dict[Any, Bound]] = weakref.WeakKeyDictionary()
        self._held: dict[str, weakref.WeakValueDictionary[int, Any]] = {}  # the collections of variables

    def add_to_collection(self, name: str, value: Any) -> None:
        """Variables are listed for as long as somebody holds them; of what is done and over no list is kept."""
        if name == GraphKeys.GLOBAL_STEP:  # there is one, whoever holds it
            super().add_to_collection(name, value)
        elif hasattr(value, "handle"):
            self._held.setdefault(name, weakref.WeakValueDictionary())[id(value)] = value

    def items_of(self, name: str) -> list[Any]:
        """What is still held of a collection."""
        return [*super().items_of(name), *self._held.get(name, weakref.WeakValueDictionary()).values()]

    def add_operation(
        self, type: str, inputs: Any, attrs: dict[str, Any], known: Any, name: Any, place: source.Source
    ) -> Any:
        """Constants come this way, and what else is built without `opdef.build`."""
        if type == "Const":
            value = EagerTensor(attrs["value"], attrs["dtype"])
            if self.scope.device and value.dims and not value.dtype.is_integer:
                value = self.put(value, self.scope.device)
            return _Made((value,), self)
        made = self.compute(OPS[type], inputs, name, attrs, raw=True)
        return _Made(made, self)

    def sizes(self, dims: tuple[int, ...]) -> EagerTensor:
        """A shape as a tensor, which nobody may change."""
        found = self._sizes.get(dims)
        if found is None:
            value = np.array(dims, np.int32)
            value.flags.writeable = False
            if len(self._sizes) >= MAX_BOUND:
                self._sizes.clear()
            found = self._sizes[dims] = EagerTensor(value, int32)
        return found

    def capture(self, tensor: Tensor) -> Tensor:
        """Eager tensors are used as they are; a symbolic one has no value yet."""
        if isinstance(tensor, EagerTensor):
            return tensor
        raise GraphError(
            f"{tensor.name!r} belongs to a graph and has no value yet",
            op=tensor.op,
            hint="use it under `with graph.as_default():`, or fetch its value with session.run",
        )

    def name_scope(self, name: Any) -> Any:
        """Names of ops that are not kept need not be unique."""
        return contextlib.nullcontext(f"{name}/" if name and not str(name).endswith("/") else str(name or ""))

    @contextlib.contextmanager
    def control_dependencies(self, control_inputs: Any) -> Iterator[None]:
        """What is to be waited for is done already."""
        yield

    def compute(
        self, definition: OpDef, inputs: tuple[Any, ...], name: str | None, attrs: dict[str, Any], raw: bool = False
    ) -> Any:
        """Do the op; `raw` for its outputs as a tuple, else what its function returns."""
        found = signature_of(definition, inputs, attrs)
        if found is None:
            inputs = self._as_eager(definition, inputs)
            found = signature_of(definition, inputs, attrs)
            assert found is not None
        signature, values, track = found
        try:
            bound = BOUND[signature]
        except (KeyError, TypeError):  # new, or with an attribute that is no key: a function, an array
            bound = self._bind(definition, inputs, name, attrs, signature)
        function, dtypes, single, views, recorded, plain = bound
        if views and single and values and isinstance(values[0], np.generic):
            values = [x.shareable() for x in inputs]
        local = here
        try:
            results = local.context.run(function, *values)
        except Exception as error:
            results = self._nested(error, definition, inputs, bound, values, attrs, name)
        if single:
            outputs: tuple[Any, ...] = (EagerTensor(results, dtypes[0]),)
        else:
            outputs = tuple([EagerTensor(v, dtype) for v, dtype in zip(results, dtypes, strict=True)])
        if views:
            _share(inputs, outputs)
        if track and recorded and local.records and (local.tapes or track == REQUIRED):
            self._record(definition, inputs, outputs, track, attrs, name)
        if plain and not raw:
            return outputs[0]
        return outputs if raw else returned(definition, outputs, self)

    def _as_eager(self, definition: OpDef, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs as eager tensors; Python numbers beside a tensor the quick way."""
        if definition.same_dtype == () and len(inputs) == 2:
            a, b = inputs
            if type(a) is EagerTensor and type(b) in _LITERALS:
                b = _literal(b, a.dtype)
            elif type(b) is EagerTensor and type(a) in _LITERALS:
                a = _literal(a, b.dtype)
            if type(a) is EagerTensor and type(b) is EagerTensor:
                return a, b
        if definition.same_dtype is None and type(inputs[0]) is EagerTensor:  # shapes and indices, in their own dtype
            own = [EagerTensor(x.copy(), int32) if type(x) is np.ndarray and x.dtype == int32.np else x for x in inputs]
            if all(type(x) is EagerTensor for x in own):
                return tuple(own)
        return tuple([self.capture(x) for x in as_inputs(definition, self, inputs)[1]])

    def _record(
        self, definition: OpDef, inputs: Any, outputs: Any, track: int, attrs: dict[str, Any], name: str | None
    ) -> None:
        record = Record(self, definition.type, self.scope, inputs, attrs, name, source.user_frame())
        record.made(outputs)
        if definition.effect == "read":
            for tape in here.open:
                tape.reads(inputs[0])
        for x in outputs:
            if x.dtype.is_floating or x.dtype.is_complex:
                x.track = track
            elif x.dtype.kind != "resource":  # no gradient passes here, so what came before need not be kept
                x.origin = None

    # -- binding -------------------------------------------------------------------------------------------------

    def _bind(
        self, definition: OpDef, inputs: tuple[Any, ...], name: str | None, attrs: dict[str, Any], signature: Any
    ) -> Bound:
        """Check an op of a new signature, and find what computes it."""
        handle = next((x for x in inputs if x.dtype.kind == "resource"), None)
        if handle is not None and definition.effect:
            with contextlib.suppress(KeyError, TypeError):  # TypeError: not every attribute is a key
                return self._of_variables[handle][signature]
        known = check_inputs(definition, self, inputs, name, attrs, source.user_frame())
        specs = (known,) if type(known) is TensorSpec else tuple(known)
        if definition.known_value is not None and inputs and inputs[0].value is None:  # changed in place since
            value = definition.known_value(*[TensorSpec(x.dtype, x.dims) for x in inputs], **attrs)
            return Bound(lambda *_: value, (specs[0].dtype,), True, False, False, True)
        values = [*[TensorSpec(x.dtype, x.dims, x.hint) for x in inputs], *specs]
        made: Any = _Made((), self, definition.type, attrs, name)
        own, results = tuple(range(len(inputs))), tuple(range(len(inputs), len(values)))
        ins = Instruction(0, definition.type, own, results, attrs, (), made)
        place = _place(definition, inputs) if DEVICES else "numpy"
        backend = load_backend(place)
        bare = place == "numpy" and not (definition.effect or definition.control_flow)
        if not backend.has_kernel(definition.type):
            raise FailedPreconditionError(
                f"{definition.type} waits for a run, and here ops are computed at once",
                op=made,
                hint="use the value itself; `with tf.Graph().as_default():` builds a graph",
            )
        found = backend.kernel(ins, values, self.session.next_run) if bare else None
        function, views = found if found is not None else (self._as_program(ins, values, inputs, backend), True)
        if place != "numpy":
            function, views = self._staying(function, backend, specs), _shows(ins, values)
        single = found is not None and len(specs) == 1
        if specs and specs[0].dtype is string and single:
            function = _boxed(function)
        rules = definition.rules
        gradient = any(rules) if rules is not None else gradient_of(definition.type) is not None
        plain = definition.result is None and type(known) is TensorSpec
        bound = Bound(function, tuple([s.dtype for s in specs]), single, views, gradient, plain)
        if handle is not None and definition.effect:
            programs = self._of_variables.setdefault(handle, {})
            if len(programs) >= MAX_OF_VARIABLE:
                programs.clear()
            with contextlib.suppress(TypeError):
                programs[signature] = bound
        elif definition.pure and (found is not None or place != "numpy") and not any(map(callable, attrs.values())):
            remember(definition, inputs, attrs, specs, bound)
        return bound

    def _as_program(
        self, ins: Instruction, values: Sequence[TensorSpec], inputs: Sequence[EagerTensor], backend: Any
    ) -> Kernel:
        """The instruction as a program: for what needs a session or a run."""
        # another tensor of the same memory, so that what is kept for a variable does not keep the variable
        handles: Any = {
            i: Leaf(EagerTensor(x.value, x.dtype)) for i, x in enumerate(inputs) if x.dtype.kind == "resource"
        }
        program = Program((ins,), tuple(values), {}, ins.inputs, ins.outputs, handles=handles, level=0)
        return self.run_on(backend, program)

    def run_on(self, backend: Any, program: Program) -> Kernel:
        """What runs a program on a backend; its results stay where they are computed."""
        executable = backend.compile(program, self.session)
        stays = executable.stay if hasattr(backend, "array_type") else executable

        def run(*arrays: Any) -> Any:
            return stays(arrays, self.session.next_run())

        return run

    def send(self, value: Any, dtype: Any, backend: Any) -> Any:
        """An array of the host as one of a backend's device, if it has such."""
        spec = TensorSpec(dtype, value.shape)
        made: Any = _Made((), self, "Identity")
        ins = Instruction(0, "Identity", (0,), (1,), {}, (), made)
        program = Program((ins,), (spec, spec), {}, (0,), (1,), level=0)
        return self.run_on(backend, program)(value)[0]

    def _staying(self, function: Kernel, backend: Any, specs: Sequence[TensorSpec]) -> Kernel:
        """A program of a device, whose results are sent back to it where they were computed on the host."""
        sent = [bool(s.dims) and not s.dtype.is_integer and s.dtype is not string for s in specs]

        def run(*arrays: Any) -> Any:
            found = zip(function(*arrays), specs, sent, strict=True)
            return [self.send(v, s.dtype, backend) if away and type(v) is np.ndarray else v for v, s, away in found]

        return run

    # -- failures ------------------------------------------------------------------------------------------------

    def _nested(
        self, error: Exception, definition: OpDef, inputs: Any, bound: Bound, values: Any, attrs: Any, name: Any
    ) -> Any:
        """Kernels run in one context of the thread; one that is inside another (of `py_func`) gets a new one."""
        if type(error) is not RuntimeError or "already entered" not in str(error):
            raise self._explained(error, definition, inputs, attrs, name) from None
        before, here.context = here.context, load_backend("numpy").kernel_context()
        try:
            return here.context.run(bound.function, *values)
        except Exception as other:
            raise self._explained(other, definition, inputs, attrs, name) from None
        finally:
            here.context = before

    def _explained(self, error: Exception, definition: OpDef, inputs: Any, attrs: Any, name: Any) -> Error:
        """The kernel's error in the words that a session would have for it."""
        try:  # a value that inference would refuse gets inference's words, whether the signature was known or not
            check_inputs(definition, self, inputs, name, attrs, source.user_frame())
        except Error as refusal:
            return refusal
        made: Any = _Made((), self, definition.type, attrs, name)
        ins = Instruction(0, definition.type, tuple(range(len(inputs))), (), attrs, (), made)
        return load_backend("numpy").explained(error, ins, [x.value for x in inputs])


def _place(definition: OpDef, inputs: Sequence[EagerTensor]) -> str:
    """The backend where the inputs lie; scalars, whole numbers (shapes, indices) and masks may come from the CPU."""
    places = {str(x.device) for x in inputs} - {"cpu"}
    if not places:
        return "numpy"
    apart = [x for x in inputs if x.device == "cpu" and x.dims and not (x.dtype.is_integer or x.dtype.is_bool)]
    if len(places) > 1 or apart:
        raise InvalidArgumentError(
            f"{definition.type}: the tensors lie on different devices",
            expected=f"all on {min(places)!r}",
            got=", ".join(f"{x.dtype.name}{list(x.dims)} on {str(x.device)!r}" for x in inputs),
            hint=f"x.to({min(places)!r}), or x.cpu()",
        )
    return places.pop()


def _boxed(function: Kernel) -> Kernel:
    """A kernel of text, whose scalars are arrays."""

    def run(*arrays: Any) -> Any:
        found = function(*arrays)
        return found if isinstance(found, np.ndarray) else np.array(found, object)

    return run


def returned(definition: OpDef, outputs: tuple[Any, ...], graph: Any) -> Any:
    """What an op's function returns."""
    if definition.result is not None:
        return definition.result(*outputs)
    return outputs or _Made((), graph)


class _Made:
    """What is returned where an Operation is expected: its outputs, and enough to name it in an error."""

    __slots__ = ("_name", "attrs", "graph", "outputs", "place", "type")

    control_inputs: tuple[Any, ...] = ()
    inputs: tuple[Any, ...] = ()
    device = ""
    region = None
    id = 0

    def __init__(
        self, outputs: tuple[Any, ...], graph: Any, type: str = "", attrs: Any = None, name: str | None = None
    ) -> None:
        self.outputs = outputs
        self.graph = graph
        self.type = type
        self.attrs = attrs or {}
        self._name = name
        self.place = source.user_frame()

    @property
    def name(self) -> str:
        """The name that was given, or the type."""
        return (self._name or self.type).rstrip("/")

    @property
    def source(self) -> str:
        """The user's own line."""
        return str(self.place)

    def __repr__(self) -> str:
        return f"<done: {self.name or 'op'}>"


_LITERALS = (float, int)


def _literal(value: float, dtype: Any) -> Any:
    """A Python number in a tensor's dtype where that needs no thought; otherwise as it is."""
    if dtype.is_floating and dtype.size >= 4 and -_PLAIN <= value <= _PLAIN:
        return EagerTensor(dtype.type(value), dtype)
    if dtype.is_integer and type(value) is int and 0 <= value <= 127:
        return EagerTensor(dtype.type(value), dtype)
    return value


_PLAIN = 1 << 24  # whole numbers up to here are floats of any width from 32 bits on


def _share(inputs: Sequence[EagerTensor], outputs: Sequence[EagerTensor]) -> None:
    """Outputs that are views of an input count changes in place together with it."""
    for y in outputs:
        if y.dtype.kind == "resource":
            y.track = TAPED  # every tape watches variables
        base = _root_of(y.value)
        if DEVICES and type(y.value) in DEVICES:
            y.is_apart_from(inputs[0])
        for x in inputs:
            if base is not None and _root_of(x.value) is base:
                x.shown_by(y)


def _shows(ins: Instruction, values: Sequence[TensorSpec]) -> bool:
    """Whether an op of a device would show the memory of its input on the host, where there is memory to share."""
    host = load_backend("numpy")
    program = Program((ins,), tuple(values), {}, ins.inputs, ins.outputs, level=0)
    return host.has_kernel(ins.type) and bool(host.storage(program, ins).views)


def _root_of(value: Any) -> Any:
    """The array that owns the memory."""
    if type(value) is not np.ndarray:
        return None
    while type(value.base) is np.ndarray:
        value = value.base
    return value if value.base is None else value.base


EAGER = EagerGraph()
EagerTensor.graph = EAGER  # type: ignore[misc]

__all__ = ["EAGER", "EagerGraph", "FuncGraph", "here"]
