"""Mistakes in eager mode get a typed error that says what is wrong, names the user's line, and tells the remedy."""

from __future__ import annotations

import pytest

from tests.eager_misuse import ROWS, Misuse


def test_there_are_a_hundred() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS) >= 100


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_error_names_class_line_and_remedy(row: Misuse) -> None:
    with pytest.raises(row.kind) as caught:
        row.wrong()
    error = caught.value
    assert row.words in str(error), str(error)
    assert row.remedy in f"{error.hint} {error.expected}", str(error)
    code = row.wrong.__code__
    lines = [line for _, _, line in code.co_lines() if line]
    file, _, rest = error.source.partition(":")
    assert file.endswith("eager_misuse.py"), error.source
    assert min(lines) <= int(rest.partition(",")[0]) <= max(lines), error.source
