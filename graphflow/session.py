"""`Session`: the values of the variables, the compiled plans, and `run`.

Policy: the graph holds no values; they belong to the session.  A plan is compiled for a set of fetches, fed tensors
and feed shapes, and kept; the steady state of `run` is one look-up, one conversion per feed and the executable.
When one set of fetches has seen many shapes, a plan for any shape takes over.  Extending the graph keeps all plans.

State: per session the cells of its variables, its plans (bounded), and the number of its runs, from which random ops
take their counters.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graphflow import spec
from graphflow.backend import Backend, Cell, Executable, Run, available_backends, load_backend
from graphflow.collector import CollectorPaused
from graphflow.compile import pipeline, place
from graphflow.defaults import stacks
from graphflow.errors import (
    BackendUnavailable,
    FailedPreconditionError,
    FeedError,
    FetchError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from graphflow.graph import Graph, get_default_graph
from graphflow.nest import is_nested
from graphflow.program import Program
from graphflow.runtime.config import ConfigProto, RunMetadata, RunOptions, mention
from graphflow.runtime.explanation import Explanation
from graphflow.runtime.feeds import Converter, converter, feed_tensor
from graphflow.runtime.fetches import Fetches, structure_key
from graphflow.runtime.workers import usable_cores
from graphflow.tensor import Operation, Tensor

MAX_ENTRIES = 512
MAX_SHAPES = 16


class _Entry:
    """One combination of fetches and fed tensors, and its plans by the shapes of the feeds."""

    __slots__ = ("any_shape", "converters", "feeds", "fetches", "only", "plans", "shapes", "single")

    def __init__(self, fetches: Fetches, feeds: list[Tensor], converters: list[Converter], single: bool) -> None:
        self.fetches = fetches
        self.feeds = feeds
        self.converters = converters
        self.plans: dict[Any, Executable] = {}
        self.any_shape: Executable | None = None
        self.single = single
        self.only = converters[0] if len(converters) == 1 else None  # a comprehension costs as much as a conversion
        known = [t.dims for t in feeds]
        self.shapes: Any = tuple(known) if all(spec.is_concrete(dims) for dims in known) else None  # if always the same


class BaseSession:
    """What `Session` and `InteractiveSession` share."""

    def __init__(
        self,
        target: str = "",
        graph: Graph | None = None,
        config: ConfigProto | None = None,
        device: str | None = None,
        optimization_level: int | None = None,
        disabled_passes: Collection[str] = (),
        debug_memory: bool = False,
    ) -> None:
        if graph is not None and not isinstance(graph, Graph):
            raise InvalidArgumentError("a session runs a tf.Graph", got=repr(graph)[:80])
        if config is not None and not isinstance(config, ConfigProto):
            raise InvalidArgumentError("config takes a tf.ConfigProto", got=repr(config)[:80])
        if not isinstance(target, str):
            raise InvalidArgumentError("target is a string", got=repr(target)[:80], hint="tf.Session(graph=graph)")
        if target:
            mention("Session.target")
        self.graph = graph if graph is not None else get_default_graph()
        self._config = config or ConfigProto()
        self._backend: Backend = _backend(device)
        level = _level(self._config, optimization_level, self._backend.default_level)
        self._options = pipeline.Options(level, disabled_passes)
        self._may_move = device is None  # to a backend with the devices that ops ask for
        self._debug_memory = debug_memory  # check memory plans, and fill what is freed with rubbish
        self._cells: dict[str, Cell] = {}
        self._entries: dict[Any, _Entry] = {}
        self._mutations = self.graph.mutations
        self._runs = itertools.count()
        self._entropy = secrets.randbits(64)  # where random ops without a seed draw from
        self._lock = threading.RLock()
        self._closed = False

    # -- running -------------------------------------------------------------------------------------------------

    def run(
        self,
        fetches: Any,
        feed_dict: Any = None,
        options: Any = None,
        run_metadata: Any = None,
        device_arrays: bool = False,
    ) -> Any:
        """Compute `fetches` with the values of `feed_dict`; see the README for what may be fetched and fed.

        With `device_arrays` the results stay on the session's device, to be fed again or copied with `.numpy()`.
        """
        if options is not None or run_metadata is not None:
            _check_options(options, run_metadata)
        try:
            kind = type(fetches)
            key = (tuple(fetches), kind) if kind is list or kind is tuple else fetches
            entry = self._entries[key, () if feed_dict is None else tuple(feed_dict.keys())]
        except (KeyError, TypeError, AttributeError):
            entry = self._prepare(fetches, feed_dict)
        if self._closed or self._mutations != self.graph.mutations:
            entry = self._prepare(fetches, feed_dict)
        if entry.only is not None:
            values = [entry.only(*feed_dict.values())]
        elif feed_dict:
            values = [convert(v) for convert, v in zip(entry.converters, feed_dict.values())]  # noqa: B905 - prepared
        else:
            values = []
        shapes = entry.shapes
        if shapes is None:
            shapes = tuple([v.shape for v in values])
        executable = entry.plans.get(shapes) or self._plan(entry, shapes)
        number = next(self._runs)
        if device_arrays:
            out = executable.stay(values, Run(number, self._entropy))
        else:
            out = executable(values, Run(number, self._entropy) if executable.needs_run else None)
        if run_metadata is not None:
            run_metadata.program = executable.program
        return out[0] if entry.single else entry.fetches.rebuild(out)

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False) -> Any:
        """A function of the values of `feed_list` that returns what `run(fetches, ...)` would, a little faster."""
        feeds = list(feed_list or ())
        if any(f.__hash__ is None for f in feeds):
            raise FeedError("feed_list is a list of tensors", got=repr(feeds)[:80])
        entry = self._prepare(fetches, dict.fromkeys(feeds))
        converters, only, fixed = entry.converters, entry.only, entry.shapes
        if len(converters) != len(feeds):
            raise FeedError("feed_list names a tensor twice")
        plan, rebuild, single, count = entry.plans.get, entry.fetches.rebuild, entry.single, len(feeds)
        entropy, runs = self._entropy, self._runs
        graph, mutations, backend = self.graph, self.graph.mutations, self._backend

        def call(*args: Any) -> Any:
            if len(args) != count:
                raise FeedError("as many values as feed_list has entries", expected=str(count), got=str(len(args)))
            if self._closed or graph.mutations != mutations or self._backend is not backend:
                return self.run(fetches, dict(zip(feeds, args, strict=True)))
            if only is not None:
                values = [only(args[0])]
            else:
                values = [convert(value) for convert, value in zip(converters, args)]  # noqa: B905 - same length
            shapes = tuple([v.shape for v in values]) if fixed is None else fixed
            executable = plan(shapes) or self._plan(entry, shapes)
            number = next(runs)
            out = executable(values, Run(number, entropy) if executable.needs_run else None)
            return out[0] if single else rebuild(out)

        return call

    def program(self, fetches: Any, feed_dict: Any = None) -> Program:
        """The compiled Program that `run` would execute; print it to read it."""
        return self._executable(fetches, feed_dict).program

    def explain(self, fetches: Any, feed_dict: Any = None) -> Explanation:
        """What the compiler made of these fetches and feeds: print it, or read its fields."""
        executable = self._executable(fetches, feed_dict)
        return Explanation(executable.program, executable.listing(), executable.native_code())

    # -- plans ---------------------------------------------------------------------------------------------------

    def _executable(self, fetches: Any, feed_dict: Any) -> Executable:
        """What `run` would execute."""
        entry = self._prepare(fetches, feed_dict)
        values = [convert(v) for convert, v in zip(entry.converters, (feed_dict or {}).values(), strict=True)]
        return self._plan(entry, tuple([v.shape for v in values]))

    def _prepare(self, fetches: Any, feed_dict: Any) -> _Entry:
        """The entry for these fetches and feeds, checked; the slow half of `run`."""
        if self._closed:
            raise self._closed_error()
        if feed_dict is not None and not isinstance(feed_dict, Mapping):
            raise FeedError("feed_dict is a dict from tensors to values", got=type(feed_dict).__name__)
        with self._lock:
            if self._mutations != self.graph.mutations:
                self._entries.clear()
                self._mutations = self.graph.mutations
            feed_keys = tuple(feed_dict) if feed_dict else ()
            try:
                key = (structure_key(fetches), feed_keys)
                found = self._entries.get(key)
            except TypeError:
                key, found = None, None
            except RecursionError:
                raise FetchError("cannot fetch what contains itself, or is nested too deeply") from None
            if found is not None:
                return found
            entry = self._new_entry(fetches, feed_keys)
            if key is not None:
                while len(self._entries) >= MAX_ENTRIES:
                    self._entries.pop(next(iter(self._entries)))
                self._entries[key] = entry
                kind = type(fetches)
                if kind not in (list, tuple):
                    quick = None if is_nested(fetches) else fetches
                else:  # named tuples further in equal plain ones
                    quick = None if any(map(is_nested, fetches)) else (tuple(fetches), kind)
                if quick is not None:
                    self._entries[quick, feed_keys] = entry
            return entry

    def _new_entry(self, fetches: Any, feed_keys: tuple[Any, ...]) -> _Entry:
        wanted = Fetches(self.graph, fetches)
        feeds = [feed_tensor(self.graph, k) for k in feed_keys]
        if len(set(feeds)) != len(feeds):
            twice = next(t for t in feeds if feeds.count(t) > 1)
            raise FeedError(f"feed_dict feeds {twice.name!r} twice, under two keys", op=twice.op)
        backend = self._backend
        converters = [converter(t, backend.new_cell, backend.array_type) for t in feeds]
        return _Entry(wanted, feeds, converters, isinstance(fetches, Tensor))

    def _plan(self, entry: _Entry, shapes: tuple[Any, ...]) -> Executable:
        """Compile for these shapes, or for any shape once there have been many."""
        with self._lock:
            found = entry.any_shape or entry.plans.get(shapes)
            if found is not None:
                return found
            general = len(entry.plans) >= MAX_SHAPES
            dims: list[spec.Dims] = [t.dims if general else s for t, s in zip(entry.feeds, shapes, strict=True)]
            wanted = entry.fetches
            executable = self._compile(wanted.tensors, wanted.operations, entry.feeds, dims)
            if general:
                entry.any_shape = executable
                entry.plans.clear()
            else:
                entry.plans[shapes] = executable
            return executable

    def _compile(
        self,
        tensors: Sequence[Tensor],
        operations: Sequence[Operation],
        feeds: Sequence[Tensor],
        dims: Sequence[spec.Dims],
    ) -> Executable:
        try:
            with CollectorPaused():
                backend = self._backend
                resources = pipeline.Resources(
                    self.workers,
                    self.threads,
                    backend.storage,
                    backend.is_whole,
                    self._debug_memory,
                    backend.own_passes,
                )
                program = pipeline.compile_graph(
                    tensors, operations, feeds, dims, backend.evaluate, self._options, resources
                )
                if self._move(place.kinds_wanted(program)):
                    return self._compile(tensors, operations, feeds, dims)
                place.check_devices(program, backend.kinds, self.soft_placement)
                return self._backend.compile(program, self)
        except RecursionError:
            raise ResourceExhaustedError("branches and loops are nested too deeply to be compiled") from None

    def _move(self, wanted: frozenset[str]) -> bool:
        """Go over to a backend with such devices, if ops ask for some that this one has not; whether it was done."""
        if not self._may_move or wanted <= self._backend.kinds:
            return False
        self._may_move = False
        for name in available_backends():
            try:
                backend = load_backend(name)
                if not wanted <= backend.kinds:
                    continue
            except (BackendUnavailable, NotFoundError):
                continue
            cells = {n: backend.new_cell(n, c.dtype, c.dims) for n, c in self._cells.items()}
            for name, cell in self._cells.items():
                if cell.initialized:
                    cells[name].assign(cell.snapshot())
            self._backend, self._cells = backend, cells
            self._entries.clear()
            return True
        return False

    # -- what the backend asks for -------------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        """How many tasks of a run may be done at once: `ConfigProto(inter_op_parallelism_threads=...)`."""
        return self._config.inter_op_parallelism_threads or usable_cores()  # type: ignore[attr-defined]

    @property
    def threads(self) -> int:
        """How many threads one op may use: `ConfigProto(intra_op_parallelism_threads=...)`."""
        return self._config.intra_op_parallelism_threads or usable_cores()  # type: ignore[attr-defined]

    @property
    def soft_placement(self) -> bool:
        """Whether what a device cannot do may be done elsewhere: `ConfigProto(allow_soft_placement=True)`."""
        return bool(self._config.allow_soft_placement)  # type: ignore[attr-defined]

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def cell(self, variable: Operation) -> Cell:
        """The memory of a variable in this session."""
        found = self._cells.get(variable.name)
        if found is None:
            with self._lock:
                new = self._backend.new_cell(variable.name, variable.attrs["dtype"], variable.attrs["dims"])
                found = self._cells.setdefault(variable.name, new)
        return found

    def compile_function(self, graph: Any, results: Sequence[Any], dims: Sequence[Any]) -> Executable:
        """The executable of a branch or loop body."""
        return self._compile(list(results), [], graph.args, dims)

    # -- life cycle ----------------------------------------------------------------------------------------------

    def as_default(self) -> Any:
        """A context in which this is the default session; it is not closed at its end."""
        return _Default(self)

    @property
    def graph_def(self) -> Any:
        """The graph."""
        return self.graph

    @property
    def sess_str(self) -> str:
        """The target that was given."""
        return ""

    def list_devices(self) -> list[str]:
        """The devices that ops can be placed on."""
        return [f"/device:{kind.upper()}:0" for kind in sorted(self._backend.kinds)]

    def close(self) -> None:
        """Free the plans and the variables; the session cannot be used afterwards."""
        with self._lock:
            self._closed = True
            self._entries.clear()
            self._cells.clear()

    def _closed_error(self) -> FailedPreconditionError:
        return FailedPreconditionError(
            "Attempted to use a closed Session.", hint="run inside the `with tf.Session()` block, or make a new session"
        )


class Session(BaseSession):
    """Runs a graph; `with tf.Session() as sess:` makes it, and its graph, the default ones."""

    def __enter__(self) -> Session:
        if self._closed:
            raise self._closed_error()
        stacks.graphs.append(self.graph)
        stacks.sessions.append(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        _leave(self)
        self.close()


class _Default:
    def __init__(self, session: BaseSession) -> None:
        self._session = session

    def __enter__(self) -> BaseSession:
        stacks.graphs.append(self._session.graph)
        stacks.sessions.append(self._session)
        return self._session

    def __exit__(self, *exc: Any) -> None:
        _leave(self._session)


def _leave(session: BaseSession) -> None:
    if not stacks.sessions or stacks.sessions[-1] is not session or stacks.graphs[-1] is not session.graph:
        raise FailedPreconditionError("sessions were not left in the order in which they were entered")
    stacks.sessions.pop()
    stacks.graphs.pop()


class InteractiveSession(BaseSession):
    """A session that makes itself the default one until it is closed."""

    def __init__(
        self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None, **kwargs: Any
    ) -> None:
        super().__init__(target, graph, config, **kwargs)
        if graph is not None:
            stacks.graphs.append(self.graph)
        self._pushed_graph = graph is not None
        stacks.sessions.append(self)

    def close(self) -> None:
        """Stop being the default session, and free everything."""
        if self in stacks.sessions:
            stacks.sessions.remove(self)
            if self._pushed_graph:
                stacks.graphs.remove(self.graph)
        super().close()


def _check_options(options: Any, metadata: Any) -> None:
    if options is not None and not isinstance(options, RunOptions):
        raise InvalidArgumentError("options takes a tf.RunOptions", got=repr(options)[:80])
    if metadata is not None and not isinstance(metadata, RunMetadata):
        raise InvalidArgumentError("run_metadata takes a tf.RunMetadata", got=repr(metadata)[:80])


def _backend(device: str | None) -> Backend:
    """The backend that an argument such as "opencl", "opencl:0:1", "gpu" or "cpu" means; None: GRAPHFLOW_DEVICE's."""
    wanted = (os.environ.get("GRAPHFLOW_DEVICE") or "numpy") if device is None else str(device)
    kind = wanted.lower().removeprefix("/").removeprefix("device:").partition(":")[0]
    name = {"cpu": "numpy", "gpu": "opencl"}.get(kind, kind)
    try:
        backend = load_backend(name).at(wanted.lower())
    except NotFoundError as error:
        if device is None:
            error.summary = f"GRAPHFLOW_DEVICE is {wanted!r}: {error.summary}"
        raise
    if kind == "gpu" and "gpu" not in backend.kinds:
        raise NotFoundError(
            "there is no GPU that OpenCL reaches",
            expected=", ".join(sorted(backend.kinds)),
            got=wanted,
            hint='device="opencl" takes any OpenCL device; `python -m graphflow devices --doctor` looks for the cause',
        )
    return backend


def _level(config: ConfigProto, given: int | None, default: int) -> int:
    if given is not None:
        return given
    options: Any = config.graph_options.optimizer_options  # type: ignore[attr-defined]
    if options.opt_level == -1:
        return 0
    return 2 if options.global_jit_level > 0 else default
