"""The README does what it says: its Python blocks run, each alone, and print what the block after them shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from graphflow import cli
from tests.documents import ROOT, Block, blocks, mentioned, missing_files, run, shell_lines, text_of

README = text_of("README.md")
PYTHON = blocks(README, "python")


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(PYTHON[number], number).rstrip() == PYTHON[number].printed.rstrip()


def test_a_block_that_prints_something_else_is_noticed() -> None:
    assert run(Block("python", "print(1)", "2"), 0).rstrip() != "2"


def test_there_are_enough_blocks() -> None:
    assert len(PYTHON) >= 8 and README.count("```python") == len(PYTHON)
    assert sum(bool(block.printed) for block in PYTHON) >= 6


def test_the_two_commands_are_there() -> None:
    assert 'pip install -e ".[all]" && python -m graphflow demo' in shell_lines(README)
    assert 'pip install -e ".[all,test]" && pytest' in shell_lines(README)


def test_every_command_named_exists() -> None:
    named = set(re.findall(r"python -m graphflow (\w+)", README))
    assert named and named <= cli.COMMANDS.keys()


def test_every_file_named_exists() -> None:
    assert len(re.findall(r"\]\((?!http)", README)) >= 10 and missing_files(README) == []
    assert missing_files("[it](docs/none.md) and `tests/none.py`") == ["docs/none.md", "tests/none.py"]


def test_the_pictures_are_small() -> None:
    pictures = [ROOT / link for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)]
    assert pictures and all(path.stat().st_size < 200_000 for path in pictures)


def test_the_names_mentioned_exist_and_the_limits_are_true() -> None:
    said, limits = README.split("## Limits")
    assert mentioned(said) and [name for name, exists in mentioned(said).items() if not exists] == []
    assert mentioned(limits) and [name for name, exists in mentioned(limits).items() if exists] == []
