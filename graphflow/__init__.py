"""graphflow: build a symbolic graph, differentiate it, run it; `import graphflow as tf` speaks TensorFlow 1."""

import typing as _typing
from importlib import import_module as _import_module

from graphflow import bitwise as bitwise
from graphflow import compat as compat
from graphflow import control_gradients as _control_gradients
from graphflow import errors as errors
from graphflow import initializers as initializers
from graphflow import linalg as linalg
from graphflow import math as math
from graphflow import missing as _missing
from graphflow import nn as nn
from graphflow import random as random
from graphflow.constants import register_tensor_conversion_function as register_tensor_conversion_function
from graphflow.custom_gradient import custom_gradient as custom_gradient
from graphflow.defaults import get_default_session as get_default_session
from graphflow.dtypes import DType as DType
from graphflow.dtypes import as_dtype as as_dtype
from graphflow.dtypes import bfloat16 as bfloat16
from graphflow.dtypes import bool_ as bool
from graphflow.dtypes import complex64 as complex64
from graphflow.dtypes import complex128 as complex128
from graphflow.dtypes import double as double
from graphflow.dtypes import float16 as float16
from graphflow.dtypes import float32 as float32
from graphflow.dtypes import float64 as float64
from graphflow.dtypes import half as half
from graphflow.dtypes import int8 as int8
from graphflow.dtypes import int16 as int16
from graphflow.dtypes import int32 as int32
from graphflow.dtypes import int64 as int64
from graphflow.dtypes import resource as resource
from graphflow.dtypes import string as string
from graphflow.dtypes import uint8 as uint8
from graphflow.dtypes import uint16 as uint16
from graphflow.dtypes import uint32 as uint32
from graphflow.dtypes import uint64 as uint64
from graphflow.errors import bind_picture as _bind_picture
from graphflow.gradients import gradients as gradients
from graphflow.graph import Graph as Graph
from graphflow.graph import bind_export as _bind_export
from graphflow.graph import bind_pictures as _bind_pictures
from graphflow.graph import get_default_graph as get_default_graph
from graphflow.graph import reset_default_graph as reset_default_graph
from graphflow.higher_order import hessians as hessians
from graphflow.higher_order import jvp as jvp
from graphflow.indexed_slices import IndexedSlices as IndexedSlices
from graphflow.initializers import Constant as constant_initializer
from graphflow.initializers import GlorotNormal as glorot_normal_initializer
from graphflow.initializers import GlorotUniform as glorot_uniform_initializer
from graphflow.initializers import Ones as ones_initializer
from graphflow.initializers import Orthogonal as orthogonal_initializer
from graphflow.initializers import RandomNormal as random_normal_initializer
from graphflow.initializers import RandomUniform as random_uniform_initializer
from graphflow.initializers import TruncatedNormal as truncated_normal_initializer
from graphflow.initializers import UniformUnitScaling as uniform_unit_scaling_initializer
from graphflow.initializers import VarianceScaling as variance_scaling_initializer
from graphflow.initializers import Zeros as zeros_initializer
from graphflow.keys import GraphKeys as GraphKeys
from graphflow.opdef import NotDifferentiable as NoGradient
from graphflow.opdef import NotDifferentiable as NotDifferentiable
from graphflow.opdef import RegisterGradient as RegisterGradient
from graphflow.opdef import call as call
from graphflow.opdef import op as op
from graphflow.ops import operators as _operators
from graphflow.ops.activations import log_sigmoid as log_sigmoid
from graphflow.ops.arithmetic import abs as abs
from graphflow.ops.arithmetic import accumulate_n as accumulate_n
from graphflow.ops.arithmetic import add as add
from graphflow.ops.arithmetic import add_n as add_n
from graphflow.ops.arithmetic import angle as angle
from graphflow.ops.arithmetic import ceil as ceil
from graphflow.ops.arithmetic import complex as complex
from graphflow.ops.arithmetic import conj as conj
from graphflow.ops.arithmetic import div as div
from graphflow.ops.arithmetic import div_no_nan as div_no_nan
from graphflow.ops.arithmetic import divide as divide
from graphflow.ops.arithmetic import floor as floor
from graphflow.ops.arithmetic import floor_div as floor_div
from graphflow.ops.arithmetic import floordiv as floordiv
from graphflow.ops.arithmetic import floormod as floormod
from graphflow.ops.arithmetic import imag as imag
from graphflow.ops.arithmetic import maximum as maximum
from graphflow.ops.arithmetic import minimum as minimum
from graphflow.ops.arithmetic import mod as mod
from graphflow.ops.arithmetic import multiply as mul
from graphflow.ops.arithmetic import multiply as multiply
from graphflow.ops.arithmetic import negative as neg
from graphflow.ops.arithmetic import negative as negative
from graphflow.ops.arithmetic import real as real
from graphflow.ops.arithmetic import realdiv as realdiv
from graphflow.ops.arithmetic import reciprocal as inv
from graphflow.ops.arithmetic import reciprocal as reciprocal
from graphflow.ops.arithmetic import rint as rint
from graphflow.ops.arithmetic import round as round
from graphflow.ops.arithmetic import scalar_mul as scalar_mul
from graphflow.ops.arithmetic import sign as sign
from graphflow.ops.arithmetic import square as square
from graphflow.ops.arithmetic import squared_difference as squared_difference
from graphflow.ops.arithmetic import subtract as sub
from graphflow.ops.arithmetic import subtract as subtract
from graphflow.ops.arithmetic import truediv as truediv
from graphflow.ops.arithmetic import truncatediv as truncatediv
from graphflow.ops.arithmetic import truncatemod as truncatemod
from graphflow.ops.arrange import broadcast_dynamic_shape as broadcast_dynamic_shape
from graphflow.ops.arrange import broadcast_static_shape as broadcast_static_shape
from graphflow.ops.arrange import guarantee_const as guarantee_const
from graphflow.ops.arrange import identity_n as identity_n
from graphflow.ops.arrange import invert_permutation as invert_permutation
from graphflow.ops.arrange import linspace as lin_space
from graphflow.ops.arrange import linspace as linspace
from graphflow.ops.arrange import meshgrid as meshgrid
from graphflow.ops.arrange import pad as pad
from graphflow.ops.arrange import reverse as reverse
from graphflow.ops.arrange import reverse_sequence as reverse_sequence
from graphflow.ops.arrange import roll as roll
from graphflow.ops.arrange import tile as tile
from graphflow.ops.arrange import transpose as transpose
from graphflow.ops.array import broadcast_to as broadcast_to
from graphflow.ops.array import concat as concat
from graphflow.ops.array import concat as concat_v2
from graphflow.ops.array import expand_dims as expand_dims
from graphflow.ops.array import fill as fill
from graphflow.ops.array import ones as ones
from graphflow.ops.array import ones_like as ones_like
from graphflow.ops.array import parallel_stack as parallel_stack
from graphflow.ops.array import range_ as range
from graphflow.ops.array import rank as rank
from graphflow.ops.array import reshape as reshape
from graphflow.ops.array import shape as shape
from graphflow.ops.array import shape_n as shape_n
from graphflow.ops.array import size as size
from graphflow.ops.array import split as split
from graphflow.ops.array import split as split_v
from graphflow.ops.array import squeeze as squeeze
from graphflow.ops.array import stack as pack
from graphflow.ops.array import stack as stack
from graphflow.ops.array import unstack as unpack
from graphflow.ops.array import unstack as unstack
from graphflow.ops.array import zeros as zeros
from graphflow.ops.array import zeros_like as zeros_like
from graphflow.ops.blocks import batch_to_space as batch_to_space
from graphflow.ops.blocks import batch_to_space_nd as batch_to_space_nd
from graphflow.ops.blocks import depth_to_space as depth_to_space
from graphflow.ops.blocks import diag as diag
from graphflow.ops.blocks import diag_part as diag_part
from graphflow.ops.blocks import extract_image_patches as extract_image_patches
from graphflow.ops.blocks import eye as eye
from graphflow.ops.blocks import matrix_band_part as matrix_band_part
from graphflow.ops.blocks import matrix_diag as matrix_diag
from graphflow.ops.blocks import matrix_diag_part as matrix_diag_part
from graphflow.ops.blocks import matrix_set_diag as matrix_set_diag
from graphflow.ops.blocks import space_to_batch as space_to_batch
from graphflow.ops.blocks import space_to_batch_nd as space_to_batch_nd
from graphflow.ops.blocks import space_to_depth as space_to_depth
from graphflow.ops.casts import bitcast as bitcast
from graphflow.ops.casts import cast as cast
from graphflow.ops.casts import to_bfloat16 as to_bfloat16
from graphflow.ops.casts import to_double as to_double
from graphflow.ops.casts import to_float as to_float
from graphflow.ops.casts import to_int32 as to_int32
from graphflow.ops.casts import to_int64 as to_int64
from graphflow.ops.clip import clip_by_average_norm as clip_by_average_norm
from graphflow.ops.clip import clip_by_global_norm as clip_by_global_norm
from graphflow.ops.clip import clip_by_norm as clip_by_norm
from graphflow.ops.clip import clip_by_value as clip_by_value
from graphflow.ops.clip import global_norm as global_norm
from graphflow.ops.compare import equal as equal
from graphflow.ops.compare import greater as greater
from graphflow.ops.compare import greater_equal as greater_equal
from graphflow.ops.compare import is_finite as is_finite
from graphflow.ops.compare import is_inf as is_inf
from graphflow.ops.compare import is_nan as is_nan
from graphflow.ops.compare import less as less
from graphflow.ops.compare import less_equal as less_equal
from graphflow.ops.compare import logical_and as logical_and
from graphflow.ops.compare import logical_not as logical_not
from graphflow.ops.compare import logical_or as logical_or
from graphflow.ops.compare import logical_xor as logical_xor
from graphflow.ops.compare import not_equal as not_equal
from graphflow.ops.contraction import einsum as einsum
from graphflow.ops.contraction import tensordot as tensordot
from graphflow.ops.control import case as case
from graphflow.ops.control import cond as cond
from graphflow.ops.control import while_loop as while_loop
from graphflow.ops.core import colocate_with as colocate_with
from graphflow.ops.core import constant as constant
from graphflow.ops.core import control_dependencies as control_dependencies
from graphflow.ops.core import convert_to_tensor as convert_to_tensor
from graphflow.ops.core import device as device
from graphflow.ops.core import group as group
from graphflow.ops.core import identity as identity
from graphflow.ops.core import name_scope as name_scope
from graphflow.ops.core import name_scope as op_scope
from graphflow.ops.core import no_op as no_op
from graphflow.ops.core import placeholder as placeholder
from graphflow.ops.core import placeholder_with_default as placeholder_with_default
from graphflow.ops.core import stop_gradient as stop_gradient
from graphflow.ops.core import tuple_ as tuple
from graphflow.ops.debug import Assert as Assert
from graphflow.ops.debug import Print as Print
from graphflow.ops.debug import add_check_numerics_ops as add_check_numerics_ops
from graphflow.ops.debug import assert_equal as assert_equal
from graphflow.ops.debug import assert_greater as assert_greater
from graphflow.ops.debug import assert_greater_equal as assert_greater_equal
from graphflow.ops.debug import assert_integer as assert_integer
from graphflow.ops.debug import assert_less as assert_less
from graphflow.ops.debug import assert_less_equal as assert_less_equal
from graphflow.ops.debug import assert_negative as assert_negative
from graphflow.ops.debug import assert_non_negative as assert_non_negative
from graphflow.ops.debug import assert_non_positive as assert_non_positive
from graphflow.ops.debug import assert_none_equal as assert_none_equal
from graphflow.ops.debug import assert_positive as assert_positive
from graphflow.ops.debug import assert_rank as assert_rank
from graphflow.ops.debug import assert_rank_at_least as assert_rank_at_least
from graphflow.ops.debug import assert_scalar as assert_scalar
from graphflow.ops.debug import assert_type as assert_type
from graphflow.ops.debug import check_numerics as check_numerics
from graphflow.ops.debug import is_numeric_tensor as is_numeric_tensor
from graphflow.ops.debug import py_func as py_func
from graphflow.ops.debug import verify_tensor_all_finite as verify_tensor_all_finite
from graphflow.ops.functional import foldl as foldl
from graphflow.ops.functional import foldr as foldr
from graphflow.ops.functional import map_fn as map_fn
from graphflow.ops.functional import scan as scan
from graphflow.ops.index import boolean_mask as boolean_mask
from graphflow.ops.index import gather as gather
from graphflow.ops.index import gather_nd as gather_nd
from graphflow.ops.index import one_hot as one_hot
from graphflow.ops.index import scatter_nd as scatter_nd
from graphflow.ops.index import tensor_scatter_add as tensor_scatter_add
from graphflow.ops.index import tensor_scatter_sub as tensor_scatter_sub
from graphflow.ops.index import tensor_scatter_update as tensor_scatter_update
from graphflow.ops.index import where as select
from graphflow.ops.index import where as where
from graphflow.ops.index import zero_unless as zero_unless
from graphflow.ops.linalg import adjoint as adjoint
from graphflow.ops.linalg import cholesky as cholesky
from graphflow.ops.linalg import cross as cross
from graphflow.ops.linalg import matmul as batch_matmul
from graphflow.ops.linalg import matmul as matmul
from graphflow.ops.linalg import matrix_determinant as matrix_determinant
from graphflow.ops.linalg import matrix_inverse as matrix_inverse
from graphflow.ops.linalg import matrix_solve as matrix_solve
from graphflow.ops.linalg import matrix_transpose as matrix_transpose
from graphflow.ops.linalg import matrix_triangular_solve as matrix_triangular_solve
from graphflow.ops.linalg import norm as norm
from graphflow.ops.linalg import self_adjoint_eig as self_adjoint_eig
from graphflow.ops.linalg import self_adjoint_eigvals as self_adjoint_eigvals
from graphflow.ops.linalg import svd as svd
from graphflow.ops.linalg import trace as trace
from graphflow.ops.masks import saturate_cast as saturate_cast
from graphflow.ops.masks import sequence_mask as sequence_mask
from graphflow.ops.math import approximate_equal as approximate_equal
from graphflow.ops.math import exp as exp
from graphflow.ops.math import expm1 as expm1
from graphflow.ops.math import log as log
from graphflow.ops.math import log1p as log1p
from graphflow.ops.math import pow as pow
from graphflow.ops.math import rsqrt as rsqrt
from graphflow.ops.math import sigmoid as sigmoid
from graphflow.ops.math import sqrt as sqrt
from graphflow.ops.math import tanh as tanh
from graphflow.ops.ordering import argsort as argsort
from graphflow.ops.ordering import dynamic_partition as dynamic_partition
from graphflow.ops.ordering import dynamic_stitch as dynamic_stitch
from graphflow.ops.ordering import edit_distance as edit_distance
from graphflow.ops.ordering import searchsorted as searchsorted
from graphflow.ops.ordering import setdiff1d as listdiff
from graphflow.ops.ordering import setdiff1d as setdiff1d
from graphflow.ops.ordering import sort as sort
from graphflow.ops.ordering import unique as unique
from graphflow.ops.ordering import unique_with_counts as unique_with_counts
from graphflow.ops.ordering import unravel_index as unravel_index
from graphflow.ops.random import get_seed as get_seed
from graphflow.ops.random import multinomial as multinomial
from graphflow.ops.random import random_crop as random_crop
from graphflow.ops.random import random_gamma as random_gamma
from graphflow.ops.random import random_normal as random_normal
from graphflow.ops.random import random_poisson as random_poisson
from graphflow.ops.random import random_shuffle as random_shuffle
from graphflow.ops.random import random_uniform as random_uniform
from graphflow.ops.random import set_random_seed as set_random_seed
from graphflow.ops.random import truncated_normal as truncated_normal
from graphflow.ops.reduce import arg_max as arg_max
from graphflow.ops.reduce import arg_min as arg_min
from graphflow.ops.reduce import argmax as argmax
from graphflow.ops.reduce import argmin as argmin
from graphflow.ops.reduce import count_nonzero as count_nonzero
from graphflow.ops.reduce import reduce_all as reduce_all
from graphflow.ops.reduce import reduce_any as reduce_any
from graphflow.ops.reduce import reduce_logsumexp as reduce_logsumexp
from graphflow.ops.reduce import reduce_max as reduce_max
from graphflow.ops.reduce import reduce_mean as reduce_mean
from graphflow.ops.reduce import reduce_min as reduce_min
from graphflow.ops.reduce import reduce_prod as reduce_prod
from graphflow.ops.reduce import reduce_std as reduce_std
from graphflow.ops.reduce import reduce_sum as reduce_sum
from graphflow.ops.reduce import reduce_variance as reduce_variance
from graphflow.ops.scans import cumprod as cumprod
from graphflow.ops.scans import cumsum as cumsum
from graphflow.ops.segment import bincount as bincount
from graphflow.ops.segment import segment_max as segment_max
from graphflow.ops.segment import segment_mean as segment_mean
from graphflow.ops.segment import segment_min as segment_min
from graphflow.ops.segment import segment_prod as segment_prod
from graphflow.ops.segment import segment_sum as segment_sum
from graphflow.ops.segment import unsorted_segment_max as unsorted_segment_max
from graphflow.ops.segment import unsorted_segment_mean as unsorted_segment_mean
from graphflow.ops.segment import unsorted_segment_min as unsorted_segment_min
from graphflow.ops.segment import unsorted_segment_prod as unsorted_segment_prod
from graphflow.ops.segment import unsorted_segment_sqrt_n as unsorted_segment_sqrt_n
from graphflow.ops.segment import unsorted_segment_sum as unsorted_segment_sum
from graphflow.ops.slicing import slice_ as slice
from graphflow.ops.slicing import strided_slice as strided_slice
from graphflow.ops.special import digamma as digamma
from graphflow.ops.special import erf as erf
from graphflow.ops.special import erfc as erfc
from graphflow.ops.special import lbeta as lbeta
from graphflow.ops.special import lgamma as lgamma
from graphflow.ops.special import polygamma as polygamma
from graphflow.ops.state import assign as assign
from graphflow.ops.state import assign_add as assign_add
from graphflow.ops.state import assign_sub as assign_sub
from graphflow.ops.state import count_up_to as count_up_to
from graphflow.ops.state import scatter_add as scatter_add
from graphflow.ops.state import scatter_div as scatter_div
from graphflow.ops.state import scatter_max as scatter_max
from graphflow.ops.state import scatter_min as scatter_min
from graphflow.ops.state import scatter_mul as scatter_mul
from graphflow.ops.state import scatter_nd_add as scatter_nd_add
from graphflow.ops.state import scatter_nd_sub as scatter_nd_sub
from graphflow.ops.state import scatter_nd_update as scatter_nd_update
from graphflow.ops.state import scatter_sub as scatter_sub
from graphflow.ops.state import scatter_update as scatter_update
from graphflow.ops.trigonometry import acos as acos
from graphflow.ops.trigonometry import acosh as acosh
from graphflow.ops.trigonometry import asin as asin
from graphflow.ops.trigonometry import asinh as asinh
from graphflow.ops.trigonometry import atan as atan
from graphflow.ops.trigonometry import atan2 as atan2
from graphflow.ops.trigonometry import atanh as atanh
from graphflow.ops.trigonometry import cos as cos
from graphflow.ops.trigonometry import cosh as cosh
from graphflow.ops.trigonometry import sin as sin
from graphflow.ops.trigonometry import sinh as sinh
from graphflow.ops.trigonometry import tan as tan
from graphflow.scopes import add_to_collection as add_to_collection
from graphflow.scopes import add_to_collections as add_to_collections
from graphflow.scopes import get_collection as get_collection
from graphflow.scopes import get_collection_ref as get_collection_ref
from graphflow.scopes import gradient_override_map as gradient_override_map
from graphflow.spec import TensorSpec as TensorSpec
from graphflow.template import make_template as make_template
from graphflow.tensor import Operation as Operation
from graphflow.tensor import Tensor as Tensor
from graphflow.tensor_shape import Dimension as Dimension
from graphflow.tensor_shape import TensorShape as TensorShape
from graphflow.variable_scope import AUTO_REUSE as AUTO_REUSE
from graphflow.variable_scope import VariableScope as VariableScope
from graphflow.variable_scope import get_local_variable as get_local_variable
from graphflow.variable_scope import get_variable as get_variable
from graphflow.variable_scope import get_variable_scope as get_variable_scope
from graphflow.variable_scope import no_regularizer as no_regularizer
from graphflow.variable_scope import variable_op_scope as variable_op_scope
from graphflow.variable_scope import variable_scope as variable_scope
from graphflow.variables import Variable as Variable
from graphflow.variables import assert_variables_initialized as assert_variables_initialized
from graphflow.variables import global_variables as all_variables
from graphflow.variables import global_variables as global_variables
from graphflow.variables import global_variables_initializer as global_variables_initializer
from graphflow.variables import global_variables_initializer as initialize_all_variables
from graphflow.variables import is_variable_initialized as is_variable_initialized
from graphflow.variables import local_variables as local_variables
from graphflow.variables import local_variables_initializer as initialize_local_variables
from graphflow.variables import local_variables_initializer as local_variables_initializer
from graphflow.variables import model_variables as model_variables
from graphflow.variables import moving_average_variables as moving_average_variables
from graphflow.variables import report_uninitialized_variables as report_uninitialized_variables
from graphflow.variables import tables_initializer as initialize_all_tables
from graphflow.variables import tables_initializer as tables_initializer
from graphflow.variables import trainable_variables as trainable_variables
from graphflow.variables import variables_initializer as initialize_variables
from graphflow.variables import variables_initializer as variables_initializer

if _typing.TYPE_CHECKING:
    from graphflow import compare as compare
    from graphflow import debug as debug
    from graphflow import eager as eager
    from graphflow import logging as logging
    from graphflow import timeline as timeline
    from graphflow import train as train
    from graphflow.backend import RegisterKernel as RegisterKernel
    from graphflow.eager.function import function as function
    from graphflow.eager.gradient_tape import GradientTape as GradientTape
    from graphflow.eager.mode import enable_eager_execution as enable_eager_execution
    from graphflow.eager.mode import executing_eagerly as executing_eagerly
    from graphflow.render.schematics import draw_mlp as draw_mlp
    from graphflow.runtime.config import ConfigProto as ConfigProto
    from graphflow.runtime.config import GPUOptions as GPUOptions
    from graphflow.runtime.config import GraphOptions as GraphOptions
    from graphflow.runtime.config import OptimizerOptions as OptimizerOptions
    from graphflow.runtime.config import RunMetadata as RunMetadata
    from graphflow.runtime.config import RunOptions as RunOptions
    from graphflow.session import InteractiveSession as InteractiveSession
    from graphflow.session import Session as Session
    from graphflow.train.graph_import import import_graph_def as import_graph_def
    from graphflow.train.graph_json import GraphDef as GraphDef
    from graphflow.train.graph_json import NodeDef as NodeDef
    from graphflow.train.meta_graph import MetaGraphDef as MetaGraphDef

# What building a graph does not need, and takes as long to import as all the rest, comes when it is first asked for.
# Type checkers read the imports above; tests/test_import_time.py holds them and these tables together.
_LATER_MODULES = (
    "backend", "checkpoint", "compare", "debug", "durable", "eager", "inspection", "logging", "numerics", "plans",
    "plot", "render", "runtime", "session", "summary", "timeline", "train",
)  # fmt: skip
_LATER_NAMES = {
    "RegisterKernel": "graphflow.backend",
    "enable_eager_execution": "graphflow.eager.mode",
    "executing_eagerly": "graphflow.eager.mode",
    "function": "graphflow.eager.function",
    "GradientTape": "graphflow.eager.gradient_tape",
    "ConfigProto": "graphflow.runtime.config",
    "GPUOptions": "graphflow.runtime.config",
    "GraphOptions": "graphflow.runtime.config",
    "OptimizerOptions": "graphflow.runtime.config",
    "RunMetadata": "graphflow.runtime.config",
    "RunOptions": "graphflow.runtime.config",
    "InteractiveSession": "graphflow.session",
    "Session": "graphflow.session",
    "draw_mlp": "graphflow.render.schematics",
    "import_graph_def": "graphflow.train.graph_import",
    "GraphDef": "graphflow.train.graph_json",
    "NodeDef": "graphflow.train.graph_json",
    "MetaGraphDef": "graphflow.train.meta_graph",
}

__version__ = "0.1.0"
newaxis = None


def __getattr__(name: str) -> _typing.Any:
    if name in _LATER_MODULES:
        return _import_module(f"graphflow.{name}")
    if name not in _LATER_NAMES:
        raise AttributeError(_missing.explain(name, __dir__()))
    found = getattr(_import_module(_LATER_NAMES[name]), name)
    globals()[name] = found
    return found


def _to_def(graph: _typing.Any) -> _typing.Any:
    return _import_module("graphflow.train.graph_json").to_def(graph)


_bind_export(_to_def)
_bind_pictures(lambda: _import_module("graphflow.render"))


def _draw_failure(error: errors.Error, path: _typing.Any, hops: int) -> str:
    drawn: str = _import_module("graphflow.runtime.watching.pictures").draw_failure(error, path, hops)
    return drawn


_bind_picture(_draw_failure)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER_MODULES, *_LATER_NAMES})


if not _typing.TYPE_CHECKING:  # a checker takes the public names from the imports; it cannot read this list
    __all__ = [_name for _name in __dir__() if not _name.startswith("_")]
