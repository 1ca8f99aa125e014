"""From a graph to a Program: pruning, hazards, and the passes that rewrite it.

Every pass is a pure function from a Program to a Program; `pipeline` lists them.
"""
