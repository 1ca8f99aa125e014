"""All OpenCL devices and what is wrong with them: `python -m graphflow devices [--doctor]`.

Policy: nothing of a driver is ever loaded here; each stage runs in a child (`stages`), and what a child cannot tell
because it died or hung is told for it.  A failure stops what depends on it and nothing else.  Each failure is one check
with one line of advice (`advice`).  The report is made of plain values, ready for JSON.

State: none.
"""

from __future__ import annotations

import glob
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from graphflow_opencl import children
from graphflow_opencl.advice import advise

LIMIT = 60.0  # seconds for a stage, unless GRAPHFLOW_DOCTOR_SECONDS says otherwise; a busy machine may compile for ten
MOST_ULP = 4.0
POCL = "Portable Computing Language"
DEFAULT_FOLDER = "/etc/OpenCL/vendors"
NVIDIA_LIBRARY = "libnvidia-opencl.so.1"


def _icd_files(folder: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), "*.icd")))


def _nvidia_nodes() -> list[str]:
    return sorted(glob.glob("/dev/nvidia[0-9]*"))


def _nvidia_library() -> str | None:
    """Where NVIDIA's OpenCL library is, as an .icd file may name it; None if it is nowhere."""
    folders = [f for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f]
    folders += glob.glob("/usr/local/nvidia/lib*") + glob.glob("/usr/lib/*/nvidia/current")
    for folder in folders:
        if os.path.exists(os.path.join(folder, NVIDIA_LIBRARY)):
            return os.path.join(folder, NVIDIA_LIBRARY)
    try:
        listed = subprocess.run(["ldconfig", "-p"], check=False, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return NVIDIA_LIBRARY if NVIDIA_LIBRARY in listed else None


class Surroundings(NamedTuple):
    """What the doctor looks at; tests put something else in."""

    launch: children.Launcher = children.run
    environment: Mapping[str, str] = os.environ
    nvidia_nodes: Callable[[], list[str]] = _nvidia_nodes
    nvidia_library: Callable[[], str | None] = _nvidia_library
    limit: float | None = None  # seconds; None: what the environment says
    default_folder: str = DEFAULT_FOLDER


class Vendor(NamedTuple):
    """A driver as the loader is told of it."""

    file: str  # the .icd file, or the library itself
    library: str
    bundled: bool = False  # with pyopencl: it is loaded whatever the environment says


def examine(doctor: bool, around: Surroundings | None = None) -> dict[str, Any]:
    """The devices, and with `doctor` how each stage went and how fast the devices are."""
    return _Examination(doctor, around or Surroundings()).report()


def time_limit(environment: Mapping[str, str]) -> float:
    """How long a stage may take, in seconds."""
    try:
        given = float(environment.get("GRAPHFLOW_DOCTOR_SECONDS", ""))
    except ValueError:
        return LIMIT
    return given if 0 < given < float("inf") else LIMIT


class _Examination:
    """One look at all drivers."""

    def __init__(self, doctor: bool, around: Surroundings) -> None:
        self.doctor, self.around = doctor, around
        self.limit = time_limit(around.environment) if around.limit is None else around.limit
        self.checks: list[dict[str, Any]] = []
        self.devices: list[dict[str, Any]] = []
        self.searched: list[str] = []

    def report(self) -> dict[str, Any]:
        wheel = self._import()
        if wheel is not None:
            vendors = self._vendors(wheel)
            if self.doctor:
                for vendor in vendors:
                    self._library(vendor)
                self._caches()
            self._platforms(vendors)
            self._nvidia()
            self._choice()
            if self.doctor:
                for record in self.devices:
                    self._device(record)
        return {"backend": "opencl", "devices": self.devices, "checks": self.checks}

    # -- what is told ---------------------------------------------------------------------------------------------

    def _ok(self, step: str, subject: str, text: str) -> None:
        self.checks.append({"step": step, "subject": subject, "state": "ok", "text": text, "advice": None})

    def _note(self, step: str, subject: str, text: str) -> None:
        self.checks.append({"step": step, "subject": subject, "state": "note", "text": text, "advice": None})

    def _failed(self, step: str, subject: str, text: str, **known: str) -> None:
        names = ", ".join(d["name"] for d in self.devices if d["name"] != subject) or "none"
        said = " ".join(text.split())
        advice = advise(step, said, **{"subject": subject, "names": names, **known})
        self.checks.append({"step": step, "subject": subject, "state": "failed", "text": said, "advice": advice})

    def _child(self, *words: str, **extra: str) -> children.Outcome:
        return self.around.launch(words, extra, self.limit)

    # -- before any driver ----------------------------------------------------------------------------------------

    def _import(self) -> str | None:
        """The folder of pyopencl, or None if it cannot be imported."""
        found = self._child("import")
        told = found.of("import")
        if not told:
            self._failed("import", "pyopencl", found.trouble or "the child process told nothing")
            return None
        self._ok("import", "pyopencl", f"version {told[0]['version']}")
        return str(told[0]["folder"])

    def _vendors(self, wheel: str) -> list[Vendor]:
        """The drivers that the loader will look for, as ocl-icd does."""
        environment = self.around.environment
        if environment.get("OCL_ICD_FILENAMES"):
            self._failed("vendors", "OCL_ICD_FILENAMES", "OCL_ICD_FILENAMES is set, and this loader does not know it")
        variable = next((v for v in ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH") if environment.get(v)), None)
        place = environment[variable] if variable else self.around.default_folder
        folder = os.path.join(wheel, ".libs")
        bundled = [v._replace(bundled=True) for v in self._read(_icd_files(folder))]
        self.searched = [place, folder]
        files = _icd_files(place)
        if variable and not os.path.isdir(place):
            if place.endswith(".icd") and os.path.exists(place):
                files = [place]
            elif variable == "OCL_ICD_VENDORS" and not place.endswith(("/", ".icd")):
                return [Vendor(place, place), *bundled]
            else:
                self._failed("vendors", place, f"{variable} is {place}, which does not exist", variable=variable)
        elif variable and not files:
            self._failed("vendors", place, f"{variable} is {place}, which has no .icd file", variable=variable)
        return [*self._read(files), *bundled]

    def _read(self, files: list[str]) -> list[Vendor]:
        vendors = []
        for file in files:
            try:
                lines = Path(file).read_text("utf-8", "replace").split("\n")
            except OSError as error:
                self._failed("vendors", file, str(error))
                continue
            name = lines[0].strip()
            if not name:
                self._failed("vendors", file, "the file is empty")
                continue
            beside = os.path.join(os.path.dirname(file), name)
            vendors.append(Vendor(file, beside if "/" not in name and os.path.exists(beside) else name))
        return vendors

    def _library(self, vendor: Vendor) -> None:
        found = self._child("library", vendor.library)
        if found.trouble is None:
            self._ok("library", vendor.file, f"{os.path.basename(vendor.library)} can be opened")
        else:
            self._failed("library", vendor.file, found.trouble)

    def _caches(self) -> None:
        found = self._child("caches")
        trouble = found.trouble
        for told in found.of("cache"):
            if told["state"] == "ok":
                size = f"{told['files']} programs, {told['bytes'] / 2**20:.1f} MiB"
                self._ok("cache", told["folder"], size)
            else:
                self._failed("cache", told["folder"], told["text"])
        if trouble is not None:
            place = next((str(x["folder"]) for x in reversed(found.lines) if "folder" in x), "the cache")
            self._failed(found.begun, place, trouble)

    # -- platforms and devices ------------------------------------------------------------------------------------

    def _platforms(self, vendors: list[Vendor]) -> None:
        found = self._child("platforms")
        for told in found.of("devices"):
            name = str(told["platform"])
            if told["state"] == "ok" and told["records"]:
                self.devices += told["records"]
                self._ok("platform", name, str(told["version"]).partition("  ")[0])  # PoCL adds how it was built
            else:
                text = str(told.get("text", "it has no device"))
                text += "; PoCL's cache cannot be written" if name == POCL and self._pocl_cache_fails() else ""
                self._failed("devices", name, text)
        order: list[str] = next((told["names"] for told in found.of("order")), [])
        self.devices.sort(key=lambda d: order.index(d["name"]) if d["name"] in order else len(order))
        trouble = found.trouble
        if trouble is not None:
            self._blame(found, trouble, vendors)
        elif not found.of("devices"):
            self._failed("platforms", "OpenCL", "no platform", searched=", ".join(self.searched))

    def _pocl_cache_fails(self) -> bool:
        found = self._child("caches")
        return found.begun == "pocl cache" and found.trouble is not None

    def _blame(self, found: children.Outcome, trouble: str, vendors: list[Vendor]) -> None:
        """Listing failed as a whole: try the drivers one by one to name the one that is at fault."""
        if "-1001" in trouble or "PLATFORM_NOT_FOUND" in trouble or not (found.code < 0 or found.seconds):
            self._failed("platforms", "OpenCL", trouble, searched=", ".join(self.searched))
            return
        guilty = blamed = False
        for vendor in sorted(vendors, key=lambda v: not v.bundled) if self.doctor else []:
            if guilty and not vendor.bundled:
                break  # bundled drivers are loaded with every other, so that those cannot be judged
            alone = self._child("platforms", OCL_ICD_VENDORS=vendor.file)
            if alone.code < 0 or alone.seconds:
                self._failed("driver", vendor.file, alone.trouble or trouble)
                guilty = vendor.bundled
                blamed = True
        if not blamed:
            self._failed("platforms", "OpenCL", trouble, searched=", ".join(self.searched))

    def _nvidia(self) -> None:
        nodes = self.around.nvidia_nodes()
        if not nodes or any("nvidia" in d["platform"].lower() for d in self.devices):
            return
        library = self.around.nvidia_library()
        if library:
            text = f"{', '.join(nodes)} is there and its OpenCL library too, but no .icd file names it"
            self._failed("nvidia", nodes[0], text, library=library)
        else:
            self._failed(
                "library", nodes[0], f"{NVIDIA_LIBRARY}: cannot open shared object file, though {nodes[0]} is there"
            )

    def _choice(self) -> None:
        wanted = self.around.environment.get("GRAPHFLOW_DEVICE", "")
        names = [d["name"] for d in self.devices]
        if wanted.startswith("opencl:") and wanted not in names:
            self._failed("choice", wanted, f"GRAPHFLOW_DEVICE is {wanted}, and there is no such device")
        chosen = wanted if wanted in names else next(iter(names), None)
        for record in self.devices:
            record["chosen"] = record["name"] == chosen

    # -- one device -----------------------------------------------------------------------------------------------

    def _device(self, record: dict[str, Any]) -> None:
        name = record["name"]
        found = self._child("device", *name.split(":")[1:])
        for told in found.lines:
            if told["state"] == "ok":
                self._step(record, told)
        if found.trouble is not None:
            self._failed(found.begun, name, found.trouble)
            return
        lacks = {
            "float64": "no float64: such ops run on the host",
            "float16": "no float16 arithmetic: computed in float32",
        }
        for feature, text in lacks.items():
            if not record[feature]:
                self._note("features", name, text)
        if record["type"] == "cpu":
            self._note("features", name, "the CPU that NumPy has too: fused graphs gain, matrix products seldom do")

    def _step(self, record: dict[str, Any], told: dict[str, Any]) -> None:
        name, step = record["name"], told["step"]
        facts = {key: value for key, value in told.items() if key not in ("step", "state")}
        if step == "accuracy" and facts["exp_ulp"] > MOST_ULP:
            self._failed(step, name, f"exp is off by {facts['exp_ulp']:g} ulp, at most {MOST_ULP:g} are allowed")
        elif facts.get("here", True):
            self._ok(step, name, _TEXTS[step](facts))
        else:
            self._note(step, name, _TEXTS[step](facts))
        if step in ("accuracy", "speed"):
            record.update(facts)


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "context": lambda f: (
        "context and queue" + (f"; PoCL was told the CPU's name, {f['cpu_name']}" if f.get("cpu_name") else "")
    ),
    "build": lambda f: f"4 kernels in {f['seconds']:.2f} s",
    "run": lambda f: "1000 sums are right",
    "accuracy": lambda f: f"exp within {f['exp_ulp']:g} ulp",
    "speed": lambda f: (
        f"round trip {f['latency_us']:g} us, stream {f['stream_gb_s']:g} GB/s, matmul {f['gemm_gflops']:g} GFLOP/s"
    ),
    "clblast": lambda f: (
        f"{f['place']} is a candidate for products on GPUs" if f["here"] else f"products are ours alone: {f['place']}"
    ),
}
