"""Running what a document shows: its Python blocks, what they are said to print, and its command lines.

Policy: a Python block may begin with a comment that names its file, which is then the name in error messages; that file
is written as well, so that command lines find it.  A `text` block right after a Python block is what that block
prints.  What a document names (`tf.` names, commands, files, environment variables) can be asked for and looked up.

State: none.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import graphflow

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ([\w.]+\.py)\n")


class Block(NamedTuple):
    """A block of a document, and what it is said to print."""

    kind: str
    body: str
    printed: str


def text_of(path: str) -> str:
    """A document of the checkout."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(text: str, *kinds: str) -> list[Block]:
    """The blocks of these kinds, in order."""
    return [block for block in map(Block._make, _BLOCK.findall(text)) if block.kind in kinds]


def shell_lines(text: str) -> list[str]:
    """All command lines."""
    return [line for block in blocks(text, "bash", "sh") for line in block.body.splitlines()]


def commands(block: Block) -> list[list[str]]:
    """The words after `python -m graphflow` of each line of a block."""
    lines = [shlex.split(line, comments=True) for line in block.body.splitlines()]
    return [words[3:] for words in lines if words[:3] == ["python", "-m", "graphflow"]]


def run(block: Block, number: int, names: dict[str, Any] | None = None) -> str:
    """What a Python block prints; `names` are those that earlier blocks have bound."""
    named = _NAMED.match(block.body)
    if named:
        Path(named[1]).write_text(block.body, encoding="utf-8")
    code = compile(block.body, named[1] if named else f"block_{number}.py", "exec")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "__main__"} if names is None else names)
    return out.getvalue()


def mentioned(text: str) -> dict[str, bool]:
    """The names in `tf.` that a text mentions, and whether they exist."""

    def find(name: str) -> object:
        return reduce(lambda found, part: getattr(found, part, None), name.split("."), graphflow)

    return {name: find(name) is not None for name in re.findall(r"`tf\.((?:\w+\.)*\w+)", text)}


def missing_files(text: str, folder: Path = ROOT) -> list[str]:
    """Files of the checkout that a text links to (from its own folder) or names, and that are not there."""
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    paths = re.findall(r"`((?:graphflow|backends|tests|examples|docs)/[\w./]*)`", text)
    return [link for link in links if not (folder / link).exists()] + [p for p in paths if not (ROOT / p).exists()]
