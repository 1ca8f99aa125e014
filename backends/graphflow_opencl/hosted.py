"""Op types that no kernel will compute, with the reasons.

Policy: what belongs to a family without a kernel stands here; the others stand beside their families' rules.

State: none; the table is `graphflow_opencl.table`.
"""

from __future__ import annotations

from graphflow_opencl.table import on_the_host

on_the_host("kernels work on real numbers, and this is about complex ones", "Angle", "Complex", "Imag")
on_the_host(
    "it raises an error of the user's own words, with values that the host shows",
    "Assert", "AssertTrue", "AtMostOne", "CheckNumerics",
)  # fmt: skip
on_the_host("it calls Python, which only the host can run", "PyFunc", "Print")
on_the_host(
    "text for a file is made by the host",
    "HistogramSummary", "ImageSummary", "MergeSummary", "ScalarSummary", "TextSummary",
)  # fmt: skip
on_the_host("it looks into what the host kept of a loop's iterations", "HistoryRow")
on_the_host("which variables have values is known to the host alone", "UninitializedNames")
on_the_host("it rejects candidates until enough different ones are found", "CandidateSample")
