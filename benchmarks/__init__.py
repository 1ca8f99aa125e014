"""Benchmarks of graphflow and its peers, side by side: `python -m graphflow bench`, or `python -m benchmarks`.

    python -m graphflow bench --quick                                 NumPy and whatever peers this Python has
    python -m graphflow bench --peers-python ~/peers/bin/python       every peer that is installed there
    python -m graphflow bench --peers jax --workloads mlp,elementwise_1k --json figures.json --png chart.png

How to read it: `workloads.py` says what is measured, `bars.py` what graphflow must reach, `peers/__init__.py` who is
measured and who is left out of what, `graphs.py` holds the programs of graphflow and TensorFlow 1, which are the same.

State: none.
"""
