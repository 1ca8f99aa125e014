"""What every test starts from: an empty default graph, fixed seeds, one BLAS thread a worker."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("graphflow", deadline=None, derandomize=True)
settings.load_profile("graphflow")


@pytest.fixture(autouse=True)
def fresh_start() -> Iterator[None]:
    """Empty the default graph before and after a test, and fix the global seeds."""
    import graphflow

    random.seed(0)
    np.random.seed(0)
    graphflow.reset_default_graph()
    yield
    graphflow.reset_default_graph()


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of its own for each test, always the same."""
    return np.random.default_rng(0)
