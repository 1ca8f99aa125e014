"""Layers and losses against NumPy, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphflow import eager as torch
from graphflow.eager import nn
from graphflow.eager.nn import functional as F
from graphflow.eager.nn import init

rng = np.random.default_rng(11)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def log_softmax(x: Any, axis: int = -1) -> Any:
    e = x - x.max(axis, keepdims=True)
    return e - np.log(np.exp(e).sum(axis, keepdims=True))


def values(module: Any) -> dict[str, Any]:
    return {name: x.detach().numpy() for name, x in module.state_dict().items()}


# -- layers against NumPy --------------------------------------------------------------------------------------------


def convolved(x: Any, w: Any, b: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """The definition of a convolution, element by element of the filter."""
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    outs, ins, kh, kw = w.shape
    h = (x.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    v = (x.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], outs, h, v))
    for o in range(outs):
        first = o // (outs // groups) * ins
        for i in range(ins):
            for a in range(kh):
                for c in range(kw):
                    rows = slice(a * dilation, a * dilation + (h - 1) * stride + 1, stride)
                    columns = slice(c * dilation, c * dilation + (v - 1) * stride + 1, stride)
                    y[:, o] += w[o, i, a, c] * x[:, first + i, rows, columns]
    return y + b[:, None, None]


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 4)])
def test_conv2d(stride: int, padding: int, dilation: int, groups: int) -> None:
    layer = nn.Conv2d(4, 8, (3, 2), stride, padding, dilation, groups).double()
    x = rng.normal(size=(2, 4, 7, 6))
    w, b = values(layer)["weight"], values(layer)["bias"]
    expected = convolved(x, w, b, stride, padding, dilation, groups)
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), expected, atol=1e-12)
    one = layer(torch.tensor(x[0])).detach().numpy()
    np.testing.assert_allclose(one, expected[0], atol=1e-12)


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups", "more"), [(1, 0, 1, 1, 0), (2, 1, 2, 2, 1)])
def test_conv_transpose2d_is_what_a_convolution_does_to_gradients(
    stride: int, padding: int, dilation: int, groups: int, more: int
) -> None:
    layer = nn.ConvTranspose2d(4, 6, (3, 2), stride, padding, more, groups, bias=False, dilation=dilation).double()
    x = rng.normal(size=(2, 4, 5, 4))
    made = layer(torch.tensor(x)).detach().numpy()
    # The adjoint: <made, y> = <x, convolved(y)> for every y.
    for y in rng.normal(size=(3, *made.shape)):
        back = convolved(y, values(layer)["weight"], np.zeros(4), stride, padding, dilation, groups)
        assert (made * y).sum() == pytest.approx((x * back).sum())


def test_padding_and_unit_vectors() -> None:
    x = rng.normal(size=(2, 3, 4))
    for mode in ("constant", "reflect"):
        expected = np.pad(x, [(0, 0), (2, 1), (1, 0)], mode=mode)
        np.testing.assert_array_equal(F.pad(torch.tensor(x), (1, 0, 2, 1), mode=mode).numpy(), expected)
    expected = x / np.sqrt((x**2).sum(1, keepdims=True))
    np.testing.assert_allclose(F.normalize(torch.tensor(x)).numpy(), expected)


def test_conv1d_is_conv2d_of_one_row() -> None:
    layer = nn.Conv1d(3, 5, 4, stride=2, padding=1).double()
    x, own = rng.normal(size=(2, 3, 9)), values(layer)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1)])[:, :, None]
    expected = convolved(padded, own["weight"][:, :, None], own["bias"], 1, 0, 1, 1)[:, :, 0, ::2]
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), expected, atol=1e-12)


def test_pooling() -> None:
    x = rng.normal(size=(2, 3, 6, 4))
    windows = x.reshape(2, 3, 3, 2, 2, 2)
    np.testing.assert_array_equal(nn.MaxPool2d(2)(torch.tensor(x)).numpy(), windows.max((3, 5)))
    np.testing.assert_allclose(nn.AvgPool2d(2)(torch.tensor(x)).numpy(), windows.mean((3, 5)))
    np.testing.assert_allclose(nn.AdaptiveAvgPool2d((3, 2))(torch.tensor(x)).numpy(), windows.mean((3, 5)))
    np.testing.assert_allclose(nn.AdaptiveAvgPool2d(1)(torch.tensor(x)).numpy(), x.mean((2, 3), keepdims=True))
    below = torch.tensor(-np.ones((1, 1, 2, 2)))
    assert (nn.MaxPool2d(2, padding=1)(below).numpy() == -1).all()  # the margin never wins
    assert (nn.AvgPool2d(2, padding=1)(below).numpy() == -0.25).all()
    assert (nn.AvgPool2d(2, padding=1, count_include_pad=False)(below).numpy() == -1).all()


def recurrence(kind: str, x: Any, own: dict[str, Any], layers: int) -> tuple[Any, list[Any]]:
    """The formulas of the three kinds, step by step."""
    ends = []
    for k in range(layers):
        w, u = own[f"weight_ih_l{k}"], own[f"weight_hh_l{k}"]
        b, d = own[f"bias_ih_l{k}"], own[f"bias_hh_l{k}"]
        h = c = np.zeros((x.shape[1], u.shape[1]))
        made = []
        for step in x:
            p, q = step @ w.T + b, h @ u.T + d
            if kind == "RNN":
                h = np.tanh(p + q)
            elif kind == "LSTM":
                i, f, g, o = np.split(p + q, 4, 1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            else:
                (r, z, n), (hr, hz, hn) = np.split(p, 3, 1), np.split(q, 3, 1)
                update = sigmoid(z + hz)
                h = (1 - update) * np.tanh(n + sigmoid(r + hr) * hn) + update * h
            made.append(h)
        x = np.stack(made)
        ends.append((h, c))
    return x, ends


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers(kind: str) -> None:
    layer = getattr(nn, kind)(4, 3, num_layers=2).double()
    x = rng.normal(size=(5, 2, 4))
    output, state = layer(torch.tensor(x))
    expected, ends = recurrence(kind, x, values(layer), 2)
    np.testing.assert_allclose(output.detach().numpy(), expected, atol=1e-12)
    states = state if kind == "LSTM" else (state,)
    for n, s in enumerate(states):
        np.testing.assert_allclose(s.detach().numpy(), np.stack([e[n] for e in ends]), atol=1e-12)

    first = getattr(nn, kind)(4, 3, num_layers=2, batch_first=True).double()
    first.load_state_dict(values(layer))
    swapped = first(torch.tensor(x.swapaxes(0, 1)))[0].detach().numpy().swapaxes(0, 1)
    np.testing.assert_array_equal(swapped, output.detach().numpy())
    halves = layer(torch.tensor(x[:2]))
    rest, _ = layer(torch.tensor(x[2:]), halves[1])
    np.testing.assert_allclose(rest.detach().numpy(), expected[2:], atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_cells_are_one_step(kind: str) -> None:
    cell = getattr(nn, f"{kind}Cell")(4, 3).double()
    x = rng.normal(size=(5, 2, 4))
    _, [ends] = recurrence(kind, x, {f"{name}_l0": v for name, v in values(cell).items()}, 1)
    state = None
    for step in x:
        state = cell(torch.tensor(step), state)
    states = state if kind == "LSTM" else (state,)
    for s, expected in zip(states, ends, strict=False):
        np.testing.assert_allclose(s.detach().numpy(), expected, atol=1e-12)


def test_both_directions() -> None:
    layer = nn.GRU(4, 3, bidirectional=True).double()
    x = rng.normal(size=(5, 2, 4))
    output, ends = layer(torch.tensor(x))
    own = values(layer)
    forth, _ = recurrence("GRU", x, own, 1)
    back, _ = recurrence("GRU", x[::-1], {n.replace("_reverse", ""): v for n, v in own.items() if "_rev" in n}, 1)
    np.testing.assert_allclose(output.detach().numpy(), np.concatenate([forth, back[::-1]], 2), atol=1e-12)
    np.testing.assert_allclose(ends.detach().numpy(), np.stack([forth[-1], back[-1]]), atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_batch_norm_and_its_running_statistics(shape: tuple[int, ...]) -> None:
    layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3, momentum=0.25).double()
    init.uniform_(layer.weight)
    axes = tuple(a for a in range(len(shape)) if a != 1)
    wide = (1, 3) + (1,) * (len(shape) - 2)
    own = values(layer)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(2):
        x = rng.normal(2, 3, size=shape)
        made = layer(torch.tensor(x)).detach().numpy()
        m, v = x.mean(axes), x.var(axes)
        expected = (x - m.reshape(wide)) / np.sqrt(v.reshape(wide) + 1e-5) * own["weight"].reshape(wide)
        np.testing.assert_allclose(made, expected, atol=1e-11)
        mean = 0.75 * mean + 0.25 * m
        var = 0.75 * var + 0.25 * x.var(axes, ddof=1)
    np.testing.assert_allclose(values(layer)["running_mean"], mean)
    np.testing.assert_allclose(values(layer)["running_var"], var)
    assert layer.num_batches_tracked.item() == 2
    made = layer.eval()(torch.tensor(x)).detach().numpy()
    expected = (x - mean.reshape(wide)) / np.sqrt(var.reshape(wide) + 1e-5) * own["weight"].reshape(wide)
    np.testing.assert_allclose(made, expected, atol=1e-11)
    assert layer.num_batches_tracked.item() == 2


def test_layer_norm_and_embedding() -> None:
    x = rng.normal(size=(2, 3, 4))
    made = nn.LayerNorm((3, 4)).double()(torch.tensor(x)).detach().numpy()
    m, v = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(made, (x - m) / np.sqrt(v + 1e-5), atol=1e-12)

    table = nn.Embedding(5, 2, padding_idx=1)
    numbers = torch.tensor([[0, 1], [3, 0]])
    found = table(numbers)
    assert (found.detach().numpy() == values(table)["weight"][numbers.numpy()]).all()
    assert (values(table)["weight"][1] == 0).all()
    found.sum().backward()
    assert table.weight.grad.numpy().tolist() == [[2, 2], [0, 0], [0, 0], [1, 1], [0, 0]]


ACTIVATIONS = [
    (nn.ReLU(inplace=True), lambda x: np.maximum(x, 0)),
    (nn.ReLU6(), lambda x: np.clip(x, 0, 6)),
    (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.ELU(0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    (nn.SELU(), lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    (nn.SiLU(), lambda x: x * sigmoid(x)),
    (nn.GELU("tanh"), lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    (nn.Sigmoid(), sigmoid),
    (nn.LogSigmoid(), lambda x: np.log(sigmoid(x))),
    (nn.Tanh(), np.tanh),
    (nn.Softplus(beta=2.0), lambda x: np.log1p(np.exp(2 * x)) / 2),
    (nn.Softsign(), lambda x: x / (1 + abs(x))),
    (nn.Hardtanh(-0.5, 2.0), lambda x: np.clip(x, -0.5, 2)),
    (nn.PReLU(3), lambda x: np.where(x > 0, x, 0.25 * x)),
    (nn.Softmax(dim=1), lambda x: np.exp(log_softmax(x, 1))),
    (nn.LogSoftmax(dim=-1), log_softmax),
    (nn.Flatten(), lambda x: x.reshape(4, -1)),
    (nn.Unflatten(1, (3, 1)), lambda x: x[:, :, None]),
    (nn.Dropout(0.0), lambda x: x),
    (nn.Dropout(1.0), lambda x: 0 * x),
    (nn.Dropout(0.7).eval(), lambda x: x),
]


@pytest.mark.parametrize(("module", "reference"), ACTIVATIONS, ids=lambda m: type(m).__name__)
def test_activations(module: Any, reference: Callable[[Any], Any]) -> None:
    x = rng.normal(size=(4, 3, 5)) * 4
    found = module.double()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(found, reference(x), atol=1e-12)


def test_gelu_is_x_times_the_normal_distribution() -> None:
    from math import erf, sqrt

    x = rng.normal(size=20)
    expected = [v * 0.5 * (1 + erf(v / sqrt(2))) for v in x]
    np.testing.assert_allclose(nn.GELU()(torch.tensor(x)).numpy(), expected, atol=1e-12)


def test_dropout_keeps_the_mean_and_obeys_the_seed() -> None:
    def drawn() -> Any:
        torch.manual_seed(3)
        return nn.Dropout(0.25)(torch.ones(10000)).numpy()

    found = drawn()
    assert set(np.unique(found)) == {0, np.float32(1 / 0.75)}
    assert abs((found == 0).mean() - 0.25) < 0.02
    assert (found == drawn()).all()


def test_initial_values() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(100, 50)
    for x in values(layer).values():
        assert 0.09 < abs(x).max() <= 0.1
    assert abs(values(nn.Conv2d(4, 8, 5))["weight"]).max() <= 0.1
    assert abs(values(nn.LSTM(3, 16))["weight_ih_l0"]).max() <= 0.25
    weight = layer.weight
    assert init.xavier_uniform_(weight) is weight
    assert 0.19 < abs(values(layer)["weight"]).max() <= 0.2
    init.kaiming_normal_(weight, nonlinearity="relu")
    assert values(layer)["weight"].std() == pytest.approx(0.02**0.5, rel=0.05)
    init.orthogonal_(weight)
    np.testing.assert_allclose(values(layer)["weight"] @ values(layer)["weight"].T, np.eye(50), atol=1e-5)
    torch.manual_seed(0)
    again = values(nn.Linear(100, 50))
    torch.manual_seed(0)
    assert all((a == b).all() for a, b in zip(again.values(), values(nn.Linear(100, 50)).values(), strict=True))


# -- losses against NumPy --------------------------------------------------------------------------------------------

X, Y = rng.normal(size=(6, 4)), rng.normal(size=(6, 4)) * 2
P = rng.uniform(0.05, 0.95, size=(6, 4))
T = (rng.uniform(size=(6, 4)) > 0.5) * 1.0
Q = rng.dirichlet(np.ones(4), 6)
W = rng.uniform(0.5, 2, size=4)
LABELS = np.array([0, 3, 1, 1, 2, 0])
D = abs(X - Y)

LOSSES: list[tuple[str, Any, Any, dict[str, Any], Any]] = [
    ("mse_loss", X, Y, {}, (X - Y) ** 2),
    ("l1_loss", X, Y, {}, D),
    ("smooth_l1_loss", X, Y, {"beta": 0.5}, np.where(D < 0.5, D**2, D - 0.25)),
    ("huber_loss", X, Y, {"delta": 0.5}, np.where(D < 0.5, D**2 / 2, 0.5 * (D - 0.25))),
    ("binary_cross_entropy", P, T, {"weight": W}, -W * (T * np.log(P) + (1 - T) * np.log(1 - P))),
    ("binary_cross_entropy_with_logits", X, P, {}, -(P * np.log(sigmoid(X)) + (1 - P) * np.log(sigmoid(-X)))),
    (
        "binary_cross_entropy_with_logits", X, T, {"pos_weight": W},
        -(W * T * np.log(sigmoid(X)) + (1 - T) * np.log(sigmoid(-X))),
    ),
    ("kl_div", np.log(Q[::-1]), Q, {}, Q * (np.log(Q) - np.log(Q[::-1]))),
    ("kl_div", np.log(Q[::-1]), np.log(Q), {"log_target": True}, Q * (np.log(Q) - np.log(Q[::-1]))),
    ("nll_loss", X, LABELS, {}, -X[range(6), LABELS]),
    ("cross_entropy", X, LABELS, {}, -log_softmax(X)[range(6), LABELS]),
    ("cross_entropy", X, Q, {}, -(Q * log_softmax(X)).sum(1)),
    ("cross_entropy", X, Q, {"weight": W, "label_smoothing": 0.1}, -(W * (0.9 * Q + 0.025) * log_softmax(X)).sum(1)),
    (
        "cross_entropy", X, LABELS, {"label_smoothing": 0.2},
        -0.8 * log_softmax(X)[range(6), LABELS] - 0.05 * log_softmax(X).sum(1),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "x", "target", "options", "expected"), LOSSES, ids=lambda v: v if type(v) is str else ""
)
def test_losses(name: str, x: Any, target: Any, options: dict[str, Any], expected: Any) -> None:
    loss = getattr(F, name)
    given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    for reduction, reduce in (("none", lambda v: v), ("sum", np.sum), ("mean", np.mean)):
        found = loss(torch.tensor(x), torch.tensor(target), reduction=reduction, **given).numpy()
        np.testing.assert_allclose(found, reduce(expected), atol=1e-12)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_weights_and_ignored_classes(loss: Any) -> None:
    labels = np.array([0, -100, 1, 1, -100, 3])
    log_p = log_softmax(X) if loss is nn.CrossEntropyLoss else X
    kept = labels != -100
    each = np.where(kept, -log_p[range(6), labels % 4], 0)
    shares = np.where(kept, W[labels % 4], 0)
    weight = torch.tensor(W)
    x, t = torch.tensor(X), torch.tensor(labels)
    np.testing.assert_allclose(loss()(x, t).numpy(), each.sum() / kept.sum())
    np.testing.assert_allclose(loss(weight=weight)(x, t).numpy(), (each * shares).sum() / shares.sum())
    np.testing.assert_allclose(loss(weight=weight, reduction="none")(x, t).numpy(), each * shares)
    other = np.where(kept, labels, 2)
    np.testing.assert_allclose(loss(ignore_index=2)(x, torch.tensor(other)).numpy(), each.sum() / kept.sum())


def test_classes_are_the_second_axis() -> None:
    x, labels = rng.normal(size=(2, 4, 3, 5)), rng.integers(0, 4, (2, 3, 5))
    expected = -np.take_along_axis(log_softmax(x, 1), labels[:, None], 1)[:, 0]
    found = nn.CrossEntropyLoss(reduction="none")(torch.tensor(x), torch.tensor(labels)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    one = nn.CrossEntropyLoss()(torch.tensor(x[0, :, 0, 0]), torch.tensor(labels[0, 0, 0])).item()
    assert one == pytest.approx(expected[0, 0, 0])


def test_infinite_logarithms_are_cut_off() -> None:
    p = torch.tensor([0.0, 1.0], requires_grad=True)
    loss = nn.BCELoss()(p, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == 100.0 and np.isfinite(p.grad.numpy()).all()
    assert nn.BCEWithLogitsLoss()(torch.tensor([-1000.0]), torch.tensor([1.0])).item() == 1000.0
    assert nn.KLDivLoss(reduction="batchmean")(torch.zeros(2, 2), torch.tensor([[0.0, 1.0]] * 2)).item() == 0.0


# -- gradients -------------------------------------------------------------------------------------------------------

DIFFERENTIATED: list[tuple[Callable[[], Any], tuple[int, ...]]] = [
    (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Flatten()), (2, 2, 4, 4)),
    (lambda: nn.Conv1d(2, 4, 2, groups=2), (2, 2, 5)),
    (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2), nn.LayerNorm(2)), (5, 3)),
    (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Softplus(), nn.AdaptiveAvgPool2d(1)), (2, 3, 2, 2)),
    (lambda: nn.LSTM(3, 2, bidirectional=True), (4, 2, 3)),
    (lambda: nn.GRU(3, 2, num_layers=2, batch_first=True), (2, 4, 3)),
    (lambda: nn.RNN(3, 2), (4, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), DIFFERENTIATED)
def test_gradients_are_those_of_finite_differences(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    draw = np.random.default_rng(5)
    module = make().double()
    x = nn.Parameter(draw.normal(size=shape))
    leaves = [x, *module.parameters()]
    first = module(x)
    weight = torch.tensor(draw.normal(size=(first[0] if isinstance(first, tuple) else first).shape))

    def total() -> Any:
        made = module(x)
        return ((made[0] if isinstance(made, tuple) else made) * weight).sum()

    total().backward()
    for leaf in leaves:
        direction, step = draw.normal(size=leaf.dims), 1e-5
        ends = []
        for sign in (1, -1):
            leaf.value += sign * step * direction
            ends.append(total().item())
            leaf.value -= sign * step * direction
        slope = (ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(float((leaf.grad.numpy() * direction).sum()), rel=1e-6, abs=1e-7)
