"""Nothing depends on the order of sets of strings, which Python shuffles anew in each process."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import hashlib
import numpy as np
import graphflow as tf
from graphflow import render
from graphflow.compile import calibration, cost
from graphflow.testing import Way, build, random_recipe
from graphflow.testing.differential import session_of

calibration._machine = cost.DEFAULT
digest = hashlib.sha256()
for seed in range(40):
    recipe = random_recipe(seed, tf)
    built = build(recipe, tf)
    digest.update(repr(recipe).encode())
    for level in (0, 1, 2):
        session = session_of(built.graph, Way(level=level, workers=2))
        with built.graph.as_default():
            session.run(built.init)
            feed = {built.element(ref): data for ref, data in recipe.feed(0).items()}
            program = session.program(built.fetches, feed)
            digest.update(f"{[tuple(i[:3]) + (i.outputs, i.after) for i in program.instructions]}".encode())
            digest.update(f"{program.groups} {program.schedule} {program.memory} {[*program.constants]}".encode())
            try:
                found = session.run(built.fetches, feed)
            except tf.errors.OpError as error:
                digest.update(error.message.encode())
            else:
                digest.update(b"".join(np.asarray(x).tobytes() for x in found if x is not None))
    digest.update(render.to_dot(built.graph).encode())
print(digest.hexdigest())
"""


def test_programs_results_errors_and_pictures_are_the_same_in_every_process() -> None:
    found = set()
    for seed in ("0", "1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "GRAPHFLOW_FAST": "0"}
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1, found
