"""What was measured on a device, kept for the next process: who computes products, and with which configuration.

Policy: one JSON file for a device and its driver, replaced in one step.  What is not exactly of the expected form, or
beyond the limits, counts as not measured.  A folder that cannot be written costs a new measurement in each process.

State: what is known of each device.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import Any

from graphflow import durable
from graphflow.errors import Error
from graphflow_opencl import cache
from graphflow_opencl.devices import Device
from graphflow_opencl.table import Traits

MOST_BYTES = 1 << 20
MOST_CONFIGURATIONS = 4096
_LOG = logging.getLogger("graphflow")
_lock = threading.RLock()
_hosts: dict[str, dict[str, dict[float, bool]]] = {}  # device -> kind -> operations -> whether the host was faster
_configurations: dict[Traits, dict[str, int]] = {}  # device's traits -> class of sizes -> number


def class_of(sizes: tuple[int, int, int], dtype: str) -> str:
    """The class of products that share a configuration: sizes up to the same power of two."""
    return ":".join((dtype, *(str(max(0, n - 1).bit_length()) for n in sizes)))


def configuration(sizes: tuple[int, int, int], dtype: str, traits: Traits) -> int:
    """The number of the configuration that was fastest for products of this class; -1 if none was measured."""
    return _configurations.get(traits, {}).get(class_of(sizes, dtype), -1)


def path_of(device: Device) -> Path:
    """The file of a device."""
    return cache.folder() / f"choices-{hashlib.sha256(cache.identity(device.cl).encode()).hexdigest()[:32]}.json"


def hosts(device: Device, kind: str) -> dict[float, bool]:
    """For a kind of op, the operations of what was measured, and whether the host was faster."""
    with _lock:
        return dict(_known(device).get(kind, {}))


def keep_host(device: Device, kind: str, flops: float, faster: bool) -> None:
    """Remember whether the host was faster."""
    with _lock:
        _known(device).setdefault(kind, {})[flops] = faster
        _save(device)


def keep_configuration(device: Device, sizes: tuple[int, int, int], dtype: str, number: int) -> None:
    """Remember the fastest configuration for a class of products."""
    with _lock:
        _known(device)
        table = _configurations.setdefault(device.traits, {})
        if len(table) < MOST_CONFIGURATIONS:
            table[class_of(sizes, dtype)] = number
            _save(device)


def forget() -> None:
    """Forget what this process knows; the files stay."""
    with _lock:
        _hosts.clear()
        _configurations.clear()


def _known(device: Device) -> dict[str, dict[float, bool]]:
    """What is known of a device, from its file at first."""
    if device.name not in _hosts:
        stored = _load(path_of(device))
        _hosts[device.name] = stored[0]
        _configurations.setdefault(device.traits, {}).update(stored[1])
    return _hosts[device.name]


def _load(path: Path) -> tuple[dict[str, dict[float, bool]], dict[str, int]]:
    try:
        found = durable.read_json(path, MOST_BYTES)
        return _read_hosts(found["hosts"]), _read_configurations(found["configurations"])
    except FileNotFoundError:
        return {}, {}
    except (Error, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        _LOG.debug("what was measured on the device cannot be read, and is measured again: %s", error)
        return {}, {}


def _read_hosts(found: Any) -> dict[str, dict[float, bool]]:
    out: dict[str, dict[float, bool]] = {}
    for kind, rows in found.items():
        for flops, host in rows:
            if type(flops) not in (int, float) or type(host) is not bool:
                raise ValueError(f"{kind} has a row of another form")
        out[str(kind)] = {float(flops): host for flops, host in rows}
    return out


def _read_configurations(found: Any) -> dict[str, int]:
    if any(type(number) is not int for number in found.values()):
        raise ValueError("a configuration is a number")
    return {str(name): number for name, number in list(found.items())[:MOST_CONFIGURATIONS]}


def _save(device: Device) -> None:
    path = path_of(device)
    rows = {kind: [list(row) for row in sorted(measured.items())] for kind, measured in _hosts[device.name].items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(path, {"hosts": rows, "configurations": _configurations.get(device.traits, {})})
    except (Error, OSError) as error:
        _LOG.debug("what was measured on the device cannot be kept: %s", error)
