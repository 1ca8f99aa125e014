"""Moments, and the normalisations made with them.

Policy: compositions, so every order of derivative is right: the mean inside a variance is differentiated like
everything else.  float16 is computed in float32.  The one op is `lrn`, whose window over channels no other op has.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import dtypes, spec
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import array, casts, compare, core, linalg, math, reduce
from graphflow.ops.inference import check_kind
from graphflow.spec import TensorSpec


def _keep(keep_dims: Any, keepdims: Any) -> bool:
    if keep_dims is not None and keepdims is not None and bool(keep_dims) != bool(keepdims):
        raise InvalidArgumentError("keep_dims and keepdims are the same parameter", expected="one of them")
    return bool(keep_dims or keepdims)


def _wide(x: Any) -> Any:
    """The tensor in the precision that sums are made in."""
    x = core.convert_to_tensor(x)
    return casts.cast(x, dtypes.float32) if x.dtype.size == 2 and x.dtype.is_floating else x


def moments(
    x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: Any = None, keepdims: Any = None
) -> tuple[Any, Any]:
    """Mean and variance over `axes`; `shift` is accepted and not needed."""
    with core.name_scope(name, "moments"):
        keep = _keep(keep_dims, keepdims)
        x = core.convert_to_tensor(x)
        y = _wide(x)
        mean = reduce.reduce_mean(y, axes, keepdims=True, name="mean")
        variance = reduce.reduce_mean(math.squared_difference(y, mean), axes, keepdims=keep, name="variance")
        mean = mean if keep else array.squeeze(mean, axes)
        return casts.cast(mean, x.dtype), casts.cast(variance, x.dtype)


def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: Any = None,
    keepdims: Any = None,
) -> tuple[Any, Any]:
    """Mean and variance over `axes`, each element counted as often as `frequency_weights` says."""
    with core.name_scope(name, "weighted_moments"):
        keep = _keep(keep_dims, keepdims)
        x = core.convert_to_tensor(x)
        y = _wide(x)
        weights = casts.cast(core.convert_to_tensor(frequency_weights, preferred_dtype=y.dtype), y.dtype)
        total = reduce.reduce_sum(weights + array.zeros_like(y), axes, keepdims=True)
        mean = reduce.reduce_sum(weights * y, axes, keepdims=True) / total
        variance = reduce.reduce_sum(weights * math.squared_difference(y, mean), axes, keepdims=True) / total
        if not keep:
            mean, variance = array.squeeze(mean, axes), array.squeeze(variance, axes)
        return casts.cast(mean, x.dtype), casts.cast(variance, x.dtype)


def sufficient_statistics(
    x: Any, axes: Any, shift: Any = None, keep_dims: Any = None, name: str | None = None, keepdims: Any = None
) -> tuple[Any, Any, Any, Any]:
    """Count, sum, sum of squares and shift, from which `normalize_moments` makes mean and variance."""
    with core.name_scope(name, "sufficient_statistics"):
        keep = _keep(keep_dims, keepdims)
        x = core.convert_to_tensor(x)
        summed = reduce.reduce_sum(array.ones_like(x), axes, keepdims=True)
        count = array.reshape(summed, [-1])[0]
        shift = None if shift is None else core.convert_to_tensor(shift, preferred_dtype=x.dtype)
        centred = x if shift is None else x - shift
        sums = reduce.reduce_sum(centred, axes, keepdims=keep, name="mean_ss")
        squares = reduce.reduce_sum(math.square(centred), axes, keepdims=keep, name="var_ss")
        return count, sums, squares, shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any = None, name: str | None = None
) -> tuple[Any, Any]:
    """Mean and variance from what `sufficient_statistics` found."""
    with core.name_scope(name, "normalize"):
        shifted = mean_ss / counts
        mean = shifted if shift is None else shifted + shift
        return mean, variance_ss / counts - math.square(shifted)


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None
) -> Any:
    """(x - mean) / sqrt(variance + variance_epsilon) * scale + offset; offset and scale may be None."""
    with core.name_scope(name, "batchnorm") as scope:
        factor = math.rsqrt(variance + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        rest = mean * factor
        if offset is None:
            return math.subtract(x * factor, rest, name=scope)
        return math.add(x * factor, offset - rest, name=scope)


def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: Any = None,
    scale_after_normalization: Any = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Any:
    """`batch_normalization` in its oldest form."""
    t, m, v = (old if new is None else new for old, new in ((t, input), (m, mean), (v, variance)))
    scale = gamma if scale_after_normalization else None
    return batch_normalization(t, m, v, beta, scale, variance_epsilon, name or "batchnorm")


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: Any = 0.001,
    data_format: Any = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Any, Any, Any]:
    """Normalise images per channel: (y, mean, variance), the last two of this batch where training.

    As in TensorFlow 1, y is made with the variance of the batch, and what is returned is its unbiased estimate.
    """
    with core.name_scope(name, "FusedBatchNorm"):
        if data_format not in ("NHWC", "NCHW"):
            raise InvalidArgumentError("unknown data_format", expected="'NHWC' or 'NCHW'", got=repr(data_format))
        if not is_training and (mean is None or variance is None):
            raise InvalidArgumentError("with is_training=False, mean and variance must be given")
        x = core.convert_to_tensor(x)
        if x.dims is not None and len(x.dims) != 4:
            raise ShapeError("fused_batch_norm takes images", expected="rank 4", got=spec.describe(x.dims))
        y = _wide(x)
        last = data_format == "NHWC"
        axes = [0, 1, 2] if last else [0, 2, 3]
        if is_training:
            mean, variance = moments(y, axes)
            count = casts.cast(array.size(y), y.dtype) / casts.cast(array.size(mean), y.dtype)
            reported = variance * (count / math.maximum(count - 1.0, 1.0))
        else:
            mean, variance = (casts.cast(core.convert_to_tensor(v), y.dtype) for v in (mean, variance))
            reported = variance
        shift, factor = (casts.cast(core.convert_to_tensor(v), y.dtype) for v in (offset, scale))
        parts: list[Any] = [mean, variance, shift, factor]
        if not last:
            parts = [array.reshape(v, [1, -1, 1, 1]) for v in parts]
        normal = batch_normalization(y, parts[0], parts[1], parts[2], parts[3], epsilon)
        return casts.cast(normal, x.dtype), mean, reported


def l2_normalize(x: Any, axis: Any = None, epsilon: Any = 1e-12, name: str | None = None, dim: Any = None) -> Any:
    """x / sqrt(max(sum(x ** 2), epsilon)), the sum over `axis`."""
    with core.name_scope(name, "l2_normalize") as scope:
        x = core.convert_to_tensor(x)
        length = reduce.reduce_sum(math.square(x), dim if axis is None else axis, keepdims=True)
        return math.multiply(x, math.rsqrt(math.maximum(length, epsilon)), name=scope)


# -- local response normalisation ------------------------------------------------------------------------------------


def _responses(x: Any, *others: Any, **attrs: Any) -> TensorSpec:
    check_kind(x, "float")
    dims = x.dims
    for other in others:
        if not spec.compatible(dims, other.dims):
            raise ShapeError("the shapes differ", expected=spec.describe(dims), got=spec.describe(other.dims))
        dims = spec.merge(dims, other.dims)
    if dims is not None and len(dims) < 2:
        raise ShapeError("lrn works along the channels of images", expected="rank 4", got=spec.describe(dims))
    return TensorSpec(x.dtype, dims)


def _lrn_attributes(depth_radius: Any, bias: Any, alpha: Any, beta: Any) -> dict[str, Any]:
    if int(depth_radius) != depth_radius or depth_radius < 0:
        raise InvalidArgumentError("depth_radius is a number of channels", expected=">= 0", got=repr(depth_radius))
    return {"depth_radius": int(depth_radius), "bias": float(bias), "alpha": float(alpha), "beta": float(beta)}


@op("LRN", infer=_responses, functions=1)
def local_response_normalization(
    input: Any,
    depth_radius: Any = 5,
    bias: Any = 1.0,
    alpha: Any = 1.0,
    beta: Any = 0.5,
    name: str | None = None,
) -> Any:
    """input / (bias + alpha * s) ** beta, s the sum of squares of the channels within `depth_radius`."""
    return call((input,), name, **_lrn_attributes(depth_radius, bias, alpha, beta))


@op("LRNGrad", infer=_responses, functions=2)
def lrn_grad(
    input_grads: Any,
    input_image: Any,
    output_image: Any,
    depth_radius: Any = 5,
    bias: Any = 1.0,
    alpha: Any = 1.0,
    beta: Any = 0.5,
    name: str | None = None,
) -> Any:
    """The gradient of `local_response_normalization`."""
    attrs = _lrn_attributes(depth_radius, bias, alpha, beta)
    return call((input_grads, input_image, output_image), name, **attrs)


local_response_normalization.vjp(lambda op, dy: lrn_grad(dy, op.inputs[0], op.outputs[0], **op.attrs))


@RegisterGradient("LRNGrad")
def _lrn_grad_gradient(op: Any, d: Any) -> list[Any]:
    """dx = dy * n**-beta - 2 alpha beta x * S(dy * y / n), n = bias + alpha * S(x**2), S the sum over neighbours."""
    dy, x, y = op.inputs
    alpha, beta = op.attrs["alpha"], op.attrs["beta"]
    near = _neighbours(x, op.attrs["depth_radius"])
    n = op.attrs["bias"] + alpha * linalg.matmul(math.square(x), near)
    power = math.pow(n, -beta)
    summed = linalg.matmul(d * x, near)
    ratio = y / n
    c = 2.0 * alpha * beta
    ddy = d * power - c * ratio * summed
    inner = 2.0 * alpha * linalg.matmul(summed * dy * ratio / n, near) - linalg.matmul(d * dy * power / n, near)
    dx = c * (x * inner - d * linalg.matmul(dy * ratio, near))
    return [ddy, dx, -c * dy / n * summed]


def _neighbours(x: Any, radius: int) -> Any:
    """The matrix with 1 where two channels are neighbours."""
    count = array.shape(x)[-1]
    number = array.range_(count)
    apart = math.abs(array.expand_dims(number, 1) - array.expand_dims(number, 0))
    return casts.cast(compare.less_equal(apart, radius), x.dtype)


lrn = local_response_normalization
