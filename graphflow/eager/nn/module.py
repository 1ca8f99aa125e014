"""`Module`: parameters, buffers and other modules under names (see `tree`), and a `forward` that uses them.

Policy: PyTorch's names.  One module serves both modes: on values it computes at once, on a symbolic tensor it adds to
that tensor's graph, where its parameters and buffers are variables (see `adoption`).  A state is loaded completely or,
on any error, not at all.

State: each module its hooks and whether it is being trained, beside what the tree holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphflow import checkpoint, dtypes
from graphflow.defaults import stacks
from graphflow.dtypes import DType, as_dtype
from graphflow.eager import adoption
from graphflow.eager.mode import home_of
from graphflow.eager.nn import symbolic
from graphflow.eager.nn.tree import Tree
from graphflow.eager.storage import check_writable, convert, overwrite, plain_array
from graphflow.eager.tensor import REQUIRED, UNTRACKED, EagerTensor
from graphflow.errors import DTypeError, InvalidArgumentError, UnimplementedError, shown
from graphflow.tensor import Tensor

M = TypeVar("M", bound="Module")


class LoadedKeys(NamedTuple):
    """What `load_state_dict` did not find on either side."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Handle:
    """Removes a hook."""

    def __init__(self, hooks: dict[int, Any], number: int) -> None:
        self._hooks, self._number = hooks, number

    def remove(self) -> None:
        """The hook is not called any longer."""
        self._hooks.pop(self._number, None)


class Module(Tree):
    """The base class: assign parameters and modules to attributes in `__init__`, compute in `forward`."""

    training: bool

    def __init__(self) -> None:
        super().__init__()
        own = self.__dict__
        own["training"] = True
        own["_hooks"] = {}
        own["_early_hooks"] = {}

    # -- calling -------------------------------------------------------------------------------------------------

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """What the module computes; every class has its own."""
        raise UnimplementedError(
            f"{type(self).__name__} has no forward", hint="def forward(self, x): ...", got=type(self).__qualname__
        )

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """`forward`, and the hooks."""
        first = arguments[0] if arguments else next(iter(named.values()), None)
        if type(first) is Tensor:
            return symbolic.inside(lambda: self._called_at(first, arguments, named))
        return self._called_at(first, arguments, named)

    def _called_at(self, first: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        graphs = stacks.graphs
        if graphs:
            return self._called(arguments, named)
        graphs.append(home_of(first))
        try:
            return self._called(arguments, named)
        finally:
            graphs.pop()

    def _called(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not self._hooks and not self._early_hooks:
            return self.forward(*arguments, **named)
        for early in tuple(self._early_hooks.values()):
            changed = early(self, arguments)
            if changed is not None:
                arguments = changed if isinstance(changed, tuple) else (changed,)
        made = self.forward(*arguments, **named)
        for hook in tuple(self._hooks.values()):
            changed = hook(self, arguments, made)
            made = made if changed is None else changed
        return made

    def register_forward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> Handle:
        """Call `hook(module, inputs, output)` after `forward`; what it returns replaces the output, if not None."""
        return _hooked(self._hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> Handle:
        """Call `hook(module, inputs)` before `forward`; what it returns replaces the inputs, if not None."""
        return _hooked(self._early_hooks, hook)

    # -- training or not -----------------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Dropout drops, batch normalisation takes the statistics of the batch."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: M) -> M:
        """The opposite of `train()`."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Whether the parameters are learned."""
        for p in self.parameters():
            p.track = REQUIRED if requires_grad else UNTRACKED
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the parameters."""
        forget_gradients(self.parameters(), set_to_none)

    def apply(self: M, function: Callable[[Any], Any]) -> M:
        """Call a function with every module, those inside first."""
        for module in _inside_first(self):
            function(module)
        return self

    # -- dtypes and devices --------------------------------------------------------------------------------------

    def to(self: M, *arguments: Any, device: Any = None, dtype: Any = None) -> M:
        """Convert the floating-point parameters and buffers to a dtype, in place.  Modules live on the CPU."""
        for given in (*arguments, device, dtype):
            if given is None or isinstance(given, bool):
                continue
            text = str(getattr(given, "type", given)) if not isinstance(given, DType) else ""
            if text.partition(":")[0].lower().strip("/") == "cpu":
                continue
            self._convert(_dtype_or_refusal(given))
        return self

    def _convert(self, wanted: DType) -> None:
        for x in (*self.parameters(), *self.buffers()):
            if x.dtype.is_floating:
                convert(x, wanted)
                x.grad = None

    def cpu(self: M) -> M:
        """Modules live on the CPU."""
        return self

    def float(self: M) -> M:
        """Parameters and buffers in 32 bits."""
        return self.to(dtypes.float32)

    def double(self: M) -> M:
        """Parameters and buffers in 64 bits."""
        return self.to(dtypes.float64)

    def half(self: M) -> M:
        """Parameters and buffers in 16 bits."""
        return self.to(dtypes.float16)

    # -- states --------------------------------------------------------------------------------------------------

    def _state(self) -> Iterator[tuple[str, EagerTensor]]:
        yield from self._named("_parameters", "", True)
        yield from self._named("_buffers", "", True, persistent=True)

    def state_dict(self) -> dict[str, EagerTensor]:
        """Parameters and buffers under their paths; the values share the module's memory."""
        found = {}
        for name, x in self._state():
            found[name] = seen = EagerTensor(x.value, x.dtype)
            seen.memory = x.touched()
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Copy a state into the parameters and buffers; `strict` refuses one that has other names."""
        own = dict(self._state())
        keys = LoadedKeys([n for n in own if n not in state_dict], [n for n in state_dict if n not in own])
        if strict and any(keys):
            raise InvalidArgumentError(
                f"the state does not fit {type(self).__name__}",
                expected=f"also {', '.join(keys.missing_keys)}" if keys.missing_keys else "no other names",
                got=f"unexpected: {', '.join(keys.unexpected_keys)}" if keys.unexpected_keys else "these are missing",
                hint="load_state_dict(state, strict=False) takes what fits",
            )
        values = {name: plain_array(state_dict[name]) for name in own if name in state_dict}
        for name, array in values.items():
            check_writable(own[name], array, f"{name!r} of the state")
        for name, array in values.items():
            overwrite(own[name], array)
        return keys

    def save(self, path: Any) -> None:
        """Write the state to a file, in the format of safetensors."""
        checkpoint.save(path, {name: plain_array(x) for name, x in self._state()})

    def load(self, path: Any, strict: bool = True) -> LoadedKeys:
        """Read a state from a file in the format of safetensors, whoever wrote it."""
        with checkpoint.load(path) as found:
            return self.load_state_dict({name: found.read(name) for name in found.names}, strict)

    # -- in a graph ----------------------------------------------------------------------------------------------

    def variables_in(self, graph: Any) -> dict[str, Any]:
        """The variables that stand for parameters and buffers in a graph, under the paths of those."""
        known = graph.store.get(adoption.STORE, {})
        return {name: known[id(x)][1] for name, x in self._state() if id(x) in known}

    def load_from_session(self, session: Any) -> list[str]:
        """Take the values that parameters and buffers have in a session; returns the paths of those it knew."""
        found = self.variables_in(session.graph)
        for name, values in session.run(found).items():
            overwrite(self._tensor(name), values)
        return list(found)

    def _tensor(self, path: str) -> EagerTensor:
        return dict(self._state())[path]

    # -- printing ------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the printed form tells in brackets."""
        return ""

    def __repr__(self) -> str:
        text: dict[int, str] = {}
        for module in _inside_first(self):
            lines = [line for n, m in module._modules.items() for line in f"({n}): {_text(text, m)}".split("\n")]
            told = module.extra_repr()
            inner = f"\n  {told}\n  " if told and lines else told
            body = "\n  ".join(lines)
            text[id(module)] = f"{type(module).__name__}({inner}" + (f"\n  {body}\n)" if lines else ")")
        return text[id(self)]


def _text(text: dict[int, str], module: Any) -> str:
    return "None" if module is None else text[id(module)]


def _inside_first(module: Module) -> list[Any]:
    """A module and all below it, each once, those inside before those that hold them."""
    seen: set[int] = set()
    found: list[Any] = []
    stack: list[tuple[Any, bool]] = [(module, False)]
    while stack:
        here, complete = stack.pop()
        if complete:
            found.append(here)
        elif id(here) not in seen:
            seen.add(id(here))
            stack.append((here, True))
            stack += [(m, False) for m in reversed(list(here.children()))]
    return found


def _dtype_or_refusal(given: Any) -> DType:
    try:
        wanted = given if isinstance(given, DType) else as_dtype(given)
    except (InvalidArgumentError, TypeError):
        raise InvalidArgumentError(
            "a module goes to a floating-point dtype; it lives on the CPU",
            expected='"cpu", or a dtype',
            got=shown(given),
        ) from None
    if not wanted.is_floating:
        raise DTypeError("parameters are floating-point numbers", expected="a floating dtype", got=wanted.name)
    return wanted


def forget_gradients(parameters: Iterable[EagerTensor], set_to_none: bool = True) -> None:
    """Gradients become None, or zeros."""
    for p in parameters:
        if p.grad is not None:
            p.grad = None if set_to_none else EagerTensor(np.zeros_like(plain_array(p.grad)), p.dtype)


def _hooked(hooks: dict[int, Any], hook: Any) -> Handle:
    if not callable(hook):
        raise InvalidArgumentError("a hook is a function", got=shown(hook))
    number = max(hooks, default=0) + 1
    hooks[number] = hook
    return Handle(hooks, number)
