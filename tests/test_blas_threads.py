"""How many threads BLAS uses, and products whose bits do not depend on that."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from graphflow_numpy import blas

import graphflow as tf
from graphflow.runtime import workers

SHAPES = [
    (128, 784, 256),
    (784, 128, 256),
    (256, 256, 256),
    (512, 256, 100),
    (300, 300, 301),
    (64, 3136, 256),
    (40, 40, 9),
]


class Fake:
    """A BLAS that counts how often it is told."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.told: list[int] = []

    def set(self, threads: int) -> None:
        self.threads = threads
        self.told.append(threads)

    def get(self) -> int:
        return self.threads


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    gc.collect()
    made = Fake(8)
    monkeypatch.setattr(blas, "_searched", True)
    monkeypatch.setattr(blas, "_functions", (made.set, made.get))
    monkeypatch.setattr(blas, "_asked", {})
    yield made


def test_a_lease_lowers_the_number_and_its_end_restores_it(fake):
    lease = blas.Lease()
    assert fake.threads == 1
    lease.release()
    assert fake.threads == 8
    lease.release()
    assert fake.told == [1, 8]


def test_the_least_that_any_lease_asks_for_counts(fake):
    four, two = blas.Lease(4), blas.Lease(2)
    assert fake.threads == 2
    one = blas.Lease()
    four.release()
    assert fake.threads == 1
    one.release()
    assert fake.threads == 2
    two.release()
    assert fake.threads == 8
    more = blas.Lease(99)
    assert fake.threads == 8
    more.release()
    assert fake.told == [4, 2, 1, 2, 8]


def test_nothing_is_told_twice(fake):
    leases = [blas.Lease() for _ in range(5)]
    for lease in leases:
        lease.release()
    assert fake.told == [1, 8]


def test_what_the_user_sets_between_runs_is_restored_then(fake):
    blas.Lease().release()
    fake.threads = 3
    lease = blas.Lease()
    assert fake.threads == 1
    lease.release()
    assert fake.threads == 3


def test_a_lost_lease_ends(fake):
    lease = blas.Lease()
    assert fake.threads == 1
    del lease
    gc.collect()
    assert fake.threads == 8


def test_a_ctrl_c_while_a_lost_lease_ends_is_not_lost(fake, monkeypatch):
    told = []
    monkeypatch.setattr(blas._thread, "interrupt_main", lambda: told.append("again"))
    lease = blas.Lease()
    release = blas.Lease.release
    interrupts = [KeyboardInterrupt()]

    def interrupted(self: blas.Lease) -> None:
        if interrupts:
            raise interrupts.pop()
        release(self)

    monkeypatch.setattr(blas.Lease, "release", interrupted)
    del lease
    gc.collect()
    assert told == ["again"] and fake.threads == 8


def test_leases_of_many_threads_end_where_they_began(fake):
    def take() -> None:
        for _ in range(300):
            lease = blas.Lease(1)
            assert fake.threads == 1
            lease.release()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=take) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert fake.threads == 8
    assert blas._asked == {}


def test_without_a_known_blas_nothing_happens(monkeypatch):
    monkeypatch.setattr(blas, "_libraries", lambda: ["/nowhere/libnothing.so", sys.executable])
    monkeypatch.setattr(blas, "_searched", False)
    monkeypatch.setattr(blas, "_functions", None)
    assert blas.threads() is None
    lease = blas.Lease()
    lease.release()
    assert blas.threads() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the BLAS may be one without control")
def test_the_blas_of_numpys_wheel_is_found():
    if "openblas" not in str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]):  # type: ignore[call-overload]
        pytest.skip("another BLAS")
    found = blas.threads()
    assert found is not None and found >= 1
    lease = blas.Lease()
    assert blas.threads() == 1
    lease.release()
    assert blas.threads() == found


# -- products --------------------------------------------------------------------------------------------------------


def matrices(m: int, k: int, n: int, dtype: str, transposed: tuple[bool, bool]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(m + k + n)
    a = rng.standard_normal((k, m) if transposed[0] else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if transposed[1] else (k, n)).astype(dtype)
    return a.T if transposed[0] else a, b.T if transposed[1] else b


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_has_the_same_bits_however_it_is_shared(shape, dtype):
    m, k, n = shape
    lease = blas.Lease()
    try:
        for transposed in itertools.product((False, True), repeat=2):
            a, b = matrices(m, k, n, dtype, transposed)
            alone = blas.multiply(a, b)
            np.testing.assert_allclose(
                alone, np.matmul(a, b), rtol=0, atol=1e-4 * k**0.5 if dtype == "float32" else 1e-11
            )
            for count in (1, 2, 3, 4):
                out = np.full((m, n), np.nan, dtype)
                got = blas.multiply(a, b, out, lambda number, f, count=count: workers.share(number, f, count))
                assert got is out
                assert got.tobytes() == alone.tobytes(), f"{transposed} {count}"
    finally:
        lease.release()


def test_panels_are_a_matter_of_shape():
    assert blas.panels(16, 16, 16) == 1
    assert blas.panels(256, 256, 256) == 2
    assert blas.panels(512, 512, 512) == 4
    assert blas.panels(2048, 2048, 2048) == 8
    assert blas.panels(4, 1 << 25, 4) == 1, "too narrow to be cut"
    assert blas.panels(1 << 20, 10, 10) > 1
    assert blas.panels(0, 5, 5) == 1
    assert not blas.may_thread(64, 64, 64)
    assert blas.may_thread(65, 64, 64)
    assert blas.may_thread(1, 784, 256)


def test_bits_do_not_depend_on_the_threads_that_blas_had():
    """In processes of their own, because OpenBLAS reads its limit once."""
    program = textwrap.dedent("""
        import hashlib, sys
        import numpy as np
        from graphflow_numpy import blas
        from graphflow.runtime import workers
        digest = hashlib.sha256()
        rng = np.random.default_rng(0)
        for m, k, n in [(128, 784, 256), (256, 256, 256), (512, 512, 512), (100, 100, 100)]:
            a, b = rng.standard_normal((m, k)).astype('f4'), rng.standard_normal((k, n)).astype('f4')
            lease = blas.Lease()
            digest.update(blas.multiply(a, b, None, lambda c, f: workers.share(c, f, int(sys.argv[1]))).tobytes())
            lease.release()
        print(digest.hexdigest())
    """)
    found = []
    for threads in ("1", "2", "4"):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", program, threads], env=env, capture_output=True, text=True, timeout=240, check=True
        )
        found.append(done.stdout)
    assert len(set(found)) == 1


PLACES = """
import numpy as np
import graphflow as tf
rng = np.random.default_rng(0)
for n in (70, 100, 200):
    first, second = rng.standard_normal((2, n, n)).astype('f4')
    a, b, yes = tf.placeholder(tf.float32, [n, n]), tf.placeholder(tf.float32, [n, n]), tf.placeholder(tf.bool, [])
    fetches = [
        tf.matmul(a, b),
        tf.matmul(tf.constant(first), tf.constant(second)),
        tf.cond(yes, lambda: tf.matmul(a, b), lambda: a),
    ]
    feeds = {a: first, b: second, yes: True}
    found = [tf.Session(optimization_level=level).run(y, feeds) for level in (0, 1) for y in fetches]
    assert all(np.array_equal(found[0], other) for other in found[1:]), n
"""


def test_a_product_has_the_same_bits_when_it_is_folded_and_in_a_branch():
    env = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", PLACES], env=env, timeout=240, check=True)


# -- which programs need a lease -------------------------------------------------------------------------------------


def lease_for(m: int, k: int, n: int) -> int:
    """The threads of BLAS that a program with one product of that size asks for; 0 for none."""
    a, b = tf.placeholder(tf.float32, [m, k]), tf.placeholder(tf.float32, [k, n])
    product = tf.matmul(a, b)
    with tf.Session() as session:
        session.run(product, {a: np.ones((m, k)), b: np.ones((k, n))})
        return int(session._executable(product, {a: np.ones((m, k)), b: np.ones((k, n))})._blas_threads)


def test_a_program_whose_products_never_use_threads_needs_no_lease():
    assert lease_for(64, 64, 64) == lease_for(32, 20, 20) == lease_for(1, 96, 96) == 0
    assert lease_for(65, 64, 64) == lease_for(1, 97, 97) == lease_for(97, 97, 1) == 1
