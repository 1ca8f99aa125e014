"""The NumPy backend: kernels, the memory of variables, and an executor that runs in the caller's thread."""

from graphflow_numpy.execution import NumpyBackend

backend = NumpyBackend()
