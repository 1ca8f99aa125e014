"""graphflow: build a symbolic graph, differentiate it, draw it, run it."""

__version__ = "0.1.0"
