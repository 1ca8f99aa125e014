"""Functions of `torch.nn.functional`: layers and activations without memory; losses come from `losses`.

Policy: PyTorch's names, argument names and defaults; every function is made of the library's ops, and serves values
and symbolic tensors alike.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow import spec
from graphflow.eager.conventions import SELU, differentiated
from graphflow.eager.mode import placed
from graphflow.eager.nn.attention import scaled_dot_product_attention
from graphflow.eager.nn.curves import (
    celu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    mish,
    prelu,
    softshrink,
    tanhshrink,
    threshold,
)
from graphflow.eager.nn.distances import (
    cosine_embedding_loss,
    cosine_similarity,
    gaussian_nll_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    normalize,
    pairwise_distance,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
)
from graphflow.eager.nn.groups import group_norm, instance_norm, rms_norm
from graphflow.eager.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from graphflow.eager.nn.margins import pad
from graphflow.eager.nn.noise import dropout1d, dropout2d, dropout3d, dropped, gumbel_softmax, probability
from graphflow.eager.nn.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from graphflow.eager.nn.resampling import fold, interpolate, pixel_shuffle, pixel_unshuffle, unfold
from graphflow.eager.nn.windows import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from graphflow.eager.promotion import inexact
from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError, OutOfRangeError, ShapeError, shown
from graphflow.ops import activations, array, casts, compare, core, index, linalg, math
from graphflow.ops import normalize as normalization
from graphflow.ops import softmax as soft

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
    "avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "conv1d",
    "conv2d", "conv_transpose1d", "conv_transpose2d", "cosine_embedding_loss", "cosine_similarity", "cross_entropy",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "elu", "embedding", "fold", "gaussian_nll_loss", "gelu",
    "glu", "group_norm", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "hinge_embedding_loss", "huber_loss", "instance_norm", "interpolate", "kl_div", "l1_loss", "layer_norm",
    "leaky_relu", "linear", "log_softmax", "logsigmoid", "margin_ranking_loss", "max_pool1d", "max_pool2d", "mish",
    "mse_loss", "multi_margin_loss", "nll_loss", "normalize", "one_hot", "pad", "pairwise_distance",
    "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu6", "rms_norm",
    "scaled_dot_product_attention", "selu", "sigmoid", "silu", "smooth_l1_loss", "soft_margin_loss", "softmax",
    "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "triplet_margin_loss",
    "unfold",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)


@placed
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input @ weight.T + bias, along the last axis."""
    x = core.convert_to_tensor(input)
    dims = x.dims
    if dims is None or len(dims) == 2:
        y = linalg.matmul(x, weight, transpose_b=True)
    elif len(dims) == 1:
        y = array.squeeze(linalg.matmul(array.expand_dims(x, 0), weight, transpose_b=True), [0])
    elif not dims:
        raise ShapeError("linear takes vectors", expected="rank 1 or more", got="a scalar")
    else:
        rows = linalg.matmul(array.reshape(x, [-1, weight.dims[1]]), weight, transpose_b=True)
        y = array.reshape(rows, _leading(x, 1, [weight.dims[0]]))
    return y if bias is None else math.add(y, bias)


def _leading(x: Any, dropped: int, more: Sequence[int]) -> Any:
    """The shape of x without its last axes, and more sizes."""
    known = x.dims[: len(x.dims) - dropped]
    if spec.is_concrete(known):
        return [*known, *more]
    return array.concat([array.shape(x)[: len(known)], list(more)], 0)


# -- activations -----------------------------------------------------------------------------------------------------


@placed
def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0).  `inplace` is accepted and changes nothing: a new tensor is returned."""
    return activations.relu(input)


@placed
def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return activations.relu6(input)


@placed
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where positive, else negative_slope * x."""
    return activations.leaky_relu(input, negative_slope)


@placed
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where positive, else alpha * (exp(x) - 1)."""
    if alpha == 1.0:
        return activations.elu(input)
    x = core.convert_to_tensor(input)
    return index.where(compare.greater(x, 0.0), x, activations.elu(math.minimum(x, 0.0)) * float(alpha))


@placed
def selu(input: Any, inplace: bool = False) -> Any:
    """The self-normalising variant of ELU."""
    with differentiated(SELU):
        return activations.selu(input)


@placed
def gelu(input: Any, approximate: str = "none") -> Any:
    """x * P(X <= x) for a standard normal X; approximate="tanh" is quicker."""
    if approximate not in ("none", "tanh"):
        raise InvalidArgumentError('approximate is "none" or "tanh"', got=shown(approximate))
    return activations.gelu(input, approximate == "tanh")


@placed
def silu(input: Any, inplace: bool = False) -> Any:
    """x * sigmoid(x)."""
    return activations.swish(input)


_LINEAR_FROM = 18.0  # above it softplus(x) and its slope round to x and 1 in float32


@placed
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta; where beta * x is above the threshold, x itself."""
    x = core.convert_to_tensor(input)
    scaled = x if beta == 1 else x * float(beta)
    smooth = activations.softplus(scaled) if beta == 1 else activations.softplus(scaled) / float(beta)
    if threshold >= _LINEAR_FROM and x.dtype.size <= 4:
        return smooth
    return index.where(compare.greater(scaled, float(threshold)), x, smooth)


@placed
def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    return activations.softsign(inexact(input))


@placed
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x, held between two values; at these the derivative is 0."""
    return math.minimum(float(max_val), math.maximum(float(min_val), input))  # ties belong to the first argument


@placed
def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return math.sigmoid(inexact(input))


@placed
def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), without underflow."""
    return activations.log_sigmoid(input)


@placed
def tanh(input: Any) -> Any:
    """The hyperbolic tangent."""
    return math.tanh(inexact(input))


def _class_axis(x: Any, dim: int | None) -> int:
    """The axis meant; without `dim` the first one of tensors of rank 0, 1 and 3, else the second one."""
    if dim is not None:
        return int(dim)
    return 0 if x.dims is not None and len(x.dims) in (0, 1, 3) else 1


@placed
def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along an axis."""
    x = core.convert_to_tensor(input) if dtype is None else casts.cast(input, dtype)
    return soft.softmax(x, _class_axis(x, dim))


@placed
def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """log(softmax(x)), without underflow."""
    x = core.convert_to_tensor(input) if dtype is None else casts.cast(input, dtype)
    return soft.log_softmax(x, _class_axis(x, dim))


@placed
def softmin(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """softmax(-x)."""
    return softmax(-core.convert_to_tensor(input), dim, dtype)


# -- what modules with memory do -------------------------------------------------------------------------------------


@placed
def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training each element becomes 0 with probability p; the others are divided by 1 - p."""
    p = probability(p)
    x = core.convert_to_tensor(input)
    if not training or p == 0:
        return x
    return x * 0.0 if p == 1 else dropped(x, p)


@placed
def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of a table at these numbers; the row `padding_idx` gets no gradient."""
    numbers = core.convert_to_tensor(input)
    rows = index.gather(weight, numbers)
    if padding_idx is None:
        return rows
    last = padding_idx if padding_idx >= 0 else weight.dims[0] + padding_idx
    learned = array.expand_dims(casts.cast(compare.not_equal(numbers, last), rows.dtype), -1)
    return rows * learned + core.stop_gradient(rows * (1.0 - learned))


@placed
def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """For each number a vector with 1 at its place; -1: as many classes as the largest number asks for."""
    numbers = core.convert_to_tensor(tensor)
    if isinstance(numbers, EagerTensor):
        values = plain_array(numbers)
        least, largest = values.min(initial=0), values.max(initial=-1)
        if num_classes == -1 and values.size:
            num_classes = int(largest) + 1
        if least < 0 or largest >= num_classes or num_classes < 0:
            raise OutOfRangeError(
                "one_hot takes numbers of classes", expected=f"0 to num_classes - 1, of {num_classes} classes",
                got=f"{largest if least >= 0 else least}" if values.size else "no numbers, which tell no num_classes",
            )  # fmt: skip
    elif num_classes == -1:
        raise InvalidArgumentError("one_hot in a graph needs num_classes", hint="one_hot(x, num_classes=10)")
    return index.one_hot(numbers, num_classes, dtype=numbers.dtype)


@placed
def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise over the last axes, whose sizes are `normalized_shape`."""
    x = core.convert_to_tensor(input)
    sizes = tuple(normalized_shape)
    if x.dims is not None and not spec.compatible(x.dims[len(x.dims) - len(sizes) :], sizes):
        raise ShapeError("layer_norm", expected=f"a shape that ends in {list(sizes)}", got=spec.describe(x.dims))
    mean, variance = normalization.moments(x, list(range(-len(sizes), 0)), keepdims=True)
    return _normalized(x, mean, variance, weight, bias, eps)


def _normalized(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = (x - mean) * math.rsqrt(variance + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def channel_moments(x: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel; channels are axis 1."""
    axes = [a for a in range(len(x.dims)) if a != 1]
    mean, variance = normalization.moments(x, axes)
    return mean, variance


@placed
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel, with the statistics that are given, or with those of the batch while training.

    The running statistics are not written here: `nn.BatchNorm1d` and `nn.BatchNorm2d` keep them.
    """
    x: Any = core.convert_to_tensor(input)
    mean, variance = channel_moments(x) if training or running_mean is None else (running_mean, running_var)
    shape = [1, -1] + [1] * (len(x.dims) - 2)
    mean, variance, weight, bias = [
        None if v is None else array.reshape(v, shape) for v in (mean, variance, weight, bias)
    ]
    return _normalized(x, mean, variance, weight, bias, eps)
