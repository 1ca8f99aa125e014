"""Further activations, dropout of channels and distances as modules.

Policy: PyTorch's names, argument names and defaults; what they compute is in `curves`, `noise` and `distances`.

State: none but the arguments.
"""

from __future__ import annotations

from typing import Any, ClassVar

from graphflow.eager.nn import curves, distances, functional, noise
from graphflow.eager.nn.applied import NEEDED, Applied

_IN_PLACE = {"inplace": False}


class Hardsigmoid(Applied):
    """A sigmoid of three straight lines."""

    function = staticmethod(curves.hardsigmoid)
    arguments: ClassVar = _IN_PLACE


class Hardswish(Applied):
    """x * relu6(x + 3) / 6."""

    function = staticmethod(curves.hardswish)
    arguments: ClassVar = _IN_PLACE


class Mish(Applied):
    """x * tanh(softplus(x))."""

    function = staticmethod(curves.mish)
    arguments: ClassVar = _IN_PLACE


class CELU(Applied):
    """x where positive, else alpha * (exp(x / alpha) - 1)."""

    function = staticmethod(curves.celu)
    arguments: ClassVar = {"alpha": 1.0, **_IN_PLACE}
    shown: ClassVar = ("alpha",)


class GLU(Applied):
    """The first half of an axis times the sigmoid of the second half."""

    function = staticmethod(curves.glu)
    arguments: ClassVar = {"dim": -1}
    shown: ClassVar = ("dim",)


class Threshold(Applied):
    """x where above the threshold, else a value."""

    function = staticmethod(curves.threshold)
    arguments: ClassVar = {"threshold": NEEDED, "value": NEEDED, **_IN_PLACE}
    shown: ClassVar = ("threshold", "value")


class Softmin(Applied):
    """softmax(-x) along an axis."""

    function = staticmethod(functional.softmin)
    arguments: ClassVar = {"dim": None}
    shown: ClassVar = ("dim",)


class Tanhshrink(Applied):
    """x - tanh(x)."""

    function = staticmethod(curves.tanhshrink)


class _Shrink(Applied):
    arguments: ClassVar = {"lambd": 0.5}

    def extra_repr(self) -> str:
        """The limit."""
        return str(self.lambd)


class Softshrink(_Shrink):
    """x, moved by lambd towards 0."""

    function = staticmethod(curves.softshrink)


class Hardshrink(_Shrink):
    """x where |x| is above lambd, else 0."""

    function = staticmethod(curves.hardshrink)


# -- dropout of channels ---------------------------------------------------------------------------------------------


class _ChannelDropout(Applied):
    arguments: ClassVar = {"p": 0.5, **_IN_PLACE}
    shown: ClassVar = ("p", "inplace")

    def forward(self, input: Any) -> Any:
        """The input, thinned out."""
        return type(self).function(input, self.p, self.training)


class Dropout1d(_ChannelDropout):
    """While training each channel of sequences becomes 0 with probability p."""

    function = staticmethod(noise.dropout1d)


class Dropout2d(_ChannelDropout):
    """While training each channel of images becomes 0 with probability p."""

    function = staticmethod(noise.dropout2d)


class Dropout3d(_ChannelDropout):
    """While training each channel of volumes becomes 0 with probability p."""

    function = staticmethod(noise.dropout3d)


# -- distances and their losses --------------------------------------------------------------------------------------


class CosineSimilarity(Applied):
    """The cosine of the angle between vectors along an axis."""

    function = staticmethod(distances.cosine_similarity)
    arguments: ClassVar = {"dim": 1, "eps": 1e-8}


class PairwiseDistance(Applied):
    """The length of x1 - x2 along the last axis."""

    function = staticmethod(distances.pairwise_distance)
    arguments: ClassVar = {"p": 2.0, "eps": 1e-6, "keepdim": False}


class CosineEmbeddingLoss(Applied):
    """1 - cosine of pairs that belong together, max(0, cosine - margin) of those that do not."""

    function = staticmethod(distances.cosine_embedding_loss)
    arguments: ClassVar = {"margin": 0.0, "reduction": "mean"}


class TripletMarginLoss(Applied):
    """max(0, distance to what is alike - distance to what is not + margin)."""

    function = staticmethod(distances.triplet_margin_loss)
    arguments: ClassVar = {"margin": 1.0, "p": 2.0, "eps": 1e-6, "swap": False, "reduction": "mean"}


class MarginRankingLoss(Applied):
    """max(0, -target * (input1 - input2) + margin)."""

    function = staticmethod(distances.margin_ranking_loss)
    arguments: ClassVar = {"margin": 0.0, "reduction": "mean"}


class HingeEmbeddingLoss(Applied):
    """The input where the target is 1, max(0, margin - input) where it is -1."""

    function = staticmethod(distances.hinge_embedding_loss)
    arguments: ClassVar = {"margin": 1.0, "reduction": "mean"}


class SoftMarginLoss(Applied):
    """log(1 + exp(-target * input))."""

    function = staticmethod(distances.soft_margin_loss)
    arguments: ClassVar = {"reduction": "mean"}


class GaussianNLLLoss(Applied):
    """Minus the logarithm of a normal density with these means and variances."""

    function = staticmethod(distances.gaussian_nll_loss)
    arguments: ClassVar = {"full": False, "eps": 1e-6, "reduction": "mean"}


class PoissonNLLLoss(Applied):
    """Minus the logarithm of a Poisson probability."""

    function = staticmethod(distances.poisson_nll_loss)
    arguments: ClassVar = {"log_input": True, "full": False, "eps": 1e-8, "reduction": "mean"}


class MultiMarginLoss(Applied):
    """The mean over the other classes of max(0, margin - right class + other class)**p."""

    function = staticmethod(distances.multi_margin_loss)
    arguments: ClassVar = {"p": 1, "margin": 1.0, "weight": None, "reduction": "mean"}
