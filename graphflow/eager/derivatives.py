"""`torch.autograd.functional`: whole Jacobians and Hessians of functions, and products with them; and `gradcheck`.

Policy: PyTorch's names and structures: one tensor in gives one out, a tuple gives a tuple.  Everything is made of
derivatives that `backward` would compute, row by row.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.eager import tape
from graphflow.eager.creation import ones_like, zeros_like
from graphflow.eager.methods import detach
from graphflow.eager.recording import enable_grad, no_grad
from graphflow.eager.shaping import reshape
from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import REQUIRED, EagerTensor
from graphflow.errors import DTypeError, FailedPreconditionError, NumericsError, ShapeError, shown


class _Call:
    """A function of tensors, called once, and how its arguments and results were given."""

    def __init__(self, function: Callable[..., Any], inputs: Any, create_graph: bool) -> None:
        self.single_in = isinstance(inputs, EagerTensor)
        given = (inputs,) if self.single_in else tuple(inputs)
        for x in given:
            if not isinstance(x, EagerTensor):
                raise DTypeError("inputs are tensors", got=shown(x), hint="torch.tensor(values)")
        with enable_grad():
            self.inputs = tuple(x.view_as(x) if create_graph and x.track == REQUIRED else _leaf(x) for x in given)
            made = function(*self.inputs)
        self.single_out = isinstance(made, EagerTensor)
        self.outputs: tuple[EagerTensor, ...] = (made,) if self.single_out else tuple(made)
        for y in self.outputs:
            if not isinstance(y, EagerTensor):
                raise DTypeError("the function returns tensors", got=shown(y))
        self.create_graph = create_graph

    def gradients(
        self, given: Sequence[EagerTensor] | None, xs: Sequence[EagerTensor] | None = None, records: bool | None = None
    ) -> list[Any]:
        """The derivatives of all outputs, weighted, by the inputs; zeros where there is no path."""
        xs = self.inputs if xs is None else xs
        found, _ = tape.differentiate(self.outputs, xs, given, self.create_graph if records is None else records)
        return [zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]

    def as_given_in(self, found: Sequence[Any]) -> Any:
        """One for each input, in the structure of the inputs."""
        return found[0] if self.single_in else tuple(found)

    def as_given_out(self, found: Sequence[Any]) -> Any:
        """One for each output, in the structure of the outputs."""
        return found[0] if self.single_out else tuple(found)

    def results(self) -> Any:
        """The outputs, which take part in gradients if those are wanted."""
        return self.as_given_out([y if self.create_graph else detach(y) for y in self.outputs])

    def scalar(self) -> EagerTensor:
        """The one output, of one element."""
        if len(self.outputs) != 1 or self.outputs[0].shape.numel() != 1:
            raise ShapeError(
                "the function returns one number", got=str([list(y.dims) for y in self.outputs]), hint="its sum()"
            )
        return self.outputs[0]


def _leaf(x: EagerTensor) -> EagerTensor:
    made = detach(x)
    made.requires_grad = True
    return made


def _weights(v: Any, like: Sequence[EagerTensor], what: str) -> list[EagerTensor]:
    """What to weight outputs or inputs with: ones, if there is one number."""
    if v is None:
        if len(like) != 1 or like[0].shape.numel() != 1:
            raise ShapeError(f"v is needed: one tensor for each of the {what}s", got="None")
        return [ones_like(like[0])]
    given = [v] if isinstance(v, EagerTensor) else list(v)
    if [getattr(g, "dims", None) for g in given] != [x.dims for x in like]:
        raise ShapeError(
            f"v has the shapes of the {what}s",
            expected=str([list(x.dims) for x in like]),
            got=str([list(getattr(g, "dims", ())) for g in given]),
        )
    return given


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivatives of every element of the outputs by every element of the inputs."""
    call = _Call(func, inputs, create_graph)
    rows = [tape.jacobian_of(y, call.inputs, create_graph, strict) for y in call.outputs]
    return call.as_given_out([call.as_given_in(row) for row in rows])


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function of one number."""
    call = _Call(func, inputs, create_graph)
    call.scalar()
    first = call.gradients(None, records=True)
    return call.as_given_in([call.as_given_in(tape.jacobian_of(g, call.inputs, create_graph, strict)) for g in first])


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The outputs, and the derivatives of the outputs weighted with v by the inputs."""
    call = _Call(func, inputs, create_graph)
    found = call.gradients(_weights(v, call.outputs, "output"))
    return call.results(), call.as_given_in(found)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The outputs, and how they change when the inputs go in direction v."""
    call = _Call(func, inputs, create_graph)
    direction = _weights(v, call.inputs, "input")
    weights = [_leaf(zeros_like(y)) for y in call.outputs]
    first = call.gradients(weights, records=True)  # linear in the weights, whose derivative is the product
    moving = [g for g in first if g.track == REQUIRED]
    along = [d for g, d in zip(first, direction, strict=True) if g.track == REQUIRED]
    found: list[Any] = [None] * len(weights)
    if moving:
        found, _ = tape.differentiate(moving, weights, along, create_graph)
    given = [zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]
    return call.results(), call.as_given_out(given)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The output, and the Hessian times v; the Hessian is its own transpose."""
    return vhp(func, inputs, v, create_graph, strict)


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The output, and v times the Hessian."""
    call = _Call(func, inputs, create_graph)
    call.scalar()
    weights = _weights(v, call.inputs, "input")
    first = call.gradients(None, records=True)
    moving = [(g, w) for g, w in zip(first, weights, strict=True) if g.track == REQUIRED]
    found: list[Any] = [None] * len(call.inputs)
    if moving:
        found, _ = tape.differentiate([g for g, _ in moving], call.inputs, [w for _, w in moving], create_graph)
    given = [zeros_like(x) if g is None else g for g, x in zip(found, call.inputs, strict=True)]
    return call.results(), call.as_given_in(given)


# -- checking derivatives --------------------------------------------------------------------------------------------


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Whether the derivatives agree with what small steps of the inputs do; give inputs of float64."""
    given = (inputs,) if isinstance(inputs, EagerTensor) else tuple(inputs)
    asked = [x for x in given if isinstance(x, EagerTensor) and x.track == REQUIRED]
    if not asked:
        raise FailedPreconditionError("gradcheck needs an input that requires gradients", hint="requires_grad=True")
    outputs = _outputs(func(*given))
    for number, y in enumerate(outputs):
        exact = tape.jacobian_of(y, asked, False, False) if y.track == REQUIRED else [None] * len(asked)
        for which, (x, found) in enumerate(zip(asked, exact, strict=True)):
            stepped = _by_steps(func, given, x, number, eps)
            own = np.zeros_like(stepped) if found is None else plain_array(found).reshape(stepped.shape)
            if not np.allclose(own, stepped, rtol, atol):
                if not raise_exception:
                    return False
                raise NumericsError(
                    f"the derivative of output {number} by input {which} is not what small steps say",
                    expected=np.array2string(stepped, precision=6, threshold=20),
                    got=np.array2string(own, precision=6, threshold=20),
                    hint="float32 is too coarse for it: inputs of float64",
                )
    return True


def _outputs(made: Any) -> list[EagerTensor]:
    found = [made] if isinstance(made, EagerTensor) else list(made)
    return [y for y in found if isinstance(y, EagerTensor) and y.dtype.is_floating]


def _by_steps(func: Callable[..., Any], given: Sequence[Any], x: EagerTensor, number: int, eps: float) -> Any:
    """One row for each element of output `number`, one column for each element of x."""
    values = plain_array(x)
    columns = []
    with no_grad():
        for i in range(values.size):
            ends = []
            for step in (eps, -eps):
                moved = np.array(values)
                moved.reshape(-1)[i] += step
                other = EagerTensor(moved, x.dtype)
                made = _outputs(func(*[other if a is x else a for a in given]))[number]
                ends.append(plain_array(made).reshape(-1).astype(np.float64))
            columns.append((ends[0] - ends[1]) / (2 * eps))
    return np.stack(columns, -1) if columns else np.zeros((0, 0))


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """`gradcheck` of the derivative itself."""
    given = (inputs,) if isinstance(inputs, EagerTensor) else tuple(inputs)
    asked = [i for i, x in enumerate(given) if isinstance(x, EagerTensor) and x.track == REQUIRED]
    made = _outputs(func(*given))
    weights = [ones_like(y) for y in made] if grad_outputs is None else _weights(grad_outputs, made, "output")

    def derivative(*arguments: Any) -> Any:
        with enable_grad():
            xs = [arguments[i] if arguments[i].track == REQUIRED else _leaf(arguments[i]) for i in asked]
            places = dict(zip(asked, xs, strict=True))
            found = _outputs(func(*[places.get(i, a) for i, a in enumerate(arguments)]))
            slopes, _ = tape.differentiate(found, xs, weights, True)
        return [reshape(zeros_like(x), x.dims) if g is None else g for g, x in zip(slopes, xs, strict=True)]

    return gradcheck(derivative, given, eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)
