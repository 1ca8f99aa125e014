"""The losses of `torch.nn.functional`.

Policy: PyTorch's names, argument names and defaults, over the library's ops.  A target of another shape than the input
is an error, a scalar apart: broadcasting there hides mistakes.  Infinities that PyTorch cuts off are cut off.

State: none.
"""

from __future__ import annotations

import math as scalar
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import spec
from graphflow.eager.conventions import PROBABILITIES, differentiated
from graphflow.eager.mode import computes, placed
from graphflow.eager.promotion import pair
from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, shown
from graphflow.ops import arrange, array, casts, compare, core, index, math, nn, reduce
from graphflow.ops.softmax import log_softmax, sparse_softmax_cross_entropy_with_logits

LEAST_LOG = -100.0  # what binary cross-entropy takes for the logarithm of 0

REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "mean": reduce.reduce_mean,
    "sum": reduce.reduce_sum,
    "none": lambda losses: losses,
}


def reduced(losses: Any, reduction: str) -> Any:
    """The losses of all elements, their sum, or their mean."""
    _check_reduction(reduction, REDUCTIONS)
    return REDUCTIONS[reduction](losses)


def _check_reduction(reduction: Any, allowed: Any) -> None:
    if reduction not in allowed:
        raise InvalidArgumentError("unknown reduction", expected=", ".join(map(repr, allowed)), got=shown(reduction))


def _both(input: Any, target: Any, what: str) -> tuple[Any, Any]:
    """Input and target, of one dtype and shape."""
    x, y = core.convert_to_tensor(input), core.convert_to_tensor(target)
    if y.dtype is not x.dtype:
        x, y = pair(x, y) if x.dtype.is_floating and y.dtype.is_floating else (x, casts.cast(y, x.dtype))
    if y.dims != () and not spec.compatible(x.dims, y.dims):
        raise ShapeError(
            f"{what}: input and target have different shapes",
            expected=spec.describe(x.dims),
            got=spec.describe(y.dims),
            hint="reshape one of them; what broadcasting would compute is rarely meant",
        )
    return x, y


def _weighted(losses: Any, weight: Any) -> Any:
    return losses if weight is None else losses * weight


# -- numbers ---------------------------------------------------------------------------------------------------------


@placed
def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)**2."""
    x, y = _both(input, target, "mse_loss")
    return reduced(math.squared_difference(x, y), reduction)


@placed
def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    x, y = _both(input, target, "l1_loss")
    return reduced(math.abs(x - y), reduction)


@placed
def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """The square of the difference up to `beta`, over 2 * beta; from there on a straight line."""
    if beta < 0:
        raise InvalidArgumentError("beta is not negative", got=shown(beta))
    x, y = _both(input, target, "smooth_l1_loss")
    distance = math.abs(x - y)
    if beta == 0:
        return reduced(distance, reduction)
    near = math.minimum(distance, float(beta))
    return reduced(math.square(near) * (0.5 / beta) + (distance - near), reduction)


@placed
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """Half the square of the difference up to `delta`; from there on a straight line."""
    if delta <= 0:
        raise InvalidArgumentError("delta is positive", got=shown(delta))
    x, y = _both(input, target, "huber_loss")
    distance = math.abs(x - y)
    near = math.minimum(distance, float(delta))
    return reduced(math.square(near) * 0.5 + (distance - near) * float(delta), reduction)


# -- probabilities ---------------------------------------------------------------------------------------------------


def _log(p: Any) -> Any:
    """log(p), not below LEAST_LOG, with a derivative that is finite at 0."""
    with differentiated(PROBABILITIES):
        return math.maximum(math.log(p), LEAST_LOG)


def _check_probabilities(x: Any, what: str) -> None:
    """Raise if an element is no probability, where the values are there to be read."""
    values = x.value if isinstance(x, EagerTensor) and x.device == "cpu" else ()
    if np.size(values) and not (np.min(values) >= 0 and np.max(values) <= 1):  # nor is NaN
        raise InvalidArgumentError(
            f"binary_cross_entropy: all elements of {what} should be between 0 and 1",
            got=f"elements from {np.min(values)} to {np.max(values)}",
            hint="F.binary_cross_entropy_with_logits takes any numbers as input" if what == "input" else None,
        )


@placed
def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-(target * log(input) + (1 - target) * log(1 - input))."""
    p, t = _both(input, target, "binary_cross_entropy")
    _check_probabilities(p, "input")
    _check_probabilities(t, "target")
    # The loss is smallest where the input is what was wanted, at the ends as well: there the derivative is 0.
    sure = compare.logical_and(compare.equal(p, t), compare.equal(p * (1.0 - p), 0.0))
    p = index.where(sure, core.stop_gradient(p), p)
    return reduced(_weighted(-(t * _log(p) + (1.0 - t) * _log(1.0 - p)), weight), reduction)


@placed
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Binary cross-entropy of sigmoid(input), without overflow."""
    x, t = _both(input, target, "binary_cross_entropy_with_logits")
    if pos_weight is None:
        losses = nn.sigmoid_cross_entropy_with_logits(labels=t, logits=x)
    else:
        losses = nn.weighted_cross_entropy_with_logits(targets=t, logits=x, pos_weight=pos_weight)
    return reduced(_weighted(losses, weight), reduction)


@placed
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """target * (log(target) - input): the input is a log-probability; "batchmean" is the divergence itself."""
    _check_reduction(reduction, (*REDUCTIONS, "batchmean"))
    x, t = _both(input, target, "kl_div")
    if log_target:
        losses = math.exp(t) * (t - x)
    else:
        absent = casts.cast(compare.equal(t, 0.0), t.dtype)
        losses = t * (math.log(t + absent) - x)
    if reduction != "batchmean":
        return reduced(losses, reduction)
    return reduce.reduce_sum(losses) / casts.cast(array.shape(x)[0], x.dtype)


# -- classes ---------------------------------------------------------------------------------------------------------


def _classes_last(x: Any) -> Any:
    """Classes are axis 1 of a batch; the ops want them last."""
    rank = len(x.dims)
    return x if rank < 3 else arrange.transpose(x, [0, *range(2, rank), 1])


def _known_classes(target: Any, ignore_index: int, dtype: Any) -> tuple[Any, Any]:
    """The class numbers with 0 where they are to be ignored, and 1 where they count; None: they all do."""
    if computes() and not (plain_array(target) == ignore_index).any():
        return target, None
    ignored = compare.equal(target, core.constant(ignore_index, target.dtype))
    counts = casts.cast(compare.logical_not(ignored), dtype)
    return target * casts.cast(counts, target.dtype), counts


def picked(x: Any, target: Any) -> Any:
    """The element of the last axis that each class number names; a number that names none is refused."""
    numbers = array.reshape(target, [-1])
    rows = array.range_(0, array.size(numbers, out_type=target.dtype), dtype=target.dtype)
    found = index.gather_nd(array.reshape(x, [-1, x.dims[-1]]), array.stack([rows, numbers], 1))
    return array.reshape(found, array.shape(target))


def _over_classes(losses: Any, shares: Any, reduction: str) -> Any:
    """Reduce losses of which each has a share: the mean is over the shares."""
    if shares is None:
        return reduced(losses, reduction)
    _check_reduction(reduction, REDUCTIONS)
    if reduction == "mean":
        share = reduce.reduce_sum(shares)
        mean = math.div_no_nan(reduce.reduce_sum(losses), share)
        return index.where(compare.equal(share, 0.0), scalar.nan, mean)  # NaN where nothing counts, without a gradient
    return reduced(losses, reduction)


def _counted(losses: Any, counts: Any) -> Any:
    """The losses with 0 where they are to be ignored, whatever they were."""
    return losses if counts is None else index.where(compare.equal(counts, 0.0), 0.0, losses)


def _shares(weight: Any, target: Any, counts: Any) -> Any:
    """What each element counts: the weight of its class; 0 where it is ignored."""
    if weight is None:
        return counts
    mine = index.gather(weight, target)
    return mine if counts is None else mine * counts


def class_numbers(target: Any, scores: Any) -> Any:
    """The target, a class number for each vector of scores along the last axis."""
    found = core.convert_to_tensor(target)
    if not found.dtype.is_integer:
        raise DTypeError("a class is a number", expected="int64", got=found.dtype.name, hint="target.long()")
    if scores.dims is not None and len(scores.dims) == 1 and found.dims == (1,):
        return array.reshape(found, [])  # one vector, and one class in brackets
    wanted = None if scores.dims is None else scores.dims[:-1]
    if not spec.compatible(found.dims, wanted):
        raise ShapeError(
            "each vector of scores has one class",
            expected=spec.describe(wanted),
            got=spec.describe(found.dims),
            hint="classes are axis 1 of the input, and no axis of the target",
        )
    return found


def _check_weight(weight: Any, classes: Any) -> None:
    dims = None if weight is None else core.convert_to_tensor(weight).dims
    if dims is not None and not spec.compatible(dims, (classes,)):
        raise ShapeError("weight has a number for each class", expected=f"[{classes}]", got=spec.describe(dims))


def _likelihood(log_p: Any, target: Any, weight: Any, ignore: int, reduction: str, smoothing: float = 0.0) -> Any:
    """-log_p at the target's class; `log_p` has its classes last."""
    classes = log_p.dims[-1]
    _check_weight(weight, classes)
    safe, counts = _known_classes(target, ignore, log_p.dtype)
    shares = _shares(weight, safe, counts)
    losses = _counted(_weighted(-picked(log_p, safe), shares), counts)
    if smoothing:
        spread = -reduce.reduce_sum(_weighted(log_p, weight), -1)
        losses = losses * (1.0 - smoothing) + _counted(spread, counts) * (smoothing / classes)
    return _over_classes(losses, shares, reduction)


@placed
def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input at the target's class: the input holds log-probabilities, classes along axis 1."""
    log_p = _classes_last(core.convert_to_tensor(input))
    return _likelihood(log_p, class_numbers(target, log_p), weight, ignore_index, reduction)


@placed
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log(softmax(input)) at the target's class, or by the target's probabilities; classes along axis 1."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise InvalidArgumentError("label_smoothing is a share", expected="0 ... 1", got=shown(label_smoothing))
    logits, labels = core.convert_to_tensor(input), core.convert_to_tensor(target)
    if labels.dtype.is_floating:
        return _against_probabilities(logits, labels, weight, reduction, label_smoothing)
    logits = _classes_last(logits)
    labels = class_numbers(labels, logits)
    if weight is not None or label_smoothing:
        log_p = log_softmax(logits)
        return _likelihood(log_p, labels, weight, ignore_index, reduction, float(label_smoothing))
    safe, counts = _known_classes(labels, ignore_index, logits.dtype)
    losses = sparse_softmax_cross_entropy_with_logits(labels=safe, logits=logits)
    return _over_classes(_counted(losses, counts), counts, reduction)


def _against_probabilities(logits: Any, labels: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    x, p = _both(logits, labels, "cross_entropy")
    x, p = _classes_last(x), _classes_last(p)
    _check_weight(weight, x.dims[-1])
    if smoothing:
        p = p * (1.0 - smoothing) + smoothing / x.dims[-1]
    return reduced(-reduce.reduce_sum(_weighted(p * log_softmax(x), weight), -1), reduction)
