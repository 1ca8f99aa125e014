"""The README does what it says: its Python blocks run in order, and print what the block after them shows.

A Python block may begin with a comment that names its file, which is then the name in error messages.  A `text` block
right after a Python block is what that block prints.
"""

from __future__ import annotations

import contextlib
import io
import re
from functools import reduce
from pathlib import Path

import pytest

import graphflow
from graphflow import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def python_blocks() -> list[tuple[str, str]]:
    """Every Python block, and what it is said to print."""
    return [(body, printed) for kind, body, printed in BLOCK.findall(README) if kind == "python"]


def shell_lines() -> list[str]:
    return [line for kind, body, _ in BLOCK.findall(README) if kind in ("bash", "sh") for line in body.splitlines()]


def run(body: str, number: int) -> str:
    """What a block prints."""
    named = re.match(r"# ([\w.]+\.py)\n", body)
    code = compile(body, named[1] if named else f"block_{number}.py", "exec")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "__main__"})
    return out.getvalue()


@pytest.mark.parametrize("number", range(len(python_blocks())))
def test_python_block(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body, printed = python_blocks()[number]
    assert run(body, number).rstrip() == printed.rstrip()


def test_a_block_that_prints_something_else_is_noticed() -> None:
    assert run("print(1)", 0).rstrip() != "2"


def test_there_are_enough_blocks() -> None:
    assert len(python_blocks()) >= 5 and README.count("```python") == len(python_blocks())
    assert sum(bool(printed) for _, printed in python_blocks()) >= 4


def test_the_two_commands_are_there() -> None:
    assert 'pip install -e ".[all]" && python -m graphflow demo' in shell_lines()
    assert 'pip install -e ".[all,test]" && pytest' in shell_lines()


def test_every_command_named_exists() -> None:
    named = set(re.findall(r"python -m graphflow (\w+)", README))
    assert named and named <= cli.COMMANDS.keys()


def test_every_file_named_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    paths = re.findall(r"`((?:graphflow|backends|tests|examples|docs)/[\w./]*)`", README)
    assert len(links) >= 3 and [path for path in links + paths if not (ROOT / path).exists()] == []


def test_the_pictures_are_small() -> None:
    pictures = [ROOT / link for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)]
    assert pictures and all(path.stat().st_size < 200_000 for path in pictures)


def mentioned(text: str) -> dict[str, bool]:
    """The names in `tf.` that a text mentions, and whether they exist."""

    def find(name: str) -> object:
        return reduce(lambda found, part: getattr(found, part, None), name.split("."), graphflow)

    return {name: find(name) is not None for name in re.findall(r"`tf\.((?:\w+\.)*\w+)", text)}


def test_the_names_mentioned_exist_and_the_limits_are_true() -> None:
    said, limits = README.split("## Limits")
    assert mentioned(said) and [name for name, exists in mentioned(said).items() if not exists] == []
    assert mentioned(limits) and [name for name, exists in mentioned(limits).items() if exists] == []
