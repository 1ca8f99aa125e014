"""Lengths as masks, and limits: small compositions that need comparisons.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import constants, dtypes
from graphflow.dtypes import as_dtype
from graphflow.ops import array, compare, math, reduce
from graphflow.ops.arguments import as_tensor, check_index, check_scalar
from graphflow.ops.casts import cast
from graphflow.ops.core import name_scope
from graphflow.tensor import Tensor


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None) -> Tensor:
    """For each length a row of `maxlen` entries (the largest length), of which so many are true."""
    with name_scope(name, "SequenceMask"):
        lengths = as_tensor(lengths)
        check_index(lengths, "lengths")
        if maxlen is None:
            maxlen = reduce.reduce_max(array.concat([array.reshape(lengths, [-1]), [0]], 0))
        longest = as_tensor(maxlen)
        check_scalar(longest, "maxlen")
        steps = array.range_(longest)
        found: Tensor = cast(compare.less(steps, cast(array.expand_dims(lengths, -1), steps.dtype)), dtype)
        return found


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """The tensor in another dtype, with the values that it cannot hold replaced by the nearest that it can."""
    with name_scope(name, "saturate_cast"):
        x, target = as_tensor(value), as_dtype(dtype)
        if not (x.dtype.is_floating and target.is_integer):  # `cast` itself stops at the limits
            if x.dtype.min < target.min:
                x = math.maximum(x, constants.convert_to_tensor(target.min, x.dtype))
            if x.dtype.max > target.max:
                x = math.minimum(x, constants.convert_to_tensor(target.max, x.dtype))
        return cast(x, target)  # type: ignore[no-any-return]
