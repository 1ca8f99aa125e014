"""Layers, losses, optimisers and schedules as programs that PyTorch and graphflow run alike.

`tests/layer_answers.json` holds what PyTorch 2 answers; `python -m tests.layer_programs` writes it, where torch is.
A layer's answer is the shape of each output and one number for each of: the outputs, the gradients of the inputs,
the gradients of the parameters, the buffers, each a sum with weights that tell all elements apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = Path(__file__).with_name("layer_answers.json")
Shapes = tuple[tuple[int, ...], ...]

IMAGES = ((2, 2, 6, 5),)
SMALL = ((1, 2, 3, 4),)
SEQUENCES = ((2, 2, 8),)
PAIR = ((3, 4), (3, 4))
ROWS = ((2, 5, 4),)

LAYERS: list[tuple[str, Shapes]] = [
    ("Linear(3, 4)", ((2, 5, 3),)),
    ("Conv1d(2, 4, 3, stride=2, padding=1)", SEQUENCES),
    ("Conv1d(2, 4, 3, padding='same', dilation=2)", SEQUENCES),
    ("Conv1d(2, 4, 3, padding=1, padding_mode='circular')", SEQUENCES),
    ("Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)", IMAGES),
    ("Conv2d(2, 4, 3, padding='same', padding_mode='replicate')", IMAGES),
    ("Conv2d(2, 4, 3, padding=1, padding_mode='reflect', bias=False)", IMAGES),
    ("ConvTranspose1d(2, 4, 3, stride=2, padding=1, output_padding=1)", SEQUENCES),
    ("ConvTranspose2d(2, 4, (3, 2), stride=2, padding=1, output_padding=1, groups=2)", SMALL),
    ("MaxPool1d(3, 2, 1, ceil_mode=True)", SEQUENCES),
    ("MaxPool2d(3, stride=2, padding=1, ceil_mode=True)", IMAGES),
    ("MaxPool2d((2, 3), (2, 1))", ((2, 6, 5),)),
    ("AvgPool1d(3, 2, 1)", SEQUENCES),
    ("AvgPool2d(3, 2, 1, ceil_mode=True)", IMAGES),
    ("AvgPool2d(3, 2, 1, count_include_pad=False)", IMAGES),
    ("AvgPool2d(2, divisor_override=3)", IMAGES),
    ("AdaptiveAvgPool1d(3)", SEQUENCES),
    ("AdaptiveAvgPool2d((4, None))", IMAGES),
    ("AdaptiveAvgPool2d(7)", SMALL),
    ("AdaptiveMaxPool1d(3)", SEQUENCES),
    ("AdaptiveMaxPool2d((3, 2))", IMAGES),
    ("ZeroPad2d((1, 2, 0, -1))", SMALL),
    ("ConstantPad1d((1, 2), 2.5)", SEQUENCES),
    ("ReflectionPad2d((1, 2, 0, 1))", SMALL),
    ("ReplicationPad2d((1, 2, 0, 1))", SMALL),
    ("Upsample(scale_factor=2)", SMALL),
    ("Upsample(scale_factor=1.7, mode='nearest')", SMALL),
    ("Upsample(size=(5, 7), mode='bilinear')", SMALL),
    ("Upsample(scale_factor=1.7, mode='bilinear')", SMALL),
    ("Upsample(scale_factor=2, mode='bilinear', align_corners=True)", SMALL),
    ("Upsample(scale_factor=2, mode='bicubic')", SMALL),
    ("Upsample(size=3, mode='linear')", SEQUENCES),
    ("Upsample(scale_factor=2.5, mode='nearest-exact')", SMALL),
    ("PixelShuffle(2)", ((2, 8, 3, 4),)),
    ("PixelUnshuffle(2)", ((2, 2, 4, 6),)),
    ("Unfold((2, 3), stride=2, dilation=(1, 2), padding=1)", IMAGES),
    ("Fold((4, 5), 3, padding=1)", ((2, 18, 20),)),
    ("Hardsigmoid()", ROWS),
    ("Hardswish()", ROWS),
    ("Mish()", ROWS),
    ("CELU(1.5)", ROWS),
    ("GLU()", ROWS),
    ("Threshold(0.1, 20.0)", ROWS),
    ("Softmin(1)", ROWS),
    ("Tanhshrink()", ROWS),
    ("Softshrink()", ROWS),
    ("Hardshrink(0.3)", ROWS),
    ("BatchNorm2d(2)", IMAGES),
    ("BatchNorm3d(2, momentum=None)", ((2, 2, 2, 2, 2),)),
    ("GroupNorm(2, 4)", ((2, 4, 3),)),
    ("InstanceNorm1d(2)", SEQUENCES),
    ("InstanceNorm2d(2, affine=True, track_running_stats=True)", IMAGES),
    ("RMSNorm(4)", ROWS),
    ("RMSNorm((5, 4), eps=0.001)", ROWS),
    ("CosineSimilarity()", PAIR),
    ("PairwiseDistance(1.0, keepdim=True)", PAIR),
    ("TripletMarginLoss(swap=True)", (*PAIR, (3, 4))),
    ("HuberLoss(delta=0.5)", PAIR),
    ("GRU(4, 3, 2, batch_first=True, bidirectional=True)", ROWS),
    ("MultiheadAttention(4, 2)", ((5, 2, 4), (6, 2, 4), (6, 2, 4))),
    ("MultiheadAttention(4, 2, kdim=3, vdim=2, bias=False, batch_first=True)", ((2, 5, 4), (2, 6, 3), (2, 6, 2))),
    ("TransformerEncoderLayer(4, 2, 8, dropout=0.0)", ROWS),
    ("TransformerEncoderLayer(4, 2, 8, 0.0, activation='gelu', norm_first=True, batch_first=True)", ROWS),
    ("TransformerDecoderLayer(4, 2, 8, dropout=0.0, batch_first=True)", ((2, 5, 4), (2, 3, 4))),
]

# Functions of fixed arguments: x and y are [3, 4], t is -1 or 1 for each row, c a class for each row.
FUNCTIONS: list[str] = [
    "F.pad(x, (1, 2), mode='constant', value=3.0)",
    "F.pad(x[None], (2, 3), mode='circular')",
    "F.normalize(x, p=3.0, dim=0)",
    "F.cosine_embedding_loss(x, y, t, margin=0.1)",
    "F.margin_ranking_loss(x[:, 0], y[:, 0], t, margin=0.2)",
    "F.hinge_embedding_loss(x[:, 0], t, reduction='sum')",
    "F.soft_margin_loss(x[:, 0], t)",
    "F.gaussian_nll_loss(x, y, x * x, full=True)",
    "F.gaussian_nll_loss(x, y, x[:, :1] ** 2)",
    "F.poisson_nll_loss(x, y * y * 5, full=True)",
    "F.poisson_nll_loss(x * x, y * y, log_input=False)",
    "F.multi_margin_loss(x, c, p=2, weight=w)",
    "F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction='batchmean')",
    "F.scaled_dot_product_attention(x, y, x, is_causal=True)",
    "F.scaled_dot_product_attention(x[None], y[None], x[None], attn_mask=m)",
    "F.scaled_dot_product_attention(x[None, None], y[None, None], x[None, None], attn_mask=x @ y.T, scale=0.3)",
    "F.instance_norm(x[None])",
    "F.glu(x, 1)",
    "F.softmin(x, dim=0)",
    "F.prelu(x, w)",
    "F.interpolate(x[None], scale_factor=2.0, mode='linear')",
    "F.interpolate(x[None], size=3, mode='area')",
]

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2, "maximize": True}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.6), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.5}),
    ("Rprop", {}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("LBFGS", {"max_iter": 5, "history_size": 3}),
]

SCHEDULES: list[str] = [
    "ConstantLR(o, 0.5, 4)",
    "LinearLR(o, 0.1, 0.9, 4)",
    "PolynomialLR(o, 8, 2.0)",
    "MultiplicativeLR(o, lambda e: 0.9)",
    "CosineAnnealingWarmRestarts(o, 3, 2, 0.01)",
    "OneCycleLR(o, [0.5, 0.3], total_steps=24)",
    "OneCycleLR(o, 0.5, epochs=4, steps_per_epoch=6, anneal_strategy='linear', three_phase=True, pct_start=0.35)",
    "CyclicLR(o, 0.1, 0.5, 4, 6)",
    "CyclicLR(o, 0.1, 0.5, 4, mode='triangular2')",
    "CyclicLR(o, 0.1, 0.5, 4, mode='exp_range', gamma=0.95)",
    "SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 8), s.StepLR(o, 2)], [5, 14])",
    "ChainedScheduler([s.ConstantLR(o, 0.1, total_iters=3), s.ExponentialLR(o, 0.9)])",
]


def numbers(shape: tuple[int, ...], start: float = 0.0) -> Any:
    """Numbers around 0 that follow no simple pattern."""
    count = int(np.prod(shape))
    return np.sin(np.arange(count) ** 1.3 * 0.9 + start).reshape(shape) * 1.1 + 0.05


def number_of(arrays: list[Any]) -> float:
    """One number for all elements."""
    flat = np.concatenate([np.zeros(1), *[np.asarray(a, np.float64).ravel() for a in arrays]])
    return float(flat @ np.cos(np.arange(flat.size)))


def _leaves(found: Any) -> list[Any]:
    if isinstance(found, (tuple, list)):
        return [x for item in found for x in _leaves(item)]
    return [] if found is None else [found]


def _answer(torch: Any, outputs: list[Any], inputs: list[Any], learned: list[Any], kept: list[Any]) -> list[Any]:
    loss = sum((y * torch.tensor(numbers(tuple(y.shape), 2.0))).sum() for y in outputs)
    loss.backward()
    shapes = [list(y.shape) for y in outputs]
    arrays = [y.detach().numpy() for y in outputs]
    gradients = [[x.grad.numpy() for x in xs if x.grad is not None] for xs in (inputs, learned)]
    return [shapes, *[number_of(a) for a in (arrays, *gradients, [b.numpy() for b in kept])]]


def layer(torch: Any, nn: Any, text: str, shapes: Shapes) -> tuple[Any, list[Any]]:
    """A layer with parameters that are told here, and its inputs."""
    made = eval(text, {name: getattr(nn, name) for name in dir(nn)}).double()
    state = made.state_dict()
    learned = {name for name, _ in made.named_parameters()}
    for place, (name, x) in enumerate(state.items()):
        if name in learned:
            state[name] = torch.tensor(numbers(tuple(x.shape), float(place)) * 0.5)
    made.load_state_dict(state)
    return made, [torch.tensor(numbers(shape, float(i))) for i, shape in enumerate(shapes)]


def layer_answer(torch: Any, nn: Any, text: str, shapes: Shapes) -> list[Any]:
    """What a layer computes, and its derivatives."""
    made, inputs = layer(torch, nn, text, shapes)
    inputs = [x.requires_grad_() for x in inputs]
    outputs = _leaves(made(*inputs))
    return _answer(torch, outputs, inputs, list(made.parameters()), list(made.buffers()))


def function_answer(torch: Any, functional: Any, text: str) -> list[Any]:
    """What a function computes, and its derivatives."""
    x, y = (torch.tensor(numbers((3, 4), float(i))).requires_grad_() for i in range(2))
    given = {
        "t": torch.tensor(np.array([1.0, -1.0, 1.0])), "c": torch.tensor(np.array([1, 3, 0])),
        "w": torch.tensor(np.array([0.5, 1.0, 2.0, 0.25])),
        "m": torch.tensor(np.array([[True, False, True], [True, True, True], [False, False, True]])),
    }  # fmt: skip
    found = eval(text, {"F": functional, "x": x, "y": y, **given})
    return _answer(torch, [found], [x, y], [], [])


def optimizer_answer(torch: Any, nn: Any, optim: Any, name: str, options: dict[str, Any]) -> list[float]:
    """Losses on the way, and where 20 steps lead."""
    w, b = nn.Parameter(torch.tensor(numbers((4, 3)))), nn.Parameter(torch.tensor(np.zeros(3)))
    x, y = torch.tensor(numbers((12, 4), 1.0)), torch.tensor(numbers((12, 3), 2.0))
    optimizer = getattr(optim, name)([w, b], **options)
    losses: list[float] = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((torch.tanh(x @ w + b) - y) ** 2).mean()
        loss.backward()
        return loss

    for _ in range(4 if name == "LBFGS" else 20):
        losses.append(optimizer.step(closure).item())
    return [*losses[::4], number_of([w.detach().numpy(), b.detach().numpy()])]


def schedule_answer(torch: Any, nn: Any, optim: Any, text: str) -> list[list[float]]:
    """The rates of two groups and the momentum of one, for 24 epochs."""
    a, b = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))
    optimizer = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.3}], lr=0.2)
    kinds = optim.lr_scheduler
    scheduler = eval(text, {"s": kinds, "o": optimizer, **{n: getattr(kinds, n) for n in dir(kinds)}})
    found = []
    for _ in range(24):
        groups = optimizer.param_groups
        found.append([groups[0]["lr"], groups[1]["lr"], groups[0]["betas"][0]])
        optimizer.step()
        scheduler.step()
    return found


def answers(torch: Any, nn: Any, functional: Any, optim: Any) -> dict[str, Any]:
    """All of them."""
    return {
        "layers": {text: layer_answer(torch, nn, text, shapes) for text, shapes in LAYERS},
        "functions": {text: function_answer(torch, functional, text) for text in FUNCTIONS},
        "optimizers": {f"{n} {o}": optimizer_answer(torch, nn, optim, n, o) for n, o in OPTIMIZERS},
        "schedules": {text: schedule_answer(torch, nn, optim, text) for text in SCHEDULES},
    }


if __name__ == "__main__":
    import torch

    found = answers(torch, torch.nn, torch.nn.functional, torch.optim)
    rows = ",\n".join(
        f"{json.dumps(part)}: {{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in table.items()) + "\n}"
        for part, table in found.items()
    )
    ANSWERS.write_text("{\n" + rows + "\n}\n")
