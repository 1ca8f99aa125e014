"""`Module`: parameters, buffers and other modules under names (see `tree`), and a `forward` that uses them.

Policy: PyTorch's names.  One module serves both modes: on values it computes at once, on a symbolic tensor it adds to
that tensor's graph, where its parameters and buffers are variables (see `adoption`).  A state is loaded completely or,
on any error, not at all.

State: each module its hooks and whether it is being trained, beside what the tree holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from graphflow import checkpoint, dtypes
from graphflow.defaults import stacks
from graphflow.dtypes import DType, as_dtype
from graphflow.eager import adoption
from graphflow.eager.hooks import RemovableHandle
from graphflow.eager.mode import home_of
from graphflow.eager.nn import symbolic
from graphflow.eager.nn.crossing import Crossing
from graphflow.eager.nn.parameter import is_device, place_of
from graphflow.eager.nn.tree import Tree
from graphflow.eager.placement import check_place
from graphflow.eager.storage import check_writable, convert, forget_gradients, overwrite, plain_array, relocate
from graphflow.eager.tensor import REQUIRED, UNTRACKED, EagerTensor
from graphflow.eager.traced import used_here
from graphflow.errors import DTypeError, InvalidArgumentError, UnimplementedError, shown
from graphflow.tensor import Tensor

M = TypeVar("M", bound="Module")


class LoadedKeys(NamedTuple):
    """What `load_state_dict` did not find on either side."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if any(self):
            return f"LoadedKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        return "<All keys matched successfully>"


class Module(Tree):
    """The base class: assign parameters and modules to attributes in `__init__`, compute in `forward`."""

    training: bool

    def __init__(self) -> None:
        super().__init__()
        own = self.__dict__
        own["training"] = True
        own["_forward_hooks"] = {}
        own["_forward_pre_hooks"] = {}
        own["_backward_hooks"] = {}  # called when gradients have passed the module
        own["_backward_pre_hooks"] = {}

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
            return symbolic.inside(self, lambda: self._call_at_home(first, arguments, named))
        return self._call_at_home(first, arguments, named)

    def _call_at_home(self, first: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        graphs = stacks.graphs
        if graphs:
            used_here(self)
            return self._call_with_hooks(arguments, named)
        graphs.append(home_of(first))
        try:
            return self._call_with_hooks(arguments, named)
        finally:
            graphs.pop()

    def _call_with_hooks(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        crossed = self._backward_hooks or self._backward_pre_hooks
        if not (self._forward_hooks or self._forward_pre_hooks or crossed):
            return self.forward(*arguments, **named)
        for early in tuple(self._forward_pre_hooks.values()):
            changed = early(self, arguments, named)
            if changed is not None:
                arguments, named = changed
        if crossed:
            way = Crossing(self, tuple(self._backward_pre_hooks.values()), tuple(self._backward_hooks.values()))
            made = way.left(self.forward(*way.entered(arguments), **named))
        else:
            made = self.forward(*arguments, **named)
        for hook in tuple(self._forward_hooks.values()):
            changed = hook(self, arguments, named, made)
            made = made if changed is None else changed
        return made

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, inputs, output)` after `forward`; what it returns replaces the output, if not None.

        `with_kwargs` calls `hook(module, inputs, named, output)`.
        """
        return _hooked(
            self._forward_hooks, hook if with_kwargs else lambda m, given, named, made: hook(m, given, made), prepend
        )

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, inputs)` before `forward`; what it returns replaces the inputs, if not None.

        `with_kwargs` calls `hook(module, inputs, named)`, which returns both.
        """
        if with_kwargs:
            return _hooked(self._forward_pre_hooks, hook, prepend)

        def positional(module: Any, given: Any, named: Any) -> Any:
            changed = hook(module, given)
            return None if changed is None else (changed if isinstance(changed, tuple) else (changed,), named)

        return _hooked(self._forward_pre_hooks, positional, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after the gradients; what it returns replaces grad_input."""
        return _hooked(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the gradients pass; what it returns replaces grad_output."""
        return _hooked(self._backward_pre_hooks, hook, prepend)

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

    def to(self: M, *arguments: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> M:
        """Move parameters and buffers to a device, or convert the floating-point ones to a dtype, in place."""
        for given in arguments:
            if isinstance(given, EagerTensor):
                device, dtype = given.device, given.dtype
            elif is_device(given):
                device = given
            elif given is not None and not isinstance(given, bool):
                dtype = given
        wanted = None if dtype is None else _dtype_or_refusal(dtype)
        place = None if device is None else place_of(device)
        if place is not None:
            check_place(place)  # also for a module that has nothing to move
        for x in (*self.parameters(), *self.buffers()):
            for t in (x, x.grad):
                if t is not None and wanted is not None and t.dtype.is_floating:
                    convert(t, wanted)
                if t is not None and place is not None and (t.dtype.is_floating or place == "cpu"):
                    relocate(t, place)
        return self

    def cpu(self: M) -> M:
        """Parameters and buffers in the memory of the CPU."""
        return self.to("cpu")

    def cuda(self: M, device: Any = None) -> M:
        """Refused: there is no CUDA here."""
        return self.to("cuda")

    def float(self: M) -> M:
        """Parameters and buffers in 32 bits."""
        return self.to(dtypes.float32)

    def double(self: M) -> M:
        """Parameters and buffers in 64 bits."""
        return self.to(dtypes.float64)

    def half(self: M) -> M:
        """Parameters and buffers in 16 bits."""
        return self.to(dtypes.float16)

    def bfloat16(self: M) -> M:
        """Parameters and buffers in the 16 bits that keep the range of 32."""
        return self.to(dtypes.bfloat16)

    def type(self: M, dst_type: Any) -> M:
        """Parameters and buffers in a dtype."""
        return self.to(dtype=dst_type)

    # -- states --------------------------------------------------------------------------------------------------

    def _named_state(self) -> Iterator[tuple[str, EagerTensor]]:
        yield from self._named_members("_parameters", "", True)
        yield from self._named_members("_buffers", "", True, persistent=True)

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, EagerTensor]:
        """Parameters and buffers under their paths; the values share the module's memory."""
        found = {}
        for name, x in self._named_state():
            found[prefix + name] = seen = x if keep_vars else EagerTensor(x.value, x.dtype)
            seen.memory = x.touched()
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Copy a state into the parameters and buffers; `strict` refuses one that has other names."""
        if not isinstance(state_dict, Mapping):
            raise DTypeError("a state is a dict of names and tensors", got=shown(state_dict), hint="model.state_dict()")
        own = dict(self._named_state())
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
        checkpoint.save(path, {name: plain_array(x) for name, x in self._named_state()})

    def load(self, path: Any, strict: bool = True) -> LoadedKeys:
        """Read a state from a file in the format of safetensors, whoever wrote it."""
        with checkpoint.load(path) as found:
            return self.load_state_dict({name: found.read(name) for name in found.names}, strict)

    # -- in a graph ----------------------------------------------------------------------------------------------

    def variables_in(self, graph: Any) -> dict[str, Any]:
        """The variables that stand for parameters and buffers in a graph, under the paths of those."""
        known = graph.store.get(adoption.STORE, {})
        return {name: known[id(x)][1] for name, x in self._named_state() if id(x) in known}

    def load_from_session(self, session: Any) -> list[str]:
        """Take the values that parameters and buffers have in a session; returns the paths of those it knew."""
        found = self.variables_in(session.graph)
        own = dict(self._named_state())
        for name, values in session.run(found).items():
            overwrite(own[name], values)
        return list(found)

    # -- printing ------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the printed form tells in brackets."""
        return ""

    def _printed_parts(self, inside: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Names and printed forms of what is inside, as they are to be printed."""
        return inside

    def __repr__(self) -> str:
        text: dict[int, str] = {}
        for module in _inside_first(self):
            inside = [(n, "None" if m is None else text[id(m)]) for n, m in module._modules.items()]
            lines = [line for n, told in module._printed_parts(inside) for line in f"({n}): {told}".split("\n")]
            told = module.extra_repr()
            inner = f"\n  {told}\n  " if told and lines else told
            body = "\n  ".join(lines)
            text[id(module)] = f"{type(module).__name__}({inner}" + (f"\n  {body}\n)" if lines else ")")
        return text[id(self)]


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
            "a module goes to a device, or to a floating-point dtype",
            expected='"cpu", "opencl", or a dtype',
            got=shown(given),
        ) from None
    if not wanted.is_floating:
        raise DTypeError("parameters are floating-point numbers", expected="a floating dtype", got=wanted.name)
    return wanted


def _hooked(hooks: dict[int, Any], hook: Any, first: bool = False) -> RemovableHandle:
    if not callable(hook):
        raise InvalidArgumentError("a hook is a function", got=shown(hook))
    number = max(hooks, default=0) + 1
    before = dict(hooks) if first else {}
    hooks[number] = hook
    for other, entry in before.items():  # what is put in anew comes last
        del hooks[other]
        hooks[other] = entry
    return RemovableHandle(hooks, number)
