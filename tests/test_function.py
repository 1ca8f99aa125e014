"""Traced functions: a graph for each signature, results and derivatives of the eager code, by reference, and freed."""

from __future__ import annotations

import dataclasses
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn
from graphflow.eager.function import MAX_TRACES, Function, function
from graphflow.eager.notices import MANY
from graphflow.eager.recording import no_grad
from graphflow.errors import FailedPreconditionError, GradientLookupError, InvalidArgumentError, SymbolicUseError

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    with torch():
        yield


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="graphflow")
    return lambda: [record.getMessage() for record in caplog.records]


def array(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(*shape: int, grad: bool = False) -> Any:
    return torch.tensor(array(*shape), requires_grad=grad)


def same(a: Any, b: Any) -> None:
    a, b = a.detach().numpy(), b.detach().numpy()
    assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# -- calling ---------------------------------------------------------------------------------------------------------


def test_one_trace_for_each_signature() -> None:
    runs = []

    @function
    def f(x: Any, k: Any = 2) -> Any:
        runs.append(k)
        return x * k

    a, b = tensor(3), tensor(4)
    same(f(a), a * 2)
    same(f(a, 2), a * 2)
    same(f(x=a, k=2), a * 2)
    assert runs == [2]
    same(f(b), b * 2)
    same(f(a, 3), a * 3)
    same(f(a, 3.0), a * 3.0)
    assert runs == [2, 2, 3, 3.0] and len(f.traces) == 4
    same(f(a), a * 2)
    assert len(runs) == 4


def test_any_nest_comes_and_goes() -> None:
    @function
    def f(pair: Any, named: Any) -> Any:
        return {"sum": pair[0] + pair[1], "rest": [named["a"] * 2, None, "word", (pair[0],)]}

    x, y = tensor(2), tensor(2)
    found = f((x, y), {"a": array(1)})
    same(found["sum"], x + y)
    assert found["rest"][1:3] == [None, "word"]
    same(found["rest"][3][0], x)
    f((y, x), {"a": array(1)})
    assert len(f.traces) == 1
    f([x, y], {"a": array(1)})
    assert len(f.traces) == 2


def test_zeros_of_both_signs_and_nan_are_values_too() -> None:
    @function
    def f(x: Any, k: float) -> Any:
        return x * k

    one = torch.tensor([1.0])
    assert np.signbit(f(one, -0.0).numpy()) and not np.signbit(f(one, 0.0).numpy())
    f(one, float("nan"))
    f(one, float("nan"))
    assert len(f.traces) == 3


def test_true_is_not_one() -> None:
    @function
    def f(x: Any, k: Any) -> Any:
        return x if k is True else -x

    one = torch.tensor([1.0])
    assert [f(one, k).item() for k in (True, 1, 1.0)] == [1.0, -1.0, -1.0]


def test_around_it_is_by_reference() -> None:
    w = tensor(3, grad=True)

    @function
    def f(x: Any) -> Any:
        return (x * w).sum()

    x = tensor(3)
    same(f(x), (x * w).sum())
    with no_grad():
        w += 1.0
    same(f(x), (x * w).sum())
    w.data = tensor(3)
    same(f(x), (x * w).sum())
    assert len(f.traces) == 1


def test_what_is_around_it_may_become_another_kind_of_tensor() -> None:
    w = tensor(3)

    @function
    def f(x: Any) -> Any:
        return w * w

    x = tensor(1)
    f(x)
    w.data = tensor(5)
    same(f(x), w * w)
    w.data = torch.tensor(np.arange(5.0))
    assert f(x).dtype is gf.float64
    same(f(x), w * w)


def test_traced_functions_call_each_other_and_serve_graphs() -> None:
    @function
    def inner(x: Any) -> Any:
        return x * x

    @function
    def outer(x: Any) -> Any:
        return inner(x) + 1.0

    x = tensor(3)
    same(outer(x), x * x + 1.0)
    assert inner.traces == []
    with gf.Graph().as_default(), gf.Session() as session:
        y = outer(gf.placeholder(gf.float32, [3], name="x"))
        np.testing.assert_array_equal(session.run(y, {"x:0": x.numpy()}), x.numpy() ** 2 + np.float32(1.0))


def test_the_methods_of_tensors_are_there() -> None:
    def body(x: Any, y: Any) -> Any:
        logits = x.view(-1, 6)[:, :3].softmax(1)
        right = (logits.argmax(1) == y).float().mean()
        return right, logits.detach().clone().to(gf.float64).sum(0, keepdim=True), x.shape[0] * x.size(1)

    x, y = tensor(4, 2, 3), torch.tensor([0, 1, 2, 0])
    for mine, wanted in zip(function(body)(x, y)[:2], body(x, y)[:2], strict=True):
        np.testing.assert_allclose(mine.numpy(), wanted.numpy(), rtol=1e-6)
    assert function(body)(x, y)[2] == 8


def test_methods_and_their_objects() -> None:
    class Model:
        def __init__(self, k: float) -> None:
            self.k = k
            self.w = tensor(3, grad=True)

        @function
        def loss(self, x: Any, power: int = 1) -> Any:
            return (self.w * x * self.k).sum() ** power

    one, two, x = Model(1.0), Model(2.0), tensor(3)
    same(one.loss(x), (one.w * x * 1.0).sum())
    same(two.loss(x, power=2), (two.w * x * 2.0).sum() ** 2)
    assert len(one.loss.traces) == 1 and isinstance(Model.loss, Function)
    gone = weakref.ref(one), weakref.ref(one.w)
    del one
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_equal_objects_are_not_the_same_object() -> None:
    @dataclasses.dataclass
    class Model:
        k: float
        name: str = dataclasses.field(default="", compare=False)

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

        @function
        def scaled(self, x: Any) -> Any:
            return x * self.k

    one, two, x = Model(1.0), Model(2.0), tensor(2)
    same(one.scaled(x), x * 1.0)
    same(two.scaled(x), x * 2.0)


def test_a_signature_keeps_no_argument_alive() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = tensor(3)

    @function
    def f(model: Any, x: Any) -> Any:
        return model.w * x

    model, x = Model(), tensor(3)
    same(f(model, x), model.w * x)
    gone = weakref.ref(model), weakref.ref(model.w)
    del model
    gc.collect()
    assert [ref() for ref in gone] == [None, None] and f.traces == []


def test_training_or_not_is_part_of_the_signature() -> None:
    class Model:
        training = True

    model = Model()

    @function
    def f(x: Any) -> Any:
        return x * 2.0 if model.training else x

    x = tensor(2)
    same(f(x), x * 2.0)
    model.training = False
    same(f(x), x)
    model.training = True
    same(f(x), x * 2.0)
    assert len(f.traces) == 2


def test_training_or_not_of_a_module_and_of_a_method_of_one() -> None:
    class Model(nn.Module):
        @function
        def traced(self, x: Any) -> Any:
            return self.forward(x)

        def forward(self, x: Any) -> Any:
            return x * 2.0 if self.training else x

    model, x = Model(), tensor(2)
    ways = [model.traced, function(model), function(model.forward)]
    for _ in range(2):
        for way in ways:
            same(way(x), x * 2.0)
        model.eval()
        for way in ways:
            same(way(x), x)
        model.train()
    assert [len(way.traces) for way in ways] == [2, 2, 2]


def test_a_declared_signature_leaves_sizes_open() -> None:
    runs = []

    @function(input_signature=[gf.TensorSpec(gf.float32, (None, 3))])
    def f(x: Any) -> Any:
        runs.append(1)
        return x.sum(0)

    for count in (1, 4, 2):
        x = tensor(count, 3)
        same(f(x), x.sum(0))
    assert runs == [1]
    with pytest.raises(InvalidArgumentError, match="input signature"):
        f(tensor(3, 4))
    with pytest.raises(InvalidArgumentError, match="input signature"):
        f(torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize("options", [{"optimization_level": 0}, {"optimization_level": 2}, {"workers": 1}])
def test_options_of_the_session(options: dict[str, Any]) -> None:
    x = tensor(8, 8)
    made = function(lambda x: (x @ x).tanh().sum(), **options)
    np.testing.assert_allclose(made(x).numpy(), (x @ x).tanh().sum().numpy(), rtol=1e-5)


def test_random_numbers_follow_the_seed_and_change() -> None:
    @function
    def f() -> Any:
        return gf.random_normal([4])

    torch.manual_seed(3)
    first = [f().numpy() for _ in range(2)]
    torch.manual_seed(3)
    again = [f().numpy() for _ in range(2)]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_many_threads_one_trace() -> None:
    runs = []

    @function
    def f(x: Any) -> Any:
        runs.append(1)
        return (x * x).sum()

    x, found = tensor(50), []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        found.extend([f(x).item() for _ in range(50)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs == [1] and len(found) == 200 and len(set(found)) == 1


# -- derivatives -----------------------------------------------------------------------------------------------------


def mlp(x: Any, w: Any, b: Any) -> Any:
    return gf.reduce_mean(gf.square(gf.tanh(gf.matmul(x, w) + b)))


def test_gradients_are_those_of_the_eager_code_bit_for_bit() -> None:
    found = []
    for f in (mlp, function(mlp)):
        rng = np.random.default_rng(5)
        xs = [torch.tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in ([6, 4], [4, 3], 3)]
        for _ in range(2):  # accumulates
            f(*xs).backward()
        found.append([x.grad for x in xs])
    for a, b in zip(*found, strict=True):
        same(a, b)


def test_one_record_and_nothing_is_computed_twice() -> None:
    @function
    def f(x: Any) -> Any:
        return gf.reduce_sum(gf.exp(gf.sin(x)))

    x = tensor(5, grad=True)
    y = f(x)
    assert y.origin.inputs == (x,)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), (x.sin().exp() * x.cos()).detach().numpy(), rtol=1e-6)
    trace = f.traces[0]
    (saving,) = trace.stage._saving.values()
    ((call, _),) = saving._backward.values()
    assert call is not None
    derived, _ = trace.stage.derivative((0,), (0,))
    feeds = [*derived.inputs, *saving._kept]
    types = {i.type for i in trace.session.program(list(derived.outputs), {t: np.zeros(t.dims, "f4") for t in feeds})
             .instructions}  # fmt: skip
    assert "Exp" not in types and "Sin" not in types and "Cos" in types


def test_derivatives_of_second_and_third_order() -> None:
    cube = function(lambda x: x * x * x * x)
    x = torch.tensor(2.0, requires_grad=True)
    with gf.GradientTape() as outermost:
        outermost.watch(x)
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = cube(x)
            first = inner.gradient(y, x)
        second = outer.gradient(first, x)
    third = outermost.gradient(second, x)
    assert [v.item() for v in (first, second, third)] == [32.0, 48.0, 48.0]


def test_outputs_that_have_no_derivative_take_no_part() -> None:
    @function
    def f(x: Any, y: Any) -> Any:
        return (x.argmax(0) == y).float(), (x * 2.0).sum(), x.detach()

    x = tensor(3, grad=True)
    right, loss, cut = f(x, torch.tensor(1))
    assert [t.requires_grad for t in (right, loss, cut)] == [False, True, False]
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0, 2.0])


def test_random_numbers_of_a_derivative_are_those_of_the_call() -> None:
    @function
    def f(x: Any) -> Any:
        return x * gf.random_normal([64])

    x = torch.tensor(np.ones(64, np.float32), requires_grad=True)
    y = f(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_control_flow_of_the_graph_has_gradients() -> None:
    @function
    def f(x: Any) -> Any:
        x = gf.cond(gf.reduce_sum(x) > 0.0, lambda: x * 2.0, lambda: x * 3.0)
        return gf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * v), [gf.constant(0), x])[1]

    for sign, factor in ((1.0, 2.0), (-1.0, 3.0)):
        x = torch.tensor([sign * 0.5], requires_grad=True)
        y = f(x)
        y.sum().backward()
        z = 0.5 * factor
        np.testing.assert_allclose(y.detach().numpy(), [z**8], rtol=1e-5)
        np.testing.assert_allclose(x.grad.numpy(), [sign * 8 * z**7 * factor], rtol=1e-5)


def test_what_changed_in_place_is_refused() -> None:
    w = tensor(3)
    f = function(lambda x: (x * w).sum())
    x = tensor(3, grad=True)
    y = f(x)
    w += 1.0
    with pytest.raises(FailedPreconditionError, match="changed in place"):
        y.backward()


def test_a_second_backward_is_refused() -> None:
    x = tensor(3, grad=True)
    y = function(lambda x: (x * x).sum())(x)
    y.backward()
    with pytest.raises(FailedPreconditionError, match="computed already"):
        y.backward()


def test_a_missing_gradient_is_told_when_it_is_asked_for() -> None:
    @gf.RegisterGradient("TestFunctionHasOne")
    def _(op: Any, dy: Any) -> Any:
        return dy

    x = tensor(3, grad=True)

    @function
    def f(x: Any) -> Any:
        with gf.get_default_graph().gradient_override_map({"Exp": "NobodyRegisteredThis"}):
            return gf.reduce_sum(gf.exp(x) + x)

    y = f(x)
    with pytest.raises(GradientLookupError, match="NobodyRegisteredThis"):
        y.backward()


def test_training_goes_on_through_a_traced_loss() -> None:
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.standard_normal((64, 3)).astype(np.float32))
    true = torch.tensor(np.array([1.0, -2.0, 0.5], np.float32))
    w = torch.tensor(np.zeros(3, np.float32), requires_grad=True)
    loss = function(lambda x, y: gf.reduce_mean(gf.square(gf.reduce_sum(x * w, 1) - y)))
    y = gf.reduce_sum(x * true, 1)
    for _ in range(100):
        w.grad = None
        loss(x, y).backward()
        with no_grad():
            w -= 0.2 * w.grad
    np.testing.assert_allclose(w.detach().numpy(), true.numpy(), atol=1e-3)
    assert len(loss.traces) == 1


# -- misuse and notices ----------------------------------------------------------------------------------------------

MISUSE = [
    (lambda x: x if x.sum() > 0 else -x, "Python bool", "cond"),
    (lambda x: [2.0 * v for v in x], "iterated", "while_loop"),
    (lambda x: float(x.sum()), "Python number", "return"),
    (lambda x: x.item(), "item", "return"),
    (lambda x: x.numpy(), "numpy", "return"),
    (lambda x: x.add_(1.0), "argument", "x = x + y"),
    (lambda x: x.sum().backward(), "backward", "return the loss"),
]


@pytest.mark.parametrize(("body", "word", "remedy"), MISUSE)
def test_what_needs_a_value_is_refused_with_advice(body: Any, word: str, remedy: str) -> None:
    with pytest.raises(SymbolicUseError) as told:
        function(body)(tensor(2))
    assert word in str(told.value) and remedy in str(told.value) and "test_function.py" in str(told.value)


def test_what_writes_memory_while_it_is_traced_is_refused() -> None:
    w = tensor(3)

    @function
    def f(x: Any) -> Any:
        y = x * w
        nn.init.zeros_(w)
        return y

    with pytest.raises(FailedPreconditionError, match="changed in place by a traced function") as told:
        f(tensor(3))
    assert "test_function.py" in str(told.value) and "return the new value" in str(told.value)


def test_a_failed_trace_leaves_nothing_behind() -> None:
    fails = [True]

    @function
    def f(x: Any) -> Any:
        if fails[0]:
            raise ValueError("mine")
        return x * 2.0

    with pytest.raises(ValueError, match="mine"):
        f(tensor(2))
    fails[0] = False
    assert f(tensor(2)).dims == (2,) and len(f.traces) == 1


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(InvalidArgumentError, match="missing a required argument"):
        function(lambda x: x)()
    with pytest.raises(InvalidArgumentError, match="takes a Python function"):
        function(3)
    with pytest.raises(FailedPreconditionError, match="not traced yet"):
        function(lambda x: x).explain()


def test_many_traces_are_told_once_with_the_line_and_the_cause(told: Callable[[], list[str]]) -> None:
    @function
    def f(x: Any, k: float) -> Any:
        return x * k

    for k in range(MANY):
        f(tensor(1), float(k))
    assert told() == []
    for k in range(3 * MANY):
        f(tensor(1), 0.5 + k)
    (text,) = told()
    assert "'k' is a new Python value" in text and "constant(k)" in text and text.count("test_function.py") == 2


def test_many_shapes_are_told_with_the_remedy(told: Callable[[], list[str]]) -> None:
    f = function(lambda batch: batch * 2.0)
    for size in range(1, 2 * MANY):
        f(tensor(size))
    (text,) = told()
    assert "'batch'" in text and "input_signature" in text


def test_functions_made_in_a_loop_are_told(told: Callable[[], list[str]]) -> None:
    for _ in range(2 * MANY):
        function(lambda x: x + 1.0)(tensor(1))
    (text,) = told()
    assert "again and again" in text and "outside of the loop" in text


def test_the_traces_are_bounded() -> None:
    f = function(lambda x, k: x * k)
    logging.getLogger("graphflow").disabled = True
    try:
        for k in range(MAX_TRACES + 10):
            f(tensor(1), k)
    finally:
        logging.getLogger("graphflow").disabled = False
    assert len(f.traces) == MAX_TRACES
    assert f(torch.tensor([2.0]), 3).item() == 6.0


# -- looking inside --------------------------------------------------------------------------------------------------


def test_graph_explanation_and_picture(tmp_path: Any) -> None:
    w = tensor(3, 3)

    @function
    def layer(x: Any) -> Any:
        return gf.tanh(gf.matmul(x, w))

    trace = layer.get_concrete_function(tensor(2, 3))
    same(trace(x := tensor(2, 3)), layer(x))
    with pytest.raises(InvalidArgumentError, match="takes its tensors"):
        trace()
    assert [op.type for op in layer.graph.get_operations()].count("MatMul") == 1
    assert "MatMul" in str(layer.explain())
    layer.render(tmp_path / "layer.dot")
    assert "Tanh" in (tmp_path / "layer.dot").read_text()
    assert "layer" in repr(layer) and layer.__name__ == "layer"


# -- what a trace writes ---------------------------------------------------------------------------------------------


def test_variables_of_eager_mode_are_read_and_written_where_they_are() -> None:
    v = gf.Variable([1.0, 2.0])
    read, add = function(lambda x: x * v), function(v.assign_add)
    x = torch.tensor([1.0, 1.0])
    assert read(x).tolist() == [1.0, 2.0]
    v.assign([5.0, 6.0])
    assert read(x).tolist() == [5.0, 6.0]
    assert add(x).tolist() == [6.0, 7.0] and v.value().tolist() == [6.0, 7.0]


def test_running_statistics_are_written_back() -> None:
    mine, wanted = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    f, x = function(mine), tensor(6, 3)
    for _ in range(3):
        y, z = f(x), wanted(x)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)
        for loss in (y, z):
            (loss * loss * x).sum().backward()  # computes nothing of the forward graph again: no second update
    np.testing.assert_allclose(mine.weight.grad.numpy(), wanted.weight.grad.numpy(), rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        np.testing.assert_allclose(getattr(mine, name).numpy(), getattr(wanted, name).numpy(), rtol=1e-5)
    mine.eval()
    before = mine.running_mean.numpy().copy()
    f(x)
    np.testing.assert_array_equal(mine.running_mean.numpy(), before)


def network() -> Any:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def test_a_whole_training_step_is_traced() -> None:
    """Parameters are updated inside, as the same steps of a graph have it; slots serve traces of all sizes."""
    sizes = [4, 4, 2, 4, 2]
    batches = [(array(n, 3), RNG.integers(0, 2, n)) for n in sizes]
    model, optimizer = network(), gf.train.AdamOptimizer(0.05)

    @function(trains=True)
    def step(x: Any, y: Any) -> Any:
        loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model(x)))
        return loss, optimizer.minimize(loss)

    found = [step(torch.tensor(x), torch.tensor(y))[0].item() for x, y in batches]
    assert len(step.traces) == 2

    with gf.Graph().as_default(), gf.Session() as session:
        x, y = gf.placeholder(gf.float32, [None, 3]), gf.placeholder(gf.int64, [None])
        other = network()
        loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=other(x)))
        update = gf.train.AdamOptimizer(0.05).minimize(loss)
        session.run(gf.global_variables_initializer())
        wanted = [session.run([loss, update], {x: a, y: b})[0] for a, b in batches]
        weights = session.run(gf.trainable_variables())
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for mine, theirs in zip(model.parameters(), weights, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), theirs, rtol=1e-4, atol=1e-6)


def test_a_training_trace_sees_changes_from_outside() -> None:
    model, optimizer = network(), gf.train.GradientDescentOptimizer(0.0)

    @function(trains=True)
    def step(x: Any) -> Any:
        loss = gf.reduce_sum(model(x))
        return loss, optimizer.minimize(loss)

    x = tensor(2, 3)
    view = model[2].bias.detach()
    before = step(x)[0].item()
    with no_grad():
        model[2].bias += 1.0
    assert step(x)[0].item() == pytest.approx(before + 4.0, rel=1e-5)
    np.testing.assert_array_equal(view.numpy(), model[2].bias.detach().numpy())  # the memory is still the same


def test_what_a_training_trace_only_reads_may_change_between_traces() -> None:
    scale, model, optimizer = tensor(1), network(), gf.train.GradientDescentOptimizer(0.0)

    @function(trains=True)
    def step(x: Any) -> Any:
        loss = gf.reduce_sum(model(x) * scale)
        return loss, optimizer.minimize(loss)

    for n in (2, 3, 2):
        scale.add_(1.0)
        x = tensor(n, 3)
        np.testing.assert_allclose(step(x)[0].item(), (model(x) * scale).sum().item(), rtol=1e-5)
    assert len(step.traces) == 2


def test_parameters_without_axes_are_trained_too() -> None:
    s, optimizer = nn.Parameter(torch.tensor(2.0)), gf.train.GradientDescentOptimizer(0.25)

    @function(trains=True)
    def step() -> Any:
        loss = s * s
        return loss, optimizer.minimize(loss)

    assert [step()[0].item() for _ in range(3)] == [4.0, 1.0, 0.25] and s.item() == 0.25


def test_dtypes_meet_as_in_eager_code() -> None:
    def body(x: Any, i: Any) -> Any:
        return x + i, i / 2, i * 2.5, 3 - i, (i > 1).float(), x == i, 2 * x

    x, i = tensor(3), torch.tensor([0, 1, 2])
    for a, b in zip(function(body)(x, i), body(x, i), strict=True):
        same(a, b)


def test_second_derivatives_through_an_output_that_nobody_holds() -> None:
    """The gradient of the cross-entropy reads its second output; both modes must differentiate that again."""
    labels = torch.tensor([1])

    def loss(z: Any) -> Any:
        return gf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)

    logits = np.array([[1.0, 2.0, 0.5]])
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    g = p - np.eye(3)[1]
    for f in (loss, function(loss)):
        z = torch.tensor(logits, requires_grad=True)
        with gf.GradientTape() as outer:
            outer.watch(z)
            with gf.GradientTape() as inner:
                inner.watch(z)
                y = f(z)
            first = inner.gradient(y, z)
            square = (first * first).sum()
        np.testing.assert_allclose(first.detach().numpy(), [g], rtol=1e-12)
        second = outer.gradient(square, z).detach().numpy()
        np.testing.assert_allclose(second, [2 * (np.diag(p) - np.outer(p, p)) @ g], rtol=1e-9)
