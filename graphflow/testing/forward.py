"""Checks of the values of an op: against a reference, and against itself under every circumstance that must not matter.

Policy: a check takes a row and a way to make sessions, and raises `Mismatch`.  What may not change a bit: the
optimisation level, how much of the shapes is known while building, the layout of what is fed, whether an input is
fed, constant or a variable, what the caller does to arrays afterwards.

State: none.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphflow import spec
from graphflow.constants import convert_to_tensor
from graphflow.dtypes import from_numpy
from graphflow.errors import Error, UnimplementedError
from graphflow.graph import Graph
from graphflow.opdef import OPS
from graphflow.ops import core, state
from graphflow.session import Session
from graphflow.tensor import Tensor
from graphflow.testing.cases import OpCase
from graphflow.testing.numeric import (
    Array,
    Mismatch,
    distance,
    evaluate_program,
    layouts,
    same_bits,
    spec_checker,
    tolerance,
)

SessionFactory: TypeAlias = Callable[..., Session]
KNOWLEDGE = {"none": ("shape",), "dims": ("shape", "dims"), "rank": ("shape", "dims", "rank")}


class Built:
    """A row's op in a graph of its own, with placeholders that know as much of the shapes as they are told."""

    def __init__(self, case: OpCase, arrays: Sequence[Array], known: str = "shape") -> None:
        self.case = case
        self.arrays = list(arrays)
        self.graph = Graph()
        with self.graph.as_default():
            self.inputs = [core.placeholder(from_numpy(a.dtype), _dims(a, known)) for a in arrays]
            self.outputs = flat_tensors(case, case.build(*self.inputs))

    def session(self, factory: SessionFactory, level: int = 1) -> Session:
        """A session for the graph."""
        return factory(graph=self.graph, optimization_level=level)

    @property
    def feeds(self) -> dict[Tensor, Array]:
        """The row's inputs, to be fed."""
        return dict(zip(self.inputs, self.arrays, strict=True))


def _dims(array: Array, known: str) -> Any:
    return {"shape": array.shape, "dims": [None] * array.ndim, "rank": None}[known]


def flat_tensors(case: OpCase, built: Any) -> list[Tensor]:
    """What a row built, as a flat list of tensors."""
    out = []
    for item in built if isinstance(built, (list, tuple)) else [built]:
        if isinstance(item, (list, tuple)):
            out += flat_tensors(case, item)
        elif isinstance(item, Tensor) or hasattr(item, "_as_tensor"):
            out.append(convert_to_tensor(item))
        else:
            raise Mismatch(f"{case}: build returned {type(item).__name__}, expected a tensor or a list of tensors")
    return out


def expected(case: OpCase, arrays: Sequence[Array]) -> list[Array] | None:
    """What the reference gives for these inputs, computed in double precision."""
    if case.reference is None:
        return None
    wide = {"f": np.float64, "c": np.complex128, "V": np.float64}
    exact = [a.astype(wide[a.dtype.kind]) if a.dtype.kind in wide else a for a in arrays]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's "mean of empty slice"
        found = case.reference(*exact)
    return [np.asarray(x) for x in (found if isinstance(found, (list, tuple)) else [found])]


def check_forward(case: OpCase, session_factory: SessionFactory = Session, dtype: str | None = None) -> None:
    """Values, dtypes and shapes, in one dtype or in all that the row lists; at O0 and O1, shapes known or not."""
    for name in dict.fromkeys((*case.dtypes, "float64")) if dtype is None else (dtype,):
        arrays = case.arrays(name)
        wanted = expected(case, arrays)
        first: list[Array] | None = None
        for known in KNOWLEDGE[case.unknown]:
            built = Built(case, arrays, known)
            _check_type(case, built.graph)
            for level in (0, 1):
                where = f"{case} [{name}, {known} known, O{level}]"
                with built.session(session_factory, level) as session:
                    got = session.run(built.outputs, built.feeds)
                    _check_specs(where, built.outputs, got)
                    if first is None:
                        first = got
                        _check_values(where, case, got, wanted)
                        _check_kernels(where, built, session)
                _check_same(where, case, got, first)


def _check_type(case: OpCase, graph: Graph) -> None:
    if case.op in OPS:
        types = {op.type for op in graph.get_operations()}
        if case.op not in types:
            raise Mismatch(f"{case}: the row builds no {case.op}, only {sorted(types - {'Placeholder', 'Const'})}")


def _check_specs(where: str, tensors: Sequence[Tensor], got: Sequence[Any]) -> None:
    for i, (tensor, value) in enumerate(zip(tensors, got, strict=True)):
        dtype = np.asarray(value).dtype
        if dtype != tensor.dtype.np:
            raise Mismatch(f"{where}: output {i} has dtype {dtype}, inference said {tensor.dtype.name}")
        if not spec.compatible(tensor.dims, np.shape(value)):
            raise Mismatch(f"{where}: output {i} has shape {np.shape(value)}, inference said {tensor.shape}")


def _check_values(where: str, case: OpCase, got: Sequence[Any], wanted: Sequence[Array] | None) -> None:
    if wanted is None:
        if not case.nondeterministic:
            raise Mismatch(f"{where}: the row has no reference")
        return
    if len(got) != len(wanted):
        raise Mismatch(f"{where}: {len(got)} outputs, the reference has {len(wanted)}")
    for i, (value, reference) in enumerate(zip(got, wanted, strict=True)):
        if np.shape(value) != reference.shape:
            raise Mismatch(f"{where}: output {i} has shape {np.shape(value)}, the reference {reference.shape}")
        if case.nondeterministic:
            continue
        bar = tolerance(_dtype_name(value), case.tol)
        error = distance(value, reference)
        if not error <= bar:
            raise Mismatch(
                f"{where}: output {i} is off by {error:.2g} of the largest element (the bar is {bar:.2g})\n"
                f"  got       {_short(value)}\n  reference {_short(reference)}"
            )


def _dtype_name(value: Any) -> str:
    found = from_numpy(np.asarray(value).dtype)
    return "float64" if found is None else found.name


def _short(value: Any) -> str:
    text = np.array2string(np.asarray(value), threshold=12, precision=17).replace("\n", "")
    return text if len(text) <= 300 else text[:297] + "..."


def _check_kernels(where: str, built: Built, session: Session) -> None:
    """Every kernel on the way keeps the promises of inference, also on inputs that are not C-ordered."""
    program = session.program(built.outputs, built.feeds)
    try:
        plain = evaluate_program(program, _unboxed(built.arrays), session._backend, spec_checker(program))
    except UnimplementedError:
        return  # loops, variables, random numbers: their kernels are bound to a session
    except Mismatch as error:
        raise Mismatch(f"{where}: {error}") from None
    for layout in ("Fortran order", "negative strides", "every second element"):
        laid = [layouts(a).get(layout, a) for a in built.arrays]
        found = evaluate_program(program, _unboxed(laid), session._backend, spec_checker(program))
        for i, (a, b) in enumerate(zip(found, plain, strict=True)):
            if not distance(a, b) <= tolerance(_dtype_name(b), max(built.case.tol, 1e-12)):
                raise Mismatch(f"{where}: output {i} differs when the kernels get inputs in {layout}")


def _unboxed(arrays: Sequence[Array]) -> list[Any]:
    """Rank 0 as the NumPy scalars that kernels get."""
    return [a if a.ndim or a.dtype == object else a[()] for a in arrays]


def _check_same(where: str, case: OpCase, got: Sequence[Any], first: Sequence[Any]) -> None:
    for i, (a, b) in enumerate(zip(got, first, strict=True)):
        if np.shape(a) != np.shape(b) if case.nondeterministic else not same_bits(a, b):
            raise Mismatch(f"{where}: output {i} is not bit for bit what it was before: {_short(a)} {_short(b)}")


def check_layouts(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """Fed arrays in any memory layout and byte order give the same bits."""
    if case.nondeterministic:
        return
    arrays = case.arrays()
    built = Built(case, arrays)
    with built.session(session_factory) as session:
        plain = session.run(built.outputs, built.feeds)
        for layout in ("Fortran order", "negative strides", "every second element", "byte-swapped", "read-only"):
            laid = [layouts(a).get(layout, a) for a in arrays]
            got = session.run(built.outputs, dict(zip(built.inputs, laid, strict=True)))
            _check_same(f"{case} [{layout}]", case, got, plain)


def check_aliasing(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """Fetched arrays belong to the caller: no memory in common with feeds, constants, variables, each other."""
    arrays = case.arrays()
    for source in _sources(case, arrays):
        for level in (0, 1):
            source.check(session_factory, level)


class _Source:
    """A row's op whose inputs come from one kind of place."""

    def __init__(self, case: OpCase, arrays: Sequence[Array], kind: str) -> None:
        self.case = case
        self.kind = kind
        self.arrays = arrays
        self.graph = Graph()
        self.placeholders: list[Tensor] = []
        self.writes: list[Any] = []
        with self.graph.as_default():
            self.inputs = [self._input(a) for a in arrays]
            self.outputs = flat_tensors(case, case.build(*self.inputs))

    def _input(self, array: Array) -> Tensor:
        if self.kind == "constant":
            return core.constant(array)
        dtype = from_numpy(array.dtype)
        placeholder: Tensor = core.placeholder(dtype, array.shape)
        self.placeholders.append(placeholder)
        if self.kind == "fed":
            return placeholder
        handle: Any = state.variable_handle(dtype, array.shape)
        self.writes.append(state.assign_variable(handle, placeholder, dtype=dtype, dims=array.shape))
        read: Tensor = state.read_variable(handle, dtype=dtype, dims=array.shape)
        return read

    def check(self, factory: SessionFactory, level: int) -> None:
        where = f"{self.case} [inputs {self.kind}, O{level}]"
        fetches = [*self.outputs, *self.outputs, *(self.inputs if self.kind == "variable" else [])]
        with factory(graph=self.graph, optimization_level=level) as session:
            fed = [a.copy() for a in self.arrays]
            session.run(self.writes, dict(zip(self.placeholders, fed, strict=False)))
            if self.kind == "variable":
                _overwrite(where, fed)
            feeds = dict(zip(self.placeholders, fed, strict=True)) if self.kind == "fed" else {}
            got = session.run(fetches, feeds)
            before = [np.array(x) for x in got]
            if self.kind == "fed" and not all(same_bits(a, b) for a, b in zip(fed, self.arrays, strict=True)):
                raise Mismatch(f"{where}: the run wrote into an array that was fed")
            owned = [x for x in (*got, *(fed if feeds else ())) if isinstance(x, np.ndarray) and x.size]
            for a, b in itertools.combinations(owned, 2):
                if np.shares_memory(a, b):
                    raise Mismatch(f"{where}: two fetched or fed arrays share memory")
            kept = _overwrite(where, owned)
            again = session.run(fetches, dict(zip(feeds, self.arrays, strict=False)))
            _check_same(f"{where}, after writing into everything fetched and fed", self.case, again, before)
            if not all(same_bits(a, b) for a, b in zip(owned, kept, strict=True)):
                raise Mismatch(f"{where}: a later run wrote into an array fetched before")


def _overwrite(where: str, arrays: Sequence[Any]) -> list[Array]:
    """Write into arrays that the caller owns; returns what they hold now."""
    for array in arrays:
        if not array.flags.writeable:
            raise Mismatch(f"{where}: a fetched array cannot be written")
        array[...] = b"overwritten" if array.dtype == object else ~array if array.dtype.kind == "b" else 77
    return [array.copy() for array in arrays]


def _sources(case: OpCase, arrays: Sequence[Array]) -> Iterator[_Source]:
    yield _Source(case, arrays, "fed")
    if arrays and not any(a.dtype.kind in "SUO" for a in arrays):
        yield _Source(case, arrays, "constant")
        yield _Source(case, arrays, "variable")


def check_zero_size(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """Inputs without elements give what the reference gives, or the error that the row names."""
    for shapes in case.zero:
        arrays = case.zero_arrays(shapes)
        wanted = None if case.zero_error else expected(case, arrays)
        for known, level in itertools.product(KNOWLEDGE[case.unknown], (0, 1)):
            where = f"{case} [zero size {shapes}, {known} known, O{level}]"
            try:
                built = Built(case, arrays, known)
                with built.session(session_factory, level) as session:
                    got = session.run(built.outputs, built.feeds)
            except Error as error:
                if case.zero_error is None or not isinstance(error, case.zero_error):
                    raise Mismatch(f"{where}: {type(error).__name__}: {error}") from error
                continue
            if case.zero_error is not None:
                raise Mismatch(f"{where}: gave {_short(got[0])}, expected {case.zero_error.__name__}")
            _check_specs(where, built.outputs, got)
            _check_values(where, case, got, wanted)
