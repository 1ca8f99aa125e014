"""Workers and the process: forks, the end of the interpreter, Ctrl-C, and ten thousand runs with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import pytest

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and processes")


def in_process(program: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    text = "import faulthandler; faulthandler.dump_traceback_later(50, exit=True)\n" + textwrap.dedent(program)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=timeout, check=False)


@posix
def test_a_forked_process_has_a_pool_of_its_own():
    done = in_process("""
        import os, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(8)])
        def both():
            meet = threading.Barrier(2)
            drivers.run_tasks(graph, lambda n: meet.wait(10), 2)
        both()
        child = os.fork()
        if child == 0:
            both()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        both()
    """)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_a_copy_forked_inside_a_run_is_told_so_and_the_original_goes_on():
    done = in_process("""
        import os, time
        from graphflow.errors import InternalError
        from graphflow.program import Task
        from graphflow.runtime import drivers, states, workers
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(8)])
        children = []
        def run(n):
            time.sleep(.002)
            if n == 2:
                children.append(os.fork())
        for go in (lambda: drivers.run_tasks(graph, run, 2, mine={2}), lambda: workers.share(8, run, 1)):
            try:
                go()
            except InternalError as error:
                assert 'forked inside a run' in str(error) and children == [0]
                os._exit(7)
            if children[-1] == 0:
                os._exit(8)
        codes = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
        assert codes == [7, 8], codes
    """)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("end", ["pass", "raise ValueError('the end')", "sys.exit(3)", "os._exit(4)"])
@pytest.mark.parametrize("work", ["idle", "busy"])
def test_the_interpreter_ends_at_once(end, work):
    started = time.monotonic()
    done = in_process(f"""
        import os, sys, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(8)])
        go = lambda: drivers.run_tasks(graph, lambda n: time.sleep({0.001 if work == "idle" else 100}), 3)
        if {work!r} == 'idle':
            go()
        else:
            threading.Thread(target=go, daemon=True).start()
            time.sleep(.2)
        {end}
    """)
    codes = {"pass": 0, "sys.exit(3)": 3, "os._exit(4)": 4}
    assert done.returncode == codes.get(end, 1), done.stderr
    assert time.monotonic() - started < 10


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

SOAK = """
    import os, random, signal, sys, threading, time
    from graphflow.errors import CancelledError
    from graphflow.program import Task
    from graphflow.runtime import drivers, states, workers

    SEED, RUNS = int(sys.argv[1]), int(sys.argv[2])

    class Stop(BaseException):
        pass

    armed, quit = [False], [False]

    def on_signal(*_):
        if armed[0]:
            armed[0] = False
            raise Stop

    signal.signal(signal.SIGINT, on_signal)

    def send():  # signals at any moment, so between any two steps of a run
        dice = random.Random(SEED)
        while not quit[0]:
            time.sleep(dice.random() * 1e-3)
            if armed[0]:
                os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()
    rng = random.Random(SEED)
    outcomes = dict(well=0, failed=0, cancelled=0, stopped=0)
    sys.setswitchinterval(1e-5)
    for number in range(RUNS):
        n = rng.randrange(1, 24)
        before = [rng.sample(range(i), min(i, rng.choice((0, 1, 1, 2)))) for i in range(n)]
        graph = states.task_graph([Task(i, i + 1, 1e-4, rng.random(), tuple(b)) for i, b in enumerate(before)])
        bad = set(rng.sample(range(n), rng.choice((0, 0, 1, min(n, 2)))))
        last = rng.choice((None, None, rng.randrange(n)))
        mine = set(rng.sample(range(n), rng.choice((0, 0, n // 3))))
        slow = rng.randrange(n)
        active, done = [0], set()
        cancel = threading.Event()
        guard = threading.Lock()

        def run(i):
            active.append(1)
            if i == slow:
                time.sleep(1e-4)
            if i == last:
                cancel.set()
            if number % 3 == 0 and i % 4 == 0:
                workers.share(3, lambda j: None, 2)
            active.append(-1)
            if i in bad:
                raise ValueError(i)
            done.add(i)

        try:
            try:
                armed[0] = rng.random() < 0.5
                drivers.run_tasks(graph, run, rng.choice((1, 2, 2, 3, 4)), mine, cancel.is_set)
                armed[0] = False
                assert done == set(range(n)) and not bad
                outcome = 'well'
            except ValueError as error:
                assert error.args[0] == min(bad) or last is not None
                outcome = 'failed'
            except CancelledError:
                outcome = 'cancelled'
        except Stop:  # also one that came while another exception was on its way
            outcome = 'stopped'
        outcomes[outcome] += 1
        armed[0] = False
        threads = threading.active_count()
        assert threads <= 2 + 3, threads
    quit[0] = True
    meet = threading.Barrier(4)
    drivers.run_tasks(states.task_graph([Task(i, i + 1, 1., 0., ()) for i in range(4)]), lambda i: meet.wait(20), 4)
    print(outcomes)
"""


@posix
def test_ten_thousand_runs_with_errors_cancels_and_signals_end_and_lose_no_thread():
    """At the end all four threads must still come to one run."""
    program = "import faulthandler; faulthandler.dump_traceback_later(100, exit=True)\n" + textwrap.dedent(SOAK)
    done = subprocess.run(
        [sys.executable, "-c", program, "1", "10000"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"seed=1\n{done.stdout}\n{done.stderr}"
    outcomes = eval(done.stdout, {"__builtins__": {}})
    assert sum(outcomes.values()) == 10_000
    assert min(outcomes.values()) > 500, outcomes


@posix
@pytest.mark.parametrize("way", ["os.kill(os.getpid(), signal.SIGINT)", "_thread.interrupt_main()"])
def test_ctrl_c_ends_a_run_within_a_tenth_of_a_second(way):
    done = in_process(f"""
        import _thread, os, signal, statistics, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        KERNEL = .02
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(1000)])
        late = []
        for round in range(12):
            helped = threading.Event()
            sent = []
            def run(n):
                helped.set()
                time.sleep(KERNEL)
            def send():
                helped.wait()
                time.sleep(.03)
                sent.append(time.monotonic())
                {way}
            only_helper_works = [[], []] if round % 2 else None
            sender = threading.Thread(target=send)
            sender.start()
            try:
                drivers.run_tasks(graph, run, 2)
            except KeyboardInterrupt:
                late.append(time.monotonic() - sent[0])
            sender.join()
        assert len(late) == 12, late
        assert statistics.median(late) < .1 + KERNEL, late
        drivers.run_tasks(graph, lambda n: None, 2)
    """)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_ctrl_c_reaches_a_caller_that_only_waits_and_a_second_one_does_not_leave_helpers_behind():
    done = in_process("""
        import _thread, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(2)])
        helping, inside, late = threading.Event(), [0], []
        def run(n):
            if threading.current_thread() is threading.main_thread():
                helping.wait()
                return
            inside[0] = 1
            helping.set()
            time.sleep(.4)
            inside[0] = 0
        def send():
            helping.wait()
            for _ in range(2):
                time.sleep(.1)
                _thread.interrupt_main()
        sender = threading.Thread(target=send)
        sender.start()
        try:
            drivers.run_tasks(graph, run, 2)
        except KeyboardInterrupt:
            assert inside == [0]
        else:
            raise SystemExit('not interrupted')
        sender.join()
    """)
    assert (done.returncode, done.stderr) == (0, "")
