"""The pages of `docs` do what they say: the blocks of a page are one program, and its command lines are called."""

from __future__ import annotations

import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest

import graphflow as tf
from graphflow import cli
from graphflow.debug.prompt import Prompt
from graphflow.render import engines, picture
from graphflow.runtime.watching.debugger import Debugger
from tests.documents import ROOT, blocks, commands, mentioned, missing_files, run, text_of

LOOKING, PICTURES = text_of("docs/looking-inside.md"), text_of("docs/pictures.md")
PAGES = {"looking-inside": LOOKING, "pictures": PICTURES}
WRITTEN = {  # by each page, at least
    "looking-inside": {
        "net.png", "net.html", "loss.svg", "gradients.svg", "rewrites.svg", "schedule.svg", "memory.svg", "network.svg",
        "loss.png", "regions.png", "surface.png", "time.svg", "run.json", "timeline.json", "traced.svg", "values.svg",
        "here.svg", "why.svg", "logs", "near.svg", "open.svg", "net.svg", "net.json", "why.json",
    },
    "pictures": {"net.png", "net.html", "gradients.svg"},
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setattr("sys.stdin", io.StringIO("where\ncontinue\n" * 50))  # for the debugger's prompt
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(PAGES[page], "python", "bash")
    late = [block for block in found if block.kind == "bash"]  # a script may come after the line that names it
    for number, block in enumerate(block for block in found if block.kind == "python"):
        assert run(block, number, names).rstrip() == block.printed.rstrip(), block.body
    for words in [words for block in late for words in commands(block)]:
        with tf.Graph().as_default():
            assert cli.main(words) == 0, words
    assert ("(gf) stopped after 'model/" in capsys.readouterr().out) == ("debug --break" in PAGES[page])
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= WRITTEN[page]
    assert all(path.stat().st_size > 100 for path in tmp_path.glob("*.*g"))


def test_every_block_is_run() -> None:
    for page, text in PAGES.items():
        assert text.count("\n```python\n") == len(blocks(text, "python")) > 0, page
        assert text.count("\n```bash\n") == len(blocks(text, "bash")), page
    assert sum(len(commands(block)) for block in blocks(LOOKING, "bash")) >= 12


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_what_a_page_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert missing_files(text, path.parent) == []
    absent = {"looking-inside": ["summary.audio"]}.get(path.stem, [])
    assert [name for name, exists in mentioned(text).items() if not exists] == absent


def test_every_link_into_a_page_has_its_heading() -> None:
    linked = re.findall(r"\]\(docs/looking-inside\.md#([\w-]+)\)", text_of("README.md"))
    headings = [line.lstrip("# ").lower().replace(" ", "-") for line in LOOKING.splitlines() if line.startswith("#")]
    assert len(linked) >= 3 and [link for link in linked if link not in headings] == []


def test_the_commands_that_look_inside_are_shown() -> None:
    table = text_of("README.md").partition("| `python -m graphflow` |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+) ", table, re.MULTILINE)
    called = {words[0] for block in blocks(LOOKING, "bash") for words in commands(block)}
    assert listed == ["show", "render", "explain", "trace", "debug", "compare"]
    assert called == set(listed) - {"compare"}  # which the README shows


def test_every_variable_of_the_environment_is_read_somewhere() -> None:
    texts = [text_of("README.md"), *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    named = {name for text in texts for name in re.findall(r"\bGRAPHFLOW_[A-Z_]+", text)}
    sources = [path for folder in ("graphflow", "backends") for path in (ROOT / folder).rglob("*.py")]
    read = {name for path in sources for name in re.findall(r'"(GRAPHFLOW_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    assert named and named - read == set()


def test_every_option_named_beside_the_blocks_is_taken_somewhere() -> None:
    prose = re.sub(r"^```.*?^```$", "", LOOKING, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"(?<=[`(, ])(\w+)=", " ".join(re.findall(r"`[^`\n]+`", prose))))
    takers = [tf.plot.curves, tf.plot.regions, tf.plot.surface, picture.as_view, tf.debug.DebugMode.__init__]
    takers += [tf.Session.observe, tf.Session.check_numerics, tf.Session.profile]
    taken = {name for taker in takers for name in inspect.signature(taker).parameters}
    assert {"steps_per_epoch", "ax", "allow_infinity", "level", "tolerance"} <= named <= taken


def test_every_word_of_the_debugger_is_there() -> None:
    prompt = LOOKING.partition("The commands are ")[2].partition(";")[0]
    assert set(re.findall(r"`(\w+)`", prompt)) == {
        name.removeprefix("do_") for name in dir(Prompt) if name.startswith("do_")
    } - {"EOF", "help"}
    methods = re.findall(r"`(?:debugger\.)?(\w+)\([^`]*\)`", LOOKING.partition("### The step debugger")[2])
    assert {"step", "over", "out", "continue_", "finish", "where", "picture", "set", "value"} <= set(methods)
    assert [name for name in methods if not hasattr(Debugger, name)] == []


def test_every_extra_is_listed() -> None:
    project = text_of("pyproject.toml").partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", project, re.MULTILINE))
    table = text_of("README.md").partition("| extra |")[2].partition("\n\n")[0]
    listed = {word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert listed == extras - {"all", "onnx"}  # nothing needs `onnx` so far


def test_the_tables_of_pictures_are_complete() -> None:
    options = {word.rstrip("=") for row in rows_of("option") for word in re.findall(r"`(\w+)=?", row.split("|")[1])}
    options |= {word for row in rows_of("option") for word in re.findall(r"(\w+)=", row.split("|")[1])}
    taken = {**inspect.signature(picture.as_view).parameters, **inspect.signature(picture.render).parameters}
    assert options - taken.keys() == set()
    assert taken.keys() - options == {"target", "path", "format", "engine", "timeout", "options"}
    assert all(f"`{name}=" in PICTURES for name in ("format", "timeout")) and '`engine="' in PICTURES
    assert [re.findall(r"`([\w-]+)`", row)[0] for row in rows_of("engine")] == list(engines.ENGINES)
    formats = set(re.findall(r"`\.(\w+)`", PICTURES))
    assert formats == set(picture.FORMATS)
    assert all(f'"{view}"' in PICTURES for view in picture.VIEWS)


def rows_of(head: str) -> list[str]:
    """The rows of the table in `docs/pictures.md` that has this first column."""
    table = re.search(rf"^\| {head} \|.*\n\|[- |]+\n((?:\|.*\n)+)", PICTURES, re.MULTILINE)
    assert table is not None
    return table[1].splitlines()
