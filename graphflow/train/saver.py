"""`Saver`: variables into checkpoints and back, and graphs beside them.

Policy: a save is one consistent snapshot, taken while the locks of all variables are held, and durable before anything
older is deleted.  A restore validates the whole file and every variable first, lists all that does not fit at once,
and then changes all variables or none.

State: a Saver owns its variables and the list of the checkpoints that it has written.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow import checkpoint, dtypes, durable, spec
from graphflow.backend import Cell
from graphflow.errors import (
    AlreadyExistsError,
    DTypeError,
    FailedPreconditionError,
    GraphError,
    InvalidArgumentError,
    NotFoundError,
    UnimplementedError,
)
from graphflow.graph import Graph, get_default_graph
from graphflow.keys import GraphKeys
from graphflow.plans import closed_error
from graphflow.session import BaseSession
from graphflow.train import meta_graph
from graphflow.train.checkpoint_state import (
    DATA,
    STATE_FILE,
    checkpoint_exists,
    data_path,
    get_checkpoint_mtimes,
    meta_path,
    remove_checkpoint,
    update_checkpoint_state,
)
from graphflow.train.global_step import global_step as step_number

LISTED = 20


class Saver:
    """Saves and restores variables: all of them, a list, or a dict from names in the checkpoint to variables."""

    V1 = 1
    V2 = 2

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: int = V2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        if saver_def is not None or builder is not None:
            raise UnimplementedError("a Saver is not made of a SaverDef", hint="tf.train.Saver(var_list=...)")
        if defer_build and var_list is not None:
            raise InvalidArgumentError("with defer_build=True, the variables are found by build()", got="var_list")
        if max_to_keep is not None and not (type(max_to_keep) is int and max_to_keep >= 0):
            raise InvalidArgumentError("max_to_keep is a number, 0 or None for all", got=repr(max_to_keep))
        self.reshape = reshape
        self.max_to_keep = max_to_keep or 0
        self.keep_hours = keep_checkpoint_every_n_hours
        self._allow_empty = allow_empty
        self._pad = pad_step_number
        self._variables: dict[str, Any] | None = None
        self._lock = threading.RLock()
        self._last: list[tuple[str, float]] = []
        self._next_to_keep = time.time() + keep_checkpoint_every_n_hours * 3600
        self._preserved = 0.0
        self._warned = False
        if not defer_build:
            self._variables = _named(var_list, allow_empty)

    def build(self) -> None:
        """Find the variables now, if that was deferred."""
        if self._variables is None:
            self._variables = _named(None, self._allow_empty)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables by their names in the checkpoint."""
        self.build()
        assert self._variables is not None
        return self._variables

    # -- saving --------------------------------------------------------------------------------------------------

    def save(
        self,
        sess: Any,
        save_path: Any,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str:
        """Write the variables' values (and the graph); returns the prefix that `restore` takes."""
        path = durable.text_path(save_path).removesuffix(DATA)
        state_file = _checked_paths(path, latest_filename)
        session = self._session(sess, "save")
        if global_step is not None:
            number = step_number(session, global_step) if hasattr(global_step, "graph") else _integer(global_step)
            path = f"{path}-{number:08d}" if self._pad else f"{path}-{number}"
        arrays = snapshot({name: session.cell(v.op) for name, v in self.variables.items()})
        with self._lock:
            checkpoint.save(data_path(path), arrays)
            if write_meta_graph:
                self._write_graph(session.graph, meta_path(path, meta_graph_suffix))
            old = self._record(path)
            if write_state:
                directory, paths = os.path.dirname(path) or ".", self.last_checkpoints or [path]
                times = [t for _, t in self._last] or [time.time()]
                update_checkpoint_state(directory, path, paths, state_file, times, self._preserved)
            self._delete(old, meta_graph_suffix)
        return path

    def _session(self, sess: Any, what: str) -> BaseSession:
        if not isinstance(sess, BaseSession):
            raise DTypeError(f"{what}() takes a session first", expected="a tf.Session", got=repr(sess)[:80])
        for v in self.variables.values():
            if v.graph is not sess.graph:
                hint = "make the Saver under the same graph as the session"
                raise GraphError(f"variable {v.op.name!r} is not of the session's graph", op=v.op, hint=hint)
        if sess._closed:
            raise closed_error()
        return sess

    def _write_graph(self, graph: Graph, path: str) -> None:
        try:
            meta = self._meta(graph, None)
        except UnimplementedError as error:
            if not self._warned:
                self._warned = True
                warnings.warn(f"the checkpoint is saved without its graph: {error}", stacklevel=4)
            return
        meta_graph.write_meta(path, meta)

    def _record(self, path: str) -> list[tuple[str, float]]:
        """Note the new checkpoint; what is too many now."""
        if not self.max_to_keep:
            return []
        self._last = [(p, t) for p, t in self._last if p != path]
        self._last.append((path, time.time()))
        old = []
        while len(self._last) > self.max_to_keep:
            entry = self._last.pop(0)
            if entry[1] > self._next_to_keep:
                self._next_to_keep += self.keep_hours * 3600
                self._preserved = entry[1]
            else:
                old.append(entry)
        return old

    def _delete(self, old: Sequence[tuple[str, float]], meta_graph_suffix: str) -> None:
        for path, _ in old:
            with contextlib.suppress(OSError):
                remove_checkpoint(path, meta_graph_suffix=meta_graph_suffix)

    # -- restoring -----------------------------------------------------------------------------------------------

    def restore(self, sess: Any, save_path: Any) -> None:
        """Give the variables the values of a checkpoint: all of them, or an error and none."""
        if save_path is None:
            hint = "tf.train.latest_checkpoint(directory) found none"
            raise InvalidArgumentError("Can't load save_path when it is None.", hint=hint)
        path = durable.text_path(save_path)
        session = self._session(sess, "restore")
        if path.endswith((".meta", ".meta.json")):
            hint = f"restore the values from {path[: path.rindex('.meta')]!r}"
            raise InvalidArgumentError(f"{path!r} holds a graph, not values", hint=hint)
        variables = self.variables
        with checkpoint.load(data_path(path), verify=False) as found:
            self._check_fit(found)
            if len(variables) < len(found.names):
                found.verify()  # the tensors that nobody asked for as well
            arrays = found.read_all(list(variables))
        commit([(session.cell(v.op), _value(arrays.pop(name), v)) for name, v in variables.items()])

    def _check_fit(self, found: checkpoint.Checkpoint) -> None:
        missing, other = [], []
        for name, v in self.variables.items():
            if name not in found.specs:
                missing.append(f"{name!r} is not in it")
                continue
            dtype, shape = found.specs[name]
            dims = v.op.attrs["dims"]
            same = spec.compatible(dims, shape)
            if self.reshape and spec.is_concrete(dims):
                same = spec.numel(dims) == spec.numel(shape)
            if dtype != v.dtype.name:
                other.append(f"{name!r} is {dtype}, the variable {v.dtype.name}")
            elif not same:
                other.append(f"{name!r} has the shape {spec.describe(shape)}, the variable {spec.describe(dims)}")
        if missing or other:
            kind = NotFoundError if missing else InvalidArgumentError
            lines = [*missing, *other]
            text = "; ".join(lines[:LISTED]) + (f"; and {len(lines) - LISTED} more" if len(lines) > LISTED else "")
            names = list(found.names)
            have = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
            hint = "Saver(var_list=[...]) restores some variables only; a dict gives them other names"
            raise kind(f"checkpoint {found.path!r} does not fit: {text}", got=f"tensors {have}", hint=hint)

    # -- the checkpoints written so far --------------------------------------------------------------------------

    @property
    def last_checkpoints(self) -> list[str]:
        """The prefixes of the checkpoints that are kept, oldest first."""
        return [path for path, _ in self._last]

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        """Take over a list of checkpoints, oldest first."""
        self.set_last_checkpoints_with_time([(path, float("nan")) for path in last_checkpoints])

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: Sequence[tuple[str, float]]) -> None:
        """Take over a list of (path, seconds since the epoch), oldest first."""
        now = time.time()
        self._last = [(os.fspath(p), t if t == t else now) for p, t in last_checkpoints_with_time]

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Take over those of the checkpoints that exist, with the times of their files."""
        paths = [p for p in checkpoint_paths if checkpoint_exists(p)]
        self.set_last_checkpoints_with_time(list(zip(paths, get_checkpoint_mtimes(paths), strict=True)))

    # -- graphs --------------------------------------------------------------------------------------------------

    def export_meta_graph(
        self,
        filename: Any = None,
        collection_list: Sequence[str] | None = None,
        as_text: bool = False,
        export_scope: str | None = None,
        clear_devices: bool = False,
        clear_extraneous_savers: bool = False,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> meta_graph.MetaGraphDef:
        """The graph, its collections and this saver as a document; written to `filename` if one is given."""
        _no_scope(export_scope)
        graph = next((v.graph for v in self.variables.values()), get_default_graph())
        return _exported(self._meta(graph, collection_list), filename, as_text, clear_devices)

    def _meta(self, graph: Graph, collection_list: Sequence[str] | None) -> meta_graph.MetaGraphDef:
        saver = {
            "variables": {name: v.handle.name for name, v in self.variables.items()},
            "options": {"reshape": self.reshape, "max_to_keep": self.max_to_keep, "keep_hours": float(self.keep_hours)},
        }
        return meta_graph.to_meta(graph, collection_list, saver)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise DTypeError("global_step is an integer, a tensor or a variable", got=repr(value)[:80])
    return int(value)


def _checked_paths(path: str, latest_filename: str | None) -> str:
    """The name of the state file; errors for paths that cannot work."""
    state_file = STATE_FILE if latest_filename is None else latest_filename
    if os.path.split(state_file)[0]:
        raise InvalidArgumentError("'latest_filename' must not contain path components", got=repr(state_file))
    directory, base = os.path.split(path)
    if not base or base == state_file:
        text = f"save_path must end in a file name that is not {state_file!r}"
        raise InvalidArgumentError(text, got=repr(path), hint='saver.save(sess, "run/model")')
    if directory and not os.path.isdir(directory):
        text = f"Parent directory of {path} doesn't exist, can't save."
        raise InvalidArgumentError(text, hint=f"os.makedirs({directory!r}, exist_ok=True)")
    return state_file


def _named(var_list: Any, allow_empty: bool) -> dict[str, Any]:
    """The variables by their names in the checkpoint."""
    if var_list is None:
        graph = get_default_graph()
        var_list = [
            *graph.get_collection(GraphKeys.GLOBAL_VARIABLES),
            *graph.get_collection(GraphKeys.SAVEABLE_OBJECTS),
        ]
    found: dict[str, Any] = {}
    pairs = var_list.items() if isinstance(var_list, Mapping) else [(None, v) for v in _sequence(var_list)]
    for key, v in pairs:
        if getattr(v, "handle", None) is None:
            raise DTypeError("a Saver saves variables", expected="a list or dict of tf.Variable", got=repr(v)[:80])
        name = v.op.name if key is None else key
        if not isinstance(name, str):
            raise DTypeError("a variable is saved under a name", expected="a string", got=repr(name)[:80])
        if found.setdefault(name, v) is not v:
            raise AlreadyExistsError(f"At least two variables have the same name: {name}", op=v.op)
    if not found and not allow_empty:
        raise InvalidArgumentError("No variables to save", hint="make the Saver after the variables")
    return found


def _sequence(var_list: Any) -> list[Any]:
    if isinstance(var_list, (str, bytes)) or not hasattr(var_list, "__iter__") or hasattr(var_list, "handle"):
        raise DTypeError("var_list is a list or a dict of variables", got=repr(var_list)[:80])
    return list(var_list)


def _value(array: np.ndarray[Any, Any], v: Any) -> Any:
    """The array as the cell keeps it: in the variable's shape, rank 0 as a NumPy scalar."""
    dims = v.op.attrs["dims"]
    if not spec.compatible(dims, array.shape):
        array = array.reshape(dims)
    return array if array.ndim or v.dtype is dtypes.string else array[()]


@contextlib.contextmanager
def _locked(cells: Sequence[Cell]) -> Iterator[None]:
    """Hold the locks of all cells, taken in the order in which every run takes them."""
    with contextlib.ExitStack() as stack:
        for cell in sorted(cells, key=lambda c: str(c.name)):
            stack.enter_context(cell.lock)
        yield


def snapshot(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """The values of all cells at one moment; FailedPreconditionError lists those that have none."""
    with _locked(list(cells.values())):
        missing = sorted({cell.name for cell in cells.values() if not cell.initialized})
        if missing:
            listed = ", ".join(repr(n) for n in missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
            verb = "variable" if len(missing) == 1 else "variables"
            raise FailedPreconditionError(
                f"Attempting to use uninitialized value: {verb} {listed}",
                hint="run tf.global_variables_initializer() before you save",
            )
        return {name: cell.snapshot() for name, cell in cells.items()}


def commit(values: Sequence[tuple[Cell, Any]]) -> None:
    """Assign to all cells as one step; if that fails half-way, those that had a value have it again."""
    with _locked([cell for cell, _ in values]):
        before = [(cell, cell.snapshot()) for cell, _ in values if cell.initialized]
        try:
            for cell, value in values:
                cell.assign(value)
        except BaseException:
            for cell, value in before:
                cell.assign(value)
            raise


# -- meta graphs -----------------------------------------------------------------------------------------------------


def _no_scope(export_scope: str | None) -> None:
    if export_scope:
        raise UnimplementedError("a part of a graph cannot be exported", got=f"export_scope={export_scope!r}")


def _exported(
    meta: meta_graph.MetaGraphDef, filename: Any, as_text: bool, clear_devices: bool
) -> meta_graph.MetaGraphDef:
    if clear_devices:
        graphs = [meta.content["graph"], *meta.content["graph"].get("functions", [])]
        for record in [record for graph in graphs for record in graph["ops"]]:
            record.pop("device", None)
    if filename is not None:
        meta_graph.write_meta(durable.text_path(filename), meta, as_text)
    return meta


def export_meta_graph(
    filename: Any = None,
    meta_info_def: Any = None,
    graph_def: Any = None,
    saver_def: Any = None,
    collection_list: Sequence[str] | None = None,
    as_text: bool = False,
    graph: Graph | None = None,
    export_scope: str | None = None,
    clear_devices: bool = False,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    save_debug_info: bool = False,
) -> meta_graph.MetaGraphDef:
    """A graph and its collections as a document; written to `filename` if one is given."""
    _no_scope(export_scope)
    if graph_def is not None or saver_def is not None:
        raise UnimplementedError("export_meta_graph exports a tf.Graph", hint="graph=...")
    meta = meta_graph.to_meta(graph or get_default_graph(), collection_list)
    return _exported(meta, filename, as_text, clear_devices)


def import_meta_graph(
    meta_graph_or_file: Any, clear_devices: bool = False, import_scope: str | None = None, **kwargs: Any
) -> Saver | None:
    """Build the graph of a file in the default graph; the Saver for its variables, None if it has none."""
    input_map = kwargs.pop("input_map", None)
    if kwargs:
        raise InvalidArgumentError(f"import_meta_graph() has no parameter {sorted(kwargs)}", expected="input_map")
    meta = meta_graph.read_meta(meta_graph_or_file)
    found = meta_graph.import_meta(meta, clear_devices, import_scope, input_map)
    saver = found.saver
    if not saver:
        variables = [v for v in get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES) if v in found.made]
        return Saver(variables) if variables else None
    return Saver(
        saver["variables"],
        saver["reshape"],
        max_to_keep=saver["max_to_keep"],
        keep_checkpoint_every_n_hours=saver["keep_hours"],
        allow_empty=True,
    )
