"""`Session`: what runs a graph.

Policy: the graph holds no values; they belong to the session.  The steady state of `run` is one look-up, one conversion
per feed and the executable; compiling and keeping plans is the business of `plans`, looking inside that of
`inspection`.

State: that of `Plans`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphflow.backend import Run
from graphflow.defaults import stacks
from graphflow.errors import FailedPreconditionError, FeedError, InvalidArgumentError
from graphflow.graph import Graph, get_default_graph
from graphflow.inspection import Inspection
from graphflow.plans import closed_error
from graphflow.runtime.config import ConfigProto, mention
from graphflow.runtime.selection import check_options


class BaseSession(Inspection):
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
        super().__init__(
            graph if graph is not None else get_default_graph(),
            config or ConfigProto(),
            device,
            optimization_level,
            disabled_passes,
            debug_memory,
        )

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
            check_options(options, run_metadata)
            if options is not None and (options.trace_level or options.timeout_in_ms):
                return self._recorded_run(fetches, feed_dict, options, run_metadata, device_arrays)
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
        """A function of the values of `feed_list` that returns what `run(fetches, ...)` would, a little faster.

        With `accept_options` it takes `options` and `run_metadata` as well, by these names.
        """
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
                raise _wrong_number(count, args)
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

        return self._by_run(fetches, feeds, call) if accept_options else call

    def _by_run(self, fetches: Any, feeds: Sequence[Any], plain: Callable[..., Any] | None = None) -> Any:
        """What `make_callable` gives where runs may have options; `plain` does those without."""

        def call(*args: Any, options: Any = None, run_metadata: Any = None) -> Any:
            if plain is not None and options is None and run_metadata is None:
                return plain(*args)
            if len(args) != len(feeds):
                raise _wrong_number(len(feeds), args)
            return self.run(fetches, dict(zip(feeds, args, strict=True)), options, run_metadata)

        return call

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
            self._watched.clear()
            self._idle.clear()
            self._cells.clear()


def _wrong_number(count: int, args: Sequence[Any]) -> FeedError:
    return FeedError("as many values as feed_list has entries", expected=str(count), got=str(len(args)))


class Session(BaseSession):
    """Runs a graph; `with tf.Session() as sess:` makes it, and its graph, the default ones."""

    def __enter__(self) -> Session:
        if self._closed:
            raise closed_error()
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
