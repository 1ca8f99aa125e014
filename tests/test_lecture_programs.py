"""The programs of the lectures that speak PyTorch, with other import lines: A8, B6, C1, C2; and modules by hand: D2.

The digits are the real ones that scikit-learn ships, 8 x 8 pixels, here enlarged to the 28 x 28 of the programs.
Every program must reach the accuracy that stands beside it, on digits that it has not seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import eager as torch
from graphflow.eager import nn, optim
from graphflow.eager.nn import functional as F
from graphflow.eager.states import EuclideanModule, LinearModule, Net, Propagating, State, TanhModule, chain
from graphflow.eager.utils.data import DataLoader, TensorDataset

datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any, Any]:
    """Images [n, 1, 28, 28] in [0, 1] and their digits: four fifths to train on, one fifth held out."""
    found = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    large = np.kron(found.images[order] / 16.0, np.ones((3, 3)))
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.float32)[:, np.newaxis]
    labels = found.target[order]
    held_out = len(images) // 5
    return images[held_out:], labels[held_out:], images[:held_out], labels[:held_out]


# -- A8: eager in the PyTorch manner ---------------------------------------------------------------------------------


def test_a8_logistic_regression_with_a_metric(digits: Any) -> None:
    """Even or odd; the accuracy on held-out digits is 0.88 or better."""
    train_x, train_y, test_x, test_y = digits
    torch.manual_seed(0)
    X = torch.tensor(train_x).view(-1, 28 * 28)
    y = torch.tensor(train_y % 2).float()
    w = torch.zeros(28 * 28, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    optimizer = optim.SGD([w, b], lr=0.02)

    def model(x: Any) -> Any:
        return torch.sigmoid(torch.matmul(x, w) + b)

    @torch.no_grad()
    def accuracy(x: Any, labels: Any) -> float:
        return float((torch.round(model(x)) == labels).float().mean().item())

    losses = []
    for _ in range(250):
        y_hat = model(X)
        loss = F.binary_cross_entropy(y_hat, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().numpy())

    assert losses[0] == pytest.approx(math.log(2.0), rel=1e-5)
    assert losses[-1] < 0.5 * losses[0]
    held_out = torch.tensor(test_x).view(-1, 28 * 28)
    assert accuracy(held_out, torch.tensor(test_y % 2).float()) >= 0.88
    with torch.no_grad():
        assert not model(held_out).requires_grad


# -- B6: the MNIST program -------------------------------------------------------------------------------------------


class MLP(nn.Module):
    def __init__(self, hidden1: int, hidden2: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, hidden1)
        self.fc2 = nn.Linear(hidden1, hidden2)
        self.fc3 = nn.Linear(hidden2, 10)

    def forward(self, x: Any) -> Any:
        x = x.view(-1, 28 * 28)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


def test_b6_the_mlp_of_the_mnist_program(digits: Any) -> None:
    """Log-softmax, NLL, SGD with momentum, ten epochs; the accuracy on held-out digits is 0.94 or better."""
    train_x, train_y, test_x, test_y = digits
    torch.manual_seed(42)
    device = torch.device("cpu")
    train_set = TensorDataset(torch.tensor(train_x), torch.tensor(train_y))
    test_set = TensorDataset(torch.tensor(test_x), torch.tensor(test_y))
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=128, shuffle=False)
    model = MLP(128, 64).to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def train(epoch: int) -> float:
        model.train()
        total = 0.0
        for batch_idx, (data, target) in enumerate(train_loader):
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            output = model(data)
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()
            total += loss.item()
            if epoch == batch_idx == 0:
                assert list(data.shape) == [64, 1, 28, 28]
                assert output.size() == (64, 10)
        return total / len(train_loader)

    def test() -> tuple[float, float]:
        model.eval()
        test_loss, correct = 0.0, 0
        with torch.no_grad():
            for data, target in test_loader:
                data, target = data.to(device), target.to(device)
                output = model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()
        return test_loss / len(test_set), correct / len(test_set)

    losses = [train(epoch) for epoch in range(10)]
    test_loss, accuracy = test()
    assert losses[-1] < 0.1 * losses[0]
    assert test_loss < 0.3
    assert accuracy >= 0.94


@pytest.mark.parametrize("batch", [None, 3])
def test_b6_the_same_model_builds_a_graph(batch: int | None, digits: Any) -> None:
    """`forward` says x.view(-1, 28 * 28): in a graph too."""
    model = MLP(16, 16)
    images = digits[2][:3]
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [batch, 1, 28, 28])
        log_p = model(x)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            found = session.run(log_p, {x: images})
        assert not hasattr(x, "view")  # outside a module it is a tensor of TensorFlow
    assert found.tobytes() == model(torch.tensor(images)).detach().numpy().tobytes()


class Idioms(nn.Module):
    """What forward methods say to tensors."""

    def forward(self, x: Any) -> Any:
        x = x.view(x.size(0), -1)
        x = (x - x.mean(dim=1, keepdim=True)).relu().unsqueeze(1).permute(0, 2, 1).contiguous()
        x = x.flatten(1).to(torch.float64).float().clamp(0, 5) * 2
        return x.sum(-1).exp().detach() + x.max(dim=1)[0].sqrt()


def test_methods_in_a_graph() -> None:
    x = np.random.default_rng(1).normal(size=(3, 2, 4)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        given = tf.placeholder(tf.float32, [None, 2, 4])
        made = Idioms()(given)
        with tf.Session(graph=graph) as session:
            found = session.run(made, {given: x})
    assert found.tobytes() == Idioms()(torch.tensor(x)).numpy().tobytes()


def test_b6_is_reproducible_by_seed(digits: Any) -> None:
    """The same seed gives the same initial values, the same order of the examples, and so the same losses."""
    train_set = TensorDataset(torch.tensor(digits[0][:200]), torch.tensor(digits[1][:200]))

    def losses(seed: int) -> list[float]:
        torch.manual_seed(seed)
        model = MLP(16, 16)
        optimizer = optim.Adam(model.parameters())
        found = []
        for data, target in DataLoader(train_set, batch_size=50, shuffle=True):
            loss = F.nll_loss(model(data), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


# -- C1: the five steps ----------------------------------------------------------------------------------------------


def test_c1_the_five_step_loop(digits: Any) -> None:
    """A classifier in five steps; the accuracy on held-out digits is 0.94 or better."""
    train_x, train_y, test_x, test_y = digits
    torch.manual_seed(1234)
    D, H, C = 28 * 28, 100, 10
    X, y = torch.from_numpy(train_x).view(-1, D), torch.from_numpy(train_y)
    model = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, C))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5)
    for _ in range(250):
        y_pred = model(X)  # 1. the prediction
        loss = criterion(y_pred, y)  # 2. the loss
        optimizer.zero_grad()  # 3. no gradients of before
        loss.backward()  # 4. compute the gradients and accumulate them
        optimizer.step()  # 5. a step
    score, predicted = torch.max(y_pred, 1)
    acc = (y == predicted).sum().float() / len(y)
    assert score.shape == predicted.shape == y.shape
    assert acc.item() >= 0.98
    model.eval()
    with torch.no_grad():
        output = model(torch.from_numpy(test_x).view(-1, D))
    assert (output.argmax(1) == torch.from_numpy(test_y)).float().mean().item() >= 0.94


def test_c1_on_three_arms_of_a_spiral() -> None:
    """Points in the plane, as the lecture draws them; a linear model cannot separate them, one with ReLU does."""
    torch.manual_seed(7)
    N, C = 200, 3
    X, y = torch.zeros(N * C, 2), torch.zeros(N * C, dtype=torch.long)
    for c in range(C):
        t = torch.linspace(0, 1, N)
        angle = torch.linspace(2 * math.pi / C * c, 2 * math.pi / C * (2 + c), N) + torch.randn(N) * 0.1
        X[N * c : N * (c + 1)] = torch.stack([t * torch.sin(angle), t * torch.cos(angle)], 1)
        y[N * c : N * (c + 1)] = c

    def trained(model: Any) -> float:
        criterion = nn.CrossEntropyLoss()
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        for _ in range(300):
            loss = criterion(model(X), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float((model(X).argmax(1) == y).float().mean().item())

    assert trained(nn.Sequential(nn.Linear(2, 100), nn.Linear(100, C))) < 0.7
    assert trained(nn.Sequential(nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, C))) > 0.95


# -- C2: why backward accumulates ------------------------------------------------------------------------------------


def _halves() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(2, 8, 5)), rng.normal(size=(2, 8, 1))


def _model() -> Any:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def test_c2_two_backwards_are_one_step_along_the_sum_of_the_gradients() -> None:
    xs, ys = _halves()
    model, criterion = _model(), nn.MSELoss()
    before = [p.detach().clone() for p in model.parameters()]

    def gradients(of: int) -> list[Any]:
        model.zero_grad()
        criterion(model(torch.tensor(xs[of])), torch.tensor(ys[of])).backward()
        return [p.grad for p in model.parameters()]

    first, second = gradients(0), gradients(1)

    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    for x, y in zip(xs, ys, strict=True):
        criterion(model(torch.tensor(x)), torch.tensor(y)).backward()
    optimizer.step()
    for p, old, g1, g2 in zip(model.parameters(), before, first, second, strict=True):
        assert (p.detach() == old - (g1 + g2) * 0.1).all()
        assert not (p.detach() == old - g2 * 0.1).all()


def test_c2_in_a_graph_equals_eager_to_the_last_bit() -> None:
    xs, ys = _halves()
    model, criterion = _model(), nn.MSELoss()
    with tf.Graph().as_default() as graph:
        losses = [criterion(model(tf.constant(x)), tf.constant(y)) for x, y in zip(xs, ys, strict=True)]
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        both = [optimizer.compute_gradients(loss) for loss in losses]
        summed = [(g1 + g2, v) for (g1, v), (g2, _) in zip(*both, strict=True)]
        step = optimizer.apply_gradients(summed)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            session.run([step, *losses])
            in_graph = {name: session.run(v) for name, v in model.variables_in(graph).items()}

    eager = optim.SGD(model.parameters(), lr=0.1)
    for x, y in zip(xs, ys, strict=True):
        criterion(model(torch.tensor(x)), torch.tensor(y)).backward()
    eager.step()
    for name, p in model.named_parameters():
        assert p.detach().numpy().tobytes() == in_graph[name].tobytes()


# -- D2: fprop and bprop ---------------------------------------------------------------------------------------------


def _symbolic(energy: Any, **arrays: Any) -> tuple[float, dict[str, Any]]:
    """The energy of these arrays, and its derivative by each of them, in a graph."""
    with tf.Graph().as_default() as graph:
        given = {name: tf.constant(a) for name, a in arrays.items()}
        made = energy(**given)
        with tf.Session(graph=graph) as session:
            value, found = session.run([made, tf.gradients(made, list(given.values()))])
    return value, dict(zip(given, found, strict=True))


def _array(state: State) -> Any:
    assert state.dx is not None
    return state.dx.numpy()


def test_d2_a_two_layer_net_by_hand() -> None:
    draw = np.random.default_rng(6)
    w1, b1, w2, b2, x, y = (draw.normal(size=s) for s in ((4, 3), (4,), (2, 4), (2,), (5, 3), (5, 2)))
    linear1, tanh1, linear2, tanh2 = LinearModule(w1), TanhModule(b1), LinearModule(w2), TanhModule(b2)
    distance = EuclideanModule()
    first, desired, energy = State(x), State(y), State()
    s1, s2, s3, out = State(), State(), State(), State()
    linear1.fprop(first, s1)
    tanh1.fprop(s1, s2)
    linear2.fprop(s2, s3)
    tanh2.fprop(s3, out)
    distance.fprop(out, desired, energy)

    energy.seed(1.0)
    distance.bprop(out, desired, energy)
    tanh2.bprop(s3, out)
    linear2.bprop(s2, s3)
    tanh1.bprop(s1, s2)
    linear1.bprop(first, s1)

    def symbolic(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        hidden = tf.tanh(tf.matmul(x, w1, transpose_b=True) + b1)
        made = tf.tanh(tf.matmul(hidden, w2, transpose_b=True) + b2)
        return tf.reduce_sum(tf.square(made - y)) * 0.5

    value, expected = _symbolic(symbolic, x=x, y=y, w1=w1, b1=b1, w2=w2, b2=b2)
    assert energy.value.item() == value
    found = {
        "x": _array(first), "y": _array(desired), "w1": linear1.weight.grad.numpy(), "b1": tanh1.bias.grad.numpy(),
        "w2": linear2.weight.grad.numpy(), "b2": tanh2.bias.grad.numpy(),
    }  # fmt: skip
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, err_msg=name)


def test_d2_a_state_that_feeds_two_modules_collects_from_both() -> None:
    draw = np.random.default_rng(8)
    w, v, x = draw.normal(size=(3, 3)), draw.normal(size=(3, 3)), draw.normal(size=(2, 3))
    left, right, distance = LinearModule(w), LinearModule(v), EuclideanModule()
    first, a, b, energy = State(x), State(), State(), State()
    net = Net([(left, (first, a)), (right, (first, b)), (distance, (a, b, energy))])
    net.fprop()
    net.bprop()

    def symbolic(x: Any, w: Any, v: Any) -> Any:
        apart = tf.matmul(x, w, transpose_b=True) - tf.matmul(x, v, transpose_b=True)
        return tf.reduce_sum(tf.square(apart)) * 0.5

    _, expected = _symbolic(symbolic, x=x, w=w, v=v)
    np.testing.assert_allclose(_array(first), expected["x"], rtol=1e-12)
    np.testing.assert_allclose(left.weight.grad.numpy(), expected["w"], rtol=1e-12)
    net.zero()
    assert first.dx is None and left.weight.grad is None


def test_d2_a_loop_unfolded_in_time_shares_its_modules() -> None:
    """The same two modules at every step: their gradients are sums over the steps."""
    draw = np.random.default_rng(9)
    w, b, x, y = draw.normal(size=(3, 3)), draw.normal(size=3), draw.normal(size=(1, 3)), draw.normal(size=(1, 3))
    turn = [LinearModule(w), TanhModule(b)]
    first, last, energy = State(x), State(), State()
    unfolded = chain(turn * 6, first, last)
    net = Net([*unfolded.steps, (EuclideanModule(), (last, State(y), energy))])
    net.fprop()
    net.bprop()

    def symbolic(x: Any, w: Any, b: Any) -> Any:
        for _ in range(6):
            x = tf.tanh(tf.matmul(x, w, transpose_b=True) + b)
        return tf.reduce_sum(tf.square(x - y)) * 0.5

    value, expected = _symbolic(symbolic, x=x, w=w, b=b)
    assert energy.value.item() == value
    np.testing.assert_allclose(_array(first), expected["x"], rtol=1e-12)
    np.testing.assert_allclose(turn[0].weight.grad.numpy(), expected["w"], rtol=1e-12)
    np.testing.assert_allclose(turn[1].bias.grad.numpy(), expected["b"], rtol=1e-12)


def test_d2_any_module_propagates_and_order_is_checked() -> None:
    torch.manual_seed(1)
    layer = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1))
    module, first, out = Propagating(layer), State(np.ones((2, 3), np.float32)), State()
    with pytest.raises(tf.errors.FailedPreconditionError, match="no value yet"):
        module.fprop(out, first)
    with pytest.raises(tf.errors.FailedPreconditionError, match="fprop with the same states"):
        module.bprop(first, out)
    module.fprop(first, out)
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"output.seed"):
        module.bprop(first, out)
    out.seed()
    module.bprop(first, out)
    x = torch.ones(2, 3, requires_grad=True)
    gradients = [p.grad.numpy() for p in layer.parameters()]
    layer.zero_grad()
    layer(x).sum().backward()
    assert _array(first).tobytes() == x.grad.numpy().tobytes()
    assert all((a == p.grad.numpy()).all() for a, p in zip(gradients, layer.parameters(), strict=True))
