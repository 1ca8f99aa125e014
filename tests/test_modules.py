"""Modules: the tree, its states, what is refused, and one model in two modes."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import eager as torch
from graphflow.eager import nn, optim
from graphflow.eager.bindings import BOUND
from graphflow.eager.nn import functional as F
from graphflow.eager.nn import init


def values(module: Any) -> dict[str, Any]:
    return {name: x.detach().numpy() for name, x in module.state_dict().items()}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.act = nn.ReLU()
        self.rest = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)])
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        x = self.act(self.first(x))
        for layer in self.rest:
            x = layer(x)
        return x * self.scale


def test_a_buffer_is_no_parameter() -> None:
    class Weighs(nn.Module):
        def __init__(self, weight: Any) -> None:
            super().__init__()
            self.loss = nn.CrossEntropyLoss(weight=weight)
            self.weight = weight

    shares = torch.ones(3)
    model = Weighs(shares)
    assert not isinstance(shares, nn.Parameter) and not isinstance(copy.deepcopy(model).weight, nn.Parameter)
    assert list(model.parameters()) == [] and list(model.state_dict()) == ["loss.weight"] and model.weight is shares
    kept = nn.Parameter(torch.ones(2), requires_grad=False)
    model.register_buffer("kept", kept)
    assert isinstance(kept, nn.Parameter) and "kept" in dict(model.named_buffers())
    with tf.Graph().as_default():
        model.loss(tf.placeholder(tf.float32, [2, 3]), tf.placeholder(tf.int64, [2]))
        assert len(tf.global_variables()) == 1  # in a graph a buffer is a variable as well
        assert tf.trainable_variables() == []


class Hasty(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(1, 1)


def in_a_circle() -> None:
    inner, outer = nn.Sequential(), nn.Sequential()
    outer.append(inner)
    inner.append(outer)


# -- the tree --------------------------------------------------------------------------------------------------------


def test_names_and_order_of_what_is_inside() -> None:
    net = Net()
    names = ["scale", "first.weight", "first.bias", "rest.0.weight", "rest.1.weight", "rest.1.bias"]
    assert [n for n, _ in net.named_parameters()] == names
    assert [n for n, _ in net.named_modules()] == ["", "first", "act", "rest", "rest.0", "rest.1"]
    assert [n for n, _ in net.named_children()] == ["first", "act", "rest"]
    statistics = ["rest.1.running_mean", "rest.1.running_var", "rest.1.num_batches_tracked"]
    assert [n for n, _ in net.named_buffers()] == ["steps", *statistics]
    assert list(net.state_dict()) == [*names, *statistics]
    assert net.get_submodule("rest.1") is net.rest[1]
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in net.parameters())
    assert not isinstance(torch.ones(1), nn.Parameter)


def test_what_is_shared_is_met_once() -> None:
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.Tanh(), layer)
    net.tied = layer.weight
    assert len(list(net.parameters())) == 2
    assert len(list(net.modules())) == 3
    assert list(net.state_dict()) == ["tied", "0.weight", "0.bias", "2.weight", "2.bias"]
    assert [n for n, _ in net.named_parameters()] == ["tied", "0.bias"]


def test_printed_as_pytorch_prints_it() -> None:
    net = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 4, 3, padding=1), pool=nn.MaxPool2d(2), inner=Net()))
    assert repr(net) == (
        "Sequential(\n"
        "  (conv): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
        "  (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "  (inner): Net(\n"
        "    (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "    (act): ReLU()\n"
        "    (rest): ModuleList(\n"
        "      (0): Linear(in_features=4, out_features=4, bias=False)\n"
        "      (1): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "    )\n"
        "  )\n"
        ")"
    )


def test_train_eval_apply_zero_grad_and_freezing() -> None:
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    seen: list[str] = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Linear", "BatchNorm1d", "ModuleList", "Net"]
    net(torch.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all((p.grad == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.first.requires_grad_(False)
    net(torch.ones(2, 3)).sum().backward()
    assert net.first.weight.grad is None and net.rest[0].weight.grad is not None


def test_hooks_see_and_replace() -> None:
    layer = nn.Identity()
    calls: list[Any] = []
    early = layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    late = layer.register_forward_hook(lambda module, inputs, output: calls.append(output) or output * 10)
    assert layer(torch.tensor([1.0])).item() == 20.0
    assert calls[0].item() == 2.0
    early.remove()
    late.remove()
    assert layer(torch.tensor([1.0])).item() == 1.0


def test_containers() -> None:
    row = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    assert len(row) == 3 and isinstance(row[:2], nn.Sequential) and row[-1].out_features == 3
    row[1] = nn.Tanh()
    row.append(nn.Linear(3, 1))
    assert [type(m).__name__ for m in row] == ["Linear", "Tanh", "Linear", "Linear"]
    assert row(torch.ones(5, 1)).shape == (5, 1)
    heads = nn.ModuleDict({"a": nn.Linear(1, 2), "keys": nn.Linear(1, 3)})
    assert list(heads.keys()) == ["a", "keys"] and heads["keys"](torch.ones(1, 1)).shape == (1, 3)
    assert [n for n, _ in heads.named_parameters()] == ["a.weight", "a.bias", "keys.weight", "keys.bias"]
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers.insert(0, nn.ReLU())
    del layers[1]
    assert list(layers._modules) == ["0", "1", "2"] and isinstance(layers[0], nn.ReLU)


# -- states ----------------------------------------------------------------------------------------------------------


def test_a_state_is_loaded_whole_or_not_at_all() -> None:
    source, target = Net(), Net()
    state = {name: x + 1 for name, x in values(source).items()}
    before = values(target)["first.weight"].copy()
    incomplete = {**state, "extra": np.zeros(1)}
    del incomplete["scale"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)also scale.*unexpected: extra"):
        target.load_state_dict(incomplete)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"'rest.0.weight' of the state.*another shape"):
        target.load_state_dict({**state, "rest.0.weight": np.zeros((4, 5), np.float32)})
    assert (values(target)["first.weight"] == before).all()
    assert tuple(target.load_state_dict(incomplete, strict=False)) == (["scale"], ["extra"])
    target.load_state_dict(state)
    for name, x in values(target).items():
        assert x.tobytes() == state[name].tobytes(), name


def test_files_are_safetensors(tmp_path: Any) -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    net, other = Net(), Net()
    net.save(tmp_path / "net.safetensors")
    for name, x in numpy_files.load_file(tmp_path / "net.safetensors").items():
        assert x.tobytes() == values(net)[name].tobytes()
    other.load(tmp_path / "net.safetensors")
    assert {n: x.tobytes() for n, x in values(other).items()} == {n: x.tobytes() for n, x in values(net).items()}


def test_a_loaded_state_is_seen_by_gradients_that_needed_the_old_values() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    loss = net(torch.ones(1, 2)).sum()
    net.load_state_dict(values(net))
    with pytest.raises(tf.errors.FailedPreconditionError, match="changed in place"):
        loss.backward()


def test_conversion_keeps_the_parameters() -> None:
    net = Net()
    parameters = list(net.parameters())
    assert net.double() is net and net.to("cpu") is net
    assert all(a is b and a.dtype is tf.float64 for a, b in zip(parameters, net.parameters(), strict=True))
    assert net.rest[1].num_batches_tracked.dtype is tf.int64
    assert net(torch.ones(2, 3, dtype=torch.float64)).dtype is tf.float64


@pytest.mark.parametrize(
    ("misuse", "told"),
    [
        (Hasty, r"super\(\).__init__\(\) first"),
        (in_a_circle, "would hold itself"),
        (lambda: setattr(nn.Linear(1, 1), "weight", torch.ones(1)), r"nn.Parameter\(x\)"),
        (lambda: nn.Linear(1, 1).register_parameter("forward", None), "has an attribute 'forward'"),
        (lambda: nn.Linear(1, 1).register_buffer("a.b", None), "a word without dots"),
        (lambda: nn.Module()(torch.ones(1)), "has no forward"),
        (lambda: nn.Parameter(torch.tensor([1, 2])), "floating-point"),
        (lambda: nn.Linear(3, 2)(torch.ones(2, 4)), "4.*3|3.*4"),
        (lambda: nn.Linear(3, 2, device="cuda"), "can go to 'cuda'"),
        (lambda: nn.Linear(3, 2).to("cuda:0"), "can go to 'cuda'"),
        (lambda: nn.ReLU().cuda(), "can go to 'cuda'"),
        (lambda: nn.Linear(3, 2).to(torch.int64), "floating"),
        (lambda: nn.Linear(-3, 2), "negative"),
        (lambda: nn.Dropout(1.5), "probability"),
        (lambda: nn.BatchNorm1d(3)(torch.ones(2, 4)), "3 channels"),
        (lambda: nn.BatchNorm1d(3)(torch.ones(1, 3)), "no variance"),
        (lambda: nn.BatchNorm2d(3)(torch.ones(2, 3)), "rank 4"),
        (lambda: nn.LayerNorm(3)(torch.ones(2, 4)), r"ends in \[3\]"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups divide"),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same")(torch.ones(1, 3, 4, 4)), "stride 1"),
        (lambda: nn.MaxPool2d(2, padding=2)(torch.ones(1, 1, 4, 4)), "half"),
        (lambda: nn.AdaptiveAvgPool2d([3])(torch.ones(1, 1, 4, 4)), "takes 2 sizes"),
        (lambda: nn.LSTM(3, 2)(torch.ones(4, 2, 5)), "3"),
        (lambda: nn.LSTM(3, 2)(torch.ones(4, 2, 3), torch.ones(1, 2, 2)), "2 states"),
        (lambda: nn.GRU(3, 2)(torch.ones(4, 2, 3), torch.ones(1, 3, 2)), r"\[1, 2, 2\]"),
        (lambda: nn.Embedding(3, 2)(torch.tensor([3])), "3"),
        (lambda: nn.MSELoss(reduction="average")(torch.ones(1), torch.ones(1)), "'mean'"),
        (lambda: nn.MSELoss()(torch.ones(3, 1), torch.ones(3)), "different shapes"),
        (lambda: nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0, 3])), "3"),
        (lambda: nn.NLLLoss()(torch.ones(2, 3), torch.ones(2)), "long"),
        (lambda: init.kaiming_normal_(nn.Parameter(torch.ones(2))), "rank 2"),
        (lambda: init.calculate_gain("swish"), "unknown function"),
        (lambda: nn.Sequential(nn.ReLU())[1], "no module 1"),
        (lambda: nn.Linear(1, 1).get_submodule("x"), "no module 'x'"),
    ],
)
def test_misuse_is_named(misuse: Callable[[], Any], told: str) -> None:
    with pytest.raises(tf.errors.Error, match=f"(?s){told}"):
        misuse()


def test_other_labels_and_another_count_of_batches_are_no_new_signatures() -> None:
    """What an op does is worked out once, not once for each value of its labels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5))
    draw, x = np.random.default_rng(0), torch.ones(8, 3)

    def step() -> int:
        F.cross_entropy(net(x), torch.tensor(draw.integers(0, 5, 8))).backward()
        return len(BOUND)

    first = [step(), step()]  # the second one adds to the gradients
    assert [step() for _ in range(5)] == [first[1]] * 5


# -- one model, two modes --------------------------------------------------------------------------------------------


def convolutional() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.0), nn.Flatten(),
        nn.Linear(16, 3), nn.LogSoftmax(dim=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (convolutional, (6, 1, 4, 4)),
        (lambda: nn.LSTM(4, 5, num_layers=2, batch_first=True), (6, 3, 4)),
        (lambda: nn.GRU(4, 5, batch_first=True, bidirectional=True), (6, 3, 4)),
        (lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.PReLU(), nn.Softmax(dim=-1)), (6, 3, 4)),
    ],
)
def test_a_graph_computes_what_eager_mode_computes(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    module = make().eval()
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    eagerly = module(torch.tensor(x))
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, *shape[1:]])
        symbolic = module(images)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            found = session.run(symbolic, {images: x})
    if isinstance(eagerly, tuple):
        eagerly, found = eagerly[0], found[0]
    assert found.tobytes() == eagerly.detach().numpy().tobytes()


def test_training_in_a_graph_is_training() -> None:
    """The same steps in both modes: the same parameters, the same running statistics."""
    draw = np.random.default_rng(4)
    x, labels = draw.normal(size=(5, 8, 1, 4, 4)), draw.integers(0, 3, (5, 8))
    torch.manual_seed(2)
    lazy, eager = convolutional().double(), convolutional().double()
    eager.load_state_dict(lazy.state_dict())

    optimizer = optim.SGD(eager.parameters(), lr=0.1)
    for batch, target in zip(x, labels, strict=True):
        loss = F.nll_loss(eager(torch.tensor(batch)), torch.tensor(target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with tf.Graph().as_default() as graph:
        images, classes = tf.placeholder(tf.float64, [None, 1, 4, 4]), tf.placeholder(tf.int64, [None])
        symbolic = F.nll_loss(lazy(images), classes)
        train = tf.train.GradientDescentOptimizer(0.1).minimize(symbolic)
        assert len(tf.trainable_variables()) == len(list(lazy.parameters()))
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            for batch, target in zip(x, labels, strict=True):
                last, _ = session.run([symbolic, train], {images: batch, classes: target})
            taken = lazy.load_from_session(session)
    assert set(taken) == set(lazy.state_dict())
    assert last == pytest.approx(loss.item(), abs=1e-12)
    for name, found in values(lazy).items():
        np.testing.assert_allclose(found, values(eager)[name], atol=1e-12, err_msg=name)
    assert lazy[1].num_batches_tracked.item() == 5


def test_without_a_graph_entered_the_placeholder_decides() -> None:
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, [None, 3])
    layer = nn.Linear(3, 2)
    assert isinstance(layer(images), tf.Tensor) and layer(images).graph is images.graph
    assert list(layer.variables_in(images.graph)) == ["weight", "bias"]
    assert layer(torch.ones(1, 3)).shape == (1, 2)
