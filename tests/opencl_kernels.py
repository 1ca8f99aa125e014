"""Single kernels of the OpenCL backend held against NumPy's, bit by bit, on inputs of the test's own choice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.table import TABLE
from graphflow_opencl.table import RULES

from graphflow.errors import InvalidArgumentError
from graphflow.program import Instruction
from tests import opencl_sites
from tests.cases import CASES

SIZES = 0, 1, 7, 8, 9, 63, 65, 1000


def types_of(*modules: ModuleType) -> list[str]:
    """The op types with rows whose rules stand in these modules."""
    names, with_rows = {m.__name__ for m in modules}, {case.op for case in CASES}
    return sorted(t for t, rule in RULES.items() if rule.__module__ in names and t in with_rows)


def check_rows(kind: str, device: Any) -> int:
    """The rows of an op type: all in one dtype on the CPU schedule, some in another on the GPU's; how many ran."""
    opencl_sites.COMPUTED.clear()
    gpu = device.traits.schedule == "gpu"
    for case in [c for c in CASES if c.op == kind][:: 2 if gpu else 1]:
        opencl_sites.check_row(case, (case.dtypes or ("float64",))[-1 if gpu else 0], device, (kind,))
    return opencl_sites.COMPUTED[kind]


def some(*dims: int, dtype: Any = np.float32) -> Any:
    """Numbers that differ, with NaN, infinity and a negative zero among them where the dtype has them."""
    out = np.arange(int(np.prod(dims)), dtype=np.float64)
    if np.dtype(dtype).kind in "fc":
        out[3:6] = [np.nan, -np.inf, -0.0][: len(out[3:6])]
    return out.astype(dtype).reshape(dims)


def made(
    device: Any, kind: str, inputs: Sequence[Any], results: Sequence[Any], known: Collection[int], attrs: Any
) -> Any:
    """What the device makes of an instruction.

    The results only give shapes and dtypes, None where nobody reads one; `known` inputs are constants.
    """
    numbers = tuple(range(len(inputs)))
    outputs = tuple(len(inputs) + i if r is not None else -1 for i, r in enumerate(results))
    ins = Instruction(0, kind, numbers, outputs, attrs, (), None)  # type: ignore[arg-type]
    site = opencl_sites.site_of(None, ins, inputs, results, device.traits)
    site = site._replace(constants=tuple(x if i in known else None for i, x in enumerate(inputs)))
    found = opencl_sites.compute(device, site, inputs)
    assert found is not None, f"{kind} declined {[x.shape for x in inputs]} {attrs}"
    return found


def check(device: Any, kind: str, inputs: Sequence[Any], known: Collection[int] = (), **attrs: Any) -> None:
    """One instruction on the device has the bits that NumPy's kernel gives."""
    inputs = [np.asarray(x) for x in inputs]
    with np.errstate(all="ignore"):
        plain = TABLE[kind].function(*[x if x.ndim else x[()] for x in inputs], **attrs)
    results = [np.asarray(r) for r in (plain if isinstance(plain, tuple) else (plain,))]
    for got, wanted in zip(made(device, kind, inputs, results, known, attrs), results, strict=True):
        np.testing.assert_array_equal(got, wanted, str((kind, attrs, [x.shape for x in inputs])))
        assert got.dtype == wanted.dtype
        if got.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


def refuses(device: Any, kind: str, inputs: Sequence[Any], words: str, *results: Any, **attrs: Any) -> None:
    """The device refuses what NumPy's kernel refuses, in these words."""
    inputs = [np.asarray(x) for x in inputs]
    with pytest.raises(InvalidArgumentError):
        TABLE[kind].function(*[x if x.ndim else x[()] for x in inputs], **attrs)
    with pytest.raises(InvalidArgumentError, match=words):
        made(device, kind, inputs, results, (), attrs)
