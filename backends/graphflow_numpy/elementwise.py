"""Kernels of the elementwise ops: nearly all of them are NumPy's own ufuncs.

State: none.
"""

from __future__ import annotations

import operator

import numpy as np

from graphflow_numpy.table import rows

rows({"Add": np.add}, scalar=operator.add)
rows({"Sub": np.subtract}, scalar=operator.sub)
rows({"Mul": np.multiply}, scalar=operator.mul)
rows({"Neg": np.negative}, scalar=operator.neg)
rows({"Conj": np.conjugate})
