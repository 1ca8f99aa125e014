"""docs/adding-an-op.md does what it says: its blocks run, one after the other, in one program."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "adding-an-op.md"
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def program(text: str) -> str:
    """The blocks in their places, with empty lines instead of the text between them."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(2))
        for i, line in enumerate(textwrap.dedent(block.group(2)).splitlines()):
            lines[first + i] = line
    return "\n".join(lines)


def test_the_page_runs(tmp_path: Path) -> None:
    script = tmp_path / "adding_an_op.py"
    script.write_text(program(PAGE.read_text()))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "array([1., 8.]), array([ 3., 12.]), array([ 6., 12.])" in done.stdout
    assert "16 checks on 'numpy', 0 failed" in done.stdout


def test_all_blocks_are_run() -> None:
    text = PAGE.read_text()
    assert len(BLOCK.findall(text)) == text.count("```python")


def test_your_own_op_takes_ten_lines() -> None:
    block = BLOCK.search(PAGE.read_text())
    assert block is not None
    lines = [line for line in block.group(2).splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) == 10
