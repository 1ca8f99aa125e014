"""Mistakes in eager mode get a typed error that says what is wrong, names the user's line, and tells the remedy."""

from __future__ import annotations

import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow import errors
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


IN_TORCH = {
    "not": (lambda: ~torch.ones(2), "x.to(dtype) changes the dtype"),
    "topk": (lambda: torch.topk(torch.ones(3, dtype=torch.bool), 2), "x.to(dtype) changes the dtype"),
    "gather": (lambda: torch.gather(torch.ones(3), 0, torch.ones(2)), "x.long()"),
    "embedding": (lambda: torch.nn.Embedding(3, 2)(torch.ones(2)), "x.long()"),
    "where": (lambda: torch.where(torch.ones(2), 1.0, 2.0), "x != 0"),
    "cat": (lambda: torch.cat([torch.ones(()), torch.ones(())]), "torch.stack makes a vector of scalars"),
    "conv2d": (
        lambda: torch.nn.functional.conv2d(torch.ones(3, 3), torch.ones(1, 1, 3, 3)),
        "x.unsqueeze(0) adds a batch or channel axis, x.view makes images of vectors",
    ),
}


@pytest.mark.parametrize("name", IN_TORCH)
def test_who_asks_in_torchs_words_is_answered_in_them(name: str) -> None:
    wrong, hint = IN_TORCH[name]
    with pytest.raises(errors.Error) as caught:
        wrong()
    assert caught.value.hint == hint


def test_who_asks_in_tensorflows_words_is_answered_in_those() -> None:
    with gf.eager(), pytest.raises(errors.Error) as caught:
        gf.logical_not(torch.ones(2))
    assert caught.value.hint == "tf.cast changes the dtype"
