"""Workers and the process: forks, the end of the interpreter, Ctrl-C, and ten thousand runs with all of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap

import pytest

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and processes")


HANGS = 200  # seconds: what takes longer hangs, on the busiest machine
START = f"""
import faulthandler, signal
faulthandler.dump_traceback_later({HANGS}, exit=True)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a program that was started in the background ignores it
"""


def in_process(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; if it hangs, it ends with the stacks of its threads on standard error."""
    command = [sys.executable, "-c", START + textwrap.dedent(program), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS + 60, check=False)


@posix
def test_a_forked_process_has_a_pool_of_its_own():
    done = in_process("""
        import os, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(8)])
        def both():
            meet = threading.Barrier(2)
            drivers.run_tasks(graph, lambda n: meet.wait(60), 2)
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
    """And does not wait for tasks that take for ever."""
    done = in_process(f"""
        import os, sys, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(8)])
        go = lambda: drivers.run_tasks(graph, lambda n: time.sleep({0.001 if work == "idle" else 10_000}), 3)
        if {work!r} == 'idle':
            go()
        else:
            threading.Thread(target=go, daemon=True).start()
            time.sleep(.2)
        {end}
    """)
    codes = {"pass": 0, "sys.exit(3)": 3, "os._exit(4)": 4}
    assert done.returncode == codes.get(end, 1), done.stderr
    assert "Timeout" not in done.stderr, done.stderr


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

SOAK = """
    import itertools, os, random, signal, sys, threading, time
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

    meet = threading.Barrier(4)
    all_four = states.task_graph([Task(i, i + 1, 1., 0., ()) for i in range(4)])
    drivers.run_tasks(all_four, lambda i: meet.wait(60), 4)  # all threads are there before the first signal
    threading.Thread(target=send, daemon=True).start()
    rng = random.Random(SEED)
    outcomes = dict(well=0, failed=0, cancelled=0, stopped=0)
    sys.setswitchinterval(1e-5)
    for number in itertools.count():  # how often a signal hits is chance: as many runs as it takes
        if number >= RUNS and min(outcomes.values()) >= RUNS // 20:
            break
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
                armed[0] = False  # before the outer `try` is left
                assert error.args[0] == min(bad) or last is not None
                outcome = 'failed'
            except CancelledError:
                armed[0] = False
                outcome = 'cancelled'
        except Stop:  # also one that came while another exception was on its way
            outcome = 'stopped'
        outcomes[outcome] += 1
        threads = threading.active_count()
        assert threads <= 2 + 3, threads
    quit[0] = True
    drivers.run_tasks(all_four, lambda i: meet.wait(60), 4)
    print(outcomes)
"""


@posix
def test_ten_thousand_runs_with_errors_cancels_and_signals_end_and_lose_no_thread():
    """At the end all four threads must still come to one run."""
    done = in_process(SOAK, "1", "10000")
    assert done.returncode == 0, f"seed=1\n{done.stdout}\n{done.stderr}"
    outcomes = ast.literal_eval(done.stdout)
    assert sum(outcomes.values()) >= 10_000 and min(outcomes.values()) >= 500


@posix
@pytest.mark.parametrize("way", ["os.kill(os.getpid(), signal.SIGINT)", "_thread.interrupt_main()"])
def test_ctrl_c_ends_a_run_within_a_tenth_of_a_second(way):
    """Counted in tasks that are begun after the signal, which a busy machine slows like everything else."""
    done = in_process(f"""
        import _thread, os, signal, statistics, threading, time
        from graphflow.program import Task
        from graphflow.runtime import drivers, states
        KERNEL = .02
        graph = states.task_graph([Task(n, n + 1, 1e-4, 0., ()) for n in range(1000)])
        late = []
        for round in range(12):
            helped = threading.Event()
            sent, after = [], []
            def run(n):
                if sent:
                    after.append(n)
                helped.set()
                time.sleep(KERNEL)
            def send():
                helped.wait()
                time.sleep(.03)
                sent.append(True)
                {way}
            sender = threading.Thread(target=send)
            sender.start()
            try:
                drivers.run_tasks(graph, run, 2)
            except KeyboardInterrupt:
                late.append(len(after))
            sender.join()
        assert len(late) == 12, late
        assert statistics.median(late) <= 2 * .1 / KERNEL, late  # by two threads
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
        helping, both, inside = threading.Event(), threading.Event(), [0]
        def run(n):
            if threading.current_thread() is threading.main_thread():
                helping.wait()
                return
            inside[0] = 1
            helping.set()
            both.wait()
            time.sleep(.1)
            inside[0] = 0
        def send():
            helping.wait()
            for _ in range(2):
                time.sleep(.1)
                _thread.interrupt_main()
            both.set()
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
