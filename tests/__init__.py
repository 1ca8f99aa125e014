"""The tests of graphflow; `from tests import cases` works from the repository root."""
