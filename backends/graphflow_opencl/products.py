"""Matrix products, and whatever else is a sum of products over affine addresses.

Policy: batches broadcast by strides of zero, transposed matrices are read as they lie.  Half precision is computed in
float32, as NumPy's kernel does; complex products run on the host.  A bias for each column and an activation may be
applied while a result is stored.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from graphflow.dtypes import DType, as_dtype
from graphflow_opencl import clblast
from graphflow_opencl.affine import NOTHING, Axes, Epilogue, Operand, Product, axes
from graphflow_opencl.products_cpu import cpu_launches
from graphflow_opencl.products_gpu import gpu_launches
from graphflow_opencl.registers import held
from graphflow_opencl.table import Launch, Site, Traits, on_the_host, rule

on_the_host("vectors of three elements are no work for a device", "Cross")
on_the_host("contractions are planned by the NumPy backend, in terms of its BLAS", "Einsum")
on_the_host(
    "decompositions and solutions are LAPACK's",
    "MatrixInverse", "MatrixDeterminant", "MatrixSolve", "MatrixTriangularSolve", "Cholesky", "SelfAdjointEig", "Svd",
)  # fmt: skip


def working_dtype(dtype: DType) -> DType:
    """What a dtype is computed in."""
    return as_dtype("float32") if dtype.is_floating and dtype.size == 2 else dtype


def computable(dtype: DType, traits: Traits) -> bool:
    """Whether the device can compute in a dtype."""
    return held(dtype) and not dtype.is_bool and (traits.doubles or dtype.name != "float64")


def product_launches(
    product: Product,
    operands: tuple[Operand, Operand, Operand],
    traits: Traits,
    epilogue: Epilogue = NOTHING,
    free: int = 0,
) -> list[Launch]:
    """The launches of c = a * b; they may use scratch with numbers from `free` on."""
    a, b, c = operands
    if 0 in product.sizes[:2] or not product.batches:
        return []
    dtype = working_dtype(c.dtype)
    if clblast.chosen(product, dtype.name, traits):
        found = clblast.launches(product, operands, epilogue, traits, free)
        if found is not None:
            return found
    make = gpu_launches if traits.schedule == "gpu" else cpu_launches
    return make(product, a, b, c, dtype, epilogue, traits, free)


def matmul_product(site: Site) -> Product:
    """How a MatMul reads and writes its matrices."""
    first, second, result = ([int(d or 0) for d in spec.dims or ()] for spec in (*site.inputs, site.outputs[0]) if spec)
    turned_a, turned_b = site.attrs["transpose_a"], site.attrs["transpose_b"]
    m, n = result[-2:]
    k = first[-2] if turned_a else first[-1]
    batches = result[:-2]
    return Product(
        axes((m, 1 if turned_a else k)),
        axes((k, m if turned_a else 1)),
        axes((k, 1 if turned_b else n)),
        axes((n, k if turned_b else 1)),
        axes((m, n)),
        axes((n, 1)),
        (_batch(batches, first[:-2], m * k), _batch(batches, second[:-2], k * n), _batch(batches, batches, m * n)),
        prod(batches),
    )


def _batch(full: Sequence[int], own: Sequence[int], each: int) -> Axes:
    """Where each member of the batch finds its matrix: axes of size one are repeated."""
    digits: list[tuple[int, int]] = []
    stride, missing = each, len(full) - len(own)
    for place in reversed(range(len(full))):
        size = own[place - missing] if place >= missing else 1
        digits.insert(0, (full[place], stride if size != 1 else 0))
        stride *= size
    found = axes(*digits)
    return found if any(found.strides) else Axes((), ())


def matmul_launches(
    site: Site, bias: int | None = None, activation: Callable[[str, int], str] | None = None, into: int | None = None
) -> list[Launch] | None:
    """The launches of a MatMul, or None if it runs on the host.

    `bias` is the number of a vector that is added to each row, `activation` makes a C expression from one and from the
    width of its register, and `into` is the value that then stands for the result.
    """
    spec = site.outputs[0]
    if spec is None or not computable(spec.dtype, site.traits):
        return None
    result = site.ins.outputs[0] if into is None else into
    numbers = (*site.ins.inputs, result)
    a, b, c = (Operand(number, spec.dtype) for number in numbers)
    return product_launches(matmul_product(site), (a, b, c), site.traits, Epilogue(bias, activation))


@rule("MatMul")
def _matmul(site: Site) -> Sequence[Launch] | None:
    return matmul_launches(site)
