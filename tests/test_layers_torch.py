"""Layers, losses, optimisers and schedules answer as PyTorch does, and a layer computes the same in both modes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import eager as torch
from graphflow.eager import nn, optim
from graphflow.eager.nn import functional as F
from tests import layer_programs as programs

EXPECTED = json.loads(programs.ANSWERS.read_text())
NEAR = {"rtol": 1e-9, "atol": 1e-9}


def agree(found: list[Any], expected: list[Any], told: str, tolerance: dict[str, float] = NEAR) -> None:
    shapes, *numbers = found
    assert shapes == expected[0], told
    np.testing.assert_allclose(numbers, expected[1:], err_msg=told, **tolerance)


@pytest.mark.parametrize(("text", "shapes"), programs.LAYERS, ids=[text for text, _ in programs.LAYERS])
def test_layers(text: str, shapes: programs.Shapes) -> None:
    near = {"rtol": 1e-7} if text == "Hardsigmoid()" else NEAR  # its slope, 1 / 6, is a float32 in PyTorch
    agree(programs.layer_answer(torch, nn, text, shapes), EXPECTED["layers"][text], text, near)


@pytest.mark.parametrize("text", programs.FUNCTIONS)
def test_functions(text: str) -> None:
    agree(programs.function_answer(torch, F, text), EXPECTED["functions"][text], text)


@pytest.mark.parametrize(("name", "options"), programs.OPTIMIZERS)
def test_optimizers(name: str, options: dict[str, Any]) -> None:
    near = {"rtol": 1e-7, "atol": 1e-8} if name in ("NAdam", "LBFGS") else NEAR  # PyTorch keeps a float32 of its own
    expected = EXPECTED["optimizers"][f"{name} {options}"]
    np.testing.assert_allclose(programs.optimizer_answer(torch, nn, optim, name, options), expected, **near)


@pytest.mark.parametrize("text", programs.SCHEDULES)
def test_schedules(text: str) -> None:
    found = programs.schedule_answer(torch, nn, optim, text)
    np.testing.assert_allclose(found, EXPECTED["schedules"][text], rtol=1e-12)


def leaves(found: Any) -> list[Any]:
    return [x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x) for x in programs._leaves(found)]


@pytest.mark.parametrize(("text", "shapes"), programs.LAYERS[::2], ids=[text for text, _ in programs.LAYERS[::2]])
def test_a_layer_is_the_same_in_a_graph_and_in_a_trace(text: str, shapes: programs.Shapes) -> None:
    made, inputs = programs.layer(torch, nn, text, shapes)
    made.eval()
    eagerly = leaves(made(*inputs))
    traced = leaves(tf.function(made)(*inputs))
    with tf.Graph().as_default() as graph:
        places = [tf.placeholder(tf.float64, shape) for shape in shapes]
        symbolic = programs._leaves(made(*places))
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            found = session.run(symbolic, dict(zip(places, [x.numpy() for x in inputs], strict=True)))
    for a, b, c in zip(eagerly, traced, found, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


def test_a_batch_of_unknown_size_in_a_graph() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(2, 4), nn.Hardswish(), nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Unfold(2, stride=2), nn.Fold((4, 4), 2, stride=2),
        nn.PixelUnshuffle(2), nn.InstanceNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Unflatten(1, (2, 8)),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.RMSNorm(8),
    ).double().eval()  # fmt: skip
    x = programs.numbers((3, 2, 4, 4))
    expected = net(torch.tensor(x)).detach().numpy()
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float64, [None, 2, 4, 4])
        y = net(images)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            assert session.run(y, {images: x}).tobytes() == expected.tobytes()


# -- what random functions hold to ------------------------------------------------------------------------------------


def test_gumbel_softmax_is_soft_or_hard() -> None:
    torch.manual_seed(3)
    logits = torch.tensor(programs.numbers((200, 4)), requires_grad=True)
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.sum(-1).detach().numpy(), 1.0)
    hard = F.gumbel_softmax(logits, hard=True)
    assert sorted(set(hard.detach().numpy().round(12).ravel())) == [0.0, 1.0] and (hard.sum(-1) == 1).all()
    (hard * torch.arange(4).double()).sum().backward()
    assert (logits.grad != 0).any()


def test_dropout_of_channels_drops_all_of_a_channel() -> None:
    torch.manual_seed(1)
    layer = nn.Dropout2d(0.5)
    found = layer(torch.ones(8, 16, 3, 3)).numpy().reshape(128, 9)
    assert set(found[:, 0].tolist()) == {0.0, 2.0} and (found == found[:, :1]).all()
    assert (layer.eval()(torch.ones(2, 2, 1, 1)) == 1).all()


@pytest.mark.parametrize(
    ("misuse", "told"),
    [
        (lambda: nn.MultiheadAttention(5, 2), "num_heads divides"),
        (lambda: nn.GroupNorm(3, 4), "divides num_channels"),
        (nn.MaxPool2d, "missing a required argument"),
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), "unknown padding_mode"),
        (lambda: nn.Conv1d(1, 1, (3, 3)), "kernel_size"),
        (lambda: F.interpolate(torch.ones(1, 1, 2, 2)), "a size or a scale_factor"),
        (lambda: F.interpolate(torch.ones(1, 1, 2), size=3, mode="bilinear"), "'linear'"),
        (lambda: F.pad(torch.ones(1, 3), (3, 0), mode="reflect"), "2 or less"),
        (lambda: F.pixel_shuffle(torch.ones(1, 3, 2, 2), 2), "multiple of 4"),
        (lambda: F.unfold(torch.ones(1, 1, 2, 2), 3), "larger than the images"),
        (lambda: F.gumbel_softmax(torch.ones(2), tau=0), "tau is positive"),
        (lambda: F.binary_cross_entropy(torch.tensor([1.5]), torch.tensor([1.0])), "elements of input should be betw"),
        (lambda: F.binary_cross_entropy(torch.tensor([-0.1]), torch.tensor([1.0])), "elements of input should be betw"),
        (lambda: F.binary_cross_entropy(torch.tensor([np.nan]), torch.tensor([1.0])), "elements of input should be be"),
        (
            lambda: nn.BCELoss()(torch.tensor([0.5]), torch.tensor([2.0])),
            "elements of target should be between 0 and 1",
        ),
        (lambda: F.glu(torch.ones(3)), "halves an axis"),
        (lambda: F.max_pool2d(torch.ones(1, 1, 4, 4), 2, return_indices=True), "no indices"),
        (lambda: F.scaled_dot_product_attention(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 3)), "one size"),
        (lambda: nn.ParameterList([torch.ones(1)])(torch.ones(1)), "computes nothing"),
        (lambda: optim.SGD([nn.Parameter(torch.ones(1))], rate=0.1), "unexpected keyword argument 'rate'"),
        (lambda: optim.Adam([nn.Parameter(torch.ones(1))], differentiable=True), "not recorded"),
        (lambda: optim.LBFGS([nn.Parameter(torch.ones(1))]).step(), r"step\(closure\)"),
        (lambda: optim.Optimizer([nn.Parameter(torch.ones(1))], {}).load_state_dict({"param_groups": []}), "groups"),
    ],
)
def test_misuse_is_named(misuse: Any, told: str) -> None:
    with pytest.raises(tf.errors.Error, match=told):
        misuse()
