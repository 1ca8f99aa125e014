"""Matrix products by the BLAS that NumPy brings along, called at its address.

Policy: the library is found among those that this process has mapped, by the names that NumPy's wheels give its
symbols; where there is none (another BLAS, a static one), products of that size stay with NumPy.

State: the address of each function once it was looked for.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

import numpy as np

from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder
from graphflow_numpy.native.nests import LLVM, Body

ROW_MAJOR, PLAIN, TURNED = 101, 111, 112
_LETTER = {"float32": "s", "float64": "d"}
_NAMES = (("scipy_cblas_{}gemm64_", 64), ("cblas_{}gemm64_", 64), ("scipy_cblas_{}gemm", 32))


@functools.cache
def gemm(dtype: str) -> tuple[int, int] | None:
    """The address of the matrix product, and the bits of its integers."""
    if dtype not in _LETTER:
        return None
    for path in _libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for name, bits in _NAMES:
            function = getattr(library, name.format(_LETTER[dtype]), None)
            if function is not None:
                return ctypes.cast(function, ctypes.c_void_p).value or 0, bits
    return None


@functools.cache
def _libraries() -> tuple[str, ...]:
    """Libraries of NumPy's wheel that may be a BLAS."""
    found: list[Path] = []
    if sys.platform == "linux":
        lines = Path("/proc/self/maps").read_text().splitlines()
        found += [Path(line.split(maxsplit=5)[5]) for line in lines if "blas" in line and line.count("/")]
    home = Path(np.__file__).parent
    for folder in (home / ".dylibs", home.parent / "numpy.libs"):
        if folder.is_dir():
            found += sorted(p for p in folder.iterdir() if "blas" in p.name)
    return tuple(dict.fromkeys(str(p) for p in found if p.exists()))


def product(
    dtype: str, m: int, n: int, k: int, turned: tuple[bool, bool], batch: int, strides: tuple[int, int]
) -> Build:
    """`c = a @ b` for each of a batch; strides are the elements from one matrix of `a` and of `b` to the next."""
    found = gemm(dtype)
    assert found is not None
    address, bits = found
    of, whole = LLVM[dtype], f"i{bits}"
    one, zero = ("1.0", "0.0")

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        a, b, c = (body.pointer(i) for i in range(3))
        flags = [TURNED if t else PLAIN for t in turned]
        lda, ldb = (m if turned[0] else k), (k if turned[1] else n)

        def one_product(i: str) -> None:
            places = [body.at(p, of, body.mul(i, s)) for p, s in ((a, strides[0]), (b, strides[1]), (c, m * n))]
            arguments = [
                f"i32 {ROW_MAJOR}", f"i32 {flags[0]}", f"i32 {flags[1]}",
                f"{whole} {m}", f"{whole} {n}", f"{whole} {k}",
                f"{of} {one}", f"ptr {places[0]}", f"{whole} {lda}", f"ptr {places[1]}", f"{whole} {ldb}",
                f"{of} {zero}", f"ptr {places[2]}", f"{whole} {n}",
            ]  # fmt: skip
            body.do(f"call void inttoptr (i64 {address} to ptr)({', '.join(arguments)})")

        body.loop("%begin", "%end", 1, one_product)
        symbol = module.symbol("gemm")
        body.finish(symbol)
        return Entry(symbol, batch)

    return build
