"""What programs do with modules beside calling them: move, copy, name, look at gradients, take apart."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import eager as torch
from graphflow.eager import nn, optim
from graphflow.eager.nn import functional as F


def small() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(64, 3))


def batch() -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    return torch.tensor(draw.normal(size=(5, 1, 4, 4)).astype(np.float32)), torch.tensor([0, 1, 2, 1, 0])


# -- devices ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def opencl() -> str:
    pytest.importorskip("pyopencl")
    return "opencl"


@pytest.mark.parametrize(
    "rule", [lambda p: optim.SGD(p, lr=0.05, momentum=0.9), lambda p: optim.RAdam(p, lr=0.01, weight_decay=0.1)]
)
def test_training_on_another_device_is_training(opencl: str, rule: Any) -> None:
    here, there = small(), small()
    assert there.to(opencl) is there and str(next(there.parameters()).device) == opencl
    x, y = batch()
    losses = []
    for net, device in ((here, "cpu"), (there, opencl)):
        optimizer = rule(net.parameters())
        for _ in range(5):
            optimizer.zero_grad(set_to_none=False)
            loss = F.cross_entropy(net(x.to(device)), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        losses.append(loss.item())
    assert {str(p.device) for p in there.parameters()} == {opencl}
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(
        here[1].running_var.numpy(), there.cpu()[1].running_var.numpy(), rtol=1e-4, atol=1e-6
    )  # the statistics followed as well
    assert {str(t.device) for t in (*there.parameters(), *there.buffers())} == {"cpu"}


def test_states_cross_devices(opencl: str) -> None:
    net = nn.Linear(3, 2, device=opencl)
    other = nn.Linear(3, 2)
    other.load_state_dict(net.state_dict())
    net.load_state_dict({"weight": np.zeros((2, 3), np.float32), "bias": other.bias})
    assert str(net.weight.device) == opencl and net.weight.detach().cpu().numpy().tolist() == [[0, 0, 0]] * 2
    assert net.double().weight.dtype is tf.float64 and str(net.weight.device) == opencl
    copied = copy.deepcopy(net)
    assert copied.weight is not net.weight and copied.weight.tolist() == net.weight.tolist()


X = np.random.default_rng(3).standard_normal((3, 5, 4)).astype(np.float32)
IMAGE = np.random.default_rng(4).standard_normal((1, 2, 3, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("program", "array"),
    [
        (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), X),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), IMAGE),
        (lambda x: F.cross_entropy(x[:, 0], torch.tensor([2, 1, 3]), ignore_index=1), X),
        (lambda x: F.dropout(x, 0.5), X),
        (lambda x: F.dropout2d(x, 0.5), IMAGE),
        (lambda x: x[0].tril(1).triu(-1), X),
        (lambda x: x.masked_fill(torch.tensor(X > 0), -1.0), X),
        (lambda x: nn.LSTM(4, 2, 2, bidirectional=True).to(x.device)(x)[0], X),
        (lambda x: nn.GRU(4, 2).to(x.device)(x)[1], X),
    ],
)
def test_what_functions_make_of_numbers_lies_beside_the_input(opencl: str, program: Any, array: Any) -> None:
    found = []
    for place in ("cpu", opencl):
        x = torch.tensor(array).to(place).requires_grad_()
        torch.manual_seed(5)  # just before: whatever runs on another device counts as a run
        y = program(x)
        (y * y).sum().backward()
        assert (y.device.type, x.grad.device.type) == (place, place)
        found.append((y.detach().cpu().numpy(), x.grad.cpu().numpy()))
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


# -- names -----------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.heads = nn.ModuleDict({"a b": nn.Linear(3, 1)})

    def forward(self, x: Any) -> Any:
        return self.heads["a b"](self.body(x))


def test_variables_are_named_by_the_path_of_the_parameter() -> None:
    net = Net()
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 2])
        with tf.name_scope("somewhere"):
            net(x)
        nn.Linear(2, 1)(x)
        names = [v.name for v in tf.trainable_variables()]
    paths = ["body/0/weight", "body/0/bias", "body/1/weight", "body/1/bias", "heads/a_b/weight", "heads/a_b/bias"]
    assert names == [*[f"Net/{path}:0" for path in paths], "Linear/weight:0", "Linear/bias:0"]
    assert net.variables_in(graph)["heads.a b.bias"].name == "Net/heads/a_b/bias:0"


def test_parts_are_found_by_their_paths() -> None:
    net = Net()
    assert net.get_parameter("body.0.weight") is net.body[0].weight
    assert net.get_buffer("body.1.running_mean") is net.body[1].running_mean
    with pytest.raises(tf.errors.NotFoundError, match=r"no parameter 'body\.0\.w'"):
        net.get_parameter("body.0.w")
    assert next(iter(net.state_dict(prefix="net."))) == "net.body.0.weight"
    assert net.state_dict(keep_vars=True)["body.0.bias"] is net.body[0].bias
    net.tied = net.body[0].weight
    assert sum(x is net.tied for _, x in net.named_parameters(remove_duplicate=False)) == 2


def test_a_copy_has_parts_of_its_own() -> None:
    net = Net()
    twin = copy.deepcopy(net)
    assert all((a == b).all() and a is not b for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    twin.body[0].weight.data.fill_(7.0)
    assert not (net.body[0].weight == 7.0).any()
    traced = tf.function(twin.eval())
    x = torch.ones(1, 2)
    before = traced(x)
    twin.heads["a b"] = nn.Linear(3, 1)
    assert (traced(x) != before).all() and traced(x).tolist() == twin(x).tolist()


def test_lists_of_parameters() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scales = nn.ParameterList([torch.ones(2), nn.Parameter(torch.zeros(2))])
            self.named = nn.ParameterDict({"keys": torch.ones(1)})

        def forward(self, x: Any) -> Any:
            for scale in self.scales:
                x = x * scale + self.named["keys"]
            return x

    net = Mixed()
    assert [n for n, _ in net.named_parameters()] == ["scales.0", "scales.1", "named.keys"]
    assert net(torch.ones(2)).tolist() == [1.0, 1.0]
    net.scales.append(torch.full((2,), 3.0))
    net.named["more"] = torch.zeros(1)
    assert len(net.scales) == 3 and net.scales[-1].tolist() == [3.0, 3.0] and "more" in net.named
    assert [type(x).__name__ for x in net.scales[1:]] == ["EagerTensor"] * 2


def test_printed_once_for_all_that_are_alike() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(inplace=True)])
    told = "(0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n  (2): ReLU(inplace=True)\n"
    assert repr(layers) == f"ModuleList(\n  {told})"
    assert repr(layers.load_state_dict(layers.state_dict())) == "<All keys matched successfully>"


def test_parameters_as_one_vector() -> None:
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,) and vector[:6].tolist() == net.weight.detach().reshape(-1).tolist()
    (vector**2).sum().backward()
    np.testing.assert_allclose(net.bias.grad.numpy(), 2 * net.bias.detach().numpy())
    nn.utils.vector_to_parameters(torch.arange(9).float(), net.parameters())
    assert net.bias.tolist() == [6.0, 7.0, 8.0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="another length"):
        nn.utils.vector_to_parameters(torch.ones(8), net.parameters())


# -- hooks -----------------------------------------------------------------------------------------------------------


def test_hooks_see_named_arguments_and_their_order() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Any, by: float = 1.0) -> Any:
            return x * by

    layer, calls = Scaled(), []
    layer.register_forward_pre_hook(lambda m, given, named: (given, {"by": named["by"] + 1}), with_kwargs=True)
    layer.register_forward_hook(lambda m, given, named, made: calls.append(named["by"]), with_kwargs=True)
    layer.register_forward_hook(lambda m, given, made: calls.append("first"), prepend=True)
    assert layer(torch.ones(1), by=2.0).item() == 3.0 and calls == ["first", 3.0]


def test_hooks_on_the_way_back() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    nn.utils.vector_to_parameters(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), net.parameters())
    seen: list[Any] = []
    handles = [
        net[1].register_full_backward_pre_hook(lambda module, out: (out[0] * 3,)),
        net[1].register_full_backward_hook(lambda module, given, out: (given[0] * 2,)),
        net[0].register_full_backward_hook(lambda module, given, out: seen.append((given[0], out[0].tolist()))),
    ]
    x = torch.tensor([[1.0, 1.0]])
    net(x).sum().backward()
    assert seen == [(None, [[30.0, 36.0]])]
    assert net[1].weight.grad.tolist() == [[9.0, 21.0]] and net[0].weight.grad.tolist() == [[30.0, 30.0], [36.0, 36.0]]
    with tf.Graph().as_default(), pytest.raises(tf.errors.UnimplementedError, match="in eager mode alone"):
        net(tf.placeholder(tf.float32, [1, 2]))
    for handle in handles:
        handle.remove()
    net.zero_grad()
    net(x).sum().backward()
    assert net[0].weight.grad.tolist() == [[5.0, 5.0], [6.0, 6.0]] and len(seen) == 1


# -- a model that is trained -----------------------------------------------------------------------------------------


def test_a_transformer_learns_to_copy_what_came_before() -> None:
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(5, 16), nn.Embedding(6, 16)
            self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, activation="gelu", batch_first=True)
            self.head = nn.Linear(16, 5)

        def forward(self, numbers: Any) -> Any:
            x = self.token(numbers) + self.place(torch.arange(numbers.size(1)))
            return self.head(self.block(x, is_causal=True))

    model = Model()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-2, total_steps=60)
    draw = np.random.default_rng(1)
    for _ in range(60):
        numbers = torch.tensor(draw.integers(0, 5, (16, 6)))
        loss = F.cross_entropy(model(numbers)[:, 1:].reshape(-1, 5), numbers[:, :-1].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert loss.item() < 0.3
    numbers = torch.tensor([[1, 2, 3, 4, 0, 1]])
    changed = torch.tensor([[1, 2, 3, 4, 0, 4]])
    assert (model(numbers)[:, :5] == model(changed)[:, :5]).all()  # nothing sees what comes after it


class Causal(nn.Module):
    """What forwards of PyTorch programs do with numbers: ranges, masks, comparisons, noise."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(5, 4), nn.Embedding(6, 4)
        self.register_buffer("allowed", torch.tril(torch.ones(6, 6)), persistent=False)

    def forward(self, numbers: Any) -> Any:
        steps = numbers.size(1)
        x = self.token(numbers) + self.place(torch.arange(steps))
        scores = x @ x.transpose(-2, -1) * 0.5
        scores = scores.masked_fill(self.allowed[:steps, :steps] == 0, float("-inf"))
        scores = scores.masked_fill(numbers.unsqueeze(1) != 3, -1.0)
        return F.softmax(scores, dim=-1) @ x


def test_what_a_forward_makes_of_numbers_is_a_constant_of_the_graph() -> None:
    torch.manual_seed(0)
    model = Causal()
    numbers = np.random.default_rng(0).integers(0, 5, (3, 6))
    expected = model(torch.tensor(numbers)).detach().numpy()
    with tf.Graph().as_default() as graph:
        places = tf.placeholder(tf.int64, [None, 6])
        y = model(places)
        assert (places == y) is False  # outside of the call two tensors are the same or not
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            assert session.run(y, {places: numbers}).tobytes() == expected.tobytes()
        with pytest.raises(tf.errors.GraphError, match="value of this moment"):
            nn.Identity()(places)
            y + torch.ones(6, 4)


def test_noise_of_a_forward_is_drawn_in_each_run() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + torch.randn(4)

    with tf.Graph().as_default() as graph:
        places = tf.placeholder(tf.float32, [4])
        y = Noisy()(places)
        with tf.Session(graph=graph) as session:
            first, second = (session.run(y, {places: np.zeros(4)}) for _ in range(2))
    assert (first != second).any()


# -- sizes that come with the values ---------------------------------------------------------------------------------

WITHOUT_SIZES = {
    "std": (lambda x: x.std(0), [[2.0, 1.0, 0.0]]),
    "std of all": (lambda x: torch.std(x - x.mean(0), dim=(0, 1, 2), correction=0).reshape(1), [(10 / 9) ** 0.5]),
    "var": (lambda x: torch.var(x, (0, 1)), [4.0, 1.0, 0.0]),
    "expand": (lambda x: x[:, :, :1].expand(-1, 1, 2), [[[1.0, 1.0]], [[3.0, 3.0]], [[5.0, 5.0]]]),
    "expand to a size": (lambda x: x[:1, 0, :1].expand(x.size(0), 2), [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]),
    "expand_as": (lambda x: x[:1, :, :1].expand_as(x[..., :1]), [[[1.0]], [[1.0]], [[1.0]]]),
    "flatten": (lambda x: x.flatten(1), [[1.0, 1.0, 3.0], [3.0, 2.0, 3.0], [5.0, 3.0, 3.0]]),
    "flatten all": (torch.flatten, [1.0, 1.0, 3.0, 3.0, 2.0, 3.0, 5.0, 3.0, 3.0]),
    "flatten in front": (lambda x: x.flatten(0, 1), [[1.0, 1.0, 3.0], [3.0, 2.0, 3.0], [5.0, 3.0, 3.0]]),
    "view": (lambda x: x.view(x.numel())[:4], [1.0, 1.0, 3.0, 3.0]),
    "reshape": (lambda x: torch.reshape(x, (-1, 9)), [[1.0, 1.0, 3.0, 3.0, 2.0, 3.0, 5.0, 3.0, 3.0]]),
    "indices": (lambda x: x[:, 0, torch.arange(2)], [[1.0, 1.0], [3.0, 2.0], [5.0, 3.0]]),
    "indices in front": (lambda x: x[[0, -1], 0, 0], [1.0, 5.0]),
    "pairs of indices": (lambda x: x[torch.tensor([-1, 1]), :, [0, 1]], [[5.0], [2.0]]),
    "an index alone": (lambda x: x[-1], [[5.0, 3.0, 3.0]]),
    "index_select": (lambda x: x.index_select(0, torch.tensor([2])), [[[5.0, 3.0, 3.0]]]),
    "a mask": (lambda x: x[x > 2.0], [3.0, 3.0, 3.0, 5.0, 3.0, 3.0]),
    "new_zeros": (lambda x: x.new_ones(1) + x[0, 0] - x.new_zeros(3), [2.0, 2.0, 4.0]),
    "topk": (lambda x: x.topk(1, 0).values, [[[5.0, 3.0, 3.0]]]),
    "roll": (lambda x: x.roll(1)[0], [[3.0, 1.0, 1.0]]),
}


class Doing(nn.Module):
    """A module that does what it is given."""

    def __init__(self, does: Any) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Any) -> Any:
        return self.does(x)


@pytest.mark.parametrize("name", WITHOUT_SIZES)
def test_sizes_that_come_with_the_values(name: str) -> None:
    does, expected = WITHOUT_SIZES[name]
    values = np.array([[[1, 1, 3]], [[3, 2, 3]], [[5, 3, 3]]], np.float32)
    traced = tf.function(does, input_signature=[tf.TensorSpec(tf.float32, [None, 1, 3])])
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 1, 3])
        y = Doing(does)(x)
        with tf.Session(graph=graph) as session:
            in_a_graph = session.run(y, {x: values})
    for found in (does(torch.tensor(values)).numpy(), traced(torch.tensor(values)).numpy(), in_a_graph):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "does", [lambda x: x.split(1), lambda x: x.chunk(2), lambda x: x.unbind(), lambda x: x.median(0)]
)
def test_how_many_parts_there_are_must_be_known(does: Any) -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 3])
        with pytest.raises(tf.errors.ShapeError, match="must know the size of dimension 0"):
            Doing(does)(x)
        with pytest.raises(tf.errors.SymbolicUseError, match=r"x\.size"):
            Doing(lambda x: x / x.shape[0])(x)
        with pytest.raises(tf.errors.SymbolicUseError, match=r"x\.flatten\(1\)"):
            Doing(lambda x: x.view(len(x), -1))(x)
        with pytest.raises(tf.errors.ShapeError, match="how many dimensions"):
            Doing(torch.flatten)(tf.placeholder(tf.float32))
        with pytest.raises(tf.errors.DTypeError, match="an index is"):
            x[:, [0, 1]]  # outside of the call it is TensorFlow's


def test_a_parameter_says_that_it_is_one() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    assert repr(weight) == str(weight) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert repr(weight.detach()) == "tensor([1., 2.])"
    assert repr([nn.Parameter(torch.tensor([1]), requires_grad=False)]) == "[Parameter containing:\ntensor([1])]"
