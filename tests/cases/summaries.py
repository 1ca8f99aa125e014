"""Summaries: their values are tested in tests/test_summary.py, by TensorBoard's own reader."""

from __future__ import annotations

import numpy as np

from graphflow import constants, dtypes, errors
from graphflow.ops import core, summaries
from graphflow.session import Session
from graphflow.testing import ErrorCase, OpCase

CASES: list[OpCase] = []

_TYPES = ("ScalarSummary", "HistogramSummary", "ImageSummary", "TextSummary", "MergeSummary")
NOT_TESTED_HERE = dict.fromkeys(_TYPES, "tests/test_summary.py reads the files back")


def _run(summary: object) -> object:
    return Session().run(summary)


ERRORS = [
    ErrorCase("ScalarSummary", "a vector", lambda: summaries.scalar("s", np.zeros(2)), errors.ShapeError, "one number"),
    ErrorCase("ScalarSummary", "text", lambda: summaries.scalar("s", "a"), errors.DTypeError, "real numbers"),
    ErrorCase("ScalarSummary", "no name", lambda: summaries.scalar("", 1.0), errors.InvalidArgumentError, "has a name"),
    ErrorCase("HistogramSummary", "complex numbers", lambda: summaries.histogram("h", np.zeros(2, np.complex64)),
              errors.DTypeError, "real numbers"),
    ErrorCase("HistogramSummary", "NaN", lambda: _run(summaries.histogram("h", [1.0, np.nan])),
              errors.InvalidArgumentError, "NaN in the summary histogram 'h'"),
    ErrorCase("HistogramSummary", "infinity", lambda: _run(summaries.histogram("h", [np.inf])),
              errors.InvalidArgumentError, "infinity in the summary histogram"),
    ErrorCase("ImageSummary", "one picture without a batch", lambda: summaries.image("i", np.zeros((4, 4, 3))),
              errors.ShapeError, r"\[batch, height, width, channels\]"),
    ErrorCase("ImageSummary", "two channels", lambda: summaries.image("i", np.zeros((1, 4, 4, 2))),
              errors.ShapeError, "1, 3 or 4 channels"),
    ErrorCase("ImageSummary", "integers", lambda: summaries.image("i", np.zeros((1, 4, 4, 3), np.int32)),
              errors.DTypeError, "uint8"),
    ErrorCase("ImageSummary", "no picture at all", lambda: summaries.image("i", np.zeros((1, 4, 4, 3)), 0),
              errors.InvalidArgumentError, "1 or more"),
    ErrorCase("ImageSummary", "two channels in the run",
              lambda: Session().run(
                  summaries.image("i", core.placeholder(dtypes.float32, name="pictures")),
                  {"pictures:0": np.zeros((1, 2, 2, 2))},
              ),
              errors.InvalidArgumentError, "channels"),
    ErrorCase("TextSummary", "a number", lambda: summaries.text("t", 1.0), errors.DTypeError, "string"),
    ErrorCase("MergeSummary", "a number", lambda: summaries.merge([constants.convert_to_tensor(1.0)]),
              errors.DTypeError, "takes summaries"),
    ErrorCase("MergeSummary", "nothing", lambda: summaries.merge([]), errors.InvalidArgumentError, "a list"),
    ErrorCase("MergeSummary", "no summary", lambda: _run(summaries.merge([constants.convert_to_tensor("\xff")])),
              errors.InvalidArgumentError, "this is none"),
]  # fmt: skip
