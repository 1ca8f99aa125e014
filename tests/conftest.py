"""What every test starts from: an empty default graph, fixed seeds, a usual machine, one BLAS thread a worker.

Policy: nothing here is left to chance.  Sessions without a seed draw from the system's entropy, and schedules follow
what was measured on the machine; in tests both are fixed.  `test_cost` measures, for itself.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("graphflow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("graphflow")


@pytest.fixture(autouse=True)
def fresh_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Empty the default graph before and after a test, fix all seeds, and have the figures of a usual machine."""
    import graphflow
    from graphflow.compile import calibration, cost

    random.seed(0)
    np.random.seed(0)
    monkeypatch.setattr("secrets.randbits", random.Random(0).getrandbits)
    monkeypatch.setattr(calibration, "_machine", cost.DEFAULT)
    graphflow.reset_default_graph()
    yield
    graphflow.reset_default_graph()


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of its own for each test, always the same."""
    return np.random.default_rng(0)
