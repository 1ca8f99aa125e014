"""`docs/eager.md` does what it says: its blocks are one program, its command lines run, its tables are complete."""

from __future__ import annotations

import argparse
import inspect
import pickle
import re
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import cli
from graphflow import eager as torch
from graphflow.compare import command
from graphflow.compare.figures import TIMES, WORK
from graphflow.eager import nn
from graphflow.errors import DTypeError, FailedPreconditionError, ShapeError, SymbolicUseError, UnavailableError
from tests.documents import blocks, commands, run, text_of

PAGE = text_of("docs/eager.md")
README = text_of("README.md")
WRITTEN = {"model.py", "loss.html", "loss.png", "model.html", "model.json"}


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(PAGE, "python")
    assert PAGE.count("\n```python\n") == len(found) >= 6
    for number, block in enumerate(found):
        assert run(block, number, names).rstrip() == block.printed.rstrip(), block.body
    lines = [words for block in blocks(PAGE, "bash") for words in commands(block)]
    assert len(lines) == PAGE.count("python -m graphflow compare model.py")
    for words in lines:
        assert cli.main(words) == 0, words
    assert {path.name for path in tmp_path.iterdir()} >= WRITTEN
    assert "compute" not in vars(sys.modules["graphflow.eager.engine"].EAGER)


def rows_of(head: str, page: str = PAGE) -> list[str]:
    """The first cells of the table that has this first column."""
    table = re.search(rf"^\| {head} \|.*\n\|[- |]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert table is not None, head
    return [row.split("|")[1].strip().strip("`=") for row in table[1].splitlines()]


def test_the_tables_of_options_are_the_signatures() -> None:
    for function, others in ((gf.function, {"func"}), (gf.compare.comparing.compare, {"function", "args"})):
        name = function.__name__
        assert set(rows_of(f"option of `gf.{name}`")) == set(inspect.signature(function).parameters) - others


def test_the_table_of_columns_is_the_report_s() -> None:
    assert rows_of("column") == [*TIMES, *WORK[1:]]


def test_options_of_the_command_are_used() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = {word for action in parser._actions for word in action.option_strings if word.startswith("--")}
    assert set(re.findall(r" (--\w[\w-]+)", PAGE)) == options - {"--help", "--arguments"}


def test_the_names_are_there_or_not_as_told() -> None:
    told, _, differs = PAGE.partition("## Which names there are")[2].partition("## Where it differs from PyTorch")
    here = re.findall(r"`((?:torch|nn|optim|utils)(?:\.\w+)+)`", told)
    assert len(here) > 35 and [name for name in here if find(name) is None] == []
    rows = [row for row in differs.splitlines() if row.endswith("| not there |")]
    absent = re.findall(r"`((?:torch|nn)(?:\.\w+)+)`", "".join(rows))
    assert len(rows) == 2 and len(absent) == 20 and [name for name in absent if find(name) is not None] == []


def test_the_differences_are_true(tmp_path: Path) -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(UnavailableError, match="cuda"):
        x.to("cuda")
    with pytest.raises(DTypeError):
        torch.save(object(), tmp_path / "x")
    with pytest.raises(SymbolicUseError, match="return the loss"):
        gf.function(lambda x: x.sum().backward())(x)
    with pytest.raises(SymbolicUseError, match=r"tf\.cond"):
        gf.function(lambda x: x if x.sum() > 1.0 else -x)(x)
    lstm = nn.LSTM(3, 4)
    with gf.Graph().as_default():
        assert lstm(gf.placeholder(gf.float32, [5, None, 3]))[0].shape.as_list() == [5, None, 4]
        with pytest.raises(ShapeError):
            lstm(gf.placeholder(gf.float32, [None, 2, 3]))


def scaled_by(held: Any, key: Any) -> Any:
    return gf.function(lambda x: x * float(held[key]))


def test_what_makes_a_trace_anew() -> None:
    cases: list[Any] = [({"by": 2.0}, "by", 3.0), ([2.0] * 1000, 0, 2.0), (np.array([2.0]), 0, 2.0)]
    for held, key, expected in cases:
        traced = scaled_by(held, key)
        assert traced(torch.ones(1)).item() == 2.0
        held[key] = 3.0
        assert traced(torch.ones(1)).item() == expected


def test_the_differences_of_values_are_true() -> None:
    x = torch.ones(2, 3)
    assert not x.numpy().flags.writeable and x.numpy().copy().flags.writeable
    assert (repr(x.dtype), str(x.dtype)) == ("tf.float32", "<dtype: 'float32'>")
    with pytest.raises(ShapeError, match="different shapes"):
        nn.functional.mse_loss(x, torch.ones(3))
    for shown in (torch.ones(1, 3).expand(2, 3), x.unfold(1, 2, 1)):
        with pytest.raises(FailedPreconditionError, match="cannot be written"):
            shown[0, 0] = 5.0
    model = nn.Linear(3, 1)
    for refused in (x, model):
        with pytest.raises(FailedPreconditionError, match="not pickled"):
            pickle.dumps(refused)
    optimizer = torch.optim.Adam(model.parameters())
    model(x).sum().backward()
    optimizer.step()
    assert isinstance(optimizer.state_dict()["state"][0]["exp_avg"], np.ndarray)
    with gf.Graph().as_default():
        place = gf.placeholder(gf.float32, [None, 3])
        assert nn.Sequential(nn.Flatten())(place) is not None and not hasattr(place, "unsqueeze")


def find(name: str) -> Any:
    first, *rest = name.split(".")
    root = torch if first == "torch" else getattr(torch, first)
    return reduce(lambda found, part: getattr(found, part, None), rest, root)


def test_the_readme_leads_to_the_page() -> None:
    section = README.partition("## Eager beside lazy")[2].partition("\n## ")[0]
    assert "(docs/eager.md)" in section
    for anchor in re.findall(r"docs/eager\.md#([\w-]+)", README):
        headings = [line.lstrip("# ").lower().replace(" ", "-").replace(",", "") for line in PAGE.splitlines()]
        assert anchor in headings
