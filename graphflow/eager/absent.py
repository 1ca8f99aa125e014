"""`torch.cuda`, `torch.backends` and their like, for programs that ask what is there and set switches of what is not.

Policy: questions are answered truly: there is no CUDA, no MPS, no cuDNN here.  Switches of absent libraries are kept
and change nothing; results are deterministic and of full precision anyway.  What would need the device is a typed
error.

State: the switches.
"""

from __future__ import annotations

from typing import Any

from graphflow.errors import InvalidArgumentError, UnavailableError


def _absent(kind: str) -> Any:
    raise UnavailableError(f"there is no {kind} here", expected='"cpu", or "opencl" where its package is',
                           hint='device = "cuda" if torch.cuda.is_available() else "cpu"')  # fmt: skip


class _Accelerator:
    """A kind of device that is not there."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def is_available(self) -> bool:
        """Never."""
        return False

    is_initialized = is_bf16_supported = is_built = is_available

    def device_count(self) -> int:
        """None."""
        return 0

    memory_allocated = max_memory_allocated = memory_reserved = device_count

    def manual_seed(self, seed: int) -> None:
        """Nothing to seed: `torch.manual_seed` seeds all that there is."""

    manual_seed_all = manual_seed

    def empty_cache(self) -> None:
        """Nothing to free."""

    def get_device_name(self, device: Any = None) -> str:
        """Refused: there is no such device."""
        found: str = _absent(self._kind)
        return found

    get_device_properties = current_device = synchronize = set_device = get_device_name


class _Switches:
    """Settings of a library that is not there: any may be set and read."""

    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)

    def is_available(self) -> bool:
        """Never."""
        return False

    is_built = is_available


class accelerator:
    """`torch.accelerator`: there is none."""

    @staticmethod
    def is_available() -> bool:
        """Never."""
        return False

    @staticmethod
    def current_accelerator(check_available: bool = False) -> None:
        """None."""

    @staticmethod
    def device_count() -> int:
        """None."""
        return 0


class backends:
    """`torch.backends`: switches of libraries that are not there."""

    cudnn = _Switches(enabled=False, benchmark=False, deterministic=True, allow_tf32=False)
    mps = _Switches()
    mkldnn = _Switches(enabled=False)
    cuda = _Switches(matmul=_Switches(allow_tf32=False))


cuda, mps, xpu = _Accelerator("CUDA"), _Accelerator("MPS"), _Accelerator("XPU")


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Everything is deterministic, whatever is asked for."""


def are_deterministic_algorithms_enabled() -> bool:
    """Always."""
    return True


_PRECISIONS = ("highest", "high", "medium")


def set_float32_matmul_precision(precision: str) -> None:
    """Products are always of the highest precision; lower ones only allow what is not done."""
    if precision not in _PRECISIONS:
        raise InvalidArgumentError("no such precision", expected=", ".join(map(repr, _PRECISIONS)),
                                   got=repr(precision)[:80])  # fmt: skip


def get_float32_matmul_precision() -> str:
    """The highest."""
    return "highest"


FUNCTIONS: dict[str, Any] = {
    "cuda": cuda, "mps": mps, "xpu": xpu, "backends": backends, "accelerator": accelerator,
    "use_deterministic_algorithms": use_deterministic_algorithms,
    "are_deterministic_algorithms_enabled": are_deterministic_algorithms_enabled,
    "set_float32_matmul_precision": set_float32_matmul_precision,
    "get_float32_matmul_precision": get_float32_matmul_precision,
}  # fmt: skip
