"""Rules of random numbers.

Policy: the streams are those of the NumPy backend: the host computes key and counter anew in each run, and an
item makes the elements of one block of the stream.  Uniform numbers, integers and masks have the bits of NumPy's; what
goes through a logarithm, a sine or a cosine may differ in the last places.

State: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.dtypes import DType, bool_, float16, float64, uint32
from graphflow.errors import InvalidArgumentError
from graphflow.numerics.streams import counter_words, folded, stream
from graphflow.spec import numel
from graphflow_opencl import philox_source
from graphflow_opencl.axes import Extra, each_launch, index_type
from graphflow_opencl.checking import numbers, report
from graphflow_opencl.index_space import offset, strides_in
from graphflow_opencl.movement import Launches
from graphflow_opencl.registers import held, literal, load, storage_type, truth
from graphflow_opencl.table import PerRun, Site, on_the_host, rule
from graphflow_opencl.tails import store_block

FUNCTIONS = (philox_source,)  # its functions in C are in the library once it is imported
COST = 256  # making a block costs about as much as moving so many bytes
WORD = philox_source.WORDS  # elements of a block that take a word each
HALF = 2 * WORD  # elements that take half of one

on_the_host("candidates are rejected on the way, by comparisons that one last place decides", "RandomGamma")
on_the_host("counts come from comparisons that one last place decides", "RandomPoissonV2")
on_the_host("classes come from comparisons that one last place decides", "Multinomial")
on_the_host("its order is that of sorted words, and of elements of any size", "RandomShuffle")
on_the_host("it is a factorisation by LAPACK, which the host has", "RandomOrthogonal")


def _stream(site: Site) -> Extra:
    """Words 1 to 3 of the counter and the key, as the parameter `stream`."""
    seed = site.attrs["seed"]

    def fill(run: Any) -> Any:
        key, counter = stream(run, seed)
        words = (*counter_words(counter, 0), *map(folded, key))
        return np.array(words, np.uint64)

    return Extra("__global const ulong *restrict stream", PerRun(40, fill))


def _launch(site: Site, dtype: DType, each: int, body: Sequence[str], extras: Sequence[Extra], title: str) -> Launches:
    """The launch of statements for each block `id`, of which the first one may use `words` or `halves`."""
    count = numel(site.dims_out())
    given = [_stream(site), *extras]
    if each == WORD:
        drawn = "const ulong4 words = gf_random_words(stream, id);"
    else:
        drawn = "const uint8 halves = gf_random_halves(stream, id);"
    declared = [*[e.declaration for e in given], f"__global {storage_type(dtype)} *restrict y"]
    arguments = [*[e.argument for e in given], site.ins.outputs[0]]
    text = "\n    ".join([drawn, *body])
    return [
        each_launch(
            site.traits, -(-count // each), COST, declared, arguments, site.ins.outputs, text, title,
            index=index_type(count + each),
        )
    ]  # fmt: skip


def _vector(site: Site, dtype: DType, each: int, value: str, title: str) -> Launches:
    """The launch that stores a register for each block."""
    count = numel(site.dims_out())
    whole, tail = store_block(dtype, each, 0, "y", f"id * {each}", value), count % each
    body = [whole]
    if tail:
        body = [f"if (id < {count // each}) {{ {whole} }}"]
        body.append(f"else {{ {store_block(dtype, each, tail, 'y', f'id * {each}', value)} }}")
    return _launch(site, dtype, each, body, (), title)


# op type -> for words as doubles, and for halves as floats: C text; what it needs doubles for, if it makes floats
UNIFORM, NORMAL, TRUNCATED = "RandomUniform", "RandomStandardNormal", "TruncatedNormal"
DOUBLES = {
    UNIFORM: "convert_double4(words >> 11) * 0x1p-53",
    NORMAL: "gf_normals_double(words)",
    TRUNCATED: "gf_truncated_double4(gf_open_double(words))",
}
_TRUNCATED_HALVES = "gf_truncated_double8((convert_double8(halves) + 0.5) * 0x1p-32)"
FLOATS = {
    UNIFORM: "convert_float8(halves >> 8) * 0x1p-24f",
    NORMAL: "gf_normals_float(halves)",
    TRUNCATED: f"convert_float8({_TRUNCATED_HALVES})",
}
# float16 is made in steps of its own
SMALL = {
    UNIFORM: "convert_float8(halves >> 21) * 0x1p-11f",
    NORMAL: FLOATS[NORMAL],
    TRUNCATED: f"gf_sticky_float({_TRUNCATED_HALVES})",
}
TITLES = {UNIFORM: "uniform", NORMAL: "normal", TRUNCATED: "truncated normal"}


@rule(UNIFORM, NORMAL, TRUNCATED)
def _floats(site: Site) -> Launches:
    kind, made = site.ins.type, site.outputs[0]
    assert made is not None
    if not numel(site.dims_out()):
        return []
    if not held(made.dtype) or kind == TRUNCATED and not site.traits.doubles:
        return None
    if made.dtype == float64:
        return _vector(site, made.dtype, WORD, f"({DOUBLES[kind]})", TITLES[kind])
    table = SMALL if made.dtype == float16 else FLOATS
    return _vector(site, made.dtype, HALF, f"({table[kind]})", TITLES[kind])


def _known(site: Site, which: int) -> Any:
    """A single number that is known before, as a Python number; else None."""
    value = site.constants[which]
    return value.item() if value is not None and value.size == 1 else None


def _place(site: Site, which: int) -> str:
    """C text: where the element of a parameter stands that belongs to element `at`."""
    dims = site.dims_out()
    return offset("at", dims, strides_in(site.dims_in(which), dims))


def _elements(site: Site, each: int, statements: Sequence[str]) -> list[str]:
    """Statements for each element `at` of a block, of which `drawn[k]` is the word, or half of one."""
    kind, name = ("ulong", "words") if each == WORD else ("uint", "halves")
    index = index_type(numel(site.dims_out()) + each)
    inside = [f"const {index} at = id * {each} + k;", f"if (at >= {numel(site.dims_out())}) break;", *statements]
    return [
        f"{kind} drawn[{each}];",
        f"vstore{each}({name}, 0, drawn);",
        f"for (int k = 0; k < {each}; k++) {{",
        *[f"    {s}" for s in inside],
        "}",
    ]


@rule("RandomUniformInt")
def _integers(site: Site) -> Launches:
    """An empty range of nothing is refused, too, which is left to the host."""
    dtype, low, high = site.inputs[1].dtype, _known(site, 1), _known(site, 2)
    if not numel(site.dims_out()) or low is not None and high is not None and low >= high:
        return None

    def explain(position: int) -> Exception:
        return InvalidArgumentError("Need minval < maxval", op=site.ins.op, got=f"no such range for element {position}")

    register = storage_type(dtype)
    extras, statements = [], []
    for name, which, value in (("low", 1, low), ("high", 2, high)):
        if value is None:
            extras.append(numbers(dtype, f"{name}s", site.ins.inputs[which]))
        text = f"{name}s[{_place(site, which)}]" if value is None else literal(dtype, value)
        statements.append(f"const {register} {name} = {text};")
    statements.append("ulong span = (ulong)high - (ulong)low;")
    if extras:
        extras.append(report(explain))
        statements.append("if (low >= high) { atomic_min(status, (int)min((long)at, 2147483646L)); span = 1; }")
    statements.append(f"y[at] = ({register})((ulong)low + drawn[k] % span);")
    return _launch(site, dtype, WORD, _elements(site, WORD, statements), extras, "random integers")


@rule("RandomBernoulli")
def _mask(site: Site) -> Launches:
    keep, dtype = _known(site, 1), site.inputs[1].dtype
    if not numel(site.dims_out()) or not held(dtype) or keep is not None and not 0 <= float(keep) <= 1:
        return None
    if keep is not None:
        threshold = math.ceil(float(keep) * 2.0**32)
        chosen = truth(uint32, f"halves < {threshold}u", HALF) if threshold < 2**32 else f"(int{HALF})(1)"
        return _vector(site, bool_, HALF, f"({chosen})", "bernoulli")
    if not site.traits.doubles:
        return None

    def explain(position: int) -> Exception:
        return InvalidArgumentError(
            f"the probability of element {position} is none", op=site.ins.op, expected="keep_prob in [0, 1]"
        )

    extras = (numbers(dtype, "keep", site.ins.inputs[1]), report(explain))
    statements = [
        f"const double wanted = {load(dtype, 1, 'keep', _place(site, 1))};",
        "if (!(wanted >= 0 && wanted <= 1)) atomic_min(status, (int)min((long)at, 2147483646L));",
        "y[at] = (double)drawn[k] < wanted * 0x1p+32;",
    ]
    return _launch(site, bool_, HALF, _elements(site, HALF, statements), extras, "bernoulli of each element")
