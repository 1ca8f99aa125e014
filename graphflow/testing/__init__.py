"""The conformance kit: what proves an op or a backend right, for graphflow itself and for third parties.

Write a row (`OpCase`) for each situation, then `run_conformance(rows, backend="numpy")`, or call the single checks
from a test runner of your own.  `docs/adding-an-op.md` shows all of it.

Random valid graphs for differential tests: `random_recipe(seed, tf)` is a graph as a value, `disagreement` compares
ways of running it bit for bit, `judge` holds one to a bound on rounding, `shrink` cuts a failing graph down.
"""

from graphflow.testing.cases import Arg as Arg
from graphflow.testing.cases import ErrorCase as ErrorCase
from graphflow.testing.cases import OpCase as OpCase
from graphflow.testing.conformance import CHECKS as CHECKS
from graphflow.testing.conformance import Report as Report
from graphflow.testing.conformance import Result as Result
from graphflow.testing.conformance import check_error as check_error
from graphflow.testing.conformance import run_conformance as run_conformance
from graphflow.testing.derivatives import check_forward_mode as check_forward_mode
from graphflow.testing.derivatives import check_gradient as check_gradient
from graphflow.testing.derivatives import check_second_gradient as check_second_gradient
from graphflow.testing.derivatives import check_zero_size_gradient as check_zero_size_gradient
from graphflow.testing.differential import Way as Way
from graphflow.testing.differential import disagreement as disagreement
from graphflow.testing.forward import check_aliasing as check_aliasing
from graphflow.testing.forward import check_forward as check_forward
from graphflow.testing.forward import check_layouts as check_layouts
from graphflow.testing.forward import check_zero_size as check_zero_size
from graphflow.testing.numeric import Mismatch as Mismatch
from graphflow.testing.numeric import evaluate_program as evaluate_program
from graphflow.testing.random_graphs import random_recipe as random_recipe
from graphflow.testing.recipes import Recipe as Recipe
from graphflow.testing.recipes import build as build
from graphflow.testing.rounding import judge as judge
from graphflow.testing.shrink import shrink as shrink
