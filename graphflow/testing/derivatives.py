"""Checks of the gradient of an op: first and second order, and forward mode, against derivatives without graphs.

Policy: everything is checked in float64 along random directions, and along every coordinate of small inputs; errors
are relative to |gradient| |direction|, the largest value that a directional derivative can have.  Complex numbers
count as pairs of reals: the gradient of a real function is dL/dx + i dL/dy.

State: none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.constants import convert_to_tensor
from graphflow.errors import UnimplementedError
from graphflow.gradients import gradients
from graphflow.higher_order import jvp
from graphflow.ops import core
from graphflow.session import Session
from graphflow.tensor import Tensor
from graphflow.testing.cases import OpCase
from graphflow.testing.forward import Built, SessionFactory
from graphflow.testing.numeric import (
    TINY,
    Array,
    Mismatch,
    distance,
    evaluate_program,
    inner,
    length,
    moved,
    richardson,
    same_bits,
    spec_checker,
    tolerance,
)

RICHARDSON_BAR = 1e-8
COMPLEX_STEP_BAR = 1e-12
FORWARD_MODE_BAR = 1e-12
SMALL = 8  # inputs with at most so many numbers are moved along each of them
DIRECTIONS = 3


class Problem:
    """The weighted sum <u, y> of an op's outputs, its gradient g in the inputs to differentiate, all in one graph."""

    def __init__(self, case: OpCase, arrays: Sequence[Array], known: str = "shape") -> None:
        self.case = case
        self.built = Built(case, arrays, known)
        self.wanted = list(case.wanted)
        self.xs = [self.built.inputs[i] for i in self.wanted]
        self.ys = [y for y in self.built.outputs if y.dtype.kind in ("float", "complex")]
        self.seeds: list[Any] = []
        self.gs: list[Tensor | None] = []
        self.generator = case.generator("derivatives")
        if self.xs and self.ys and not case.nondeterministic:
            with self.built.graph.as_default():
                self.seeds = [core.placeholder(y.dtype, y.dims) for y in self.ys]
                self.gs = self.differentiate(self.ys, self.seeds)

    @property
    def exists(self) -> bool:
        """Whether there is anything to differentiate."""
        return bool(self.seeds)

    def differentiate(self, ys: Sequence[Tensor], seeds: Sequence[Any]) -> list[Tensor | None]:
        """The gradients of `ys` in the inputs, dense; None where there is no path."""
        with self.built.graph.as_default(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a second derivative may well be cut off everywhere
            found = gradients(list(ys), self.xs, grad_ys=list(seeds))
            return [None if g is None else convert_to_tensor(g) for g in found]

    def draw(self, arrays: Sequence[Any]) -> list[Array]:
        """Random arrays like these, the largest number in each being about one."""
        return [_random(self.generator, np.asarray(a)) for a in arrays]


def _random(generator: np.random.Generator, like: Array) -> Array:
    drawn = np.asarray(generator.uniform(-1.0, 1.0, like.shape))
    if like.dtype.kind == "c":
        drawn = drawn + 1j * generator.uniform(-1.0, 1.0, like.shape)
    return np.asarray(drawn, like.dtype)


class _Line:
    """A function of the inputs, given by fetches of a session, along a direction: numbers and derivatives."""

    def __init__(self, session: Session, problem: Problem, fetches: Sequence[Tensor], weights: Sequence[Array],
                 extra: dict[Tensor, Array]) -> None:  # fmt: skip
        feeds = problem.built.feeds
        self.session = session
        self.problem = problem
        self.fetches = list(fetches)
        self.weights = weights
        self.tensors = [*feeds, *extra]
        self.rest = list(extra.values())
        self.point = list(feeds.values())
        self.call = session.make_callable(self.fetches, self.tensors)
        self.size = length(weights) * length(self.call(*self.point, *self.rest))

    def along(self, direction: Sequence[Any]) -> Callable[[float], float]:
        def value(step: float) -> float:
            return inner(self.weights, self.call(*moved(self.point, direction, step), *self.rest))

        return value

    def complex_step(self, direction: Sequence[Any]) -> float | None:
        """The derivative by the complex step; None where the program cannot run outside of a session."""
        feeds = dict(zip(self.tensors, [*self.point, *self.rest], strict=True))
        program = self.session.program(self.fetches, feeds)
        values = [*moved(self.point, direction, 1j * TINY), *self.rest]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                got = evaluate_program(program, values, self.session._backend)
        except UnimplementedError:
            return None
        except Exception as error:
            raise Mismatch(
                f"a kernel cannot take complex128 ({type(error).__name__}: {error}); "
                "analytic=False says that no complex step applies"
            ) from error
        return inner(self.weights, [np.imag(x) for x in got]) / TINY

    def check(self, what: str, gradient: Sequence[Array], analytic: bool) -> None:
        """Hold the symbolic gradient of <weights, fetches> to the derivatives of both kinds."""
        indices = self.problem.wanted
        for direction in _directions(self.problem, [self.point[i] for i in indices]):
            claimed = inner(gradient, direction)
            whole: list[Any] = [None] * len(self.point)
            for i, v in zip(indices, direction, strict=True):
                whole[i] = v
            scale = max(length(gradient) * length(direction), 1e-4 * self.size)
            found, estimate = richardson(self.along(whole), 0.1 * RICHARDSON_BAR * scale)
            scale = max(scale, abs(found))
            if not abs(found - claimed) <= RICHARDSON_BAR * scale:
                raise Mismatch(
                    f"{what} is wrong: along {_show(direction)} the graph says {claimed:.15g}, "
                    f"differences say {found:.15g} +- {estimate:.1g}"
                )
            if not estimate <= RICHARDSON_BAR * scale:
                raise Mismatch(f"{what}: differences are too uncertain to judge ({found:.15g} +- {estimate:.1g})")
            exact = self.complex_step(whole) if analytic else None
            bar = max(COMPLEX_STEP_BAR, self.problem.case.tol)
            if exact is not None and not abs(exact - claimed) <= bar * scale:
                raise Mismatch(
                    f"{what}: along {_show(direction)} the graph says {claimed:.17g}, differences say {found:.17g}, "
                    f"but the complex step says {exact:.17g}; is every kernel analytic (analytic=False says no)?"
                )


def _show(direction: Sequence[Array]) -> str:
    return ", ".join(np.array2string(v, threshold=6, precision=3).replace("\n", "") for v in direction)


def _directions(problem: Problem, xs: Sequence[Array]) -> list[list[Array]]:
    found = [problem.draw(xs) for _ in range(DIRECTIONS)]
    if sum(x.size for x in xs) <= SMALL:
        for k, x in enumerate(xs):
            for j in range(x.size):
                for unit in (1.0, 1j) if x.dtype.kind == "c" else (1.0,):
                    step = [np.zeros_like(v) for v in xs]
                    step[k].reshape(-1)[j] = unit
                    found.append(step)
    return found


def _dense(problem: Problem, values: Sequence[Any], tensors: Sequence[Tensor | None]) -> list[Array]:
    """The gradients as arrays, zeros where there is none."""
    given = iter(values)
    points = [problem.built.arrays[i] for i in problem.wanted]
    return [np.zeros_like(x) if t is None else np.asarray(next(given)) for x, t in zip(points, tensors, strict=True)]


def _analytic(problem: Problem, tensors: Sequence[Tensor]) -> bool:
    """Whether a complex step can tell anything: real inputs and outputs, and kernels that are analytic."""
    return problem.case.analytic and all(t.dtype.kind != "complex" for t in (*tensors, *problem.xs))


def _dtypes(case: OpCase) -> list[str]:
    """Where derivatives are checked: float64, and complex128 if the row lists it."""
    return [name for name in ("float64", "complex128") if name == "float64" or name in case.dtypes]


def check_gradient(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """The gradient of a random weighted sum of the outputs."""
    for dtype in _dtypes(case):
        problem = Problem(case, case.arrays(dtype))
        if problem.exists:
            _check_first(case, problem, session_factory)
    if case.wanted and not case.nondeterministic:
        for dtype in case.dtypes:
            if dtype in ("float32", "float16", "bfloat16"):
                _check_narrow(case, session_factory, dtype)


def _check_first(case: OpCase, problem: Problem, session_factory: SessionFactory) -> None:
    with problem.built.session(session_factory) as session:
        ys = session.run(problem.ys, problem.built.feeds)
        weights = problem.draw(ys)
        feeds = {**problem.built.feeds, **dict(zip(problem.seeds, weights, strict=True))}
        present = [g for g in problem.gs if g is not None]
        found = session.run(present, feeds)
        gradient = _dense(problem, found, problem.gs)
        _check_kinds(f"{case}: the gradient", problem, gradient)
        with problem.built.session(session_factory, 0) as plain:
            if not all(same_bits(a, b) for a, b in zip(found, plain.run(present, feeds), strict=True)):
                raise Mismatch(f"{case}: O0 and O1 give different gradients")
            line = _Line(session, problem, problem.ys, weights, {})
            line.check(f"{case}: the gradient", gradient, _analytic(problem, problem.ys))
    _check_unknown(case, session_factory, problem, weights, gradient)


def _check_kinds(where: str, problem: Problem, gradient: Sequence[Array]) -> None:
    for i, g in zip(problem.wanted, gradient, strict=True):
        x = problem.built.arrays[i]
        if g.dtype != x.dtype or g.shape != x.shape:
            raise Mismatch(f"{where} of input {i} is {g.dtype}{list(g.shape)}, the input {x.dtype}{list(x.shape)}")


def _check_unknown(
    case: OpCase, factory: SessionFactory, known: Problem, weights: Sequence[Array], gradient: Sequence[Array]
) -> None:
    """The gradient built without knowing shapes."""
    if case.unknown == "none":
        return
    problem = Problem(case, known.built.arrays, case.unknown)
    with problem.built.session(factory) as session:
        feeds = {**problem.built.feeds, **dict(zip(problem.seeds, weights, strict=True))}
        found = _dense(problem, session.run([g for g in problem.gs if g is not None], feeds), problem.gs)
    what = f"{case}: the gradient built with unknown {case.unknown}"
    _check_kinds(what, problem, found)
    scale = max(length(gradient), 1e-300)
    for a, b in zip(found, gradient, strict=True):
        if not length([a - b]) <= COMPLEX_STEP_BAR * scale:
            raise Mismatch(f"{what} differs from the one built with known shapes: {a} {b}")


def _check_narrow(case: OpCase, factory: SessionFactory, dtype: str) -> None:
    """In another width the gradient keeps dtype and shape, kernel by kernel, and is near the one in float64."""
    arrays = case.arrays(dtype)
    narrow = Problem(case, arrays)
    wide = Problem(case, [a.astype(b.dtype) for a, b in zip(arrays, case.arrays(), strict=True)])
    results = []
    weights: list[Array] = []
    for problem in (narrow, wide):
        with problem.built.session(factory) as session:
            if not weights:
                weights = problem.draw(session.run(problem.ys, problem.built.feeds))
            seeds = [np.asarray(w, y.dtype.np) for w, y in zip(weights, problem.ys, strict=True)]
            feeds = {**problem.built.feeds, **dict(zip(problem.seeds, seeds, strict=True))}
            present = [g for g in problem.gs if g is not None]
            results.append(_dense(problem, session.run(present, feeds), problem.gs))
            program = session.program(present, feeds)
            try:
                values = [a if a.ndim else a[()] for a in feeds.values()]
                evaluate_program(program, values, session._backend, spec_checker(program))
            except UnimplementedError:
                pass
            except Mismatch as error:
                raise Mismatch(f"{case}: in the gradient in {dtype}, {error}") from None
    _check_kinds(f"{case}: the gradient in {dtype}", narrow, results[0])
    bar = 100 * tolerance(dtype, case.tol)
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        if not distance(a, b) <= bar:
            off = distance(a, b)
            raise Mismatch(f"{case}: gradient {i} in {dtype} is off by {off:.2g} (the bar is {bar:.2g}): {a} {b}")


def check_second_gradient(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """The gradient of <g, w> for a random w, where g is the gradient."""
    for dtype in _dtypes(case) if case.second else ():
        problem = Problem(case, case.arrays(dtype))
        if problem.exists:
            _check_second(case, problem, session_factory)


def _check_second(case: OpCase, problem: Problem, session_factory: SessionFactory) -> None:
    present = [g for g in problem.gs if g is not None]
    if not present:
        return
    with problem.built.graph.as_default():
        seeds: list[Any] = [core.placeholder(g.dtype, g.dims) for g in present]
    hs = problem.differentiate(present, seeds)
    with problem.built.session(session_factory) as session:
        weights = problem.draw(session.run(problem.ys, problem.built.feeds))
        extra = dict(zip(problem.seeds, weights, strict=True))
        feeds = {**problem.built.feeds, **extra}
        turned = problem.draw(session.run(present, feeds))
        feeds.update(zip(seeds, turned, strict=True))
        second = _dense(problem, session.run([h for h in hs if h is not None], feeds), hs)
        _check_kinds(f"{case}: the second gradient", problem, second)
        line = _Line(session, problem, present, turned, extra)
        line.check(f"{case}: the second gradient", second, _analytic(problem, [*present, *problem.ys]))


def check_forward_mode(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """<u, J v> by `jvp` equals <J' u, v> by `gradients`."""
    for dtype in _dtypes(case) if case.second else ():
        problem = Problem(case, case.arrays(dtype))
        if problem.exists:
            _check_both_modes(case, problem, session_factory)


def _check_both_modes(case: OpCase, problem: Problem, session_factory: SessionFactory) -> None:
    points = [problem.built.arrays[i] for i in problem.wanted]
    with problem.built.graph.as_default(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tangents = [core.placeholder(x.dtype, x.dims) for x in problem.xs]
        pushed = jvp(problem.ys, problem.xs, tangents)
    with problem.built.session(session_factory) as session:
        v = problem.draw(points)
        feeds = {**problem.built.feeds, **dict(zip(tangents, v, strict=True))}
        u = problem.draw(session.run(problem.ys, problem.built.feeds))
        forward = [np.zeros_like(a) if t is None else session.run(t, feeds) for t, a in zip(pushed, u, strict=True)]
        feeds = {**problem.built.feeds, **dict(zip(problem.seeds, u, strict=True))}
        gradient = _dense(problem, session.run([g for g in problem.gs if g is not None], feeds), problem.gs)
    left, right = inner(u, forward), inner(gradient, v)
    scale = max(length(gradient) * length(v), length(u) * length(forward))
    if not abs(left - right) <= max(FORWARD_MODE_BAR, case.tol) * scale:
        raise Mismatch(f"{case}: forward mode says {left:.17g}, reverse mode {right:.17g}")


def check_zero_size_gradient(case: OpCase, session_factory: SessionFactory = Session) -> None:
    """At zero size, gradients have the dtypes and shapes of their inputs, and are zero where there are no outputs."""
    if case.zero_error is not None:
        return
    for shapes in case.zero:
        for known in ("shape", case.unknown):
            problem = Problem(case, case.zero_arrays(shapes), "shape" if known == "none" else known)
            if not problem.exists:
                continue
            with problem.built.session(session_factory) as session:
                ys = session.run(problem.ys, problem.built.feeds)
                feeds = {**problem.built.feeds, **dict(zip(problem.seeds, problem.draw(ys), strict=True))}
                found = _dense(problem, session.run([g for g in problem.gs if g is not None], feeds), problem.gs)
            where = f"{case}: the gradient at zero size {shapes}"
            _check_kinds(where, problem, found)
            if not any(np.size(y) for y in ys) and any(np.any(g) for g in found):
                raise Mismatch(f"{where} is not zero, although there are no outputs: {found}")
