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
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, SymbolicUseError

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


def test_a_spec_in_the_order_of_tensorflow() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for spec in (
        gf.TensorSpec([None, 2], gf.float32), gf.TensorSpec(gf.TensorShape([None, 2]), "float32"),
        gf.TensorSpec((None, 2), gf.float32), gf.TensorSpec(gf.float32, (None, 2)),
    ):  # fmt: skip
        f = function(lambda x: x.sum(1), input_signature=[spec])
        assert f(x).tolist() == [3.0, 7.0, 11.0] and f(x[:1]).tolist() == [3.0] and len(f.traces) == 1
    with pytest.raises(gf.errors.DTypeError) as caught:
        function(lambda x: x, input_signature=[gf.TensorSpec(gf.float32, gf.float32)])
    assert caught.value.hint == "a spec is TensorSpec(dtype, dims)"


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


def test_updates_need_not_be_returned() -> None:
    """Each step of w * w by 0.25 halves w, and the other variable counts; first values are given once."""
    w, count = nn.Parameter(torch.tensor(2.0)), gf.Variable(0)
    adam = gf.train.AdamOptimizer(0.5)

    @function(trains=True)
    def step(returned: bool) -> Any:
        loss = w * w
        update = gf.train.GradientDescentOptimizer(0.25).minimize(loss)
        count.assign_add(1)
        return (loss, update) if returned else loss

    assert [step(False).item() for _ in range(3)] == [4.0, 1.0, 0.25] and w.item() == 0.25
    assert step(True)[0].item() == 0.0625 and w.item() == 0.125 and int(count.numpy()) == 4

    @function(trains=True)
    def with_slots() -> Any:
        loss = w * w
        adam.minimize(loss)
        return loss

    with no_grad():
        w.fill_(10.0)
    for _ in range(3):  # each of the first steps is about as long as the rate, if the slots are kept between them
        with_slots()
    assert w.item() == pytest.approx(8.5, abs=0.02)


def test_results_and_gradients_lie_where_their_tensors_lie() -> None:
    pytest.importorskip("pyopencl")
    model = nn.Linear(4, 1)
    with no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        model.bias.zero_()
    model.to("opencl")
    x = torch.ones(2, 4).to("opencl")
    assert str(function(lambda x: model(x).detach())(x).device) == "opencl"
    function(lambda x: (model(x) ** 2).mean())(x).backward()
    assert str(model.weight.grad.device) == "opencl" and str(model(x).device) == "opencl"
    np.testing.assert_array_equal(model.weight.grad.cpu().numpy(), [[20.0, 20.0, 20.0, 20.0]])
    (model(x) ** 2).mean().backward()  # adds to it there
    np.testing.assert_array_equal(model.weight.grad.cpu().numpy(), [[40.0, 40.0, 40.0, 40.0]])
    made = function(model)(x)
    assert str(made.device) == "opencl"
    made.backward(torch.ones(2, 1).to("opencl"))
    np.testing.assert_array_equal(model.bias.grad.cpu().numpy(), [42.0])


TABLE = {"k": 2.0}


def test_small_containers_count_by_what_they_hold() -> None:
    closed, nested, kinds = [1.0, 2.0], {"a": [1.0]}, {1.0, 5.0}

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factors = {"a": 2.0}

        def forward(self, x: Any) -> Any:
            return x * self.factors["a"] * TABLE["k"]

    module = Scaled()
    cases: list[tuple[Any, Callable[[], Any], float, float]] = [
        (lambda x: x * TABLE["k"], lambda: TABLE.update(k=3.0), 2.0, 3.0),
        (lambda x: x * closed[1], lambda: closed.__setitem__(1, 7.0), 2.0, 7.0),
        (lambda x: x * nested["a"][0], lambda: nested["a"].append(0.0), 1.0, 1.0),
        (lambda x: x * nested["a"][-1], lambda: nested["a"].append(4.0), 0.0, 4.0),
        (lambda x: x * max(kinds), lambda: kinds.add(9.0), 5.0, 9.0),
        (lambda x: module(x) + 0, lambda: module.factors.update(a=5.0), 6.0, 15.0),
        (module, lambda: TABLE.update(k=2.0), 15.0, 10.0),
    ]
    x = torch.ones(1)
    try:
        for python, change, before, after in cases:
            f = function(python)
            assert [f(x).item(), f(x).item()] == [before, before]
            change()
            assert [f(x).item(), f(x).item()] == [after, after]
    finally:
        TABLE["k"] = 2.0


def test_a_container_that_the_function_fills_itself_asks_for_no_trace() -> None:
    """Neither the function's own, nor that of one that it calls, nor that of a module."""
    made: list[int] = []

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def forward(self, x: Any) -> Any:
            self.sizes.append(x.shape[0])
            return x

    module = Noting()

    @function
    def inner(x: Any) -> Any:
        made.append(x.shape[0])
        return module(x)

    outer = function(lambda x: inner(x) + 1)
    for n in (1, 2, 1, 2):
        outer(torch.ones(n))
    assert made == [1, 2] and module.sizes == [1, 2]


def test_a_tensor_of_a_trace_says_what_it_is() -> None:
    words = []
    f = function(lambda x: (words.append((str(x), repr(x > 0), f"{x}")), x)[1], [gf.TensorSpec(gf.float32, [None, 3])])
    f(torch.ones(2, 3))
    known = "tensor(..., shape=[?, 3], dtype=float32, traced)"
    assert words == [(known, known.replace("float32", "bool"), known)]


def test_dtypes_meet_as_in_eager_code() -> None:
    def body(x: Any, i: Any) -> Any:
        return x + i, i / 2, i * 2.5, 3 - i, (i > 1).float(), x == i, 2 * x

    x, i = tensor(3), torch.tensor([0, 1, 2])
    for a, b in zip(function(body)(x, i), body(x, i), strict=True):
        same(a, b)


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
