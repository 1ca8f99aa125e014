"""`python -m graphflow devices`: the table, the JSON, and the doctor's advice for one staged failure after another.

Failures are the real thing where the environment can bring them about; the rest are played by children that tell what
a driver's child would tell, or that really abort or hang.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from graphflow_opencl import children, doctor
from graphflow_opencl.advice import ROWS, advise
from graphflow_opencl.children import Outcome
from graphflow_opencl.doctor import Surroundings

from graphflow import cli, devices

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="how the loader finds drivers is Linux's")
GPU = {
    "name": "opencl:0:0", "backend": "opencl", "type": "gpu", "device": "Card", "platform": "Vendor's OpenCL",
    "driver": "1", "version": "OpenCL 3.0", "units": 8, "memory": 1 << 33, "largest_buffer": 1 << 31, "align": 128,
    "out_of_order": True, "fission": False, "float16": True, "float64": True, "subgroups": True,
}  # fmt: skip
CPU = {**GPU, "name": "opencl:1:0", "type": "cpu", "platform": doctor.POCL, "float16": False, "device": "Processor"}


def told(*steps: tuple[str, str, dict[str, Any]], code: int = 0, **rest: Any) -> Outcome:
    lines = []
    for step, state, facts in steps:
        lines.append({"step": step, "state": "begin"})
        if state != "begin":
            lines.append({"step": step, "state": state, **facts})
    return Outcome(tuple(lines), code, **rest)


def failing(step: str, text: str) -> Outcome:
    """A child that raised within a step."""
    return Outcome(({"step": step, "state": "begin"}, {"step": "", "state": "failed", "text": text}), 1)


def listed(*records: dict[str, Any]) -> Outcome:
    """A listing with these devices, each of a platform of its own."""
    steps = [("devices", "ok", {"platform": r["platform"], "version": r["version"], "records": [r]}) for r in records]
    return told(("platforms", "ok", {}), *steps, ("order", "ok", {"names": [r["name"] for r in records]}))


def device_steps(**changed: dict[str, Any]) -> Outcome:
    facts: dict[str, dict[str, Any]] = {
        "context": {"cpu_name": None},
        "build": {"seconds": 0.5},
        "run": {},
        "accuracy": {"exp_ulp": 0.9},
        "speed": {"latency_us": 9.0, "stream_gb_s": 30.0, "gemm_gflops": 50.0},
    }
    return told(*((step, "ok", {**given, **changed.get(step, {})}) for step, given in facts.items()))


class Staged:
    """A launcher: what was given for a stage, else that all is well; `real` stages run in children of this Python."""

    def __init__(self, real: Sequence[str] = (), extra: Mapping[str, str] | None = None, **given: Any) -> None:
        self.real, self.extra, self.given = real, dict(extra or {}), given
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, words: Sequence[str], extra: Mapping[str, str], limit: float) -> Outcome:
        self.calls.append(tuple(words))
        stage = words[0]
        if stage in self.real:
            return children.run(words, {**self.extra, **extra}, limit)
        found = self.given.get(stage)
        if callable(found):
            answer: Outcome = found(words, extra, limit)
            return answer
        well: dict[str, Outcome] = {
            "import": told(("import", "ok", {"version": "1", "folder": "/nowhere"})),
            "library": told(("library", "ok", {})),
            "caches": told(
                ("cache", "ok", {"folder": "/c", "files": 0, "bytes": 0}), ("pocl cache", "ok", {"folder": "/p"})
            ),
            "platforms": listed(GPU),
            "device": device_steps(),
        }
        return well[stage] if found is None else found


def examined(launch: Staged, environment: Mapping[str, str] | None = None, **around: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "nvidia_nodes": list, "nvidia_library": lambda: None, "default_folder": "/nonexistent/vendors",
    }  # fmt: skip
    return doctor.examine(True, Surroundings(launch, environment or {}, **{**defaults, **around}))


def failures(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(c["step"], c["subject"], c["text"], c["advice"]) for c in report["checks"] if c["state"] == "failed"]


def the_failure(report: dict[str, Any], step: str) -> tuple[str, str]:
    """Text and advice of the only failure."""
    found = failures(report)
    assert [f[0] for f in found] == [step], found
    return found[0][2], found[0][3]


# -- the command ---------------------------------------------------------------------------------------------------


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(["devices", *words])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put reports in the place of what backends would tell."""

    def put(*given: dict[str, Any]) -> None:
        monkeypatch.setattr(devices, "examine", lambda doctor: list(given))

    monkeypatch.delenv("GRAPHFLOW_DEVICE", raising=False)
    return put


def test_both_backends_tell_of_their_devices() -> None:
    found = {point.name: point.value for point in metadata.entry_points(group=devices.GROUP)}
    expected = {"numpy": "graphflow_numpy.devices:examine", "opencl": "graphflow_opencl.doctor:examine"}
    assert expected.items() <= found.items(), 'run `pip install -e ".[all,test]"` once'


def test_the_table_for_people(reports: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    reports({"backend": "opencl", "devices": [{**GPU, "chosen": True}, CPU], "checks": []})
    code, out = called(capsys)
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == ["NAME", "TYPE", "DEVICE", "UNITS", "MEMORY", "DRIVER"]
    assert lines[1].split() == ["opencl:0:0", "gpu", "Card", "8", "8.0", "GiB", "Vendor's", "OpenCL", "1"]
    assert lines[2].startswith("opencl:1:0  cpu   Processor")
    assert 'Session(device="opencl") takes opencl:0:0.' in out and "GRAPHFLOW_DEVICE" in out


def test_failures_are_shown_with_their_advice(reports: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    good = {"step": "import", "subject": "x", "state": "ok", "text": "version 7", "advice": None}
    bad = {"step": "cache", "subject": "/c", "state": "failed", "text": "is full", "advice": "empty it"}
    reports({"backend": "opencl", "devices": [], "checks": [good, bad]})
    code, out = called(capsys)
    assert code == 0 and "/c: is full" in out and "-> empty it" in out and "version 7" not in out
    assert "--doctor tells more" in out
    code, out = called(capsys, "--doctor")
    assert code == 1 and "/c: is full" in out and "-> empty it" in out and "version 7" in out
    reports({"backend": "opencl", "devices": [], "checks": [good]})
    code, out = called(capsys, "--doctor")
    assert code == 0 and out.endswith("no failures\n")


def test_json_has_one_record_a_device(reports: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    bad = {"step": "cache", "subject": "/c", "state": "failed", "text": "is full", "advice": "empty it"}
    reports({"backend": "opencl", "devices": [GPU, CPU], "checks": [bad]})
    code, out = called(capsys, "--json")
    assert code == 0
    assert json.loads(out) == {"devices": [GPU, CPU], "checks": [{"backend": "opencl", **bad}]}


def test_the_real_command(tmp_path: Path) -> None:
    """As a module, with whatever OpenCL this machine has."""
    command = [sys.executable, "-W", "error", "-m", "graphflow", "devices", "--json"]
    patient = {**os.environ, "GRAPHFLOW_DOCTOR_SECONDS": "250"}
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=280, cwd=tmp_path, env=patient)
    assert (run.returncode, run.stderr) == (0, "")
    records = {record["name"]: record for record in json.loads(run.stdout)["devices"]}
    measured = {"latency_us", "stream_gb_s", "gemm_gflops"}
    told_of_all = set(GPU) | measured | {"chosen"}
    assert "numpy" in records and all(told_of_all <= set(record) for record in records.values())
    assert all(record[name] > 0 for record in records.values() for name in measured)
    assert records["numpy"]["units"] >= 1 and records["numpy"]["device"]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ModuleNotFoundError("No module named 'pyopencl'", name="pyopencl"), 'pip install "pyopencl[pocl]"'),
        (ModuleNotFoundError("No module named 'pytools.x'", name="pytools.x"), "pip install pytools"),
        (RuntimeError("broken"), "install the backend again"),
    ],
)
def test_a_backend_that_cannot_be_loaded(
    error: Exception, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Entry:
        name = "opencl"

        def load(self) -> Any:
            raise error

    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry()])
    code, out = called(capsys, "--doctor")
    assert code == 1 and str(error) in out and f"-> {advice}" in out


def test_without_any_backend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: [])
    assert "-> run `pip install -e .` in the checkout" in called(capsys)[1]


# -- all is well ---------------------------------------------------------------------------------------------------


def test_a_healthy_machine() -> None:
    report = examined(Staged(platforms=listed(GPU, CPU)))
    assert failures(report) == []
    first, second = report["devices"]
    assert (first["name"], first["chosen"], second["chosen"]) == ("opencl:0:0", True, False)
    assert first["latency_us"] == 9 and first["gemm_gflops"] == 50 and first["exp_ulp"] == 0.9
    notes = [(c["subject"], c["text"]) for c in report["checks"] if c["state"] == "note"]
    assert [subject for subject, _ in notes] == ["opencl:1:0", "opencl:1:0"] and "float16" in notes[0][1]


def test_without_the_doctor_no_device_is_tried() -> None:
    launch = Staged(platforms=listed(GPU, CPU))
    report = doctor.examine(False, Surroundings(launch, {"GRAPHFLOW_DEVICE": "opencl:1:0"}, list))
    assert launch.calls == [("import",), ("platforms",)]
    assert [(d["name"], d["chosen"]) for d in report["devices"]] == [("opencl:0:0", False), ("opencl:1:0", True)]


# -- failures that the environment brings about --------------------------------------------------------------------


def test_pyopencl_is_not_installed(tmp_path: Path) -> None:
    stub = tmp_path / "pyopencl"
    stub.mkdir()
    hidden = "raise ModuleNotFoundError(\"No module named 'pyopencl'\", name='pyopencl')\n"
    (stub / "__init__.py").write_text(hidden)

    def import_child(words: Sequence[str], extra: Mapping[str, str], limit: float) -> Outcome:
        path = os.pathsep.join([str(tmp_path), str(Path(doctor.__file__).parents[1]), *filter(None, sys.path)])
        return children.run_command(
            [sys.executable, "-m", "graphflow_opencl.stages", *words], {**extra, "PYTHONPATH": path}, limit
        )

    launch = Staged(**{"import": import_child})
    report = examined(launch)
    text, advice = the_failure(report, "import")
    assert "No module named 'pyopencl'" in text and advice.startswith('pip install "pyopencl[pocl]"')
    assert report["devices"] == [] and launch.calls == [("import",)]


@LINUX
@pytest.mark.parametrize(
    ("content", "said", "mend"),
    [
        ("/nonexistent/libvendor.so\n", "cannot open shared object", "package that has /nonexistent/libvendor.so"),
        ("libm.so.6\n", "not an OpenCL driver", "echo /path/to/libdriver.so >"),
        ("{folder}/text.so\n", "invalid ELF header", "echo /path/to/libdriver.so >"),
    ],
)
def test_an_icd_file_with_a_bad_library(content: str, said: str, mend: str, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("this is no library, " * 20)
    icd = tmp_path / "bad.icd"
    icd.write_text(content.format(folder=tmp_path))
    report = examined(Staged(real=["library"]), {"OCL_ICD_VENDORS": str(tmp_path)})
    text, advice = the_failure(report, "library")
    assert said in text and mend in advice and str(icd) in advice
    assert [d["name"] for d in report["devices"]] == ["opencl:0:0"]  # the others are looked at all the same


@pytest.mark.parametrize("variable", ["OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH"])
def test_a_folder_of_drivers_that_is_not_there_or_empty(variable: str, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone") + "/"
    text, advice = the_failure(examined(Staged(), {variable: gone}), "vendors")
    assert "does not exist" in text and f"unset {variable}" in advice
    text, advice = the_failure(examined(Staged(), {variable: str(tmp_path)}), "vendors")
    assert "has no .icd file" in text and f"unset {variable}" in advice


def test_an_empty_icd_file(tmp_path: Path) -> None:
    (tmp_path / "a.icd").touch()
    text, advice = the_failure(examined(Staged(), {"OCL_ICD_VENDORS": str(tmp_path)}), "vendors")
    assert "empty" in text and "echo /path/to/libdriver.so" in advice and "a.icd" in advice


def test_the_variable_of_another_loader() -> None:
    text, advice = the_failure(examined(Staged(), {"OCL_ICD_FILENAMES": "/x/libdriver.so"}), "vendors")
    assert "OCL_ICD_FILENAMES" in text and advice.startswith("set OCL_ICD_VENDORS instead")


def test_one_icd_file_or_a_library_by_name(tmp_path: Path) -> None:
    icd = tmp_path / "one.icd"
    icd.write_text("libone.so\n")
    for given, library in ((str(icd), "libone.so"), ("libtwo.so.1", "libtwo.so.1")):
        launch = Staged()
        assert failures(examined(launch, {"OCL_ICD_VENDORS": given})) == []
        assert ("library", library) in launch.calls


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    """Under a file there is no folder, not even for root."""
    pytest.importorskip("pyopencl")
    blocked = tmp_path / "file"
    blocked.touch()
    extra = {"GRAPHFLOW_CACHE": str(blocked / "own"), "POCL_CACHE_DIR": str(tmp_path / "pocl")}
    text, advice = the_failure(examined(Staged(real=["caches"], extra=extra)), "cache")
    assert "Not a directory" in text and advice.startswith("export GRAPHFLOW_CACHE=")
    extra = {"GRAPHFLOW_CACHE": str(tmp_path / "own"), "POCL_CACHE_DIR": str(blocked / "pocl")}
    text, advice = the_failure(examined(Staged(real=["caches"], extra=extra)), "pocl cache")
    assert "Not a directory" in text and advice.startswith("export POCL_CACHE_DIR=")


def test_pocl_without_its_cache_has_no_device(tmp_path: Path) -> None:
    cl = pytest.importorskip("pyopencl")
    if doctor.POCL not in {platform.name for platform in cl.get_platforms()}:
        pytest.skip("PoCL is not installed")
    blocked = tmp_path / "file"
    blocked.touch()
    extra = {"XDG_CACHE_HOME": str(blocked), "GRAPHFLOW_CACHE": str(tmp_path / "own")}
    if "POCL_CACHE_DIR" in os.environ:  # it goes first
        extra["POCL_CACHE_DIR"] = str(blocked / "pocl")
    launch = Staged(real=["platforms", "caches"], extra=extra)
    found = [f for f in failures(examined(launch)) if f[0] == "devices"]
    assert len(found) == 1 and "it has no device; PoCL's cache cannot be written" in found[0][2]
    assert found[0][3].startswith("export POCL_CACHE_DIR=")


@pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler")
def test_a_vendor_that_really_aborts(tmp_path: Path) -> None:
    source = tmp_path / "aborting.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void f(void)\n"
        '{ fputs("no licence\\n", stderr); abort(); }\n'
    )
    made = tmp_path / "libaborting.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(made), str(source)], check=True, timeout=100)
    (tmp_path / "aborting.icd").write_text(f"{made}\n")
    text, advice = the_failure(examined(Staged(real=["library"]), {"OCL_ICD_VENDORS": str(tmp_path)}), "library")
    assert "SIGABRT: no licence" in text and "leave that driver out" in advice and "aborting.icd" in advice


# -- failures that are played --------------------------------------------------------------------------------------

ABORT = "import os, sys; sys.stderr.write('Not enough memory to run on this device\\n'); sys.stderr.flush(); os.abort()"
HANG = "import time; time.sleep(600)"


def python(code: str, limit: float) -> Callable[..., Outcome]:
    return lambda words, extra, _: children.run_command([sys.executable, "-c", code], extra, limit)


@LINUX
def test_a_child_that_aborts() -> None:
    text, advice = the_failure(examined(Staged(device=python(ABORT, 60))), "start")
    assert "SIGABRT" in text and "Not enough memory" in text and advice.startswith("mount /sys")


def test_how_long_the_doctor_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHFLOW_DOCTOR_SECONDS", raising=False)
    for given, limit in (("", 60), ("250", 250), ("soon", 60), ("-1", 60), ("nan", 60)):
        assert doctor.time_limit({"GRAPHFLOW_DOCTOR_SECONDS": given}) == limit
    assert Surroundings().limit is None


def test_a_driver_that_hangs() -> None:
    report = examined(Staged(device=python(HANG, 1)))
    text, advice = the_failure(report, "start")
    assert text == "no answer within 1 s" and "GRAPHFLOW_DOCTOR_SECONDS=600" in advice


def test_the_driver_at_fault_is_named(tmp_path: Path) -> None:
    for name in ("good", "guilty"):
        (tmp_path / f"{name}.icd").write_text(f"lib{name}.so\n")

    def platforms(words: Sequence[str], extra: Mapping[str, str], limit: float) -> Outcome:
        alone = extra.get("OCL_ICD_VENDORS")
        return listed(GPU) if alone is not None and "good" in alone else Outcome((), -6, None, "boom")

    found = failures(examined(Staged(platforms=platforms), {"OCL_ICD_VENDORS": str(tmp_path)}))
    assert [(step, Path(subject).name) for step, subject, *_ in found] == [("driver", "guilty.icd")]
    assert "SIGABRT: boom" in found[0][2] and "leave that driver out" in found[0][3] and "guilty.icd" in found[0][3]


def test_nvidia_without_its_icd_file() -> None:
    nodes: dict[str, Any] = {"nvidia_nodes": lambda: ["/dev/nvidia0"]}
    library = "/usr/local/nvidia/lib64/libnvidia-opencl.so.1"
    text, advice = the_failure(examined(Staged(), **nodes, nvidia_library=lambda: library), "nvidia")
    assert "/dev/nvidia0" in text
    assert f"echo {library} > /etc/OpenCL/vendors/nvidia.icd" in advice and f"OCL_ICD_VENDORS={library}" in advice
    text, advice = the_failure(examined(Staged(), **nodes), "library")
    assert "libnvidia-opencl.so.1" in text and "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in advice
    there = listed({**GPU, "platform": "NVIDIA CUDA"})
    assert failures(examined(Staged(platforms=there), **nodes)) == []


@pytest.mark.parametrize("wanted", ["opencl:7:0", "opencl:nonsense"])
def test_a_choice_that_is_not_there(wanted: str) -> None:
    text, advice = the_failure(examined(Staged(), {"GRAPHFLOW_DEVICE": wanted}), "choice")
    assert wanted in text and advice.endswith("opencl:0:0")


PLAYED = [
    ("platforms", failing("platforms", "LogicError: clGetPlatformIDs failed: PLATFORM_NOT_FOUND_KHR"),
     "platforms", "pip install pocl-binary-distribution"),
    ("platforms", told(("platforms", "ok", {"count": 0})), "platforms", "searched /nonexistent/vendors"),
    ("platforms", told(("platforms", "ok", {}), ("devices", "failed", {"platform": "P", "text": "DEVICE_NOT_FOUND"})),
     "devices", "ls -l /dev/dri"),
    ("device", failing("context", "RuntimeError: Context failed: OUT_OF_RESOURCES"), "context", "nvidia-smi lists it"),
    ("device", failing("context", "RuntimeError: Context failed: OUT_OF_HOST_MEMORY"), "context", "more memory"),
    ("device", failing("context", "RuntimeError: Context failed: DEVICE_NOT_AVAILABLE"), "context", "clinfo"),
    ("device", failing("context", "LogicError: Context failed: INVALID_VALUE"), "context", "reboot after an update"),
    ("device", failing("build", "RuntimeError: error: unknown target CPU 'generic'"), "build", "older than this CPU"),
    ("device", failing("build", "RuntimeError: BUILD_PROGRAM_FAILURE"), "build", "it refuses plain OpenCL C 1.2"),
    ("device", failing("run", "ArithmeticError: 1000 sums that are 999 came out as 0 to 3"), "run", "do not use"),
    ("device", device_steps(accuracy={"exp_ulp": 1772.0}), "accuracy", "expect errors of that size"),
    ("device", Outcome(({"step": "run", "state": "begin"},), -9), "run", "give the container more memory"),
    ("device", Outcome(({"step": "run", "state": "begin"},), -4), "run", "made for another CPU"),
    ("import", failing("import", "ImportError: numpy.dtype size changed, binary incompatibility"),
     "import", "--upgrade pyopencl numpy"),
    ("import", failing("import", "ImportError: undefined symbol: clFoo"), "import", "--force-reinstall"),
]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("stage", "outcome", "step", "mend"), PLAYED)
def test_a_failure_that_is_played(stage: str, outcome: Outcome, step: str, mend: str) -> None:
    _, advice = the_failure(examined(Staged(**{stage: outcome})), step)
    assert mend in advice


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("libimf.so: cannot open shared object file", "pip install intel-cmplr-lib-rt"),
        ("libtbb.so.12: cannot open shared object file", "pip install tbb"),
        ("libnvidia-opencl.so.1: cannot open shared object file", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        ("libhsa-runtime64.so.1: cannot open shared object file", "install the package that has libhsa-runtime64.so.1"),
    ],
)
def test_a_library_that_a_driver_lacks(text: str, mend: str, tmp_path: Path) -> None:
    (tmp_path / "vendor.icd").write_text("libvendor.so\n")
    launch = Staged(library=failing("library", text))
    assert mend in the_failure(examined(launch, {"OCL_ICD_VENDORS": str(tmp_path)}), "library")[1]


def test_there_is_advice_for_everything() -> None:
    for step in {row.step for row in ROWS} | {"anything"}:
        advice = advise(step, "something that nobody has met")
        assert advice and "{" not in advice


# -- children ------------------------------------------------------------------------------------------------------


def test_what_a_driver_prints_is_kept_apart() -> None:
    code = 'print("noise"); print(\'more\\x1e{"step": "import", "state": "ok"}\'); raise SystemExit(3)'
    found = children.run_command([sys.executable, "-c", code], {}, 60)
    assert found.lines == ({"step": "import", "state": "ok"},)
    assert found.trouble == "the process ended with status 3: noise | more"


def test_a_line_that_was_cut_off() -> None:
    code = 'print(\'\\x1e{"step": "import", "state": "begin"}\'); print(\'\\x1e{"step": "imp\')'
    found = children.run_command([sys.executable, "-c", code], {}, 60)
    assert (found.begun, found.trouble) == ("import", None)
