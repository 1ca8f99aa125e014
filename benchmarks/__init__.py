"""Benchmarks of graphflow and its peers, side by side: `python -m graphflow bench`, or `python -m benchmarks`.

State: none.
"""
