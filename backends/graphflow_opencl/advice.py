"""What to do about a failure of a driver: the table of failures that were met, one line of advice each.

Policy: the first row whose step and pattern fit gives the advice; every step ends with a row that always fits.  Advice
is a command or a line to write wherever there is one.  `{...}` is filled in from what the doctor knows.

State: none.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    """For a step, what the text of its failure looks like, and what to do."""

    step: str  # "" fits every step
    pattern: str
    advice: str


INSTALL = 'pip install "pyopencl[pocl]"'
SKIP = "leave that driver out: OCL_ICD_VENDORS=/a/folder/with/the/other/.icd/files, or remove {subject}"
POCL_FOLDER = "export POCL_CACHE_DIR=/a/folder/that/can/be/written"
NAME_A_DRIVER = 'write the path of an OpenCL driver into it: echo /path/to/libdriver.so > "{subject}"'
SEE_DEVICE = "see whether the device is there and free: nvidia-smi, rocm-smi or clinfo"

ROWS: tuple[Row, ...] = (
    Row("import", r"No module named '?(pyopencl|pytools)", f"{INSTALL}   (graphs run on NumPy until then)"),
    Row("import", r"numpy.*(ABI|dtype size|binary incompat|_ARRAY_API)", "pip install --upgrade pyopencl numpy"),
    Row("import", r"No module named '?([\w.]+)", "pip install {found}"),
    Row("import", r"", 'pip install --force-reinstall "pyopencl[pocl]"'),
    Row("vendors", r"OCL_ICD_FILENAMES",
        "set OCL_ICD_VENDORS instead, to an .icd file or a folder of them: this loader is ocl-icd"),
    Row("vendors", r"empty", NAME_A_DRIVER),
    Row("vendors", r"", "unset {variable}, or set it to a folder with .icd files"),
    Row("library", r"lib(imf|svml|irng|intlc)\b", "pip install intel-cmplr-lib-rt"),
    Row("library", r"libtbb", "pip install tbb"),
    Row("library", r"libnvidia-[^:]*: cannot open",
        "start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility (docker run --gpus all -e ...), "
        "or install the OpenCL part of NVIDIA's driver"),
    Row("library", r"invalid ELF|wrong ELF|file too short|not an OpenCL driver", NAME_A_DRIVER),
    Row("library", r"([^\s:]+): cannot open shared object",
        'install the package that has {found}, or remove "{subject}"; '
        "if it is in an unusual folder: export LD_LIBRARY_PATH=/that/folder"),
    Row("library", r"", SKIP),
    Row("nvidia", r"",
        "mkdir -p /etc/OpenCL/vendors && echo {library} > /etc/OpenCL/vendors/nvidia.icd; "
        "without root: export OCL_ICD_VENDORS={library}"),
    Row("platforms", r"-1001|PLATFORM_NOT_FOUND|no platform",
        "pip install pocl-binary-distribution   (searched {searched})"),
    Row("devices", r"PoCL's cache", POCL_FOLDER),
    Row("devices", r"", SEE_DEVICE + "; may this user open it? ls -l /dev/dri /dev/nvidia*"),
    Row("pocl cache", r"", POCL_FOLDER + "   (PoCL has no device without)"),
    Row("cache", r"", "export GRAPHFLOW_CACHE=/a/folder/that/can/be/written   (until then every start compiles anew)"),
    Row("clblast", r"", "export GRAPHFLOW_CLBLAST=0   (products are computed by our own kernels then)"),
    Row("choice", r"", "unset GRAPHFLOW_DEVICE, or set it to one of: {names}"),
    Row("", r"Not enough memory to run on this device|hwloc",
        "mount /sys into the container (PoCL reads the machine from it), or export POCL_MEMORY_LIMIT=2"),
    Row("", r"SIGKILL", "give the container more memory: the system ended the process, most likely for that"),
    Row("", r"SIGILL", "the driver was made for another CPU; install it anew on this machine"),
    Row("", r"(?i)pocl.*(permission denied|cache)", POCL_FOLDER),
    Row("", r"no answer within", "if only slow: GRAPHFLOW_DOCTOR_SECONDS=600; else restart the driver, or " + SKIP),
    Row("", r"ended by SIG", "update the driver of {subject}, or " + SKIP),
    Row("build", r"unknown target CPU",
        "PoCL is older than this CPU: conda install -c conda-forge pocl pyopencl, or pip install intel-opencl-rt"),
    Row("", r"OUT_OF_HOST_MEMORY|MEM_OBJECT_ALLOCATION", "give this process more memory, then try again"),
    Row("", r"OUT_OF_RESOURCES|OUT_OF_MEMORY", "end what else uses the device (nvidia-smi lists it), then try again"),
    Row("context", r"DEVICE_NOT_AVAILABLE", SEE_DEVICE),
    Row("context", r"", "make driver and kernel module agree: reboot after an update, or install the driver anew"),
    Row("build", r"", "update the driver: it refuses plain OpenCL C 1.2; until then GRAPHFLOW_DEVICE=numpy"),
    Row("run", r"", "do not use this device: export GRAPHFLOW_DEVICE=numpy; then update its driver"),
    Row("accuracy", r"", "update the driver; until then expect errors of that size, or export GRAPHFLOW_DEVICE=numpy"),
    Row("", r"", "update the driver of {subject}; what it said stands above"),
)  # fmt: skip


class _Known(dict[str, str]):
    """What is known, with something to read for what is not."""

    def __missing__(self, name: str) -> str:
        return {"subject": "that device", "names": "none"}.get(name, "it")


def advise(step: str, text: str, **known: str) -> str:
    """The line of advice for a failure."""
    for row in ROWS:
        if row.step in (step, ""):
            match = re.search(row.pattern, text)
            if match is not None:
                found = match[1] if match.re.groups and match[1] else ""
                return row.advice.format_map(_Known(known, found=found))
    raise AssertionError("the last row fits everything")
