"""From seeds and the number of a run to the key and the counter of a stream of random words, the same on every backend.

Policy: the key of a draw is the op's seed pair, its counter the number of the run and of the iterations around the
op.  Where an op has no graph seed the entropy of the session takes its place, or that of the process.

State: the entropy of the process, for runs that bring none of their own.
"""

from __future__ import annotations

import hashlib
import operator
import secrets
from typing import Any

Key = tuple[int, int]
Counter = tuple[int, ...]
Seed = tuple["int | None", int]
MASK = 2**64 - 1
_ENTROPY = secrets.randbits(64)


def stream(run: Any, seed: Seed) -> tuple[Key, Counter]:
    """Key and counter of an op in this run."""
    graph_seed, op_seed = seed
    if graph_seed is None:
        graph_seed = _ENTROPY if run.seed is None else run.seed
    return (graph_seed, op_seed), (run.index, *run.path)


def hashed(value: object) -> int:
    """64 bits of the decimal text of an int or a list of ints."""
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "little")


def folded(seed: int) -> int:
    """A seed as 64 bits."""
    seed = operator.index(seed)
    return seed & MASK if -(2**63) <= seed <= MASK else hashed(seed)


def counter_words(counter: Counter, attempt: int) -> tuple[int, int, int]:
    """Words 1 to 3 of the Philox counter; `graphflow_numpy.philox` has the layout."""
    if not counter:
        raise ValueError("a counter needs a run index, got ()")
    run, *path = map(operator.index, counter)
    if not 0 <= run <= MASK:
        raise ValueError(f"the run index must be in [0, 2**64), got {run}")
    if not path:
        return run, 0, attempt
    depth = len(path)
    if min(path) < 0:
        raise ValueError(f"loop iterations must not be negative, got {path}")
    bits = 64 // depth
    tag = attempt | depth << 32
    if max(path) >> bits:
        return run, hashed(path), tag | 1 << 63
    packed = 0
    for iteration in path:
        packed = packed << bits | iteration
    return run, packed, tag


# sqrt(2) * erfinv(x) / x as a polynomial in -log(1 - x * x), interpolated at Chebyshev nodes for
# |x| <= erf(sqrt(2)): relative error 2e-16. The logarithm takes the singularity at |x| = 1, so one polynomial
# serves the whole range, without branches.
NDTRI = (
    1.2533141373155006, 0.3281168738691713, 0.016333236148415285, -0.0033023324281240486,
    -0.00018108045558323476, 6.591812259190023e-05, 2.857701778851597e-06, -1.4336546561123201e-06,
    -5.0767665840733276e-08, 3.060167505312038e-08, 2.011397372481614e-09, -1.1096194154068923e-09,
    6.397233878851805e-11, 9.659208228031767e-12, -1.0624786653214993e-12,
)  # fmt: skip
TWO_SIGMA = 0.9544997361036416  # erf(sqrt(2)): the mass within two sigma
