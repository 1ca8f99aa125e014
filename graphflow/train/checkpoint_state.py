"""Which checkpoints a directory holds: the file `checkpoint`, and where the files of a checkpoint are.

Policy: a checkpoint is named by its prefix ("run/model-1000"); its values are in `prefix.safetensors`, its graph is in
`prefix.meta.json`.  The state file is JSON, replaced atomically and durably; TensorFlow 1's text form is read as well.
Paths beside the state file are stored without a directory, so a run may be moved.  A state file that cannot be
trusted is an error, never silently "no checkpoint".

State: none.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from typing import Any

from graphflow import checkpoint, durable
from graphflow.dtypes import DType, as_dtype
from graphflow.errors import DataLossError, InvalidArgumentError, NotFoundError

DATA = ".safetensors"
META = ".json"
STATE_FILE = "checkpoint"
_LINE = re.compile(r'\s*([a-z_]+)\s*:\s*(?:"((?:[^"\\]|\\.)*)"|([-+0-9.eE]+))\s*\Z')
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|(.))")
_NAMED = {"n": "\n", "t": "\t", "r": "\r"}


def data_path(prefix: Any) -> str:
    """The file with the values of a checkpoint."""
    text = durable.text_path(prefix)
    return text if text.endswith(DATA) else text + DATA


def meta_path(prefix: Any, meta_graph_suffix: str = "meta") -> str:
    """The file with the graph of a checkpoint."""
    return f"{durable.text_path(prefix).removesuffix(DATA)}.{meta_graph_suffix}{META}"


class CheckpointState:
    """What the state file says."""

    def __init__(
        self,
        model_checkpoint_path: str = "",
        all_model_checkpoint_paths: Sequence[str] = (),
        all_model_checkpoint_timestamps: Sequence[float] = (),
        last_preserved_timestamp: float = 0.0,
    ) -> None:
        self.model_checkpoint_path = model_checkpoint_path
        self.all_model_checkpoint_paths = list(all_model_checkpoint_paths)
        self.all_model_checkpoint_timestamps = list(all_model_checkpoint_timestamps)
        self.last_preserved_timestamp = last_preserved_timestamp

    def __repr__(self) -> str:
        return f"<CheckpointState {self.model_checkpoint_path!r}, {len(self.all_model_checkpoint_paths)} in all>"


def update_checkpoint_state(
    save_dir: Any,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Write the state file of a directory; the newest path is the last of all paths."""
    directory = durable.text_path(save_dir)
    paths = list(all_model_checkpoint_paths or [])
    if not paths or paths[-1] != model_checkpoint_path:
        paths.append(model_checkpoint_path)
    times = [float(t) for t in all_model_checkpoint_timestamps or []]
    if times and len(times) != len(paths):
        raise InvalidArgumentError("one timestamp for each path", expected=str(len(paths)), got=str(len(times)))
    state = {
        "model_checkpoint_path": _beside(directory, model_checkpoint_path),
        "all_model_checkpoint_paths": [_beside(directory, p) for p in paths],
        "all_model_checkpoint_timestamps": times,
        "last_preserved_timestamp": float(last_preserved_timestamp or 0.0),
    }
    durable.write_json(_state_path(directory, latest_filename), state)


def _state_path(directory: Any, latest_filename: str | None) -> str:
    return os.path.join(durable.text_path(directory), latest_filename or STATE_FILE)


def _beside(directory: str, path: str) -> str:
    """The path without its directory if that is `directory`, else absolute."""
    head, tail = os.path.split(path)
    if os.path.abspath(head) == os.path.abspath(directory):
        return tail
    return os.path.abspath(path)


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> CheckpointState | None:
    """What the state file of a directory says, paths completed; None where there is no such file."""
    directory = durable.text_path(checkpoint_dir)
    path = _state_path(directory, latest_filename)
    if not os.path.exists(path):
        return None
    fd, _ = durable.open_regular(path)
    with open(fd, "rb") as file:
        raw = file.read(durable.MAX_JSON_BYTES + 1)
    if len(raw) > durable.MAX_JSON_BYTES:
        raise DataLossError(f"{path!r} is too large", expected=f"at most {durable.MAX_JSON_BYTES} bytes")
    found = durable.parse_json(raw, repr(path)) if raw.lstrip()[:1] == b"{" else _text_form(raw, path)
    latest, paths = found.get("model_checkpoint_path"), found.get("all_model_checkpoint_paths", [])
    times, preserved = found.get("all_model_checkpoint_timestamps", []), found.get("last_preserved_timestamp", 0.0)
    sound = type(latest) is str and latest and _list_of(paths, (str,)) and _list_of([preserved, *times], (int, float))
    if not sound:
        expected = "model_checkpoint_path and a list of all paths"
        raise DataLossError(f"{path!r} does not name a checkpoint", expected=expected)
    complete = [_complete(directory, p) for p in [latest, *paths]]
    return CheckpointState(complete[0], complete[1:] or complete, times, preserved)


def _list_of(items: Any, kinds: tuple[type[Any], ...]) -> bool:
    return type(items) is list and all(type(i) in kinds for i in items)


def _complete(directory: str, path: str) -> str:
    durable.text_path(path)
    if not os.path.isabs(path):
        return os.path.join(directory, path)
    beside = os.path.join(directory, os.path.basename(path))
    moved = not os.path.exists(data_path(path)) and os.path.exists(data_path(beside))
    return beside if moved else path


def _text_form(raw: bytes, path: str) -> dict[str, Any]:
    """TensorFlow's form, one `field: value` a line."""
    found: dict[str, Any] = {"all_model_checkpoint_paths": [], "all_model_checkpoint_timestamps": []}
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataLossError(f"{path!r} is not a checkpoint state", expected="text") from None
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise DataLossError(f"{path!r} is not a checkpoint state", got=repr(line[:80]))
        try:
            value: Any = float(match[3]) if match[2] is None else _ESCAPE.sub(_unescaped, match[2])
        except ValueError:
            raise DataLossError(f"{path!r} is not a checkpoint state", got=repr(line[:80])) from None
        if isinstance(found.get(match[1]), list):
            found[match[1]].append(value)
        else:
            found[match[1]] = value
    return found


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 8)) if match[1] else _NAMED.get(match[2], match[2])


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """The prefix of the newest checkpoint of a directory; None where there is none."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None or not checkpoint_exists(state.model_checkpoint_path):
        return None
    return state.model_checkpoint_path


def checkpoint_exists(checkpoint_prefix: Any) -> bool:
    """Whether there is a file with the values of that checkpoint."""
    return os.path.isfile(data_path(checkpoint_prefix))


def get_checkpoint_mtimes(checkpoint_prefixes: Sequence[Any]) -> list[float]:
    """When the checkpoints that exist were written, in seconds since the epoch."""
    found = []
    for prefix in checkpoint_prefixes:
        with contextlib.suppress(FileNotFoundError):
            found.append(os.path.getmtime(data_path(prefix)))
    return found


def remove_checkpoint(
    checkpoint_prefix: Any, checkpoint_format_version: int = 2, meta_graph_suffix: str | None = "meta"
) -> None:
    """Delete the files of a checkpoint; those that do not exist are no error."""
    paths = [data_path(checkpoint_prefix)]
    if meta_graph_suffix:
        paths.append(meta_path(checkpoint_prefix, meta_graph_suffix))
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise durable.os_error(exc, path, "remove") from exc


# -- looking into checkpoints ----------------------------------------------------------------------------------------


class CheckpointReader:
    """The tensors of one checkpoint, read when they are asked for."""

    def __init__(self, checkpoint_prefix: Any) -> None:
        self._checkpoint = checkpoint.load(data_path(checkpoint_prefix), verify=False)

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """The shapes by name."""
        return {name: list(shape) for name, (_, shape) in self._checkpoint.specs.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """The dtypes by name."""
        return {name: as_dtype(dtype) for name, (dtype, _) in self._checkpoint.specs.items()}

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether there is a tensor of that name."""
        return tensor_str in self._checkpoint.specs

    def get_tensor(self, tensor_str: str) -> Any:
        """The tensor as an array, its checksum verified."""
        value = self._checkpoint.read(tensor_str)
        return value if value.ndim or value.dtype == object else value[()]

    def debug_string(self) -> bytes:
        """Names, dtypes and shapes as text, one tensor a line."""
        lines = [f"{name} ({dtype}) {list(shape)}" for name, (dtype, shape) in self._checkpoint.specs.items()]
        return "\n".join(lines).encode()


def NewCheckpointReader(filepattern: Any) -> CheckpointReader:
    """A reader for the checkpoint of that prefix."""
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file: Any) -> CheckpointReader:
    """A reader for a checkpoint, or for the newest one of a directory."""
    path = durable.text_path(ckpt_dir_or_file)
    if os.path.isdir(path) and not checkpoint_exists(path):
        latest = latest_checkpoint(path)
        if latest is None:
            raise NotFoundError(f"the directory {path!r} has no checkpoint", expected=f"a file {STATE_FILE!r} in it")
        path = latest
    return CheckpointReader(path)


def load_variable(ckpt_dir_or_file: Any, name: str) -> Any:
    """One tensor of a checkpoint."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """Names and shapes of the tensors of a checkpoint, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())
