"""Kernels of the OpenCL backend held against NumPy's, instruction by instruction, over the rows of tests/cases.

Each row's graph and its gradients are evaluated op by op with NumPy; every op that has a rule is computed on the device
too.  Tolerances are those of `graphflow.testing`, relative to the largest element of a result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from graphflow_numpy.table import TABLE
from graphflow_opencl.devices import Device
from graphflow_opencl.single import run_launches
from graphflow_opencl.table import RULES, Site, Traits

from graphflow.dtypes import from_numpy
from graphflow.errors import UnimplementedError
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec
from graphflow.testing import OpCase, evaluate_program
from graphflow.testing.numeric import distance, tolerance
from tests.test_into import lowered

COMPUTED: Counter[str] = Counter()  # types that a rule computed
DECLINED: Counter[str] = Counter()  # types whose rule had nothing for a site


def site_of(
    program: Program | None, ins: Instruction, inputs: Sequence[Any], results: Sequence[Any], traits: Traits
) -> Site:
    """What a rule sees of an instruction whose inputs and results are known."""

    def spec_of(value: Any) -> TensorSpec:
        array = np.asarray(value)
        dtype = from_numpy(array.dtype)
        assert dtype is not None, array.dtype
        return TensorSpec(dtype, array.shape)

    constants = [None if program is None else program.constants.get(v) for v in ins.inputs]
    given = [np.asarray(c) if c is not None else None for c in constants]
    outputs = [spec_of(r) if v >= 0 else None for v, r in zip(ins.outputs, results, strict=True)]
    return Site(ins, tuple(spec_of(x) for x in inputs), tuple(outputs), tuple(given), traits)


def compute(device: Device, site: Site, inputs: Sequence[Any], run: Any = None) -> list[Any] | None:
    """The results of an instruction on the device; None if there is no rule for the site."""
    launches = RULES[site.ins.type](site)
    if launches is None:
        return None
    values = {v: np.asarray(x) for v, x in zip(site.ins.inputs, inputs, strict=True)}
    wanted = {v: s for v, s in zip(site.ins.outputs, site.outputs, strict=True) if s is not None}
    found = run_launches(device, launches, values, wanted, run)
    return [found[v] if v >= 0 else None for v in site.ins.outputs]


class Comparing:
    """Evaluates with NumPy, and on the device what has a rule."""

    def __init__(self, program: Program, device: Device, types: Collection[str], tol: float) -> None:
        self.program, self.device, self.types, self.tol = program, device, types, tol

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        row = TABLE.get(ins.type)
        if row is None or row.bound or row.needs_run:
            raise UnimplementedError(f"{ins.type} needs a session")
        with np.errstate(all="ignore"):
            plain = row.function(*inputs, **ins.attrs)
        results = plain if isinstance(plain, tuple) else (plain,)
        if ins.type in self.types and ins.type in RULES:
            self._compare(ins, inputs, results)
        return results

    def _compare(self, ins: Instruction, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        site = site_of(self.program, ins, inputs, results, self.device.traits)
        found = compute(self.device, site, inputs)
        if found is None:
            DECLINED[ins.type] += 1
            return
        COMPUTED[ins.type] += 1
        shown = [(np.asarray(x).dtype, np.shape(x)) for x in inputs]
        for number, (got, wanted) in enumerate(zip(found, results, strict=True)):
            if got is None:
                continue
            wanted = np.asarray(wanted)
            name = site.outputs[number].dtype.name  # type: ignore[union-attr]
            error = distance(got, wanted)
            bar = tolerance(name, self.tol)
            assert error <= bar, (
                f"{ins.type} {ins.attrs} of {shown}: output {number} is off by {error:.2g}, the bar is {bar:.2g}\n"
                f"{got}\n{wanted}"
            )


def check_row(case: OpCase, dtype: str, device: Device, types: Collection[str]) -> None:
    """Compare every op of these types in the row's graph and its gradients."""
    arrays, program = lowered(case, dtype)
    values = [a if a.ndim or a.dtype == object else a[()] for a in arrays]
    try:
        evaluate_program(program, values, Comparing(program, device, types, max(case.tol, 1e-12)))  # type: ignore[arg-type]
    except UnimplementedError:
        return  # variables, loops, random numbers: their kernels are bound to a session
