"""`python -m graphflow debug script.py`: the commands of the prompt, on scripts that know nothing of it."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import graphflow as tf
from graphflow import inspection
from graphflow.debug import prompt, terminal

SCRIPT = """\
import sys
import graphflow as tf
x = tf.placeholder(tf.float32, [2], name="x")
w = tf.Variable([1.0, 2.0], name="w")
with tf.name_scope("layer1"):
    h = tf.multiply(x, w, name="h")
loss = tf.reduce_sum(h, name="loss")
turns = tf.while_loop(lambda i, s: i < 3, lambda i, s: [i + 1, tf.add(s, 1.0, name="more")], [0, loss], name="loop")[1]
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(2):
        print("step", step, sess.run([loss, turns], {x: [0.5, 0.25]}), sys.argv[1:])
"""


@pytest.fixture
def debug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Debug a script with these commands: (exit code, what was printed)."""

    def call(commands: str, *options: str, script: str = SCRIPT, arguments: tuple[str, ...] = ()) -> tuple[int, str]:
        path = tmp_path / "script.py"
        path.write_text(script, encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", io.StringIO(commands.replace("; ", "\n") + "\n"))
        parser = argparse.ArgumentParser()
        terminal.add_arguments(parser)
        with tf.Graph().as_default():
            code = terminal.run(parser.parse_args([*options, str(path), *arguments]))
        said = capsys.readouterr()
        assert not inspection.heralds
        return code, said.out + said.err

    return call


def test_the_first_run_stops_and_the_script_runs_on_as_it_would(debug: Any) -> None:
    before = sys.argv, list(sys.path)
    code, out = debug("continue", arguments=("-b", "3"))
    assert code == 0 and "stopped after 'w/Assign' (Assign) [step]" in out
    assert "step 0 [np.float32(1.0), np.float32(4.0)] ['-b', '3']\nstep 1 [np.float32(1.0), np.float32(4.0)]" in out
    assert (sys.argv, sys.path) == before


def test_a_breakpoint_of_the_command_line_waits_for_its_graph(debug: Any) -> None:
    code, out = debug("p; c; p layer1/h x; c", "-b", "script.py:6", "--break", "nothing/*")
    assert code == 0 and out.count("stopped after 'layer1/h' (Mul) [breakpoint 1: script.py:6]") == 2
    assert "layer1/h:0 = [0.5 0.5]" in out and "x = [0.5  0.25]" in out
    assert "no run has come by 'nothing/*'" in out


def test_steps_go_into_the_loop_past_it_and_out_of_it(debug: Any) -> None:
    code, out = debug("s; s; s; o; finish; c; q", "-b", "loss")
    assert code == 0
    stops = [line for line in out.splitlines() if "stopped" in line]
    assert [line.partition("stopped after ")[2].partition(" (")[0] for line in stops] == [
        "'loss'", "'loop/cond/Less'", "'loop/body/add'", "'loop/body/more'", "'loop/While'", "'loss'",
    ]  # fmt: skip
    code, out = debug("n; q", "-b", "loss")
    assert "stopped after 'loop/While' (While) [over]" in out


def test_values_are_set_and_variables_keep_them(debug: Any) -> None:
    code, out = debug("set layer1/h [1, 2]; set w [3.0, 4.0]; vars; clear; c", "-b", "layer1/*")
    assert code == 0 and "w: float32[2] = [3., 4.]" in out
    assert "step 0 [np.float32(3.0), np.float32(6.0)]" in out
    assert "step 1 [np.float32(2.5)" in out


def test_conditions_are_few_and_plain(debug: Any) -> None:
    _, out = debug("b loop/body/more if > 2.5; b; b if nan; c; clear 9; c; q")
    assert "breakpoint 1: loop/body/more if > 2.5" in out and "breakpoint 2: any op if nan" in out
    assert "stopped after 'loop/body/more' (Add), in turn 1 of 'loop/While'" in out
    assert "there is no breakpoint 9" in out
    for bad in ("b h if value.max() > 3", "b loss if >", "b loss if > nan", "b loss if __import__('os')"):
        assert "is no condition" in debug(f"{bad}; q")[1] or "is no value" in debug(f"{bad}; q")[1]


def test_where_list_picture_and_help(debug: Any, tmp_path: Path) -> None:
    code, out = debug(f"w; l; picture {tmp_path / 'here.svg'}; help; help b; h nothing; q", "-b", "layer1/h")
    assert code == 0 and "read   x:0: float32[2] = [0.5 , 0.25]" in out
    assert '    6 ->     h = tf.multiply(x, w, name="h")' in out
    assert "<svg" in (tmp_path / "here.svg").read_text(encoding="utf-8")
    commands = [name[3:] for name in dir(prompt.Prompt) if name.startswith("do_") and name != "do_EOF"]
    for name in commands:
        assert f"  {name}" in out, name
    assert "there is no command 'nothing'" in out


def test_mistakes_keep_the_prompt(debug: Any) -> None:
    code, out = debug("; foo; p nothing; p loss; set x; set loss __import__('os'); b; q", "-b", "layer1/h")
    assert code == 0
    for said in ("no command 'foo'", "no op named 'nothing'", "'loss:0' has not been computed", "set takes a name",
                 "is no value", "breakpoint 1: layer1/h"):  # fmt: skip
        assert said in out


def test_out_of_no_loop_is_to_the_end_of_the_run(debug: Any) -> None:
    code, out = debug("o; o; q", "-b", "loss")
    assert code == 0 and out.count("step 0") == 1
    stops = [line for line in out.splitlines() if "stopped" in line]
    assert ["[out]" in line for line in stops] == [False, True, False] and "'loop/While'" in stops[1]
    code, out = debug("o; clear; o; q", "-b", "loss")  # said at the last op: to the next run
    assert "step 0" in out and "[step]" in [line for line in out.splitlines() if "stopped" in line][-1]


def test_what_is_wrong_with_a_command_is_told_in_full(debug: Any) -> None:
    code, out = debug("step 5; where 3; clear h; set w [1]; set w [[1],[2; picture a.bmp; b; q", "-b", "layer1/h")
    assert code == 0 and "breakpoint 1: layer1/h" in out
    for said in (
        "step takes nothing after it, got '5'", "where takes nothing after it", "clear takes the number",
        "cannot take a value of that shape; expected [2], got [1]", "is no value; expected 0.5",
    ):  # fmt: skip
        assert said in out, said
    assert any("bmp" in line and "; expected" in line for line in out.splitlines())


def test_the_end_of_the_commands_ends_the_script_whatever_it_catches(debug: Any) -> None:
    script = SCRIPT.replace("    sess.run(tf", "    try:\n        sess.run(tf", 1).replace(
        "initializer())\n", "initializer())\n    except Exception:\n        pass\n", 1
    )
    code, out = debug("", script=script)
    assert code == 0 and "step 0" not in out


def test_an_op_that_fails_is_shown_with_what_it_read(debug: Any) -> None:
    script = SCRIPT.replace(
        "turns = ", 'tf.Assert(loss < 0.0, ["bad", h]); bad = tf.reshape(h, tf.cast(h, tf.int32) + 3)\nturns = '
    )
    script = script.replace("[loss, turns]", "bad")
    code, out = debug("w; p layer1/h; c", "-b", "nowhere", script=script)
    assert code == 1 and "failed in 'Reshape' (Reshape)" in out and "stopped failed" not in out
    assert "layer1/h = [0.5 0.5]" in out and out.count("(gf)") == 3


def test_an_op_that_cannot_be_built_can_be_drawn(debug: Any, tmp_path: Path) -> None:
    code, out = debug(f"c; w; p; picture {tmp_path / 'why.svg'}", script=SCRIPT + "tf.matmul(h, h, name='product')\n")
    assert code == 1 and "the script has failed:\nMatMul" in out
    assert "product" in (tmp_path / "why.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('told')", 1, "told"), ("1 / 0", 1, "ZeroDivisionError")],
)
def test_exit_codes(debug: Any, line: str, code: int, said: str) -> None:
    found, out = debug("c", script=SCRIPT + line + "\n")
    assert found == code and said in out


def test_a_script_that_is_not_there(debug: Any) -> None:
    arguments = argparse.Namespace(script="nowhere.py", arguments=[], places=[])
    with pytest.raises(tf.errors.NotFoundError, match=r"nowhere\.py"):
        terminal.run(arguments)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
def test_ctrl_c_stops_at_the_next_op(debug: Any) -> None:
    script = SCRIPT.replace("for step", "import os, signal\n    os.kill(os.getpid(), signal.SIGINT)\n    for step")
    before = signal.getsignal(signal.SIGINT)
    code, out = debug("c; q", script=script)
    assert code == 0 and "stops at the next op" in out and out.count("(gf)") == 2
    assert signal.getsignal(signal.SIGINT) is before
