"""`Plans`: what a session compiles and keeps, the variables' memory, and what backends see of a session.

Policy: a plan is compiled for a set of fetches, fed tensors and feed shapes, and kept; when one set of fetches has
seen many shapes, a plan for any shape takes over.  Extending the graph keeps all plans.  Where someone looks on, the
same graph is compiled apart: a plan that nobody watches pays nothing for the possibility.

State: per session the cells of its variables, its plans (bounded), and the number of its runs, from which random ops
take their counters.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from graphflow import spec
from graphflow.backend import Backend, Cell, Executable, Run, Watch, available_backends, load_backend
from graphflow.collector import CollectorPaused
from graphflow.compile import pipeline, place
from graphflow.errors import (
    BackendUnavailable,
    FailedPreconditionError,
    FeedError,
    FetchError,
    NotFoundError,
    ResourceExhaustedError,
)
from graphflow.graph import Graph
from graphflow.nest import is_nested
from graphflow.runtime.config import ConfigProto
from graphflow.runtime.feeds import Converter, converter, feed_tensor
from graphflow.runtime.fetches import Fetches, structure_key
from graphflow.runtime.selection import backend_of, level_of
from graphflow.runtime.workers import usable_cores
from graphflow.tensor import Operation, Tensor

MAX_ENTRIES = 512
MAX_SHAPES = 16
MAX_WATCHED = 64


Enclose = Callable[[Callable[[Watch], Executable]], Executable]


class Entry:
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


class Onlooker:
    """What a backend sees of a session while someone looks on: the session, and who it is."""

    def __init__(self, plans: Plans, watch: Watch, level: int | None) -> None:
        self._plans = plans
        self.watch = watch
        self.options = plans.options if level is None else pipeline.Options(level)
        self.workers = plans.workers
        self.threads = plans.threads
        self.soft_placement = plans.soft_placement
        self.is_closed = plans.is_closed
        self.cell = plans.cell

    def compile_function(self, graph: Any, results: Sequence[Any], dims: Sequence[Any]) -> Executable:
        """The executable of a branch or loop body, looked at as well."""
        return self._plans.compile(list(results), [], graph.args, dims, self)


class Plans:
    """The compiled half of a session: the `Context` of its backend."""

    def __init__(
        self,
        graph: Graph,
        config: ConfigProto,
        device: str | None,
        level: int | None,
        disabled: Collection[str],
        debug_memory: bool,
    ) -> None:
        self.graph = graph
        self._config = config
        self._backend: Backend = backend_of(device)
        self.options = pipeline.Options(level_of(config, level, self._backend.default_level), disabled)
        self._may_move = device is None  # to a backend with the devices that ops ask for
        self._debug_memory = debug_memory  # check memory plans, and fill what is freed with rubbish
        self._cells: dict[str, Cell] = {}
        self._entries: dict[Any, Entry] = {}
        self._watched: dict[Any, Executable] = {}  # plans that someone looks on at
        self._looking: tuple[Enclose, int | None] | None = None  # how plans are made while someone looks on at all runs
        self._mutations = self.graph.mutations
        self._runs = itertools.count()
        self._entropy = secrets.randbits(64)  # where random ops without a seed draw from
        self._lock = threading.RLock()
        self._closed = False

    def _prepare(self, fetches: Any, feed_dict: Any) -> Entry:
        """The entry for these fetches and feeds, checked; the slow half of `run`."""
        if self._closed:
            raise closed_error()
        if feed_dict is not None and not isinstance(feed_dict, Mapping):
            raise FeedError("feed_dict is a dict from tensors to values", got=type(feed_dict).__name__)
        with self._lock:
            if self._mutations != self.graph.mutations:
                self._entries.clear()
                self._watched.clear()
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

    def _new_entry(self, fetches: Any, feed_keys: tuple[Any, ...]) -> Entry:
        wanted = Fetches(self.graph, fetches)
        feeds = [feed_tensor(self.graph, k) for k in feed_keys]
        if len(set(feeds)) != len(feeds):
            twice = next(t for t in feeds if feeds.count(t) > 1)
            raise FeedError(f"feed_dict feeds {twice.name!r} twice, under two keys", op=twice.op)
        backend = self._backend
        converters = [converter(t, backend.new_cell, backend.array_type) for t in feeds]
        return Entry(wanted, feeds, converters, isinstance(fetches, Tensor))

    def _plan(self, entry: Entry, shapes: tuple[Any, ...]) -> Executable:
        """Compile for these shapes, or for any shape once there have been many."""
        with self._lock:
            found = entry.any_shape or entry.plans.get(shapes)
            if found is not None:
                return found
            general = len(entry.plans) >= MAX_SHAPES
            dims: list[spec.Dims] = [t.dims if general else s for t, s in zip(entry.feeds, shapes, strict=True)]
            executable = self._compiled(entry, dims)
            if general:
                entry.any_shape = executable
                entry.plans.clear()
            else:
                entry.plans[shapes] = executable
            return executable

    def _compiled(self, entry: Entry, dims: Sequence[spec.Dims]) -> Executable:
        """Compile for feeds of these shapes, as whoever looks on at all runs wants it."""
        wanted = entry.fetches
        if self._looking is None:
            return self.compile(wanted.tensors, wanted.operations, entry.feeds, dims)
        enclose, level = self._looking

        def compiled(watch: Watch) -> Executable:
            with self._lock:
                onlooker = Onlooker(self, watch, level)
                return self.compile(wanted.tensors, wanted.operations, entry.feeds, dims, onlooker)

        return enclose(compiled)

    def compile(
        self,
        tensors: Sequence[Tensor],
        operations: Sequence[Operation],
        feeds: Sequence[Tensor],
        dims: Sequence[spec.Dims],
        onlooker: Onlooker | None = None,
    ) -> Executable:
        """Fetches, feeds and the shapes of the feeds, made executable."""
        options = self.options if onlooker is None else onlooker.options
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
                program = pipeline.compile_graph(tensors, operations, feeds, dims, backend.evaluate, options, resources)
                if self._move(place.kinds_wanted(program)):
                    return self.compile(tensors, operations, feeds, dims, onlooker)
                place.check_devices(program, backend.kinds, self.soft_placement)
                return self._backend.compile(program, onlooker or self)
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
            self._watched.clear()
            return True
        return False

    def _executable(self, fetches: Any, feed_dict: Any) -> Executable:
        """What `run` would execute."""
        entry = self._prepare(fetches, feed_dict)
        values = [convert(v) for convert, v in zip(entry.converters, (feed_dict or {}).values(), strict=True)]
        return self._plan(entry, tuple([v.shape for v in values]))

    # -- looking on ----------------------------------------------------------------------------------------------

    @contextmanager
    def looking_on(self, watch: Watch, level: int | None = None) -> Iterator[None]:
        """For the length of this context `watch` looks on at every run, at this optimisation level."""
        with self.enclosing(lambda compiled: compiled(watch), level):
            yield

    @contextmanager
    def enclosing(self, enclose: Enclose, level: int | None = None) -> Iterator[None]:
        """For the length of this context runs call what `enclose` makes of the function that compiles for a watch."""
        if self._closed:
            raise closed_error()
        with self._lock:
            if self._looking is not None:
                raise FailedPreconditionError(
                    "someone looks on at this session already", hint="one trace or debugger at a time"
                )
            unwatched = [(entry, dict(entry.plans), entry.any_shape) for entry in set(self._entries.values())]
            self._forget_plans()
            self._looking = enclose, level
        try:
            yield
        finally:
            with self._lock:
                self._looking = None
                self._forget_plans()
                for entry, plans, any_shape in unwatched:
                    entry.plans.update(plans)
                    entry.any_shape = any_shape

    def _forget_plans(self) -> None:
        for entry in self._entries.values():
            entry.plans.clear()
            entry.any_shape = None

    def watched_run(self, watch: Watch, fetches: Any, feed_dict: Any = None, level: int | None = None) -> Any:
        """What `run` returns, computed apart from all other runs while `watch` looks on."""
        entry, executable, values = self._watched_call(watch, fetches, feed_dict, level)
        out = executable(values, Run(next(self._runs), self._entropy))
        return out[0] if entry.single else entry.fetches.rebuild(out)

    def _watched_call(
        self, watch: Watch, fetches: Any, feed_dict: Any, level: int | None = None
    ) -> tuple[Entry, Executable, list[Any]]:
        """What `watched_run` calls, and with what."""
        entry = self._prepare(fetches, feed_dict)
        values = [convert(v) for convert, v in zip(entry.converters, (feed_dict or {}).values(), strict=True)]
        return entry, self._watched_plan(entry, tuple([v.shape for v in values]), watch, level), values

    def _watched_plan(self, entry: Entry, shapes: tuple[Any, ...], watch: Watch, level: int | None) -> Executable:
        key = (entry, shapes, watch, level)
        with self._lock:
            found = self._watched.get(key)
            if found is None:
                while len(self._watched) >= MAX_WATCHED:
                    self._watched.pop(next(iter(self._watched)))
                wanted, onlooker = entry.fetches, Onlooker(self, watch, level)
                found = self.compile(wanted.tensors, wanted.operations, entry.feeds, shapes, onlooker)
                self._watched[key] = found
            return found

    def forget(self, watch: Watch) -> None:
        """Drop the plans that were made for a watch which will not come again."""
        with self._lock:
            for key in [key for key in self._watched if key[2] is watch]:
                del self._watched[key]

    # -- what the backend asks for -------------------------------------------------------------------------------

    watch: Watch | None = None  # nobody looks on at the session's own plans

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
        return self.compile(list(results), [], graph.args, dims)


def closed_error() -> FailedPreconditionError:
    """The error of whoever uses a closed session."""
    return FailedPreconditionError(
        "Attempted to use a closed Session.", hint="run inside the `with tf.Session()` block, or make a new session"
    )
