"""Eager mode: ops are computed at once; `from graphflow import eager as torch` speaks PyTorch.

Policy: names, arguments and defaults are PyTorch's wherever it has them; every function does its work with the ops of
the library, so both modes agree to the last bit.  The package is itself a context: `with gf.eager():`.

State: none of its own.
"""

import math as _math
import sys as _sys
import types as _types
import typing as _typing
from importlib import import_module as _import_module

from graphflow.dtypes import DType as dtype
from graphflow.dtypes import bfloat16 as bfloat16
from graphflow.dtypes import bool_ as bool
from graphflow.dtypes import complex64 as complex64
from graphflow.dtypes import complex128 as complex128
from graphflow.dtypes import float16 as float16
from graphflow.dtypes import float32 as float32
from graphflow.dtypes import float64 as float64
from graphflow.dtypes import int8 as int8
from graphflow.dtypes import int16 as int16
from graphflow.dtypes import int32 as int32
from graphflow.dtypes import int64 as int64
from graphflow.dtypes import uint8 as uint8
from graphflow.eager import absent as _absent
from graphflow.eager import adoption as _adoption
from graphflow.eager import autograd as autograd
from graphflow.eager import creation as _creation
from graphflow.eager import drawing as _drawing
from graphflow.eager import facts as _facts
from graphflow.eager import files as _files
from graphflow.eager import linalg as linalg
from graphflow.eager import methods as _methods
from graphflow.eager import pictures as _pictures
from graphflow.eager import pointwise as _pointwise
from graphflow.eager import reductions as _reductions
from graphflow.eager import shaping as _shaping
from graphflow.eager import vocabulary as _vocabulary
from graphflow.eager.devices import clone as clone
from graphflow.eager.devices import device as device
from graphflow.eager.devices import from_dlpack as from_dlpack
from graphflow.eager.devices import get_default_device as get_default_device
from graphflow.eager.devices import set_default_device as set_default_device
from graphflow.eager.generator import Generator as Generator
from graphflow.eager.gradient_tape import GradientTape as GradientTape
from graphflow.eager.kinds import Tensor as Tensor
from graphflow.eager.mode import eager as _eager
from graphflow.eager.mode import enable_eager_execution as enable_eager_execution
from graphflow.eager.mode import executing_eagerly as executing_eagerly
from graphflow.eager.preferences import get_default_dtype as get_default_dtype
from graphflow.eager.preferences import set_default_dtype as set_default_dtype
from graphflow.eager.printing import set_printoptions as set_printoptions
from graphflow.eager.recording import enable_grad as enable_grad
from graphflow.eager.recording import inference_mode as inference_mode
from graphflow.eager.recording import is_grad_enabled as is_grad_enabled
from graphflow.eager.recording import is_inference_mode_enabled as is_inference_mode_enabled
from graphflow.eager.recording import no_grad as no_grad
from graphflow.eager.recording import set_grad_enabled as set_grad_enabled
from graphflow.eager.tensor import Size as Size
from graphflow.ops import operators as _operators

half = float16
float = float32
double = float64
cfloat = complex64
cdouble = complex128
short = int16
int = int32
long = int64
pi = _math.pi
e = _math.e
inf = _math.inf
nan = _math.nan
newaxis = None

_LATER_MODULES = ("nn", "optim", "testing", "utils")
# What PyTorch has twice, with the same arguments.
_OF_FUNCTIONAL = (
    "celu", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "cosine_similarity", "dropout", "hardshrink",
    "layer_norm", "max_pool1d", "max_pool2d", "pairwise_distance", "pixel_shuffle", "prelu", "selu", "threshold",
)  # fmt: skip


def is_tensor(obj: _typing.Any) -> _typing.Any:
    """Whether it is a tensor."""
    return isinstance(obj, Tensor)


detach = _methods.detach
is_floating_point = _methods.is_floating_point
where = _pointwise.where
save = _files.save
load = _files.load
_TABLES = (_reductions, _shaping, _pointwise, _vocabulary, _creation, _drawing, _facts, _absent)
_named = {name: function for module in _TABLES for name, function in module.FUNCTIONS.items()}
_known = {*_named, *linalg.__all__}
for _name, _function in _named.items():
    if isinstance(_function, _types.FunctionType) and _function.__name__ not in _known:  # such as `sum_`
        _function.__name__ = _function.__qualname__ = _name
globals().update(_named)


class _Callable(_types.ModuleType):
    """A module that is called like its main function."""

    __call__ = staticmethod(_eager)


_sys.modules[__name__].__class__ = _Callable


def __getattr__(name: str) -> _typing.Any:
    if name in _LATER_MODULES:
        return _import_module(f"graphflow.eager.{name}")
    if name in _OF_FUNCTIONAL:
        return getattr(_import_module("graphflow.eager.nn.functional"), name)
    if name == "__version__":
        return _sys.modules["graphflow"].__version__
    raise AttributeError(f"graphflow.eager has no {name!r}")


def __dir__() -> list[str]:
    return list(__all__)


_own = {name for name, found in globals().items() if name[0] != "_" and not isinstance(found, _types.ModuleType)}
_public = sorted({*_own, "autograd", "linalg", *_LATER_MODULES, *_OF_FUNCTIONAL})
__all__ = list(_public)
